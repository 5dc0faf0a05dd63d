"""What `snakemake archive` would make, and what it reads of the settings."""

import yaml

from bld.config.checks import read_settings
from bld.pipeline.step_settings import Archive
from bld.publishing.crate import resolved


def archived(plan, configuration):
    return plan(configuration, arguments=["archive"])


def test_an_archive_needs_the_report_on_its_own_runs_and_no_other(plan, default):
    configuration = default()
    configuration["archives"] = {"one": {"title": "One run", "runs": ["sft"]}, "all": {}}
    found = archived(plan, configuration)
    assert {found.counts[rule] for rule in ("report_selection", "write_crate")} == {2}
    assert "report" not in found.counts
    assert found.settings("report_selection one")["title"] == "One run"
    assert found.settings("report_selection one")["runs"].keys() == {"sft"}
    assert found.settings("report_selection all")["runs"].keys() == configuration["runs"].keys()


def test_only_what_the_runs_of_an_archive_rest_on_is_made(plan, default):
    configuration = default()
    configuration["archives"]["demo"]["runs"] = ["sft"]
    assert archived(plan, configuration).counts["distill"] == 1


def test_without_archives_there_is_nothing_to_archive(plan, default):
    configuration = default()
    configuration["archives"] = {}
    assert "write_crate" not in archived(plan, configuration).counts


def test_a_crate_is_made_from_the_configuration_as_it_was_resolved(plan, default):
    archive = Archive.model_validate(archived(plan, default()).settings("write_crate demo"))
    again = read_settings(yaml.safe_load(yaml.safe_dump(resolved(archive), sort_keys=False)))
    settings = read_settings(default())
    assert again == settings
    splits = [list(x.corpora["python_docs"].splits) for x in (again, settings)]
    assert splits[0] == splits[1] == ["train", "distillation", "development", "validation"]


def test_the_order_of_keys_is_no_other_archive_and_that_of_splits_is(plan, default):
    line = archived(plan, default()).steps["write_crate demo"]
    configuration = {key: default()[key] for key in sorted(default(), reverse=True)}
    assert archived(plan, configuration).steps["write_crate demo"] == line
    corpus = configuration["corpora"]["python_docs"]
    corpus["splits"] = dict(reversed(corpus["splits"].items()))
    assert archived(plan, configuration).steps["write_crate demo"] != line
