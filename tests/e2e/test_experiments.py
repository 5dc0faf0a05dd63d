"""The paper's three experiments in small form, as a user would start them: one after another in one
folder, where the second and third find the documents, the teacher and its byte cache of the first.

Every job runs in the environment of its rule, made by the conda stand-in (tests/conda), which notes
every attempt to reach another machine.
"""

import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

EXPERIMENTS = ["t1", "t2", "t3"]


@pytest.fixture(scope="module")
def attempts(tmp_path_factory):
    """The file with the attempts of jobs to reach another machine, if there were any."""
    return tmp_path_factory.mktemp("network") / "attempts"


@pytest.fixture(scope="module")
def snakemake(checkout, conda, attempts):
    """Call Snakemake in the folder of the experiments."""
    env = conda | {"BLD_TEST_NETWORK_LOG": str(attempts)}
    return lambda *arguments: checkout.snakemake("--sdm", "conda", *arguments, env=env)


@pytest.fixture(scope="module", params=EXPERIMENTS)
def experiment(checkout, snakemake, request):
    """Its name, its configuration and the folder with its results, just made."""
    name, file = request.param, f"config/experiments/tiny/{request.param}.yaml"
    snakemake("--configfile", file)
    configuration = yaml.safe_load((checkout.folder / file).read_text())
    return name, configuration, checkout.folder


def load(folder):
    lm = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    return lm, AutoTokenizer.from_pretrained(folder, local_files_only=True)


def test_an_experiment_in_small_form_has_the_structure_of_the_full_one(experiment, checkout):
    name, tiny, _ = experiment
    full = yaml.safe_load((checkout.folder / f"config/experiments/{name}.yaml").read_text())
    assert tiny["runs"].keys() == full["runs"].keys()
    assert tiny["bld"] == {key: full["bld"][key] for key in tiny["bld"]}
    assert ("head_warmup" in tiny) == ("head_warmup" in full)
    [given], [fully_given] = (
        [student.get("tokenizer") for student in one["students"].values()] for one in (tiny, full)
    )
    assert (given is None, given == "bytes") == (fully_given is None, fully_given == "bytes")


def test_no_step_tries_to_reach_another_machine(experiment, checkout, conda, attempts):
    environments = checkout.environments(conda)
    assert len(environments) == len(list((checkout.folder / "envs").glob("*.yaml")))
    for place in environments.values():
        assert list(place.glob("lib/python*/site-packages/no_network.py"))
    assert not attempts.exists() or attempts.read_text() == ""


def test_both_runs_are_trained_and_judged(experiment):
    _, configuration, folder = experiment
    runs = json.loads((folder / "results/report/summary.json").read_text())["runs"]
    assert {run["run"] for run in runs} == configuration["runs"].keys()
    assert all(run["bits_per_byte"] > 0 and run["byte_jsd"] > 0 for run in runs)


@pytest.mark.parametrize("method", ["sft", "bld"])
def test_the_student_is_an_ordinary_model_that_has_learned_and_generates(experiment, method):
    name, configuration, folder = experiment
    run = f"{name}_{method}"
    trained, tokenizer = load(folder / f"results/runs/{run}/model")
    student, _ = load(folder / f"results/students/{configuration['runs'][run]['student']}")
    assert type(trained) is type(student) and trained.dtype == student.dtype
    before, after = student.state_dict(), trained.state_dict()
    assert before.keys() == after.keys()
    changed = {entry for entry in before if not torch.equal(before[entry], after[entry])}
    assert any("q_proj" in entry for entry in changed)
    if name == "t1":  # low-rank updates, and the embeddings in full
        kinds = ("q_proj", "v_proj", "embed_tokens", "lm_head")
        assert all(any(kind in entry for kind in kinds) for entry in changed)

    chat = [{"role": "user", "content": "What does `os.path.join` do?"}]
    prompt = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = trained.generate(**prompt, max_new_tokens=12, do_sample=False)
    assert prompt["input_ids"].shape[1] < answer.shape[1]
    assert (answer < len(tokenizer)).all()
    ends = trained.generation_config.eos_token_id
    assert tokenizer.eos_token_id in (ends if isinstance(ends, list) else [ends])
    if name == "t2":
        assert tokenizer("é", add_special_tokens=False).input_ids == list("é".encode())


def test_another_environment_of_reports_makes_them_stale_and_what_rests_on_them(
    checkout, snakemake
):
    file = "config/experiments/tiny/t1.yaml"
    snakemake("--configfile", file)
    environment = checkout.folder / "envs/report.yaml"
    before = environment.read_text()
    environment.write_text(before + "  - tzdata\n")
    printed = snakemake("--configfile", file, "--dry-run")
    environment.write_text(before)
    told = {"report", "report_selection", "write_crate", "write_card", "all"}
    assert set(re.findall(r"^(?:local)?rule (\w+):", printed, re.MULTILINE)) == told


def test_from_its_crate_alone_an_experiment_is_made_again_with_the_same_numbers(
    checkout, snakemake, conda, tmp_path
):
    snakemake("--configfile", "config/experiments/tiny/t2.yaml")
    crate, folder = tmp_path / "t2.crate.zip", tmp_path / "anew"
    crate.write_bytes((checkout.folder / "results/archive/t2.crate.zip").read_bytes())

    def stage(name, *arguments, within):
        command = [sys.executable, "-m", f"bld.stages.{name}", *map(str, arguments)]
        env = checkout.env | {"PYTHONPATH": str(within / "workflow")}
        return subprocess.check_output(command, cwd=within, env=env, text=True)

    said = stage("reproduce", crate, folder, within=checkout.folder)
    [command] = re.findall(r"^ +(snakemake --profile profiles/local .*)$", said, re.MULTILINE)
    subprocess.run([*shlex.split(command), "--sdm", "conda"], cwd=folder, env=conda, check=True)
    # Its own code compares, which is that of the crate.
    summary = "results/archive/t2/report/summary.json"
    stage("verify", crate, "--against", summary, within=folder)


def test_a_teacher_that_is_asked_on_the_way_says_what_its_cache_says(checkout, snakemake):
    file, metrics = "config/experiments/tiny/t1.yaml", "results/runs/t1_bld/metrics.parquet"
    snakemake("--configfile", file)
    cached = pd.read_parquet(checkout.folder / metrics)
    teacher = yaml.safe_load((checkout.folder / file).read_text())["teachers"]["teacher"]
    live = f"teachers={ {'teacher': teacher | {'mode': 'live'}} }"
    printed = snakemake("--configfile", file, "--config", live, "--", metrics)
    assert "rule distill:" in printed and "rule score_teacher:" not in printed
    found = pd.read_parquet(checkout.folder / metrics)
    for part in ("token_loss", "byte_loss", "kl_loss", "dev_kl_loss"):
        np.testing.assert_allclose(found[part], cached[part], rtol=5e-3)
