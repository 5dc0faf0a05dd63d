"""The public benchmarks: lm-eval's own tasks, unchanged, on data sets laid out as the hub has them,
without network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import huggingface_hub
import nltk
import pytest
import yaml

from bld.config.settings import Architecture
from bld.evaluation.benchmarks.harness import run_benchmark
from bld.evaluation.benchmarks.tasks import data_of, offline
from bld.pipeline.step import files_line, step_line
from bld.pipeline.step_settings import EvaluateBenchmark
from bld.training.scratch import new_model

TESTS = Path(__file__).parents[2]
PIQA = [
    {"goal": f"find the key {i}", "sol1": "look at the index", "sol2": "first", "label": i % 2}
    for i in range(5)
]
MCQA = [
    {
        "query": f"Q: which key is the {i}th?",
        "choices": ["(A) it", "(B) the first"],
        "gold": [i % 2],
    }
    for i in range(4)
]
CLOZE = [{"query": f"Q: which is the {i}th key? A:", "answer": f"{i}"} for i in range(3)]
AGIEVAL = [
    *("aqua-rat", "gaokao-english", "logiqa-en", "lsat-ar", "lsat-lr", "lsat-rc"),
    *("sat-en-without-passage", "sat-en", "sat-math"),
]
INSTRUCTION = {
    "key": 1,
    "prompt": "Say nothing but key, without commas.",
    "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_sentences"],
    "kwargs": [{}, {"num_sentences": 100, "relation": "at least"}],
}
MATH = {"problem": "1+1?", "level": "Level 1", "type": "Algebra", "solution": "It is $\\boxed{2}$."}
MATH_PARTS = [
    *("algebra", "counting_and_probability", "geometry", "intermediate_algebra"),
    *("number_theory", "prealgebra", "precalculus"),
]
PUNKT = ("collocations.tab", "sent_starters.txt", "abbrev_types.txt", "ortho_context.tab")


PROBLEM = {"task_id": "0", "prompt": "def one():\n", "entry_point": "one"}
PROBLEM |= {
    "canonical_solution": "    return 1\n",
    "test": "def check(one):\n    assert one() == 1\n",
}
CODE_METRIC = """
import os

import datasets
import evaluate

class CodeEval(evaluate.Metric):
    def _info(self):
        features = {
            "predictions": datasets.Sequence(datasets.Value("string")),
            "references": datasets.Value("string"),
        }
        return evaluate.MetricInfo("", "", datasets.Features(features))

    def _compute(self, predictions, references, k):
        assert os.environ["HF_ALLOW_CODE_EVAL"] == "1"
        passed = 0
        for [candidate], reference in zip(predictions, references):
            try:
                exec(candidate + "\\n" + reference, {})
                passed += 1
            except Exception:
                pass
        return {"pass@1": passed / len(references)}, {}
"""


def write_rows(folder, splits, configuration="default"):
    """A data set as a repository of the hub: JSON lines, and a card that says which split is
    which."""
    (folder / configuration).mkdir(parents=True)
    for split, rows in splits.items():
        lines = [json.dumps(row) + "\n" for row in rows]
        (folder / configuration / f"{split}.jsonl").write_text("".join(lines))
    card = folder / "README.md"
    known = yaml.safe_load(card.read_text().split("---")[1])["configs"] if card.exists() else []
    files = [{"split": split, "path": f"{configuration}/{split}.jsonl"} for split in splits]
    known.append({"config_name": configuration, "data_files": files})
    card.write_text(f"---\n{yaml.safe_dump({'configs': known})}---\n")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The folder of a benchmark, with the data sets of several, read-only."""
    folder = tmp_path_factory.mktemp("resources")
    write_rows(folder / "baber/piqa", {"train": PIQA[:2], "validation": PIQA})
    for name in AGIEVAL:
        write_rows(folder / f"hails/agieval-{name}", {"test": MCQA})
    write_rows(folder / "hails/agieval-math", {"test": CLOZE})
    write_rows(folder / "google/IFEval", {"train": [INSTRUCTION]})
    write_rows(folder / "openai/openai_humaneval", {"test": [PROBLEM]})
    (folder / "code_eval").mkdir()
    (folder / "code_eval/code_eval.py").write_text(CODE_METRIC)
    punkt = folder / "nltk_data/tokenizers/punkt_tab/english"
    punkt.mkdir(parents=True)
    for name in PUNKT:
        (punkt / name).write_text("")
    for part in MATH_PARTS:
        write_rows(folder / "EleutherAI/hendrycks_math", {"train": [MATH], "test": [MATH]}, part)
    (folder / "manifest.json").write_text('{"files": {}}')
    for path in folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return folder


@pytest.fixture(scope="module")
def student(tokenizers, tmp_path_factory):
    """A model folder whose tokens are bytes, as a student may have them, with room for IFEval's
    answers."""
    folder = tmp_path_factory.mktemp("student")
    shape = Architecture(hidden=16, layers=1, heads=2, intermediate=24, positions=2048)
    new_model(shape, tokenizers["bytes"], 1).save_pretrained(folder)
    tokenizers["bytes"].save_pretrained(folder)
    (folder / "manifest.json").write_text('{"files": {}}')
    return folder


def settings_of(task, **others):
    return {
        "name": "public",
        "task": task,
        "few_shot": None,
        "chat_template": False,
        "limit": None,
        "metric": None,
        "batch_size": 8,
        "max_length": 2048,
        "precision": "fp32",
        "unsafe_code": False,
        "rendering": {
            "template": "auto",
            "template_arguments": {},
            "end_tokens": [],
            "trust_remote_code": False,
        },
        **others,
    }


RUNS = {
    "piqa": {"metric": "acc_norm", "few_shot": 1},
    "agieval_en": {},
    "ifeval": {"chat_template": True, "metric": "inst_level_strict_acc"},
    "minerva_math": {"metric": "math_verify"},
    "humaneval": {"unsafe_code": True},
}
STAGE = "bld.stages.evaluate_benchmark"
IN_TURN = """
import json, sys
from bld.stages.evaluate_benchmark import main
for sys.argv in json.loads(sys.argv[1]):
    main()
"""


@pytest.fixture(scope="module")
def results(student, data, tmp_path_factory):
    """What the stage writes for each task, where no connection leaves the machine and nothing says
    that it should not."""
    folder = tmp_path_factory.mktemp("run")
    where = {"data": data / "manifest.json", "model": student / "manifest.json", "source": []}
    commands = [
        [
            *("-", "--step", step_line(STAGE, settings_of(task, **others))),
            *("--files", files_line(where, {"evaluation": f"results/{task}.json"})),
        ]
        for task, others in RUNS.items()
    ]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | {
        "PYTHONPATH": f"{TESTS / 'workflow/no_network'}:{TESTS.parent / 'workflow'}",
        "BLD_TEST_NETWORK_LOG": str(folder / "network.log"),
        "HF_HOME": str(folder / "home"),
    }
    command = [sys.executable, "-c", IN_TURN, json.dumps(commands)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert not (folder / "network.log").exists(), (folder / "network.log").read_text()
    return {task: json.loads((folder / f"results/{task}.json").read_text()) for task in RUNS}


def test_a_public_task_runs_offline_as_it_is(results):
    found = results["piqa"]
    assert [row["id"] for row in found["per_document"]] == [f"piqa:{i}" for i in range(5)]
    assert all(row["group"] == row["id"] for row in found["per_document"])
    assert found["value"] == sum(row["value"] for row in found["per_document"]) / 5
    assert found["metrics"].keys() == {"acc", "acc_stderr", "acc_norm", "acc_norm_stderr"}
    assert (found["few_shot"], found["metric"], found["documents"]) == (1, "acc_norm", 5)


def test_a_group_is_the_mean_over_the_documents_of_all_its_tasks(results):
    found = results["agieval_en"]
    assert found["documents"] == len(found["per_document"]) == 4 * len(AGIEVAL) + 3
    mean = sum(row["value"] for row in found["per_document"]) / found["documents"]
    assert found["value"] == pytest.approx(mean) and 0 < found["stderr"] < 0.2
    assert found["metric"] == "acc" and len(found["subtasks"]) == len(AGIEVAL) + 1
    assert found["subtasks"].keys() == found["harness"]["task_hashes"].keys()


def test_instructions_are_judged_with_what_lies_in_the_folder_of_the_benchmark(results):
    """The answer has no comma or it has; a hundred sentences it has not."""
    found = results["ifeval"]
    [row] = found["per_document"]
    assert row["value"] == found["value"] in (0, 0.5)
    assert found["stderr"] is None and found["metrics"]["prompt_level_strict_acc"] == 0


def test_answers_to_problems_of_seven_kinds_are_compared_as_formulas(results):
    found = results["minerva_math"]
    assert len(found["subtasks"]) == found["documents"] == 7
    assert (found["metric"], found["few_shot"], found["value"]) == ("math_verify", 4, 0)


def test_code_that_a_model_writes_is_run_where_that_is_allowed(results):
    found = results["humaneval"]
    assert (found["documents"], found["metric"], found["value"]) == (1, "pass@1,create_test", 0)


@pytest.mark.parametrize(
    "task, settings, words",
    [
        ("humaneval", {}, "runs the code that models write, .* write `unsafe_code: true` under"),
        (
            "mbpp_plus",
            {"unsafe_code": True},
            r"reads evalplus/mbppplus, which is not in .* benchmarks.public.data ",
        ),
        ("arc_challenge", {}, r"reads allenai/ai2_arc, which is not in .* benchmarks.public.data "),
        ("arc_chalenge", {}, "no task 'arc_chalenge'; close are .*arc_challenge"),
        (
            "agieval_en",
            {"metric": "acc_norm"},
            "acc_norm is not reported by agieval_math; choose one of acc ",
        ),
        ("piqa", {"metric": "exact"}, "exact is not reported by piqa; choose one of acc, acc_norm"),
        ("ifeval", {"few_shot": 2}, "few_shot is 2, but ifeval is defined without examples"),
        ("ifeval", {"max_length": 1280}, "ifeval may write 1280 tokens, and the window is 1280"),
    ],
)
def test_what_cannot_be_run_is_refused_with_what_to_do(task, settings, words, data, student):
    with pytest.raises(ValueError, match=words):
        run_benchmark(data, student, EvaluateBenchmark(**settings_of(task, **settings)))


def test_what_nltk_lacks_is_named_and_not_fetched(tmp_path):
    with offline(tmp_path, "mine"), pytest.raises(ValueError, match=r"`nltk: \[punkt_tab\]`"):
        nltk.download("punkt_tab")


def test_the_libraries_are_as_before_afterwards(tmp_path):
    watched = [
        (datasets.config, "HF_DATASETS_CACHE"),
        (huggingface_hub.constants, "HF_HUB_OFFLINE"),
        (nltk.data, "path"),
        (nltk, "download"),
    ]
    before = [getattr(*one) for one in watched], Path.cwd()
    with offline(tmp_path, "mine"):
        assert Path.cwd() == tmp_path and huggingface_hub.is_offline_mode()
        inside = datasets.config.HF_DATASETS_CACHE
        assert inside.is_dir() and not inside.is_relative_to(tmp_path)
    assert ([getattr(*one) for one in watched], Path.cwd()) == before and not inside.exists()


def test_data_sets_of_tasks_groups_and_tags_are_known():
    assert data_of("piqa") == {"baber/piqa"}
    assert data_of("mmlu") == {"cais/mmlu"}
    assert data_of("ai2_arc") == {"allenai/ai2_arc"}
    assert data_of("minerva_math") == data_of("hendrycks_math") == {"EleutherAI/hendrycks_math"}
    assert data_of("agieval_en") == {f"hails/agieval-{name}" for name in [*AGIEVAL, "math"]}
    assert len(data_of("agieval_cn")) == 11
