"""What a record says of the machine and of what was taken from it."""

import os
import platform
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from bld.files import write_text
from bld.pipeline import environment
from bld.pipeline.environment import EnergyMeter, driver, peak_gpu_memory, peak_memory, uses_gpu


@pytest.fixture
def zone(tmp_path):
    """Make or change a counter of energy as the kernel shows it."""

    def write(number, microjoules, name="package-0", largest=1_000_000):
        folder = tmp_path / f"intel-rapl:{number}"
        folder.mkdir(exist_ok=True)
        values = {"name": name, "energy_uj": microjoules, "max_energy_range_uj": largest}
        for file, value in values.items():
            write_text(folder / file, f"{value}\n")

    return write


@pytest.fixture
def nvml(monkeypatch):
    """A stand-in for NVML with two GPUs."""

    class NVMLError(Exception):
        pass

    counters = {0: 5_000, 1: 70_000, "GPU-b": 70_000}

    def energy(handle):
        if handle not in counters:
            raise NVMLError(handle)
        return counters[handle]

    fake = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetHandleByUUID=lambda name: name,
        nvmlDeviceGetTotalEnergyConsumption=energy,
        nvmlSystemGetDriverVersion=lambda: "570.86.15",
        counters=counters,
    )
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake


@pytest.fixture
def no_nvml(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)


def test_energy_is_the_sum_over_processors_and_not_over_their_parts(zone, tmp_path, no_nvml):
    zone("0", 100)
    zone("1", 990_000, "package-1", largest=999_999)
    zone("0:0", 0, "core")
    zone("2", 0, "psys")
    meter = EnergyMeter(tmp_path)
    zone("0", 500_100)
    zone("1", 240_000, "package-1", largest=999_999)  # it began anew
    zone("0:0", 400_000, "core")
    zone("2", 900_000, "psys")
    assert meter.joules() == pytest.approx(0.5 + 0.25)


def test_a_counter_that_begins_anew_many_times_is_read_in_between(
    zone, tmp_path, no_nvml, monkeypatch
):
    monkeypatch.setattr(environment, "SECONDS_BETWEEN_READINGS", 0.01)
    zone("0", 0, largest=999_999)
    meter = EnergyMeter(tmp_path)
    for microjoules in (600_000, 200_000, 800_000, 400_000):  # each 0.6 J further
        zone("0", microjoules, largest=999_999)
        time.sleep(0.3)
    assert meter.joules() == pytest.approx(2.4)


@pytest.mark.parametrize(
    "visible, joules", [(None, 3.0), ("1", 2.0), ("0,1", 3.0), ("GPU-b", 2.0), ("MIG-x", None)]
)
def test_the_energy_of_the_visible_gpus_counts(nvml, tmp_path, monkeypatch, visible, joules):
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    meter = EnergyMeter(tmp_path)
    nvml.counters.update({0: 6_000, 1: 72_000, "GPU-b": 72_000})
    assert meter.joules() == joules


def test_without_counters_no_energy_is_told(tmp_path, no_nvml):
    assert EnergyMeter(tmp_path).joules() is None


def test_the_driver_is_told_where_it_can_be_asked(nvml, monkeypatch):
    assert driver() == "570.86.15"
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert driver() is None


def test_the_most_memory_of_this_process_and_of_those_it_waited_for_counts():
    held = 700 << 20
    subprocess.run([sys.executable, "-c", f"x = bytearray({held})"], check=True)
    assert held < peak_memory() < 100 * held


def test_the_machine_is_told_of_by_its_class():
    found = environment.hardware()
    assert found["host"] == f"{platform.system()} {platform.machine()}"
    assert platform.node() not in str(found)
    assert 0 < found["cores"] <= os.cpu_count()
    assert found["cpu"]


def test_a_gpu_that_was_not_used_is_not_told_of():
    import torch

    assert uses_gpu() == torch.cuda.is_initialized()
    if not torch.cuda.is_initialized():
        assert environment.hardware()["gpus"] == [] and peak_gpu_memory() is None
