"""What the executor makes of SLURM's answers; tests/slurm asks a real one."""

import asyncio
import stat
from threading import Event, Lock
from types import SimpleNamespace

import pytest

from bld.pipeline import cluster
from bld.pipeline.slurm import SlurmExecutor

TIMED_OUT = "echo 'Socket timed out on send/recv operation' >&2; exit 1"


class Job:
    """As much of a job of Snakemake's as is asked for."""

    def __init__(self, rule, **resources):
        self.rule, self.resources = SimpleNamespace(name=rule), resources

    def is_group(self):
        return False


@pytest.fixture
def executor(tmp_path, monkeypatch):
    """An executor without Snakemake, and SLURM's commands as scripts that count their calls."""
    made = object.__new__(SlurmExecutor)
    made._given_up, made._submitting = Event(), Lock()
    made._sent, made._states, made.run_uuid = set(), {}, "run"
    made.slurm_logdir = tmp_path / "logs"
    settings = SimpleNamespace(status_command="squeue")
    made.workflow = SimpleNamespace(executor_settings=settings)
    monkeypatch.setattr(cluster, "FIRST_PAUSE", 0.01)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("CALLS", str(tmp_path))

    def command(name, text):
        script = f"#!/bin/sh\necho $* >> $CALLS/{name}.calls\nn=$(wc -l < $CALLS/{name}.calls)\n"
        (tmp_path / name).write_text(f"{script}{text}\n")
        (tmp_path / name).chmod(stat.S_IRWXU)

    made.command = command
    made.calls = lambda name: (tmp_path / f"{name}.calls").read_text().splitlines()
    return made


def test_a_submission_that_is_refused_for_a_while_is_made_in_the_end(executor, capsys):
    executor.command("sbatch", f"[ $n -gt 3 ] || {{ {TIMED_OUT}; }}; cat; echo 17")
    executor.command("squeue", "true")
    process = executor._submission("sbatch --parsable")
    assert (process.communicate("script\n"), process.returncode) == (("script\n17\n", ""), 0)
    assert len(executor.calls("sbatch")) == 4
    assert capsys.readouterr().out.count("Socket timed out on send/recv operation") == 3


def test_a_job_that_slurm_took_without_saying_so_is_not_sent_twice(executor):
    executor.command("sbatch", f"[ $n -ne 2 ] || {{ {TIMED_OUT}; }}; echo 1$n")
    executor.command("squeue", f"[ $n -gt 1 ] || {{ {TIMED_OUT}; }}; echo 11; echo 12")
    assert executor._submission("sbatch").communicate()[0] == "11\n"
    assert executor._submission("sbatch").communicate()[0] == "12"
    assert len(executor.calls("sbatch")) == 2 and len(executor.calls("squeue")) == 2
    assert executor._submission("sbatch").communicate()[0] == "13\n"


def test_a_lasting_refusal_is_the_plugins_to_report(executor):
    executor.command("sbatch", "echo 'Invalid qos specification' >&2; exit 1")
    process = executor._submission("sbatch")
    assert process.communicate() == ("", "Invalid qos specification\n")
    assert process.returncode == 1 and len(executor.calls("sbatch")) == 1


def test_jobs_are_not_lost_while_their_states_cannot_be_asked(executor):
    executor.command("squeue", f"[ $n -gt 6 ] || {{ {TIMED_OUT}; }}; echo '7|RUNNING'")
    states, _ = asyncio.run(executor._ask_states("squeue --name run", None))
    assert states == {"7": "RUNNING"}


def test_the_database_is_asked_by_the_ids_of_arrays_and_its_states_are_single_words(executor):
    executor.workflow.executor_settings.status_command = "sacct"
    executor.command("sacct", "echo '7_2|CANCELLED by 0'; echo '8|OUT_OF_MEMORY'")
    question = "sacct -X --format=JobIdRaw,State --name run"
    states, _ = asyncio.run(executor._ask_states(question, None))
    assert states == {"7_2": "CANCELLED", "8": "OUT_OF_MEMORY"}
    assert executor.calls("sacct") == ["-X --format=JobID,State --name run"]


@pytest.mark.parametrize(
    "line, state",
    [
        ("slurmstepd-n1: error: Detected 1 oom-kill event(s) in StepId=7.0. Some of", True),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=7.0. Some of the step", True),
        ("srun: error: n1: task 0: Out Of Memory", True),
        ("slurmstepd: error: Step 7.0 exceeded memory limit (20 > 10), being killed", True),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", False),
        # Of the cache of files, say, which harms nobody.
        ("slurmstepd: error: Exceeded step memory limit at some point.", False),
        ("srun: error: n1: task 0: Exited with exit code 1", False),
    ],
)
def test_a_job_whose_step_was_killed_for_memory_is_known_by_slurms_log(executor, line, state):
    folder = executor.slurm_logdir / "rule_distill/run"
    folder.mkdir(parents=True)
    (folder / "7.log").write_text(f"first\n{line}\nlast\n")
    (folder / "17.log").write_text("srun: error: n1: task 0: Out Of Memory")
    executor._states["7"] = "FAILED"
    job = SimpleNamespace(external_jobid="7")
    assert executor.state_of(job) == ("OUT_OF_MEMORY" if state else "FAILED")


def test_where_there_is_no_database_squeue_is_asked_whatever_the_plugin_would_ask(executor):
    executor.command("squeue", "echo '7|RUNNING'")
    executor.command("sacct", "exit 1")
    assert asyncio.run(executor._ask_states("sacct --name run", None))[0] == {"7": "RUNNING"}


def test_jobs_that_ask_for_the_same_are_an_array_and_none_waits_for_others(executor):
    sent = []
    executor.array_jobs = {"score_teacher"}
    executor._submit_job = lambda job: sent.append([job])
    executor._submit_array_jobs = sent.append
    executor._main_event_loop = None
    small, large = {"mem_mb": 1, "runtime": 5}, {"mem_mb": 2, "runtime": 5}
    alike = [Job("score_teacher", **small), Job("score_teacher", **small)]
    grown = Job("score_teacher", **large)
    trainings = [Job("distill", **small), Job("distill", **small)]
    executor.run_jobs([alike[0], grown, *trainings, alike[1]])
    assert sent == [alike, [grown], [trainings[0]], [trainings[1]]]


def test_pauses_between_questions_grow_to_four_times_the_first(executor, monkeypatch):
    executor.workflow.executor_settings.init_seconds_before_status_checks = 30
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    for asked in (30, 90, 180):
        executor.next_seconds_between_status_checks = asked
        asyncio.run(executor.sleep())
    assert pauses == [30, 90, 120]
