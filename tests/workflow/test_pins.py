"""Revisions that are names are looked up once, by `snakemake fetch`, and are commits ever after."""

import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from snakemake.exceptions import WorkflowError

from bld.config.checks import ConfigError
from bld.pipeline.pins import Pin, look_up, read_lock, refuse_names
from bld.pipeline.step import step_line
from hub_mirror import COMMIT

ROOT = Path(__file__).parents[2]
MOVED = "fedcba9876543210fedcba9876543210fedcba98"
MANIFEST = Path("resources/models/small/manifest.json")
LOCK = Path("config/lock.yaml")


@pytest.fixture
def call(online, default, write_default, tmp_path):
    """Call Snakemake where a student is made of `main` of a model of the hub."""
    configuration = default()
    configuration["models"]["small"] = {"hub": "someone/small", "revision": "main"}
    [student] = {run["student"] for run in configuration["runs"].values()}
    configuration["students"][student] = {"model": "small"}
    write_default(tmp_path, configuration)

    def run(*arguments, env=online):
        command = ["snakemake", "--snakefile", ROOT / "Snakefile", "--directory", tmp_path]
        return subprocess.run(
            [*command, "--cores", "1", *arguments], env=env, capture_output=True, text=True
        )

    return run


def stated(tmp_path):
    return json.loads((tmp_path / MANIFEST).read_text())["source"]["revision"]


class Fetch:
    """As much of a job of Snakemake's as is asked for."""

    def __init__(self, **settings):
        self.rule = SimpleNamespace(name="fetch_benchmark")
        self.params = SimpleNamespace(step=step_line("bld.stages.fetch", settings))


def in_lock(tmp_path):
    return yaml.safe_load((tmp_path / LOCK).read_text())["model"]["someone/small"]["main"]


def test_a_branch_is_fetched_at_the_commit_that_is_noted_until_it_is_looked_up_anew(
    call, mirror, offline, tmp_path
):
    done = call("fetch")
    assert done.returncode == 0, done.stderr
    assert f"model someone/small, main is {COMMIT}" in done.stdout
    assert in_lock(tmp_path) == stated(tmp_path) == COMMIT

    mirror.branches["main"] = MOVED
    mirror.commits.add(MOVED)
    assert "nothing has changed" in call("fetch").stdout
    # Nobody has to ask the hub again, and dry runs never do.
    dry = call("fetch", "--dry-run", "--config", "update=true", env=offline)
    assert dry.returncode == 0 and "Nothing to be done" in dry.stdout + dry.stderr, dry.stderr
    assert in_lock(tmp_path) == stated(tmp_path) == COMMIT

    done = call("fetch", "--config", "update=true")
    assert f"is {MOVED} (was {COMMIT})" in done.stdout
    assert in_lock(tmp_path) == stated(tmp_path) == MOVED
    assert set(re.findall(r"rule (\w+):", done.stdout + done.stderr)) == {"fetch", "fetch_model"}


def test_without_a_commit_all_but_looking_is_refused_before_anything_runs(call, tmp_path):
    assert call("all", "--dry-run").returncode == 0
    done = call("all")
    assert done.returncode == 1 and not (tmp_path / "results").exists()
    assert "config/lock.yaml has no commit for someone/small (main)" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    done = call("all", "--dry-run", "--config", "update=true")
    assert done.returncode == 1 and "run `snakemake fetch` with it" in done.stdout


@pytest.mark.parametrize(
    "branches, refusal, words",
    [
        ({}, None, "models.small.revision: someone/small: there is no revision main in it"),
        ({"main": COMMIT}, (401, "GatedRepo"), "models.small.revision: someone/small: it is gated"),
    ],
)
def test_what_the_hub_does_not_say_is_told_with_its_place(
    call, mirror, tmp_path, branches, refusal, words
):
    mirror.branches, mirror.refusal = branches, refusal
    done = call("fetch")
    assert done.returncode == 1 and words in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / LOCK).exists()


def test_of_many_names_a_few_are_told_and_zeros_are_no_commit():
    data = {f"a/{n}": "main" for n in range(5)}
    refuse_names([Fetch(data={"a/b": COMMIT}), Fetch(hub="a/b", revision=COMMIT)])
    with pytest.raises(WorkflowError, match=r"a/0 \(main\), a/1 \(main\), a/2 \(main\) and 2 more"):
        refuse_names([Fetch(data=data)])
    with pytest.raises(WorkflowError, match="a/b: 40 zeros are no commit"):
        refuse_names([Fetch(hub="a/b", revision="0" * 40)])


def test_several_who_look_up_at_once_lose_nothing_of_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr("bld.hub.commit_of", lambda name, *_: format(int(name[2:]), "040x"))
    named = [Pin(("models", str(n), "revision"), "model", f"a/{n}", "main") for n in range(20)]
    path = tmp_path / "config/lock.yaml"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda pin: look_up([pin], path), named))
    expected = {f"a/{n}": {"main": format(n, "040x")} for n in range(20)}
    assert read_lock(path) == {"model": expected}


@pytest.mark.parametrize("text", ["- a", "model: {a/b: {main: abc}}", "{", "model: a"])
def test_what_is_no_lock_file_is_refused_in_words(tmp_path, text):
    (tmp_path / "lock.yaml").write_text(text)
    with pytest.raises(ConfigError, match="expected commits of 40 hexadecimal digits by kind"):
        read_lock(tmp_path / "lock.yaml")
