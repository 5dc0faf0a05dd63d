"""A benchmark that asks for a chat template which a model does not have is refused as soon as the
model is known."""

import copy
import json
from pathlib import Path

import pytest
import yaml

from bld.config.checks import ConfigError, read_settings
from bld.config.template_checks import benchmarks_asking, check_template, has_chat_template

DEFAULT = yaml.safe_load((Path(__file__).parents[3] / "config/config.yaml").read_text())
[STUDENT] = {run["student"] for run in DEFAULT["runs"].values()}
HUB = {"hub": "someone/base", "revision": "0" * 40}


@pytest.fixture
def configuration():
    """One whose student comes from the hub and answers a benchmark in its chat template."""
    made = copy.deepcopy(DEFAULT)
    made["models"]["base"] = dict(HUB)
    made["students"][STUDENT] = {"model": "base"}
    made["benchmarks"] = {
        "chat": {"task": "gsm8k", "data": {"openai/gsm8k": "0" * 40}, "chat_template": True},
        "either": {"task": "gsm8k", "data": {"openai/gsm8k": "0" * 40}, "chat_template": "auto"},
        "plain": {"task": "gsm8k", "data": {"openai/gsm8k": "0" * 40}},
    }
    return made


def with_tokenizer(folder, settings, template=False):
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text("{}")
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    if template:
        (folder / "chat_template.jinja").write_text("{{ messages }}")
    return folder


@pytest.mark.parametrize(
    ("settings", "template", "expected"),
    [
        ({"chat_template": "{{ messages }}"}, False, True),
        ({"chat_template": [{"name": "default", "template": "{{ messages }}"}]}, False, True),
        ({}, True, True),
        ({"chat_template": None}, False, False),
        ({}, False, False),
        (None, False, False),
    ],
)
def test_a_chat_template_stands_where_transformers_looks(tmp_path, settings, template, expected):
    folder = with_tokenizer(tmp_path / "it", settings, template)
    assert has_chat_template(folder) == expected


@pytest.mark.parametrize("place", ["resources", "path"])
def test_a_model_that_is_here_without_a_template_is_refused_when_the_configuration_is_read(
    configuration, tmp_path, monkeypatch, place
):
    monkeypatch.chdir(tmp_path)
    read_settings(configuration)
    if place == "path":
        folder = with_tokenizer(tmp_path / "mine", {})
        for name in ("config.json", "model.safetensors"):
            (folder / name).write_text("{}")
        configuration["models"]["base"] = {"path": str(folder)}
    else:
        folder = with_tokenizer(tmp_path / "resources/models/base", {})
    with pytest.raises(ConfigError) as found:
        read_settings(configuration)
    [_, problem] = str(found.value).splitlines()
    assert problem.startswith("  * benchmarks.chat.chat_template: found true, expected false or")
    assert "tokenizer of the model `base`" in problem
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    read_settings(configuration)


def test_a_template_that_is_not_used_is_none(configuration):
    configuration["models"]["base"]["template"] = "plain"
    with pytest.raises(ConfigError, match=r"chat\.chat_template: .* models.base.template is `plai"):
        read_settings(configuration)


@pytest.mark.parametrize(
    ("student", "asked"),
    [
        ({"model": "base"}, True),
        ({"model": "base", "tokenizer": "bytes"}, True),
        ({"model": "other", "tokenizer": "base"}, True),
        ({"model": "base", "tokenizer": "other"}, False),
    ],
)
def test_the_template_is_that_of_the_tokenizer_in_use(configuration, student, asked):
    configuration["models"]["other"] = dict(HUB)
    configuration["students"][STUDENT] = student
    configuration["runs"] = {"sft": configuration["runs"]["sft"]}
    assert benchmarks_asking("base", read_settings(configuration)) == ["chat"] * asked


def test_what_is_fetched_or_linked_without_one_is_refused_if_a_benchmark_asks(tmp_path):
    folder = with_tokenizer(tmp_path / "it", {})
    check_template(folder, "someone/base", "")
    with pytest.raises(ValueError, match=r"someone/base has no chat template, for which .* chat"):
        check_template(folder, "someone/base", "chat")
