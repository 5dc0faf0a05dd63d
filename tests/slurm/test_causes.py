"""Causes are counted, not attempts: what a small workflow asks of a real SLURM, under the project's
own profile, when its jobs are stopped and killed and SLURM does not answer."""

import shutil
import subprocess
import time

import pytest

# A command that does not reach SLURM for so many seconds after it was first called.
UNREACHABLE = """#!/bin/sh
[ -e {mark} ] || date +%s > {mark}
if [ $(($(date +%s) - $(cat {mark}))) -lt {seconds} ]; then
    echo "{words}" >&2
    exit 1
fi
exec {real} "$@"
"""
TIMED_OUT = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
NO_CONTACT = "slurm_load_ctl_conf error: Unable to contact slurm controller (connect failure)"


@pytest.fixture
def site(cluster, new_small_site):
    return new_small_site()


def unreachable(site, name, seconds, words):
    script = UNREACHABLE.format(
        mark=site.bin / f"{name}.called", seconds=seconds, words=words, real=shutil.which(name)
    )
    (site.bin / name).write_text(script)
    (site.bin / name).chmod(0o755)


def memories(jobs):
    return [job["MinMemoryNode"] for job in jobs]


def test_six_continuations_ask_for_the_same_and_cost_no_retries(site):
    (site.folder / "plan").write_text("stop " * 6)
    site.edit_profile(retries=0)
    printed = site.snakemake("made/1")
    jobs = site.jobs("distill")
    assert [job["JobState"] for job in jobs] == ["FAILED"] * 6 + ["COMPLETED"]
    assert {job["MinMemoryNode"] for job in jobs} == {"125G"}  # 128,000 MB
    assert {job["TimeLimit"] for job in jobs} == {"1-00:00:00"}
    assert "Error in rule" not in printed


def test_a_job_killed_for_memory_gets_more_of_it_and_one_that_ran_out_of_time_more_of_that(site):
    (site.folder / "plan").write_text("stop fill fail wait stop")
    site.edit_profile(rules={"distill": {"mem_mb": "1500 * attempt", "runtime": "1 * attempt"}})
    site.snakemake("made/1")
    jobs = site.jobs("distill")
    # SLURM calls the second FAILED too, since what it killed was a step of it.
    states = ["FAILED", "FAILED", "FAILED", "TIMEOUT", "FAILED", "COMPLETED"]
    assert [job["JobState"] for job in jobs] == states
    assert memories(jobs) == ["1500M"] * 2 + ["3000M"] * 4
    limits = ["00:01:00"] * 4 + ["00:02:00"] * 2
    assert [job["TimeLimit"] for job in jobs] == limits
    # The job itself, which counts the time that it has left, knows it too.
    assert (site.folder / "made/1.jobs").read_text().split() == ["1"] * 4 + ["2"] * 2


def test_while_slurm_takes_no_jobs_nothing_is_lost_and_its_words_are_told(site):
    site.edit_profile(retries=0)
    unreachable(site, "scontrol", 12, NO_CONTACT)
    unreachable(site, "sbatch", 60, TIMED_OUT)
    printed = site.snakemake("all")
    assert [job["JobState"] for job in site.jobs("distill")] == ["COMPLETED"] * 3
    assert set(memories(site.jobs("distill"))) == {"125G"}
    assert printed.count(TIMED_OUT) >= 3 and printed.count(NO_CONTACT) >= 1
    assert "Error in rule" not in printed


def test_jobs_of_an_array_are_not_lost_either_nor_sent_twice_where_an_answer_was(site):
    site.edit_profile(retries=1)
    (site.folder / "plan").write_text("stop fail")
    # SLURM takes the first array, and the answer does not come.
    real, mark = shutil.which("sbatch"), site.bin / "mark"
    (site.bin / "sbatch").write_text(
        f'#!/bin/sh\n[ -e {mark} ] && exec {real} "$@"\n'
        f'touch {mark}; {real} "$@" > /dev/null; echo "{TIMED_OUT}" >&2; exit 1\n'
    )
    (site.bin / "sbatch").chmod(0o755)
    site.snakemake(*(f"shards/{part}" for part in "123"))
    jobs = site.jobs("score_teacher")
    assert len({job["JobId"] for job in jobs}) == 9
    assert sorted(job["JobState"] for job in jobs) == ["COMPLETED"] * 3 + ["FAILED"] * 6
    assert len({job.get("ArrayJobId") for job in jobs[:3]}) == 1


def test_jobs_are_not_lost_while_nobody_says_how_they_are(site):
    process = site.start("made/1")
    site.wait_for("snakemake.log", "has been submitted with SLURM jobid", process)
    unreachable(site, "squeue", 20, "squeue: error: Unable to contact slurm controller")
    unreachable(site, "scontrol", 20, NO_CONTACT)
    assert process.wait() == 0, site.printed()
    assert "asked again in 10 s: squeue: error: Unable to contact" in site.printed()
    assert len(site.jobs("distill")) == 1


@pytest.mark.parametrize("prefix", ["", "my-project"])
def test_a_killed_snakemake_leaves_no_second_job_beside_the_first(site, prefix):
    (site.folder / "plan").write_text("wait")
    site.edit_profile(slurm_jobname_prefix=prefix)
    process = site.start("made/1")
    site.wait_for("waits", "", process)
    site.kill(process)
    # A site that drops comments.
    [first] = site.jobs("distill")
    subprocess.run(["scontrol", "update", f"JobId={first['JobId']}", "Comment=dropped"], check=True)
    site.snakemake("--unlock")
    site.snakemake("made/1")
    [second] = site.jobs("distill")
    assert f"asked to save and to end: {first['JobId']}" in site.printed()
    ended = subprocess.run(
        ["scontrol", "--oneliner", "show", "job", first["JobId"]], capture_output=True, text=True
    ).stdout
    assert "JobState=CANCELLED" in ended
    end = ended.split("EndTime=")[1].split()[0]
    assert time.strptime(end, "%Y-%m-%dT%H:%M:%S") <= time.strptime(
        second["StartTime"], "%Y-%m-%dT%H:%M:%S"
    )
