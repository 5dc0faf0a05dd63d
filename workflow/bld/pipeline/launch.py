"""Run a stage on one process, on several of this machine, or on the nodes of a SLURM job:

    python -m bld.pipeline.launch --nodes 1 --processes 4 -m bld.stages.distill ARGUMENTS...

One process: the stage runs right here. Several: torchrun's agent starts them. In a SLURM job `srun`
starts this module anew, once per node, and the agents of several nodes find each other at the
first; on a single node too, since SLURM sends SIGTERM to what srun started and not to its children.
`--processes` counts those of all nodes. SIGTERM and SIGINT reach every process, which has time to
save; a stage that wants to be sent again exits with code 75, and so does this.
"""

from __future__ import annotations

import argparse
import logging
import os
import runpy
import shutil
import sys
import uuid
from collections.abc import Mapping, Sequence

import psutil

from bld.pipeline.cluster import first_node, job_start

UNFINISHED = os.EX_TEMPFAIL
"""The exit code of a stage that has saved and wants to be sent again."""
STARTED = "BLD_STARTED"
"""The variable that says when the job began, in seconds of the epoch."""
SECONDS_TO_SAVE = 1800
FIRST_PORT, PORTS = 20000, 10000


def main() -> None:
    """Run the module that is named after `-m`, with all that follows it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1, help="on all nodes; 0 counts as 1")
    parser.add_argument("--meeting-point", help="host:port; given to the process of each node")
    parser.add_argument("-m", dest="stage", nargs=argparse.REMAINDER, required=True)
    arguments = parser.parse_args()
    nodes, processes = arguments.nodes, max(1, arguments.processes)
    if processes % nodes:
        parser.error(
            f"{processes} processes cannot be shared out evenly on {nodes} nodes; give the rule a "
            "`gpu` that is a multiple of its `nodes`"
        )
    os.environ.update(environment(processes // nodes, os.environ))
    job = os.environ.get("SLURM_JOB_ID")
    if nodes > 1 and not (job or arguments.meeting_point):
        sys.exit(f"{nodes} nodes need a SLURM job, and this is none; see profiles/slurm")
    if job and shutil.which("srun") and not arguments.meeting_point:
        on_every_node(job, nodes, processes, arguments.stage)
    elif processes == 1:
        run_here(arguments.stage)
    else:
        sys.exit(run_agent(nodes, processes // nodes, arguments.meeting_point, arguments.stage))


def environment(processes: int, given: Mapping[str, str]) -> dict[str, str]:
    """What every process of a node needs to know, unless it is `given`: its share of the threads,
    which sleep while they wait, and when the job began: for its time limit, what came before this
    process counts."""
    threads = int(given.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    began = None if given.get(STARTED) else job_start(given.get("SLURM_JOB_ID"))
    defaults = {
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        STARTED: str(began or psutil.Process().create_time()),
    }
    wanted = {name: value for name, value in defaults.items() if name not in given}
    return wanted | {"OMP_NUM_THREADS": str(max(1, threads // processes))}


def run_here(stage: Sequence[str]) -> None:
    """Run a module with its arguments in this process."""
    sys.argv = list(stage)
    runpy.run_module(stage[0], run_name="__main__", alter_sys=True)


def run_agent(nodes: int, processes: int, meeting_point: str | None, stage: Sequence[str]) -> int:
    """Run a module in so many `processes` on this node; the exit code of the job."""
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=processes,
        run_id=meeting_point or uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint=meeting_point or "localhost:0",
        max_restarts=0,
        shutdown_timeout=SECONDS_TO_SAVE,
    )
    # Of the agent alone: what the processes say is theirs, how they ended is said below.
    logging.disable()
    try:
        elastic_launch(config, sys.executable)("-m", *stage)
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in sorted(error.failures.items())}
        if UNFINISHED in codes.values():
            return UNFINISHED
        ends = ", ".join(f"{rank} with exit code {code}" for rank, code in codes.items())
        print(f"processes of this node that failed, or were ended since others did: {ends}")
        return 1
    except SignalException:
        return UNFINISHED
    return 0


def on_every_node(job: str, nodes: int, processes: int, stage: Sequence[str]) -> None:
    """Become `srun`, which runs this module on every node of the SLURM job."""
    each = processes // nodes
    cpus = int(os.environ["OMP_NUM_THREADS"]) * each
    devices = ["--gres", f"gpu:{each}"] if os.environ.get("CUDA_VISIBLE_DEVICES") else []
    command = [
        *("srun", "--nodes", str(nodes), "--ntasks", str(nodes), "--ntasks-per-node", "1"),
        *("--cpus-per-task", str(cpus), *devices, "--kill-on-bad-exit=0"),
        # On a single node this runs inside a step that has taken the job's CPUs, memory and GPUs.
        *("--overlap", "--mem=0", "--cpu-bind=none", "--mpi=none"),
        *(sys.executable, "-m", "bld.pipeline.launch"),
        *("--nodes", str(nodes), "--processes", str(processes)),
        *("--meeting-point", f"{first_node(job)}:{FIRST_PORT + int(job) % PORTS}"),
        *("-m", *stage),
    ]
    # Each node divides its threads among its processes by itself.
    os.environ["OMP_NUM_THREADS"] = str(cpus)
    os.execvp("srun", command)


if __name__ == "__main__":
    main()
