"""What is read off SLURM's answers; tests/slurm asks a real one."""

import stat

import pytest

from bld.pipeline.cluster import jobs_lost_from_arrays, keeps_accounts, stop_forgotten

RUN = "01234567-89ab-cdef-0123-456789abcdef"


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


def test_arrays_that_do_not_fit_the_queue_are_told_of_with_the_number_that_does():
    rules = ["score_teacher"] * 7 + ["distill"] * 9
    assert jobs_lost_from_arrays("score_teacher", 7, rules) is None
    assert jobs_lost_from_arrays("", 2, rules) is None
    message = jobs_lost_from_arrays("score_teacher, report", 6, rules)
    assert "7 jobs of score_teacher" in message and "Set `jobs`" in message
    assert "9 jobs of distill" in jobs_lost_from_arrays("all", 8, rules)


def test_jobs_of_a_killed_snakemake_are_ended_and_waited_for_and_others_are_left_alone(
    tmp_path, monkeypatch, capsys
):
    queue = tmp_path / "queue"
    queue.write_text(
        f"7|{RUN}|rule_distill_wildcards_bld|/project\n"
        f"8|{RUN}|rule_score_teacher|/project\n"
        f"8|{RUN}|rule_score_teacher|/project\n"
        f"9|{RUN}|rule_distill_wildcards_bld|/another project\n"
        "10|my own job|rule_of_thumb|/project\n"
        f"11|{RUN}|(null)|/project\n"
    )
    # A job goes when it has been asked to.
    for name, text in {
        "squeue": f"cat {queue}",
        "scancel": f"echo $* > {queue}.asked; echo > {queue}",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert stop_forgotten("/project") == ["7", "8"]
    assert (tmp_path / "queue.asked").read_text() == "7 8\n"
    assert "they are asked to save and to end: 7 8" in capsys.readouterr().out
    assert stop_forgotten("/project") == []
    assert capsys.readouterr().out == ""
