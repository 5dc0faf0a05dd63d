"""Where SLURM keeps accounts: its database is asked how jobs are, and says at the end what they
used of what they got."""

import json
import subprocess

import pandas as pd
import pytest

SPLIT = "results/corpora/python_docs/validation/manifest.json"


@pytest.fixture(scope="module")
def site(cluster_with_accounts, new_site, tiny):
    return new_site(tiny)


def test_the_database_is_asked_how_jobs_are_and_how_well_they_used_what_they_got(site):
    printed = site.snakemake(SPLIT)
    assert "This cluster keeps no accounts" not in printed
    [report] = (site.folder / "logs/efficiency").glob("*.csv")
    [job] = site.jobs("build_split")
    used = pd.read_csv(report)
    assert set(used["MainJobID"].astype(str)) == {job["JobId"]}
    assert (used["Memory Usage (%)"] < 100).all()


def test_an_account_that_there_is_not_is_told_of_before_anything_is_submitted(site):
    profile = site.profile.read_text()
    site.profile.write_text(profile.replace("'ci'", "'nobody'"))
    process = site.start(SPLIT, "--forceall")
    assert process.wait() != 0
    site.profile.write_text(profile)
    assert "nobody" in site.printed()
    assert len(site.jobs("build_split")) == 1


def test_each_task_of_an_array_has_its_own_end_and_so_has_a_cancelled_job(
    cluster_with_accounts, new_small_site
):
    site = new_small_site()
    for part in "23":
        (site.folder / f"plan-{part}").write_text("wait")
    site.edit_profile(retries=1)
    process = site.start(*(f"shards/{part}" for part in "123"))
    for made in ("1", "2.jobs", "3.jobs"):
        site.wait_for(f"shards/{made}", "", process)
    lines = [(site.folder / f"shards/{part}.record.attempts").read_text() for part in "23"]
    subprocess.run(["scancel", *(json.loads(line)["job"] for line in lines)], check=True)
    assert process.wait() == 0, site.printed()
    states = [job["JobState"] for job in site.jobs("score_teacher")]
    assert sorted(states) == ["CANCELLED"] * 2 + ["COMPLETED"] * 3
