"""Snakemake makes and uses the environments of envs/*.yaml, with the conda stand-in and its local
channel.

This proves that the files parse and solve against such names and that deployment, pin files, hashes
and activation work; not that conda-forge has the versions.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ENVS = Path(__file__).parents[2] / "envs"
NAMES = sorted(path.stem for path in ENVS.glob("*.yaml"))
GPU_BUILDS = {"pytorch", "deepspeed"}
RUN_MODELS = ["evaluate", "train"]
NO_GPU = {"CONDA_OVERRIDE_CUDA": ""}


def builds(folder):
    records = [json.loads(path.read_text()) for path in folder.glob("conda-meta/*.json")]
    return {record["name"]: record["build"] for record in records}


@pytest.fixture(scope="module")
def made(checkout, conda):
    """A fresh clone after `make envs`, with `make` having set up the environment of the tests."""
    venv = checkout.folder / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/snakemake").symlink_to(Path(sys.executable).with_name("snakemake"))
    (venv / "workflow.done").touch()
    checkout.run("make", "envs", env=conda)
    return checkout


def test_make_envs_makes_every_environment(made, conda):
    assert sorted(made.environments(conda)) == NAMES


@pytest.fixture(scope="module")
def seen(made, conda):
    """What jobs of the workflow see in each environment, told by rules that are added to the
    clone."""
    (made.folder / "tell.py").write_text(
        "import bld, json, os, sys\nprint(json.dumps([sys.prefix, bld.__file__, "
        "dict(os.environ)]))\n"
    )
    rule = (
        "rule:\n    output: 'told/{0}'\n    conda: 'envs/{0}.yaml'\n"
        "    shell: 'python tell.py > {{output}}'\n"
    )
    with (made.folder / "Snakefile").open("a") as snakefile:
        snakefile.writelines(rule.format(name) for name in NAMES)
    told = [f"told/{name}" for name in NAMES]
    printed = made.snakemake("--sdm", "conda", "--", *told, env=conda)
    assert "Creating conda environment" not in printed
    return {name: json.loads((made.folder / f"told/{name}").read_text()) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_job_runs_in_its_own_environment_with_the_package_of_the_workflow(
    made, conda, seen, name
):
    prefix, package, _ = seen[name]
    assert prefix == str(made.environments(conda)[name])
    assert package == str(made.folder / "workflow/bld/__init__.py")


@pytest.mark.parametrize("name", NAMES)
def test_a_job_has_the_hub_switched_off(seen, name):
    *_, variables = seen[name]
    assert (variables["HF_HUB_OFFLINE"], variables["HF_DATASETS_OFFLINE"]) == ("1", "1")


@pytest.mark.parametrize("name", RUN_MODELS)
def test_a_login_node_without_a_gpu_gets_the_builds_for_gpus(made, conda, name):
    found = builds(made.environments(conda)[name])
    assert {found[package][:4] for package in GPU_BUILDS & found.keys()} == {"cuda"}


@pytest.mark.parametrize("name", RUN_MODELS)
def test_without_cuda_the_solver_refuses_where_it_would_choose_a_cpu_build(conda, tmp_path, name):
    environment, prefix = tmp_path / "environment.yaml", tmp_path / "prefix"

    def create(text):
        environment.write_text(text)
        command = ["conda", "env", "create", "--file", environment, "--prefix", prefix]
        return subprocess.run(command, env=conda | NO_GPU, capture_output=True, text=True)

    text = (ENVS / f"{name}.yaml").read_text()
    refused = create(text)
    assert refused.returncode != 0 and "__cuda" in refused.stderr and not prefix.exists()
    assert create(text.replace("=cuda*", "")).returncode == 0
    assert not builds(prefix)["pytorch"].startswith("cuda")


def test_the_network_is_refused_and_the_attempt_is_noted(made, conda, tmp_path):
    python, log = made.environments(conda)["data"] / "bin/python", tmp_path / "attempts"
    # 192.0.2.0/24 is for documentation; nobody has these addresses.
    attempts = [
        "socket.create_connection(('192.0.2.1', 80), 1)",
        "socket.socket().connect_ex(('192.0.2.2', 80))",
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('192.0.2.3', 80))",
        "socket.gethostbyname('example.org')",
        "urllib.request.urlopen('http://example.com')",
    ]
    for attempt in attempts:
        command = [python, "-c", f"import socket, urllib.request; {attempt}"]
        done = subprocess.run(
            command, env=conda | {"BLD_TEST_NETWORK_LOG": str(log)}, capture_output=True, text=True
        )
        assert "the tests allow no network" in done.stderr
    noted = [line.split(":")[0] for line in log.read_text().splitlines()]
    assert noted == ["192.0.2.1", "192.0.2.2", "192.0.2.3", "example.org", "example.com"]


# The last one, since it leaves pin files behind.
def test_pin_files_are_written_from_the_environments_and_honoured(made, conda):
    solved = {name: builds(folder) for name, folder in made.environments(conda).items()}
    made.run("make", "pins", env=conda)
    for name in NAMES:
        pinned = (made.folder / f"envs/{name}.linux-64.pin.txt").read_text().splitlines()
        assert len(pinned) == 1 + len(solved[name]) and pinned[0] == "@EXPLICIT"
    # What is listed needs no solver, so it can be made where the solver would refuse.
    place = made.environments(conda)["data"].parent
    shutil.rmtree(place)
    printed = made.run("make", "envs", env=conda | NO_GPU)
    assert printed.count("Using pinnings from") == len(NAMES)
    made_again = [builds(path) for path in place.glob("*_")]
    assert sorted(made_again, key=sorted) == sorted(solved.values(), key=sorted)
