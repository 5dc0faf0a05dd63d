import subprocess
import sys
from pathlib import Path

import pytest
import yaml

EXPERIMENTS = Path(__file__).parents[2] / "config/experiments"
EVERYWHERE = {
    "prepare_student": 1,
    "gather_cache": 1,
    "audit_cache": 1,
    "measure_information": 1,
    "measure_alignment": 1,
    "report": 1,
    "report_selection": 1,
    "write_crate": 1,
    "all": 1,
}
# What is done for a byte cache and no longer needed where the teacher answers in training.
OF_CACHES = {"score_teacher", "gather_cache", "audit_cache", "measure_information"}


def run_jobs(count, benchmarks):
    """Of runs that share a teacher and a student, which are judged too; only students have a
    divergence."""
    judged = count + 2
    by_itself = dict.fromkeys(("evaluate_bits_per_byte", "write_text"), judged)
    divergences = {"evaluate_byte_divergence": count + 1, "evaluate_benchmark": benchmarks * judged}
    return {"distill": count, "write_card": count} | by_itself | divergences


def corpus_jobs(name, configuration):
    return {"build_split": len(configuration["corpora"][name]["splits"])}


def test_the_default_makes_its_models_and_needs_nothing_from_outside(default, default_plan):
    splits = default()["corpora"]["python_docs"]["splits"]
    shards = sum(splits[name].get("shards", 1) for name in ("distillation", "development"))
    expected = EVERYWHERE | corpus_jobs("python_docs", default()) | run_jobs(3, 4)
    assert default_plan.counts == expected | {
        "train_tokenizer": 2,
        "pretrain": 1,
        "render_split": 3,
        "build_benchmark": 4,
        "score_teacher": shards,
        "gather_cache": 2,
        "warm_up": 1,
    }


def test_a_live_teacher_is_asked_in_training_and_has_no_cache(plan, default, default_plan):
    own = default()
    own["teachers"]["demo"]["mode"] = "live"
    planned = plan(own)
    counts = default_plan.counts
    assert planned.counts == {rule: counts[rule] for rule in counts.keys() - OF_CACHES}
    asked = planned.settings("distill bld")["teacher"]["scoring"]
    assert asked["top_k_symbols"] == own["teachers"]["demo"]["top_k_symbols"]
    assert "teacher" not in planned.settings("distill sft")


@pytest.mark.parametrize("method", ["x_token", "mined"])
def test_a_vocabulary_map_is_made_once_for_runs_of_a_method_that_reads_one(plan, default, method):
    own = default()
    own["teachers"]["demo"]["top_k_tokens"] = 8
    [student] = {run["student"] for run in own["runs"].values()}
    own["runs"] |= {f"run_{n}": own["runs"]["bld"] | {"method": method, "seed": n} for n in (0, 1)}
    planned = plan(own)
    assert planned.counts["map_vocabulary"] == planned.counts["measure_alignment"] == 1
    settings = planned.settings(f"map_vocabulary {method} {student} demo")
    assert settings.keys() == {"kind", "student_rendering", "teacher_rendering"}
    assert settings["kind"] == method


def test_an_average_reads_all_its_models_and_is_judged_by_its_bytes_alone(plan):
    planned = plan(EXPERIMENTS / "two_teachers.yaml")
    models = {f"resources/models/{name}/manifest.json" for name in ("bpe", "unigram")}
    where = "python_docs distillation"
    for mean in ("geometric", "arithmetic"):
        jobs = [f"score_teacher {mean} {where} 00000-of-00002", f"gather_cache {mean} {where}"]
        jobs += [f"audit_cache {mean} {where}", f"evaluate_average {mean} python_docs validation"]
        jobs += [f"evaluate_byte_divergence runs/from_{mean}/evaluation"]
        for job in jobs:
            assert models <= planned.reads[job], job
        settings = planned.settings(jobs[0])
        assert settings["average"] == {"mean": mean, "models": {"bpe": 1.0, "unigram": 1.0}}
        assert settings["rendering"].keys() == {"bpe", "unigram"}
        assert planned.settings(jobs[-1])["teacher"]["average"] == settings["average"]
    assert planned.counts["evaluate_average"] == planned.counts["measure_information"] == 2
    alone = planned.settings(f"score_teacher bpe {where} 00000-of-00002")
    assert alone.keys() == {"scoring", "rendering"}
    assert not {"model", "average", "mode"} & alone["scoring"].keys()
    assert alone["rendering"].keys() >= {"template", "end_tokens"}


def test_the_order_of_the_models_of_an_average_reruns_nothing(plan):
    raw = yaml.safe_load((EXPERIMENTS / "two_teachers.yaml").read_text())
    raw["teachers"]["geometric"]["average"]["models"] = {"unigram": 1, "bpe": 1}
    job = "score_teacher geometric python_docs distillation 00000-of-00002"
    ours, theirs = plan(raw), plan(EXPERIMENTS / "two_teachers.yaml")
    assert ours.steps[job] == theirs.steps[job] and ours.reads[job] == theirs.reads[job]


def test_without_evaluation_on_the_way_the_development_split_is_not_made(
    plan, default, default_plan
):
    own = default()
    own["training"]["evaluate_every"] = 0
    shards = own["corpora"]["python_docs"]["splits"]["distillation"]["shards"]
    fewer = {"score_teacher": shards, "gather_cache": 1, "build_split": 3, "render_split": 2}
    assert plan(own).counts == default_plan.counts | fewer


@pytest.mark.parametrize(
    "name, corpus, models, warm_ups",
    [("t1", "tulu_3", 2, 1), ("t2", "tulu_3", 1, 0), ("t3", "openmath_2", 2, 1)],
)
def test_an_experiment_of_the_paper_is_planned_without_network(
    plan, name, corpus, models, warm_ups
):
    configuration = yaml.safe_load((EXPERIMENTS / f"{name}.yaml").read_text())
    shards = configuration["corpora"][corpus]["splits"]["train"]["shards"]
    expected = EVERYWHERE | corpus_jobs(corpus, configuration)
    benchmarks = len(configuration["benchmarks"])
    expected |= run_jobs(2, benchmarks) | {"fetch_benchmark": benchmarks, "fetch_dataset": 1}
    expected |= {"fetch_model": models, "score_teacher": shards, "render_split": 1}
    expected |= {"warm_up": warm_ups} if warm_ups else {}
    assert plan(EXPERIMENTS / f"{name}.yaml").counts == expected


def test_of_a_model_from_scratch_that_only_lends_its_tokenizer_nothing_else_is_made(plan):
    planned = plan(EXPERIMENTS / "tiny/t1.yaml")
    assert (planned.counts["train_tokenizer"], planned.counts["pretrain"]) == (2, 1)


def test_a_student_reads_of_its_new_rows_what_makes_them(plan, default):
    own = default()
    given = own["students"]["swapped"] | {"pad_vocabulary_to": 64, "seed": 3}
    own["students"] = {
        "kept": {"model": "teacher"},
        "spelt": given,
        "noise": given | {"initialisation": "random"},
    }
    own["runs"] = {name: own["runs"]["sft"] | {"student": name} for name in own["students"]}
    planned = plan(own)
    assert planned.settings("prepare_student kept") == {"tokenizer": None}
    spelt, noise = (
        planned.settings(f"prepare_student {name}")["tokenizer"]["transfer"]
        for name in ("spelt", "noise")
    )
    assert spelt == {"initialisation": "fvt", "pad_to": 64}
    assert noise == {"initialisation": "random", "pad_to": 64, "seed": 3}


def test_the_tests_have_no_network(no_network):
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=no_network, capture_output=True, text=True
    )
    assert "the tests allow no network" in done.stderr


def test_a_run_without_a_teacher_is_trained_and_judged_alone(plan, default):
    alone = default()
    alone["runs"] = {"sft": alone["runs"]["sft"]}
    del alone["runs"]["sft"]["teacher"]
    expected = {"train_tokenizer": 2, "pretrain": 1, "prepare_student": 1, "distill": 1}
    expected |= {"evaluate_bits_per_byte": 2, "write_text": 2, "report": 1, "all": 1}
    expected |= {"render_split": 3, "build_benchmark": 4, "evaluate_benchmark": 8, "build_split": 4}
    expected |= {"report_selection": 1, "write_crate": 1, "write_card": 1}
    assert plan(alone).counts == expected


def test_models_and_data_from_folders_are_linked_and_not_made(plan, default, tmp_path):
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "chats.jsonl").write_text("{}\n")
    own = default()
    own["models"] = {"teacher": {"path": str(tmp_path)}, "other": {"path": str(tmp_path)}}
    own["datasets"] = {"chats": {"path": str(tmp_path)}}
    source = {"kind": "dataset", "dataset": "chats", "columns": {"messages": "messages"}}
    own["corpora"]["python_docs"]["source"] = source
    del own["benchmarks"]
    counts = plan(own).counts
    assert (counts["link_model"], counts["link_dataset"]) == (2, 1)
    assert not {"pretrain", "train_tokenizer", "fetch_model", "fetch_dataset"} & counts.keys()


def test_a_configfile_replaces_the_default_and_is_not_laid_over_it(
    plan, default, write_default, tmp_path
):
    write_default(tmp_path, default() | {"report": {"title": "From the default"}})
    bare = default()
    del bare["report"], bare["head_warmup"]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(bare))
    planned = plan(tmp_path / "own.yaml", tmp_path)
    assert planned.settings("report")["title"] == "Byte-level distillation"
    warmup = {"learning_rate": 1e-3, "patience": None, "steps": 200, "train_body": False}
    assert planned.settings("warm_up bld")["head_warmup"] == warmup


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("runs", {}, "runs: found {}, expected entries by name, not empty"),
        ("trainning", {}, "trainning: there is no such setting; did you mean `training`?"),
        (
            "students",
            {"swapped": {"model": "techer"}},
            'students.swapped.model: found "techer", expected an entry',
        ),
    ],
)
def test_a_wrong_configuration_stops_snakemake_before_any_job(
    snakemake, default, write_default, tmp_path, key, value, message
):
    write_default(tmp_path, default() | {key: value})
    done = snakemake(tmp_path, "--cores", "1")
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert {path.name for path in tmp_path.iterdir()} <= {"config", ".snakemake"}


def test_snakemake_itself_loads_no_library_of_models(no_network, tmp_path):
    # It is started for every job, which would wait for them.
    command = [sys.executable, "-X", "importtime", "-m", "snakemake", "--dry-run", "--directory"]
    command += [tmp_path, "--snakefile", EXPERIMENTS.parents[1] / "Snakefile"]
    command += ["--configfile", EXPERIMENTS / "tiny/t1.yaml"]
    done = subprocess.run(command, env=no_network, capture_output=True, text=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.returncode == 0 and "snakemake" in loaded
    assert not loaded & {"torch", "transformers", "datasets", "deepspeed", "huggingface_hub"}
