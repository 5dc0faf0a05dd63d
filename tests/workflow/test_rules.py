"""Every rule has the same shape, and the tools of the trade find nothing to say."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
# Commands for people who were given an archive.
OF_ARCHIVES = {"verify", "reproduce"}
# A benchmark counts as made, and a rule that makes nothing runs whenever it is asked for.
WITHOUT_BENCHMARK = {"plan", "report_so_far", "stale"}
STAGES = {path.stem for path in (ROOT / "workflow/bld/stages").glob("[a-z]*.py")}


@pytest.fixture(scope="module")
def working(rules):
    """The rules that do something."""
    return {name: rule for name, rule in rules.items() if rule["shell"]}


def test_every_rule_has_a_log_a_benchmark_an_environment_and_threads(working):
    for name, rule in working.items():
        assert rule["log"], name
        assert name in WITHOUT_BENCHMARK or rule["benchmark"].endswith(".benchmark.jsonl"), name
        assert (ROOT / "envs" / rule["conda"]).exists(), name
        assert isinstance(rule["threads"], int), name


def test_every_rule_calls_one_stage_and_every_stage_has_its_rule(working):
    called = set()
    for name, rule in working.items():
        stages = re.findall(
            r"\bpython (?:-m bld\.pipeline\.launch .*)?-m bld\.stages\.(\w+) ", rule["shell"]
        )
        assert len(stages) == 1 and rule["shell"].count("python") == 1, (name, rule["shell"])
        assert " --step {params.step:q} " in rule["shell"], name
        called.update(stages)
    assert called | OF_ARCHIVES == STAGES


def test_every_rule_gives_its_stage_a_step_and_the_files_that_it_names(working):
    for name, rule in working.items():
        params = ["stage", "step", "files"]
        if "--checkpoints checkpoints/{params.name:q}" in rule["shell"]:
            params.append("name")
        assert rule["params"] == params, name
        assert " --files {params.files:q} " in rule["shell"], name


@pytest.mark.parametrize("stage", sorted(STAGES - OF_ARCHIVES))
def test_every_stage_declares_its_settings_and_reads_none_by_a_text(stage):
    text = (ROOT / f"workflow/bld/stages/{stage}.py").read_text()
    assert len(re.findall(r"\bstage\(\w+, \w+, \w+(, \w+)?\) as step\b", text)) == 1
    assert not re.search(r"settings\[|settings\.get\(|argparse|dict\[str, Any\]\) ->", text)


def test_rules_define_no_functions():
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        assert not re.search(r"^ *(def|class) ", path.read_text(), re.M), path


def test_every_rule_that_makes_something_has_a_record_beside_its_first_output(working):
    for name, rule in working.items():
        records = [path for path in rule["output"] if path.endswith(".record.json")]
        if rule["output"]:
            first = Path(rule["output"][0])
            assert records == [rule["record"]] == [str(first.with_suffix(".record.json"))], name
            assert " --log {log:q} " in rule["shell"], name


def test_what_a_job_says_is_seen_and_kept(working):
    assert [
        name for name, rule in working.items() if not rule["shell"].endswith(" 2>&1 | tee {log:q}")
    ] == []


def test_snakemake_lint_has_nothing_to_say(snakemake, write_default, default, tmp_path):
    write_default(tmp_path, default())
    done = snakemake(tmp_path, "--lint")
    assert done.returncode == 0, done.stderr


def test_the_workflow_is_formatted(no_network):
    command = ["snakefmt", "--check", "Snakefile", "workflow/rules"]
    done = subprocess.run(command, cwd=ROOT, env=no_network, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_profile_of_the_cluster_is_found_by_its_name_and_no_profile_is_a_default():
    assert (ROOT / "slurm").readlink() == Path("profiles/slurm")
    assert {path.name for path in (ROOT / "profiles").iterdir()} == {"local", "slurm"}


def test_the_profile_of_the_cluster_speaks_of_rules_that_there_are(
    rules,
):
    text = (ROOT / "profiles/slurm/config.yaml").read_text()
    assert re.findall(r"'(your-[\w-]+)'", text) == [
        "your-account",
        "your-cpu-partition",
        "your-gpu-partition",
    ]
    profile = yaml.safe_load(text)
    assert profile["set-resources"].keys() <= rules.keys()


def test_a_misspelt_name_in_a_target_is_told_with_the_one_that_is_meant(
    snakemake, write_default, default, tmp_path
):
    write_default(tmp_path, default())
    done = snakemake(tmp_path, "--dry-run", "--", "results/runs/blt/metrics.parquet")
    assert done.returncode == 1
    assert "there is no `blt` under `runs`; did you mean `bld`?" in done.stdout
