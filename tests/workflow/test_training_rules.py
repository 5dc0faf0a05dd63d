"""What trainings are told: where to leave checkpoints, how long they may run, what to look at on
the way."""

import json
import re
import shlex
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SFT, BLD = "results/runs/sft/metrics.parquet", "results/runs/bld/metrics.parquet"


@pytest.fixture
def commands(snakemake, write_default, tmp_path):
    """The command of each job of a dry run, split into words, by the stage that it calls."""

    def plan(configuration, *arguments):
        write_default(tmp_path, configuration)
        done = snakemake(tmp_path, "--dry-run", "--printshellcmds", *arguments)
        assert done.returncode == 0, done.stderr + done.stdout
        lines = re.findall(r"^Shell command: (.*)$", done.stdout, re.MULTILINE)
        named = [
            (re.search(r"-m bld\.stages\.(\w+)", line)[1], shlex.split(line)) for line in lines
        ]
        return {stage: words for stage, words in named}

    return plan


def told(words, flag):
    """The words between a flag and the next."""
    after = words[words.index(flag) + 1 :]
    return after[: next(i for i, word in enumerate(after) if re.match("--|2>", word))]


def inputs(words, name):
    """The files that a stage gets under this name."""
    [files] = told(words, "--files")
    paths = json.loads(files)["inputs"][name]
    return paths if isinstance(paths, list) else [paths]


@pytest.mark.parametrize("stage, name", [("pretrain", "teacher"), ("distill", "bld")])
def test_a_training_leaves_checkpoints_in_a_folder_of_its_own_and_knows_its_time_limit(
    commands, default, stage, name
):
    limit = ["--set-resources", f"{stage}:runtime=90", f"{stage}:checkpoint_minutes=3"]
    words = commands(default(), BLD, *limit)[stage]
    [folder] = told(words, "--checkpoints")
    assert folder.startswith(f"checkpoints/{stage}/")
    assert stage != "distill" or folder.endswith(name)
    assert (told(words, "--runtime"), told(words, "--checkpoint-minutes")) == (["90"], ["3"])


def test_on_one_machine_a_training_has_no_time_limit(commands, default):
    jobs = commands(default(), BLD, "--profile", PROJECT / "profiles/local")
    for stage in ("pretrain", "warm_up", "distill"):
        assert told(jobs[stage], "--runtime") == ["0"]


def test_a_training_is_shown_by_its_tracker_which_is_no_part_of_its_step(commands, default):
    plain, own = commands(default(), BLD), default()
    own["runs"]["bld"].setdefault("training", {})["tracker"] = "wandb"
    shown = commands(own, BLD)
    for stage, trackers in [
        ("warm_up", ["wandb"]),
        ("distill", ["wandb"]),
        ("pretrain", ["tensorboard"]),
    ]:
        assert told(shown[stage], "--tracker") == trackers
        assert told(shown[stage], "--events")[0].startswith(f"logs/tensorboard/{stage}/")
        assert told(shown[stage], "--step") == told(plain[stage], "--step")


def test_a_training_is_started_with_the_nodes_and_processes_of_its_job(commands, default):
    many = ["--resources", "gpu=8", "--set-resources", "distill:gpu=8", "distill:nodes=2"]
    words = commands(default(), BLD, *many)["distill"]
    assert words[:3] == ["python", "-m", "bld.pipeline.launch"]
    assert (told(words, "--nodes"), told(words, "--processes")[:1]) == (["2"], ["8"])


def test_runs_are_looked_at_on_their_development_split_with_what_the_teacher_says_of_it(
    commands, default
):
    corpus, cache = "results/corpora/python_docs", "results/teachers/demo/python_docs"
    sft = commands(default(), SFT)["distill"]
    assert inputs(sft, "development") == [f"{corpus}/development/manifest.json"]
    assert inputs(sft, "development_cache") == []
    bld = commands(default(), BLD)
    assert inputs(bld["distill"], "development_cache") == [f"{cache}/development/manifest.json"]
    assert inputs(bld["warm_up"], "development") == [f"{corpus}/development/manifest.json"]


def test_trainings_of_a_student_read_the_same_rendered_documents(commands, default):
    jobs = commands(default(), BLD) | {"sft": commands(default(), SFT)["distill"]}
    there = "results/rendered/students/swapped/python_docs"
    for name in ("warm_up", "distill", "sft"):
        assert inputs(jobs[name], "rendered") == [f"{there}/distillation/manifest.json"]
        assert inputs(jobs[name], "development_rendered") == [f"{there}/development/manifest.json"]
    [scratch] = inputs(jobs["pretrain"], "rendered")
    assert scratch.startswith("results/rendered/tokenizers/teacher/python_docs/")


def test_without_evaluation_a_training_is_told_of_no_development_split(commands, default):
    own = default()
    own["training"]["evaluate_every"] = 0
    jobs = commands(own, BLD)
    assert inputs(jobs["distill"], "development") == inputs(jobs["warm_up"], "development") == []
    assert inputs(jobs["distill"], "development_cache") == []
    assert inputs(jobs["distill"], "development_rendered") == []


def test_a_run_is_told_of_the_teacher_where_it_is_live_and_else_of_its_cache(commands, default):
    cached = commands(default(), BLD)["distill"]
    assert inputs(cached, "cache") == [
        "results/teachers/demo/python_docs/distillation/manifest.json"
    ]
    assert inputs(cached, "teacher") == []
    own = default()
    own["teachers"]["demo"]["mode"] = "live"
    live = commands(own, BLD)["distill"]
    assert inputs(live, "teacher") == ["resources/models/teacher/manifest.json"]
    assert inputs(live, "cache") == inputs(live, "development_cache") == []
