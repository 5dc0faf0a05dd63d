"""What is read off SLURM's answers; tests/slurm asks a real one."""

import stat
from functools import partial
from threading import Event

import pytest

from bld.pipeline import cluster
from bld.pipeline.cluster import (
    RefusedError,
    answer,
    keeps_accounts,
    patiently,
    stop_forgotten,
)

RUN = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Stand-ins for SLURM's commands: their scripts, by name."""

    def make(**scripts):
        for name, text in scripts.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
            (tmp_path / name).chmod(stat.S_IRWXU)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return make


@pytest.mark.parametrize(
    "kept_by, answer",
    [
        ("accounting_storage/slurmdbd", True),
        ("accounting_storage/none", False),
        ("(null)", False),
    ],
)
def test_a_site_keeps_accounts_if_it_has_a_database_of_them(kept_by, answer):
    configuration = f"AccountingStorageHost   = localhost\nAccountingStorageType   = {kept_by}\n"
    assert keeps_accounts(configuration) is answer


def test_jobs_of_a_killed_snakemake_are_ended_and_waited_for_and_others_are_left_alone(
    tmp_path, commands, capsys
):
    queue = tmp_path / "queue"
    queue.write_text(
        f"7|{RUN}|/project\n"
        f"8|my_prefix-1_{RUN}|/project\n"
        f"8|my_prefix-1_{RUN}|/project\n"
        f"9|{RUN}|/another project\n"
        "10|my own job|/project\n"
        f"11|{RUN}-again|/project\n"
    )
    # A job goes when it has been asked to.
    commands(squeue=f"cat {queue}", scancel=f"echo $* > {queue}.asked; echo > {queue}")
    assert stop_forgotten("/project") == ["7", "8"]
    assert (tmp_path / "queue.asked").read_text() == "7 8\n"
    assert "they are asked to save and to end: 7 8" in capsys.readouterr().out
    assert stop_forgotten("/project") == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "words",
    [
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "slurm_load_ctl_conf error: Unable to contact slurm controller (connect failure)",
        "squeue: error: Slurm temporarily unable to accept job, sleeping and retrying.",
        "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received",
        "sbatch: error: Munge encode failed: Failed to access the socket",
        "sacct: error: Problem talking to the database: Connection refused",
        "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: "
        "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
        "Resource temporarily unavailable",
        "",
    ],
)
def test_what_goes_by_itself_is_waited_for(words):
    assert RefusedError(words).is_passing


@pytest.mark.parametrize(
    "words",
    [
        "Invalid account or account/partition combination specified",
        "Requested time limit is invalid (missing or exceeds some limit)",
        "Memory specification can not be satisfied",
        "Requested node configuration is not available",
        "invalid partition specified: nowhere",
        "User's group not permitted to use this partition",
        "Invalid generic resource (gres) specification",
        "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
    ],
)
def test_what_is_wrong_with_the_request_is_not(words):
    assert not RefusedError(f"sbatch: error: Batch job submission failed: {words}").is_passing


@pytest.fixture
def pauses(monkeypatch):
    """The pauses that were made, none of which took time."""
    made = []

    class Awaited(Event):
        def wait(self, seconds=None):
            made.append(seconds)

    monkeypatch.setattr(cluster, "Event", Awaited)
    return made


def test_slurm_is_asked_again_with_growing_pauses_and_its_words_are_told(
    tmp_path, commands, pauses, capsys
):
    refuse = "echo 'Unable to contact slurm controller' >&2; exit 1"
    commands(
        scontrol=f"echo x >> {tmp_path}/n; [ $(wc -l < {tmp_path}/n) -gt 9 ] || {{ {refuse}; }}"
    )
    assert patiently(partial(answer, "scontrol", "show", "config")) == ""
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert "asked again in 20 s: Unable to contact slurm controller\n" in capsys.readouterr().out


def test_a_lasting_refusal_is_raised_at_once_unless_every_answer_is_waited_for(commands, pauses):
    commands(sbatch="echo 'Invalid qos specification' >&2; exit 1")
    with pytest.raises(RefusedError, match="Invalid qos specification"):
        patiently(partial(answer, "sbatch"))
    assert pauses == []


def test_who_has_given_up_waits_no_longer(commands):
    commands(squeue="exit 1")
    given_up = Event()
    given_up.set()
    with pytest.raises(RefusedError):
        patiently(partial(answer, "squeue"), given_up, always=True)
