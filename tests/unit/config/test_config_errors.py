"""Every mistake below is one edit of the default configuration, and has to be told to its user in
one sentence."""

import copy
import datetime
import functools
import json
import re
from pathlib import Path

import pytest
import yaml

from bld.config.checks import ConfigError, read_settings

ROOT = Path(__file__).parents[3]
DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())
COMMIT = "0" * 40
CORPUS = "corpora.python_docs"
SCRATCH = "models.teacher.scratch"


def jsonl(columns):
    return {"kind": "files", "paths": [str(ROOT)], "format": "jsonl", "columns": columns}


def edited(path, change):
    """The default configuration after `change(section, key)` at a path; made anew at every call."""

    def make():
        configuration = copy.deepcopy(DEFAULT)
        *sections, key = path.split(".")
        change(functools.reduce(lambda section, name: section[name], sections, configuration), key)
        return configuration

    return make


def put(path, value):
    return edited(path, lambda section, key: section.update({key: value}))


def rename(path, name):
    return edited(path, lambda section, key: section.update({name: section.pop(key)}))


def delete(path):
    return edited(path, lambda section, key: section.pop(key))


def judged_on_a_split_of_its_own():
    configuration = copy.deepcopy(DEFAULT)
    configuration["corpora"]["python_docs"]["splits"]["test"] = {"fraction": 1e-12}
    configuration["runs"]["bld"]["validation_split"] = "test"
    return configuration


# What was edited, the key that the message has to begin with, and what else it has to say.
MISTAKES = {
    # Names that are not there.
    "missing teacher": (
        put("runs.bld.teacher", "dmeo"),
        "runs.bld.teacher",
        ['"dmeo"', "`teachers`", "did you mean `demo`?"],
    ),
    "no teacher": (delete("runs.bld.teacher"), "runs.bld.teacher", ["missing", "`bld`"]),
    "missing student": (
        put("runs.sft.student", "mine"),
        "runs.sft.student",
        ['"mine"', "`students`", "there are `swapped`"],
    ),
    "missing corpus": (
        put("runs.sft.corpus", "python_doc"),
        "runs.sft.corpus",
        ["did you mean `python_docs`?"],
    ),
    "missing split": (
        put("runs.sft.train_split", "distilation"),
        "runs.sft.train_split",
        ['"distilation"', "`python_docs`", "did you mean `distillation`?"],
    ),
    "missing model": (
        put("students.swapped.model", "techer"),
        "students.swapped.model",
        ["did you mean `teacher`?"],
    ),
    "missing tokenizer": (
        put("students.swapped.tokenizer", "qwen"),
        "students.swapped.tokenizer",
        ['"qwen"', "there are `teacher`, `other`"],
    ),
    "missing data set": (
        put(f"{CORPUS}.source", {"kind": "dataset", "dataset": "tulu", "columns": {"text": "x"}}),
        f"{CORPUS}.source.dataset",
        ['"tulu"', "`datasets`"],
    ),
    "missing corpus of a model": (
        put(f"{SCRATCH}.corpus", "docs"),
        f"{SCRATCH}.corpus",
        ['"docs"', "there are `python_docs`"],
    ),
    # What the report could not compare.
    "no bits per byte": (
        put("evaluation.tasks", ["byte_divergence"]),
        "evaluation.tasks",
        ["no `bits_per_byte`"],
    ),
    "the same run twice": (
        put("runs.again", DEFAULT["runs"]["sft"]),
        "runs.again",
        ["same settings and seed as `sft`", "another seed"],
    ),
    "the same run but for another method's settings": (
        put("runs.again", DEFAULT["runs"]["sft"] | {"bld": {"kl_weight": 3.0}}),
        "runs.again",
        ["same settings and seed as `sft`"],
    ),
    "another validation split": (
        judged_on_a_split_of_its_own,
        "runs.bld.validation_split",
        ['found "test"', 'expected "validation" as in `sft`'],
    ),
    # Unknown keys.
    "unknown key at the top": (rename("report", "reprot"), "reprot", ["did you mean `report`?"]),
    "unknown key in a section": (
        rename("training.steps", "step"),
        "training.step",
        ["no such setting", "did you mean `steps`?"],
    ),
    "unknown key in an override": (
        put("runs.sft.training", {"learningrate": 1.0}),
        "runs.sft.training.learningrate",
        ["did you mean `learning_rate`?"],
    ),
    "unknown key deep inside": (
        put(f"{SCRATCH}.architecture.layer", 2),
        f"{SCRATCH}.architecture.layer",
        ["did you mean `layers`?"],
    ),
    "key of another kind of source": (
        put(f"{CORPUS}.source.paths", ["data"]),
        f"{CORPUS}.source.paths",
        ["no such setting", "`kind`, `max_bytes`"],
    ),
    "missing key": (
        delete(f"{SCRATCH}.architecture.hidden"),
        f"{SCRATCH}.architecture.hidden",
        ["missing", "a whole number, at least 1"],
    ),
    # Impossible values.
    "no steps": (put("training.steps", 0), "training.steps", ["found 0", "at least 1"]),
    "half a step": (put("training.steps", 1.5), "training.steps", ["found 1.5", "whole number"]),
    "negative rate": (
        put("training.learning_rate", -1),
        "training.learning_rate",
        ["found -1", "above 0"],
    ),
    "text for a number": (
        put("training.learning_rate", "fast"),
        "training.learning_rate",
        ['found "fast"', "a number, above 0"],
    ),
    "number for text": (put("report.title", 2024), "report.title", ["2024", "text", "in quotes"]),
    "nothing for a section": (put("training", None), "training", ["found null", "`steps`"]),
    "list for a section": (put("runs.sft", ["sft"]), "runs.sft", ['["sft"]', "`method`"]),
    "fraction above 1": (
        put(f"{CORPUS}.splits.train.fraction", 1.5),
        f"{CORPUS}.splits.train.fraction",
        ["found 1.5", "at most 1"],
    ),
    "too many symbols": (
        put("teachers.demo.top_k_symbols", 300),
        "teachers.demo.top_k_symbols",
        ["found 300", "at least 1 and at most 256"],
    ),
    "everything dropped": (
        put("teachers.demo.eps", 1),
        "teachers.demo.eps",
        ["found 1", "at least 0 and below 1"],
    ),
    "no beam": (put("teachers.demo.beam_width", 0), "teachers.demo.beam_width", ["at least 1"]),
    "one beta": (put("training.betas", [0.9]), "training.betas[1]", ["missing", "at most 1"]),
    "an average of one model": (
        put("teachers.demo.average", {"models": {"teacher": 1}}),
        "teachers.demo.average.models",
        ["expected entries by name, at least 2, each a number, above 0"],
    ),
    "no runs": (put("runs", {}), "runs", ["not empty"]),
    "name with a slash": (
        rename("runs.bld", "bld/2"),
        "runs.bld/2",
        ["letters, digits"],
    ),
    "number for a name": (
        rename("runs.bld", 7),
        "runs.7",
        ["found 7", "in quotes"],
    ),
    # Choices.
    "method": (
        put("runs.bld.method", "bdl"),
        "runs.bld.method",
        ['"bdl"', "`alm`, `bld`", "did you mean `bld`?"],
    ),
    "kind of source": (
        put(f"{CORPUS}.source.kind", "file"),
        f"{CORPUS}.source.kind",
        ['"file"', "`files` or `python_docs`", "did you mean `files`?"],
    ),
    "no kind of source": (
        delete(f"{CORPUS}.source.kind"),
        f"{CORPUS}.source.kind",
        ["missing", "`files`"],
    ),
    "kind of tokenizer": (
        put(f"{SCRATCH}.tokenizer.kind", "byte_bpe"),
        f"{SCRATCH}.tokenizer.kind",
        ["`sentencepiece_bpe`", "did you mean `byte_level_bpe`?"],
    ),
    "histories": (
        put("teachers.demo.histories", "prefixes"),
        "teachers.demo.histories",
        ["`trunk`, `prefix` or `beam`", "did you mean `prefix`?"],
    ),
    "histories of the audit": (
        put("audit.histories", "trunk"),
        "audit.histories",
        ['"trunk"', "`prefix` or `beam`"],
    ),
    "precision": (put("training.precision", "fp16"), "training.precision", ["`fp32` or `bf16`"]),
    "zero stage": (put("training.zero_stage", 4), "training.zero_stage", ["`0`, `1`, `2` or `3`"]),
    "task": (
        put("evaluation.tasks", ["bits_per_bite"]),
        "evaluation.tasks[0]",
        ["did you mean `bits_per_byte`?"],
    ),
    # Where models and documents come from.
    "two sources": (
        put("models.teacher.path", "/models/teacher"),
        "models.teacher",
        ["found `path`, `scratch`", "exactly one of `hub`, `path`, `scratch`"],
    ),
    "no source": (put("models.teacher", {}), "models.teacher", ["no source", "exactly one"]),
    "hub without revision": (
        put("models.teacher", {"hub": "a/b"}),
        "models.teacher.revision",
        ["missing", "`main`", "40 hexadecimal digits"],
    ),
    "no revision of git": (
        put("models.teacher", {"hub": "a/b", "revision": "-main"}),
        "models.teacher.revision",
        ['"-main"', "40 hexadecimal digits, a branch or a tag"],
    ),
    "revision without quotes": (
        put("datasets", {"d": {"hub": "a/b", "revision": int(COMMIT)}}),
        "datasets.d.revision",
        ["found 0", "in quotes"],
    ),
    "revision without hub": (
        put("datasets", {"d": {"path": str(ROOT), "revision": COMMIT}}),
        "datasets.d.revision",
        ["no `hub`"],
    ),
    "missing file": (
        put(f"{CORPUS}.source", jsonl({"text": "x"}) | {"paths": ["nowhere/*.jsonl"]}),
        f"{CORPUS}.source.paths",
        ['"nowhere/*.jsonl"', "files that exist"],
    ),
    "missing model folder": (
        put("models.teacher", {"path": "/nowhere"}),
        "models.teacher.path",
        ['"/nowhere"', "no folder", "`tokenizer.json`"],
    ),
    "folder without a model": (
        put("models.teacher", {"path": str(ROOT)}),
        "models.teacher.path",
        ["without `tokenizer.json`, `config.json`, `*.safetensors`"],
    ),
    "missing data folder": (
        put("datasets", {"d": {"path": "/nowhere"}}),
        "datasets.d.path",
        ['"/nowhere"', "a folder that exists"],
    ),
    "tokenizer alone as teacher": (
        put("models.teacher.weights", False),
        "teachers.demo.model",
        ["`weights: false`"],
    ),
    "tokenizer alone as student": (
        put("students.swapped.model", "other"),
        "students.swapped.model",
        ["found `other`", "`weights: false`"],
    ),
    "weights without a shape": (
        delete(f"{SCRATCH}.architecture"),
        f"{SCRATCH}.architecture",
        ["missing", "not `weights: false`"],
    ),
    "weights without a training": (
        delete(f"{SCRATCH}.training"),
        f"{SCRATCH}.training",
        ["missing", "not `weights: false`"],
    ),
    "date without quotes": (
        put("models.teacher.template_arguments", {"date_string": datetime.date(2024, 7, 26)}),
        "models.teacher.template_arguments.date_string",
        ["found a date", "in quotes"],
    ),
    "two columns": (
        put(f"{CORPUS}.source", jsonl({"text": "a", "messages": "b"})),
        f"{CORPUS}.source.columns",
        ["found `text`, `messages`"],
    ),
    "prompt without response": (
        put(f"{CORPUS}.source", jsonl({"prompt": "a"})),
        f"{CORPUS}.source.columns",
        ["found `prompt`", "`prompt` with `response`"],
    ),
    "an unknown judge": (
        put(f"{CORPUS}.judged_by", ["techer"]),
        f"{CORPUS}.judged_by[0]",
        ["did you mean `teacher`?"],
    ),
    "a judge that is made from the documents": (
        put(f"{CORPUS}.judged_by", ["teacher"]),
        f"{CORPUS}.judged_by[0]",
        ["found `teacher`, which is made from documents"],
    ),
    "context without a question": (
        put(f"{CORPUS}.source", jsonl({"messages": "a", "context": "b"})),
        f"{CORPUS}.source.columns",
        ["found `messages`, `context`"],
    ),
}


@pytest.mark.parametrize("edit, key, fragments", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_with_its_key_what_was_found_and_what_is_expected(edit, key, fragments):
    with pytest.raises(ConfigError) as caught:
        read_settings(edit())
    lines = str(caught.value).splitlines()[1:]
    [line] = [line for line in lines if line.startswith(f"  * {key}: ")][:1] or [lines]
    assert [fragment for fragment in fragments if fragment not in line] == [], line


def test_a_model_without_weights_needs_neither_a_shape_nor_a_training():
    configuration = copy.deepcopy(DEFAULT)
    scratch = dict(configuration["models"]["teacher"]["scratch"])
    del scratch["architecture"], scratch["training"]
    configuration["models"]["lender"] = {"weights": False, "scratch": scratch}
    configuration["students"]["swapped"]["tokenizer"] = "lender"
    assert read_settings(configuration).models["lender"].scratch.architecture is None


@pytest.mark.parametrize("edit", [edit for edit, _, _ in MISTAKES.values()], ids=MISTAKES)
def test_a_message_speaks_of_the_configuration_and_not_of_the_program(edit):
    with pytest.raises(ConfigError) as caught:
        read_settings(edit())
    assert not re.search(
        r"pydantic|input should|NoneType|\bdict\b|\bint\b|\bstr\b", str(caught.value)
    )
    assert max(map(len, str(caught.value).splitlines())) < 250


@pytest.mark.parametrize("inside", [False, True])
def test_rows_beyond_the_positions_in_config_json_are_refused(tmp_path, monkeypatch, inside):
    monkeypatch.chdir(tmp_path)
    said = {"max_position_embeddings": 64}
    folder = tmp_path / "resources/models/fetched"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"text_config": said} if inside else said))
    raw = put("models.fetched", {"hub": "org/fetched", "revision": COMMIT})()
    raw["students"] = {name: {"model": "fetched"} for name in raw["students"]}
    with pytest.raises(ConfigError) as caught:
        read_settings(raw)
    length = raw["training"]["sequence_length"]
    assert (
        f"training.sequence_length: found {length}, expected at most 64, the "
        "`max_position_embeddings` in config.json of the model `fetched`"
    ) in str(caught.value)
