"""What is wrong with `archives` is said before anything starts."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from bld.config.checks import ConfigError, read_settings

DEFAULT = yaml.safe_load((Path(__file__).parents[3] / "config/config.yaml").read_text())


def settings(**archive):
    return read_settings(copy.deepcopy(DEFAULT) | {"archives": {"mine": archive}})


@pytest.mark.parametrize(
    ("archive", "key", "words"),
    [
        (
            {"runs": ["sft", "bdl"]},
            "archives.mine.runs[1]",
            ['"bdl"', "`runs`", "did you mean `bld`?"],
        ),
        ({"runs": ["sft", "bld", "sft"]}, "archives.mine.runs[2]", ["`sft` a second time"]),
        ({"runs": []}, "archives.mine.runs", ["not empty"]),
        ({"licence": "CC BY 4.0"}, "archives.mine.licence", ["SPDX", "`CC-BY-4.0`"]),
        ({"license": "MIT"}, "archives.mine.license", ["did you mean `licence`?"]),
        (
            {"authors": [{"name": "A Person", "orcid": "0000-0001"}]},
            "archives.mine.authors[0].orcid",
            ["an ORCID of four times four digits"],
        ),
        (
            {"authors": [{"orcid": "0000-0002-1825-0097"}]},
            "archives.mine.authors[0].name",
            ["missing"],
        ),
        ({"include_weights": "some"}, "archives.mine.include_weights", ["true or false"]),
    ],
)
def test_a_mistake_is_named_with_what_is_expected(archive, key, words):
    with pytest.raises(ConfigError) as error:
        settings(**archive)
    [problem] = re.findall(r"^  \* (.*)$", str(error.value), re.MULTILINE)
    assert problem.startswith(f"{key}: ")
    assert [word for word in words if word not in problem] == []


def test_an_archive_that_says_nothing_has_all_runs_and_names_nobody():
    archive = settings().archives["mine"]
    assert (archive.runs, archive.authors, archive.include_weights) == (None, [], False)


def test_without_archives_there_are_none():
    raw = copy.deepcopy(DEFAULT)
    del raw["archives"]
    assert read_settings(raw).archives == {}
