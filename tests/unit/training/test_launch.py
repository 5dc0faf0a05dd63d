"""The launcher passes on what a stage says and does, on one process or several."""

import json
import os
import socket
import stat
import subprocess
import sys

import pytest

from bld.pipeline.launch import environment

STAGE = """
import json, os, pathlib, signal, sys, time
rank = int(os.environ.get("RANK", 0))
names = ("RANK", "WORLD_SIZE", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")
told = {name: os.environ.get(name) for name in names}
pathlib.Path(f"told-{rank}.json").write_text(json.dumps(told | {"arguments": sys.argv[1:]}))
if "wait" in sys.argv:
    def save(*_):
        time.sleep(1)
        pathlib.Path(f"saved-{rank}").touch()
        sys.exit(75)
    signal.signal(signal.SIGTERM, save)
    pathlib.Path(f"waiting-{rank}").touch()
    time.sleep(100)
if rank == int(os.environ.get("WORLD_SIZE", 1)) - 1:
    sys.exit(int(sys.argv[-1]))
"""
OF_JOBS = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
OF_JOBS |= {"BLD_STARTED", "SLURM_JOB_ID"}


@pytest.fixture
def launch(tmp_path):
    """Start the stage above in a folder of its own."""
    (tmp_path / "stage.py").write_text(STAGE)

    def start(*arguments, **more):
        own = {k: v for k, v in os.environ.items() if k not in OF_JOBS}
        own |= {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]), "OMP_NUM_THREADS": "4"}
        return subprocess.Popen(
            [sys.executable, "-m", "bld.pipeline.launch", *map(str, arguments)],
            cwd=tmp_path,
            env=own | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def told(folder):
    """What the processes said of themselves, in the order of their ranks."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("told-*"))]


@pytest.mark.parametrize("code", [0, 75, 3])
def test_one_process_runs_the_stage_itself(launch, tmp_path, code):
    process = launch("--nodes", 1, "--processes", 1, "-m", "stage", "--nodes", "-m", code)
    assert process.wait() == code
    [one] = told(tmp_path)
    assert one["arguments"] == ["--nodes", "-m", str(code)]
    assert one["RANK"] is None
    assert (one["OMP_NUM_THREADS"], one["OMP_WAIT_POLICY"]) == ("4", "PASSIVE")


def test_several_processes_share_the_threads_and_one_that_fails_is_named(launch, tmp_path):
    process = launch("--processes", 2, "-m", "stage", "--flag", 3)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 1, printed
    first, second = told(tmp_path)
    assert (first["RANK"], second["RANK"], first["WORLD_SIZE"]) == ("0", "1", "2")
    assert first["OMP_NUM_THREADS"] == "2"
    assert first["arguments"] == ["--flag", "3"]
    assert "1 with exit code 3" in printed


def test_a_signal_reaches_every_process_and_each_has_time_to_save(launch, tmp_path):
    process = launch("--processes", 2, "-m", "stage", "wait")
    while len(list(tmp_path.glob("waiting-*"))) < 2:
        assert process.poll() is None
    process.terminate()
    assert process.wait(timeout=60) == 75
    assert len(list(tmp_path.glob("saved-*"))) == 2


@pytest.fixture
def slurm(tmp_path):
    """The environment of a job of SLURM on two nodes, of which nothing is real."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {
        "squeue": 'case "$*" in *%S) echo 2026-01-01T00:00:00;; *) echo "node[1-2]";; esac',
        "scontrol": "echo node1; echo node2",
        "srun": 'echo "$OMP_NUM_THREADS $BLD_STARTED $*"; exit 75',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(stat.S_IRWXU)
    path = f"{programs}:{os.environ['PATH']}"
    return {"PATH": path, "SLURM_JOB_ID": "417", "TZ": "UTC"}


def test_in_a_job_srun_starts_a_launcher_on_every_node_and_they_meet_at_the_first(launch, slurm):
    several = ("--nodes", 2, "--processes", 4, "-m", "stage", "--flag")
    process = launch(*several, **slurm, CUDA_VISIBLE_DEVICES="0,1")
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 75
    assert printed == (
        "4 1767225600.0 --nodes 2 --ntasks 2 --ntasks-per-node 1 --cpus-per-task 4 --gres gpu:2 "
        "--kill-on-bad-exit=0 "
        "--overlap --mem=0 --cpu-bind=none --mpi=none "
        f"{sys.executable} -m bld.pipeline.launch --nodes 2 --processes 4 --meeting-point "
        "node1:20417 -m stage --flag\n"
    )


def test_a_single_process_of_a_job_is_started_by_srun_too_since_slurm_signals_its_tasks_alone(
    launch, slurm
):
    process = launch("-m", "stage", "--flag", **slurm, CUDA_VISIBLE_DEVICES="")
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 75
    assert printed.startswith(
        "4 1767225600.0 --nodes 1 --ntasks 1 --ntasks-per-node 1 --cpus-per-task 4 --kill"
    )
    assert printed.endswith("--nodes 1 --processes 1 --meeting-point node1:20417 -m stage --flag\n")


def test_in_a_container_without_programs_of_slurm_a_job_runs_its_processes_itself(launch, tmp_path):
    process = launch("-m", "stage", 0, SLURM_JOB_ID="417", PATH=str(tmp_path))
    assert process.wait(timeout=60) == 0
    assert len(told(tmp_path)) == 1


def test_the_launchers_of_two_nodes_find_each_other(launch, tmp_path):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    meeting = ("--nodes", 2, "--processes", 4, "--meeting-point", f"localhost:{port}")
    nodes = [launch(*meeting, "-m", "stage", 0) for _ in range(2)]
    for node in nodes:
        printed = node.communicate(timeout=60)[0]
        assert node.returncode == 0, printed
    assert [process["RANK"] for process in told(tmp_path)] == ["0", "1", "2", "3"]
    assert {process["OMP_NUM_THREADS"] for process in told(tmp_path)} == {"2"}


def test_several_nodes_without_slurm_are_refused(launch):
    process = launch("--nodes", 2, "--processes", 2, "-m", "stage")
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert "2 nodes need a SLURM job" in printed


def test_processes_that_cannot_be_shared_out_are_refused(launch):
    process = launch("--nodes", 2, "--processes", 3, "-m", "stage")
    assert "3 processes cannot be shared out evenly on 2 nodes" in process.communicate()[0]
    assert process.returncode == 2


def test_what_is_given_stays_and_every_process_has_a_thread():
    given = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "ACTIVE", "BLD_STARTED": "5"}
    found = environment(8, given)
    assert found == {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
