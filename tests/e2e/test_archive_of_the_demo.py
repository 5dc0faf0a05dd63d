"""The demo's archive, as a stranger gets it: one file."""

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from transformers import AutoModelForCausalLM, AutoTokenizer

MEGABYTE = 10**6
VALIDATE = Path(__file__).parents[1] / "crates/validate.py"


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def crate(demo, tmp_path_factory):
    """The crate by itself, away from the folder in which it was made."""
    path = tmp_path_factory.mktemp("downloads") / "demo.crate.zip"
    path.write_bytes((demo.folder / "results/archive/demo.crate.zip").read_bytes())
    return path


@pytest.fixture(scope="module")
def stage(demo):
    """Runs a command of the package, as somebody with a clone of the project does."""
    env = demo.env | {"PYTHONPATH": str(demo.folder / "workflow")}

    def call(name, *arguments):
        command = [sys.executable, "-m", f"bld.stages.{name}", *map(str, arguments)]
        return subprocess.run(command, env=env, capture_output=True, text=True)

    return call


def test_the_demo_says_where_its_archive_is_and_it_is_small(demo):
    path = demo.folder / "results/archive/demo.crate.zip"
    assert f"The archive: {path}" in demo.printed
    assert path.stat().st_size <= 5 * MEGABYTE


@pytest.fixture
def tools():
    """Public tools for crates, in an environment of their own."""
    folder = Path(sys.prefix) / "crates/bin"
    if not folder.exists():
        pytest.skip("no environment with the tools: `make .venv/crates.done`")
    return folder


def test_public_tools_accept_and_read_it(crate, demo, tools):
    found = json.loads(subprocess.check_output([tools / "python", VALIDATE, crate]))
    assert [issue for issue in found if issue["severity"] == "REQUIRED"] == []
    # Each is explained in tests/unit/publishing/test_crate_tools.py.
    assert len(found) < 10
    report = subprocess.check_output([tools / "runcrate", "report", crate], text=True)
    with zipfile.ZipFile(crate) as opened:
        records = [name for name in opened.namelist() if name.endswith(".record.json")]
    assert report.count("action: ") == len(records) + 1


def test_it_names_every_step_of_the_demo(demo, crate):
    made = [demo.folder / "results", demo.folder / "resources"]
    records = {path for folder in made for path in folder.rglob("*.record.json")}
    with zipfile.ZipFile(crate) as opened:
        archived = {name for name in opened.namelist() if name.endswith(".record.json")}
    own_report_and_what_comes_after_it = {
        "results/report/index.record.json",
        "results/archive/demo.crate.record.json",
        *(f"results/runs/{run}/model/README.record.json" for run in ("sft", "bld", "bld_marginal")),
    }
    names = {str(path.relative_to(demo.folder)) for path in records}
    assert names - archived == own_report_and_what_comes_after_it


def test_it_holds_no_place_of_this_machine_and_names_the_logs_that_would(demo, crate):
    places = [str(demo.folder).encode(), str(demo.folder.parent).encode()]
    with zipfile.ZipFile(crate) as opened:
        for name in opened.namelist():
            assert not [place for place in places if place in opened.read(name)], name
        graph = json.loads(opened.read("ro-crate-metadata.json"))["@graph"]
        [root] = [entity for entity in graph if entity["@id"] == "./"]
        logs = {str(path.relative_to(demo.folder)) for path in demo.folder.glob("logs/**/*.log")}
        for log in {name for name in logs if name.startswith("logs/distill")}:
            assert log in opened.namelist() or log in root["description"]


def test_it_stands_verification_and_what_was_not_checked_is_said(stage, crate):
    done = stage("verify", crate)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "it bears no signature" in done.stdout


@pytest.mark.parametrize(
    "name, before, after",
    [
        (
            "results/runs/bld/evaluation/bits_per_byte.json",
            b'"bits_per_byte": 2.',
            b'"bits_per_byte": 1.',
        ),
        ("results/archive/demo/report/models.csv", b"2.", b"1."),
        (
            "results/archive/demo/report/summary.json",
            b'"bits_per_byte": 2.',
            b'"bits_per_byte": 1.',
        ),
        ("workflow/bld/scoring/mixture.py", b"return ", b"return 0 * "),
        ("configuration.yaml", b"seed: 0", b"seed: 1"),
    ],
)
def test_an_altered_one_does_not(stage, crate, tmp_path, name, before, after):
    altered = tmp_path / crate.name
    with zipfile.ZipFile(crate) as old, zipfile.ZipFile(altered, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename == name:
                assert before in content
                content = content.replace(before, after)
            new.writestr(entry, content)
    done = stage("verify", altered)
    assert done.returncode == 1
    assert name in done.stdout


def test_the_same_results_are_archived_in_the_same_bytes(copied):
    path = copied.folder / "results/archive/demo.crate.zip"
    before = sha256(path)
    path.unlink()
    copied.snakemake()
    assert sha256(path) == before


def test_from_the_crate_alone_the_report_is_drawn_with_the_same_numbers(
    stage, crate, demo, tmp_path
):
    folder = tmp_path / "reproduced"
    done = stage("reproduce", crate, folder, "--with-results")
    assert done.returncode == 0, done.stderr
    [command] = re.findall(r"^ +(snakemake report_so_far .*)$", done.stdout, re.MULTILINE)
    ran = subprocess.run(
        command, shell=True, cwd=folder, env=demo.env, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for path in (demo.folder / "results/archive/demo/report").glob("*.csv"):
        assert (folder / "results/report" / path.name).read_text() == path.read_text(), path.name
    own = folder / "results/report/summary.json"
    assert json.loads(own.read_text()) == json.loads(
        (demo.folder / "results/report/summary.json").read_text()
    )
    assert stage("verify", crate, "--against", own).returncode == 0


def test_a_reproduced_folder_plans_the_steps_that_were_run(stage, crate, demo, tmp_path):
    folder = tmp_path / "reproduced"
    assert stage("reproduce", crate, folder).returncode == 0
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert status.stdout.split() == ["??", "configuration.yaml"]
    dry_run = ["snakemake", "--profile", "profiles/local", "--forceall", "-n", "--printshellcmds"]
    places = (demo.folder, []), (folder, ["--configfile", "configuration.yaml"])
    planned = [
        subprocess.check_output([*dry_run, *more], cwd=where, env=demo.env, text=True)
        for where, more in places
    ]
    of_demo, of_reproduced = (set(re.findall(r"--step '?(.*?)'? --", text)) for text in planned)
    assert of_demo == of_reproduced and len(of_demo) > 30


@pytest.mark.long
def test_from_the_crate_alone_everything_is_made_again_with_the_same_numbers(
    stage, crate, demo, tmp_path
):
    folder = tmp_path / "anew"
    said = stage("reproduce", crate, folder).stdout
    [command] = re.findall(r"^ +(snakemake --profile profiles/local .*)$", said, re.MULTILINE)
    subprocess.run(command, shell=True, cwd=folder, env=demo.env, check=True)
    own = folder / "results/archive/demo/report/summary.json"
    assert stage("verify", crate, "--against", own).returncode == 0


@pytest.mark.parametrize("run", ["sft", "bld", "bld_marginal"])
def test_every_student_has_a_card_that_the_hub_s_tools_read(demo, crate, run):
    folder = demo.folder / "results/runs" / run / "model"
    card = ModelCard.load(folder / "README.md")
    assert sha256(crate) in card.content
    assert card.data.to_dict()["library_name"] == "transformers"
    assert {result.metric_type for result in card.data.eval_results}
    AutoModelForCausalLM.from_pretrained(folder)
    AutoTokenizer.from_pretrained(folder)


def test_snakemake_says_which_file_of_the_code_has_changed(copied):
    path = copied.folder / "workflow/bld/evaluation/bits_per_byte.py"
    path.write_text(path.read_text() + "\n\nADDED = 1\n")
    configuration = yaml.safe_load((copied.folder / "config/config.yaml").read_text())
    steps, configuration["head_warmup"]["steps"] = configuration["head_warmup"]["steps"], 101
    (copied.folder / "config/config.yaml").write_text(
        yaml.safe_dump(configuration, sort_keys=False)
    )
    table = copied.snakemake("stale")
    assert re.search(r"evaluation/bits_per_byte\.py:\s+[0-9a-f]{8}\s+-> [0-9a-f]{8}", table)
    assert f"head_warmup.steps: {steps} -> 101" in table
