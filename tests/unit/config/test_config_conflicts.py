"""Settings that are fine alone and do not fit each other: edits of the default configuration, by
path."""

import copy
import functools
import re
from pathlib import Path

import pytest
import yaml

from bld.config.checks import ConfigError, read_settings

DEFAULT = yaml.safe_load((Path(__file__).parents[3] / "config/config.yaml").read_text())
CORPUS = "corpora.python_docs"
SCRATCH = "models.teacher.scratch"


def edited(edits):
    configuration = copy.deepcopy(DEFAULT)
    for path, value in edits.items():
        *sections, key = path.split(".")
        functools.reduce(lambda section, name: section[name], sections, configuration)[key] = value
    return configuration


TOKENS = {"teachers.demo.top_k_tokens": 8}
WRITING = {"teachers.demo.mode": "live", "runs.bld.sampling": {"on_policy": 1}}

# The edits, the key that the message has to begin with, and what else it has to say.
CONFLICTS = {
    "more shards than documents": (
        {f"{CORPUS}.splits.validation.shards": 10**6},
        f"{CORPUS}.splits.validation.shards",
        ["1000000", "documents"],
    ),
    "shares above 1": (
        {f"{CORPUS}.splits.train.fraction": 1.0},
        f"{CORPUS}.splits",
        ["add up to 1.", "at most 1"],
    ),
    "validated on what is trained on": (
        {"runs.sft.validation_split": "distillation"},
        "runs.sft.validation_split",
        ['"distillation"', "the run is not trained on"],
    ),
    "validated on what the teacher is trained on": (
        {f"{SCRATCH}.split": "validation"},
        "runs.bld.validation_split",
        ["the model `teacher` is not trained on"],
    ),
    "a teacher of neither one model nor several": (
        {"teachers.demo.model": None},
        "teachers.demo",
        ["neither of `model` and `average`", "expected one of them"],
    ),
    "a teacher of one model and of several": (
        {"teachers.demo.average": {"models": {"teacher": 1, "other": 1}}},
        "teachers.demo",
        ["both of `model` and `average`"],
    ),
    "an average of a model that is not there": (
        {"teachers.demo": {"average": {"models": {"teacher": 1, "techer": 1}}}},
        "teachers.demo.average.models",
        ['"techer"', "did you mean `teacher`"],
    ),
    "an average of a model without weights": (
        {"teachers.demo": {"average": {"models": {"teacher": 1, "other": 1}}}},
        "teachers.demo.average.models",
        ["`other`", "`weights: false`"],
    ),
    "an average whose window is too long for one of its models": (
        {
            "models.other": {"scratch": DEFAULT["models"]["teacher"]["scratch"]},
            "teachers.demo": {
                "average": {"models": {"teacher": 1, "other": 1}},
                "window": 2048,
            },
        },
        "teachers.demo.window",
        ["2048", "`positions` of its model (1024)"],
    ),
    "an average that keeps tokens": (
        {
            "teachers.demo": {
                "average": {"models": {"teacher": 1, "third": 2}},
                "top_k_tokens": 16,
            },
            "models.third": DEFAULT["models"]["teacher"],
        },
        "teachers.demo.top_k_tokens",
        ["16", "expected 0", "no tokens in common"],
    ),
    "a method of tokens that learns from an average": (
        {
            "teachers.demo": {"average": {"models": {"teacher": 1, "third": 2}}},
            "models.third": DEFAULT["models"]["teacher"],
            "runs.bld.method": "one_to_one",
        },
        "runs.bld.teacher",
        ["`demo`", "no tokens in common", "`one_to_one` learns from tokens"],
    ),
    "validated on what one of several teachers is trained on": (
        {
            "teachers.demo": {"average": {"models": {"teacher": 1, "third": 2}}},
            "models.third": {
                "scratch": DEFAULT["models"]["teacher"]["scratch"] | {"split": "validation"}
            },
        },
        "runs.bld.validation_split",
        ["the model `third` is not trained on"],
    ),
    "a benchmark of neither kind": (
        {"benchmarks.empty": {}},
        "benchmarks.empty",
        ["neither of `task` and `local`"],
    ),
    "a benchmark of both kinds": (
        {"benchmarks.next_word.task": "piqa"},
        "benchmarks.next_word",
        ["both of `task` and `local`"],
    ),
    "a benchmark of the hub without data": (
        {"benchmarks.piqa": {"task": "piqa"}},
        "benchmarks.piqa.data",
        ["the hub's data sets that the task reads", "commit"],
    ),
    "a benchmark made here with data of the hub": (
        {"benchmarks.next_word.nltk": ["punkt_tab"]},
        "benchmarks.next_word.data",
        ["made here"],
    ),
    "a benchmark with the name of a measure": (
        {"benchmarks.text": DEFAULT["benchmarks"]["next_word"]},
        "benchmarks.text",
        ["the name of a measure", "`bits_per_byte`"],
    ),
    "a benchmark made here with examples": (
        {"benchmarks.next_word.few_shot": 3},
        "benchmarks.next_word.few_shot",
        ["found 3", "no examples"],
    ),
    "a benchmark made from what the teacher is trained on": (
        {"benchmarks.next_word.local.split": "train"},
        "benchmarks.next_word.local.split",
        ['"train"', "the model `teacher` is not trained on"],
    ),
    "a benchmark made from a corpus that is not there": (
        {"benchmarks.next_word.local.corpus": "python_dogs"},
        "benchmarks.next_word.local.corpus",
        ['"python_dogs"', "did you mean `python_docs`?"],
    ),
    "a benchmark made from a split that is not there": (
        {"benchmarks.next_word.local.split": "validaton"},
        "benchmarks.next_word.local.split",
        ['"validaton"', "did you mean `validation`?"],
    ),
    "developed on what is not there": (
        {"runs.bld.development_split": "develpoment"},
        "runs.bld.development_split",
        ['"develpoment"', "`python_docs`", "did you mean `development`?"],
    ),
    "developed on what is trained on": (
        {"runs.bld.development_split": "distillation"},
        "runs.bld.development_split",
        ['found "distillation"', "the run is not trained on"],
    ),
    "developed on what is judged on": (
        {"runs.bld.development_split": "validation"},
        "runs.bld.development_split",
        ['found "validation"', "another split than `validation_split`"],
    ),
    "developed on what the student is trained on": (
        {
            "models.student": DEFAULT["models"]["teacher"],
            "students.swapped.model": "student",
            "runs.bld.development_split": "train",
        },
        "runs.bld.development_split",
        ['found "train"', "the model `student` is not trained on"],
    ),
    "evaluated on nothing": (
        {"training.evaluate_every": 10, "runs.bld.development_split": None},
        "runs.bld.development_split",
        ["missing", "every 10 steps", "`training.evaluate_every`"],
    ),
    "patience without evaluations": (
        {"training.evaluate_every": 0, "head_warmup.patience": 3},
        "head_warmup.patience",
        ["found 3", "expected null or a `training.evaluate_every` above 0"],
    ),
    "patience of a run without evaluations": (
        {"training.evaluate_every": 0, "runs.bld.head_warmup": {"patience": 3}},
        "runs.bld.head_warmup.patience",
        ["found 3", "`training.evaluate_every`"],
    ),
    "head of a byte student": (
        {"students.swapped.tokenizer": "bytes"},
        "runs.bld.bld.head",
        ["`linear`", "expected `output`", "`swapped` is a byte student"],
    ),
    "head of a student with the tokenizer of a byte model": (
        {"models.other.scratch.tokenizer.kind": "bytes"},
        "runs.bld.bld.head",
        ["`linear`", "expected `output`", "`swapped` is a byte student"],
    ),
    "no head for a byte student": (
        {"runs.bld.bld": {"head": "marginal"}, "students.swapped.tokenizer": "bytes"},
        "runs.bld.bld.head",
        ["`marginal`", "expected `output`", "`swapped` is a byte student"],
    ),
    "head of another student": (
        {"bld.head": "output"},
        "runs.bld.bld.head",
        [
            "`output`",
            "expected `linear`, `causal` or `marginal`",
            "`swapped` is not known to be a byte student",
        ],
    ),
    "head of a student that keeps its tokenizer": (
        {"bld.head": "output", "students.swapped": {"model": "teacher"}},
        "runs.bld.bld.head",
        ["`output`", "`swapped` is not known to be a byte student"],
    ),
    "histories of a head that sums none": (
        {"bld.histories": "prefix"},
        "bld.histories",
        ["`prefix`", "expected `trunk`", "`head` is `linear`", "only `marginal`"],
    ),
    "histories of a run whose head sums none": (
        {"runs.bld.bld": {"histories": "prefix", "head": "causal"}},
        "runs.bld.bld.histories",
        ["`prefix`", "`head` is `causal`"],
    ),
    "nothing to learn": (
        {"bld": {"token_weight": 0, "byte_weight": 0, "kl_weight": 0}},
        "bld.token_weight",
        ["found 0 like `byte_weight`, `kl_weight`, `shared_weight`", "one of them above 0"],
    ),
    "nothing to learn by another method": (
        TOKENS | {"runs.bld.method": "simct", "simct": {"kl_weight": 0}},
        "simct.token_weight",
        ["found 0 like `kl_weight`", "one of them above 0"],
    ),
    "nothing to learn from what the student writes": (
        WRITING | {"runs.bld.bld": {"head": "marginal", "kl_weight": 0}},
        "runs.bld.bld.kl_weight",
        ["found 0 like `shared_weight`", "`sampling.on_policy` is 1"],
    ),
    "no distance from the teacher where the student writes": (
        WRITING | TOKENS | {"runs.bld.method": "uld", "uld": {"distance_weight": 0}},
        "uld.distance_weight",
        ["found 0, expected a number above 0", "`sampling.on_policy` is 1"],
    ),
    "rows of a vocabulary that stays": (
        {"students.swapped": {"model": "teacher", "initialisation": "random"}},
        "students.swapped.initialisation",
        ['found "random"', 'expected "fvt"', "keeps its tokenizer"],
    ),
    "padding of a vocabulary that stays": (
        {"students.swapped": {"model": "teacher", "pad_vocabulary_to": 64}},
        "students.swapped.pad_vocabulary_to",
        ["found 64", "expected 1", "keeps its tokenizer"],
    ),
    "longer than the student": (
        {"training.sequence_length": 10**6},
        "training.sequence_length",
        ["1000000", "`positions`"],
    ),
    "longer than the teacher": (
        {"teachers.demo.window": 10**6},
        "teachers.demo.window",
        ["1000000", "`positions`"],
    ),
    "audit that drops more": (
        {"audit.eps": 0.5},
        "audit.eps",
        ["found 0.5", "at most the `eps` of the teacher `demo` (0.001)"],
    ),
    "audit by a narrower beam": (
        {
            "teachers.demo.histories": "beam",
            "teachers.demo.beam_width": 20,
            "audit.histories": "beam",
            "audit.beam_width": 10,
        },
        "audit.beam_width",
        ["found 10", "at least the `beam_width` of the teacher `demo` (20)"],
    ),
    "hidden and heads": (
        {f"{SCRATCH}.architecture.hidden": 257},
        f"{SCRATCH}.architecture.hidden",
        ["found 257", "a multiple of `heads`"],
    ),
    "micro batch": (
        {"training.micro_batch_size": 10**6},
        "training.micro_batch_size",
        ["1000000", "a divisor of `batch_size`"],
    ),
    "micro batch of a model": (
        {f"{SCRATCH}.training.micro_batch_size": 10**6},
        f"{SCRATCH}.training.micro_batch_size",
        ["a divisor of `batch_size`"],
    ),
    "warm-up steps": (
        {"runs.sft.training": {"warmup_steps": 10**6}},
        "runs.sft.training.warmup_steps",
        ["1000000", "fewer than `steps`"],
    ),
    "bf16 at stage 0": (
        {"training.precision": "bf16"},
        "training.zero_stage",
        ["found 0", "1, 2 or 3", "bf16"],
    ),
    "optimiser offloaded at stage 0": (
        {"training.offload": "optimizer"},
        "training.zero_stage",
        ["found 0", "expected 1, 2 or 3", "`offload` is `optimizer`"],
    ),
    "a student that writes under a cached teacher": (
        {"runs.bld.sampling": {"on_policy": 0.5}},
        "runs.bld.sampling.on_policy",
        ["found 0.5", "`demo` is cached", "`mode: live`"],
    ),
    "a student that writes and has no teacher": (
        {"runs.sft.sampling": {"on_policy": 1}},
        "runs.sft.sampling.on_policy",
        ["found 1", "expected 0", "`sft` learns nothing"],
    ),
    "a student that writes while its parameters are parted": (
        {
            "runs.bld.sampling": {"on_policy": 0.25},
            "runs.bld.training": {"zero_stage": 3},
            "teachers.demo.mode": "live",
        },
        "runs.bld.sampling.on_policy",
        ["found 0.25", "`training.zero_stage` is 3"],
    ),
    "parameters offloaded below stage 3": (
        {"runs.sft.training": {"offload": "parameters", "zero_stage": 2}},
        "runs.sft.training.zero_stage",
        ["found 2", "expected 3", "`offload` is `parameters`"],
    ),
    "offload of a model": (
        {f"{SCRATCH}.training.offload": "parameters"},
        f"{SCRATCH}.training.zero_stage",
        ["found 1", "expected 3"],
    ),
}


@pytest.mark.parametrize("edits, key, fragments", CONFLICTS.values(), ids=CONFLICTS)
def test_a_conflict_is_told_with_its_key_what_was_found_and_what_is_expected(edits, key, fragments):
    with pytest.raises(ConfigError) as caught:
        read_settings(edited(edits))
    lines = str(caught.value).splitlines()[1:]
    [line] = [line for line in lines if line.startswith(f"  * {key}: ")][:1] or [lines]
    assert [fragment for fragment in fragments if fragment not in line] == [], line
    assert max(map(len, lines)) < 250
    assert not re.search(r"NoneType|\bNone\b|\bdict\b|\bint\b|\bstr\b", str(caught.value))


@pytest.mark.parametrize(
    "edits",
    [
        {"bld": {"token_weight": 0, "byte_weight": 0, "kl_weight": 0, "shared_weight": 4}},
        {"runs.bld.method": "alm", "alm": {"token_weight": 0}},
        WRITING | {"bld": {"kl_weight": 0, "shared_weight": 1}},
        WRITING | {"runs.bld.method": "x_token", "x_token": {"balanced": False}},
        WRITING | {"runs.bld.sampling": {"on_policy": 0.9}, "runs.bld.method": "x_token"},
    ],
)
def test_one_weight_that_counts_is_enough_to_learn_by(edits):
    read_settings(edited(TOKENS | edits))
