"""What the steps of a configuration read of it."""

import json
from pathlib import Path

import pytest
import yaml

from bld.config.checks import read_settings
from bld.pipeline import step_settings
from bld.pipeline.steps import Steps
from bld.pipeline.targets import Targets
from bld.publishing.selection import Selection

CONFIG = Path(__file__).parents[3] / "config"


class Wildcards(dict):
    __getattr__ = dict.__getitem__


def lines(settings, has_environments=False):
    """The step line of every stage, for some of its jobs."""
    targets = Targets(settings)
    steps = Steps(targets, has_environments)
    jobs = [("distill", {"run": run}) for run in settings.runs]
    jobs += [("warm_up", {"run": name}) for name, run in settings.runs.items() if run.has_warmup]
    jobs += [("prepare_student", {"student": name}) for name in settings.students]
    jobs += [
        ("build_split", {"corpus": corpus, "split": split}) for corpus, split in targets.splits()
    ]
    for teacher, corpus, split in targets.caches():
        wildcards = {"teacher": teacher, "corpus": corpus, "split": split}
        jobs += [(stage, wildcards) for stage in ("score_teacher", "gather_cache", "audit_cache")]
    for name in targets.scratch_models:
        jobs += [("train_tokenizer", {"model": name})]
        jobs += [("pretrain", {"model": name})] * settings.models[name].weights
    for name in targets.local_benchmarks:
        jobs += [("build_benchmark", {"benchmark": name})]
    for run in settings.runs:
        evaluated = {"evaluated": f"runs/{run}/evaluation"}
        jobs += [("evaluate_bits_per_byte", evaluated), ("write_text", evaluated)]
        jobs += [("evaluate_byte_divergence", evaluated)] * bool(settings.runs[run].teacher)
        jobs += [("evaluate_benchmark", evaluated | {"benchmark": x}) for x in settings.benchmarks]
    return {
        (stage, *wildcards.values()): getattr(steps, stage)(Wildcards(wildcards))
        for stage, wildcards in jobs
    }


@pytest.fixture(
    params=["config.yaml", "experiments/two_teachers.yaml", "experiments/on_policy.yaml"]
)
def raw(request):
    return yaml.safe_load((CONFIG / request.param).read_text())


def told_of(settings):
    """The step line of the report, and those of every archive and card."""
    selection = Selection(Targets(settings), "9.27.1")
    archives = {
        ("archive", name): selection.archive(Wildcards(archive=name)) for name in settings.archives
    }
    cards = {("write_card", run): selection.write_card(Wildcards(run=run)) for run in settings.runs}
    return {("report",): selection.report} | archives | cards


def test_a_stage_reads_back_what_its_rule_wrote(raw):
    configuration = read_settings(raw)
    for (stage, *_), line in (lines(configuration) | told_of(configuration)).items():
        settings = json.loads(line)["settings"]
        name = "".join(part.capitalize() for part in stage.split("_"))
        assert getattr(step_settings, name).model_validate(settings).dump() == settings


def test_limits_are_counted_in_tokens_of_the_model_that_another_tokenizer_was_given_to():
    raw = yaml.safe_load((CONFIG / "experiments/t2.yaml").read_text())
    raw["students"]["own"] = {"model": "llama_3b"}
    targets = Targets(read_settings(raw))

    def source(evaluated):
        return targets.evaluated_source(Wildcards(evaluated=evaluated))

    student = "evaluation/students/llama_3b_bytes"
    assert (
        source("runs/t2_bld/evaluation")
        == source(student)
        == ("resources/models/llama_3b/manifest.json")
    )
    assert source("evaluation/students/own") == source("evaluation/teachers/llama_3b") == []


def test_defaults_that_are_written_out_are_the_same_steps(raw):
    settings = read_settings(raw)
    written = type(settings).model_validate(settings.model_dump())
    assert lines(written) == lines(settings) and told_of(written) == told_of(settings)


def test_python_counts_where_documents_are_made_from_it_and_no_environment_fixes_it():
    settings = read_settings(yaml.safe_load((CONFIG / "config.yaml").read_text()))
    job = ("build_split", "python_docs", "validation")
    own, fixed = (json.loads(lines(settings, fixes)[job])["settings"] for fixes in (False, True))
    assert own.keys() - fixed.keys() == {"python"}


def test_of_the_splits_before_a_split_the_fractions_alone_are_read():
    settings = read_settings(yaml.safe_load((CONFIG / "config.yaml").read_text()))
    job = ("build_split", "python_docs", "validation")
    read = json.loads(lines(settings)[job])["settings"]
    *before, last = read["order"]
    assert last == "validation" and before
    assert all(read["corpus"]["splits"][name].keys() == {"fraction"} for name in before)
    assert read["corpus"]["splits"][last].keys() == {"fraction", "shards", "documents"}
