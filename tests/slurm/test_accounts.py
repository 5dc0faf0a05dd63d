"""Where SLURM keeps accounts: its database is asked how jobs are, and says at the end what they
used of what they got."""

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
