"""Local benchmarks on tiny models: the figures are those of lm-eval called by hand, and those of
this project."""

import json
import math

import lm_eval
import pytest
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from bld.documents.document import make_document
from bld.evaluation.benchmarks.harness import ratio_of_sums, run_benchmark, stderr_of
from bld.evaluation.benchmarks.local import write_benchmark
from bld.evaluation.bits_per_byte import bits_per_byte
from bld.pipeline.step_settings import EvaluateBenchmark

READING = {
    "template": "auto",
    "template_arguments": {},
    "end_tokens": [],
    "trust_remote_code": False,
}
TASKS = {"next_line": "next_line", "next_word": "next_word", "bits_per_byte": "text_bits_per_byte"}
TOKENIZERS = ["subwords", "bytes", "Unigram"]


def source(number):
    line = "the_key = first(the_key, items[{}]) or the_index_{} of the_key"
    lines = [line.format(place, number) for place in range(12)]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def split():
    """Pieces of source, and plain texts of at most a window in every tokenizer."""
    pieces = [
        make_document(f"m{i}", "source", [("text", source(i))], f"group{i}") for i in range(8)
    ]
    texts = ["Return the key", "naïve\n\n  café \U0001f600\n", "\tof the first", "{{x}} <0x41> 12 "]
    return {
        "next_line": pieces,
        "next_word": pieces,
        "bits_per_byte": [
            make_document(f"t{i}", "text", [("text", t)]) for i, t in enumerate(texts)
        ],
    }


@pytest.fixture(scope="module")
def data(split, tmp_path_factory):
    """(kind) -> the folder of a benchmark."""
    folders = {}
    for kind, documents in split.items():
        folders[kind] = tmp_path_factory.mktemp(kind)
        write_benchmark(kind, documents, min(6, len(documents)), 0, folders[kind])
    return folders


@pytest.fixture(scope="module")
def folder(model, tokenizers, tmp_path_factory):
    """(kind of tokenizer) -> a model folder as an export leaves it."""
    folders = {}
    for kind in TOKENIZERS:
        folders[kind] = tmp_path_factory.mktemp("model")
        model(kind, window=1024)[0].save_pretrained(folders[kind])
        tokenizers[kind].save_pretrained(folders[kind])
    return folders


@pytest.fixture(scope="module")
def run(data, folder):
    """(kind of benchmark, kind of tokenizer, other settings) -> the results."""

    def build(kind, tokenizer="subwords", **others):
        settings = {
            "name": "mine",
            "task": None,
            "few_shot": None,
            "chat_template": False,
            "limit": None,
            "metric": None,
            "batch_size": 4,
            "max_length": 2048,
            "precision": "fp32",
            "unsafe_code": False,
            "rendering": READING,
        }
        return run_benchmark(data[kind], folder[tokenizer], EvaluateBenchmark(**settings | others))

    return build


def by_hand(kind, data, folder, monkeypatch, **model_arguments):
    """What lm-eval says of a folder, called as its documentation has it."""
    monkeypatch.chdir(data)
    lm = HFLM(
        pretrained=str(folder), device="cpu", dtype="float32", batch_size=1, **model_arguments
    )
    manager = TaskManager(include_path=str(data), include_defaults=False)
    results = lm_eval.simple_evaluate(model=lm, tasks=[TASKS[kind]], task_manager=manager)
    return results["results"][TASKS[kind]], results


@pytest.mark.parametrize(
    "kind, tokenizer",
    [("next_line", "subwords"), ("next_word", "bytes"), ("bits_per_byte", "subwords")],
)
def test_the_figures_are_those_of_lm_eval_called_by_hand(
    kind, tokenizer, run, data, folder, monkeypatch
):
    found = run(kind, tokenizer)
    bos = {"add_bos_token": False} if kind == "bits_per_byte" else {}
    expected, results = by_hand(kind, data[kind], folder[tokenizer], monkeypatch, **bos)
    figures = {
        key.removesuffix(",none"): value
        for key, value in expected.items()
        if "," in key and value != "N/A"
    }
    own = {stderr_of("bits_per_byte")} if kind == "bits_per_byte" else set()
    assert found["metrics"].keys() - own == figures.keys() != set()
    assert {key: found["metrics"][key] for key in figures} == pytest.approx(figures, rel=1e-5)
    assert found["documents"] == results["n-samples"][TASKS[kind]]["effective"] > 3
    assert found["harness"]["lm_eval"] == lm_eval.__version__
    assert found["harness"]["versions"] == {TASKS[kind]: "1.0"}
    assert found["few_shot"] == 0 and not found["chat_template"]


@pytest.mark.parametrize("kind", ["next_line", "next_word"])
def test_the_value_is_the_mean_over_documents_of_the_primary_metric(kind, run):
    found = run(kind)
    values = [row["value"] for row in found["per_document"]]
    assert found["task"] == "mine"
    assert found["value"] == found["metrics"][found["metric"]] == sum(values) / len(values)
    mean = found["value"]
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
    assert found["stderr"] == pytest.approx(deviation / math.sqrt(len(values)))
    assert found["higher_is_better"] is True
    name = TASKS[kind]
    assert [row["id"] for row in found["per_document"]] == [f"{name}:{i}" for i in range(6)]


@pytest.mark.parametrize("kind", TASKS)
def test_questions_have_the_groups_of_the_documents_that_they_are_made_from(kind, run, data, split):
    group_of = {document.id: document.group for document in split[kind]}
    lines = (data[kind] / "documents.jsonl").read_text(encoding="utf-8").splitlines()
    groups = [row["group"] for row in run(kind)["per_document"]]
    assert groups == [group_of[json.loads(line)["id"]] for line in lines]


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_bits_per_byte_are_the_same_by_the_harness_and_by_our_own_measure(
    tokenizer, run, split, model
):
    _, renderer, reader = model(tokenizer, window=1024)
    own = bits_per_byte(split["bits_per_byte"], renderer, reader)
    found = run("bits_per_byte", tokenizer)
    assert found["value"] == pytest.approx(own["bits_per_byte"], abs=1e-4)
    assert found["higher_is_better"] is False
    size = sum(row["bytes"] for row in found["per_document"])
    assert size == own["bytes"]
    nats = sum(row["value"] for row in found["per_document"])
    assert nats / size / math.log(2) == pytest.approx(found["value"])
    ours = sorted((row["bytes"], row["nats"]) for row in own["per_document"])
    theirs = sorted((row["bytes"], row["value"]) for row in found["per_document"])
    assert theirs == [pytest.approx(row, rel=1e-4) for row in ours]


def test_the_error_of_bits_per_byte_is_that_of_a_mean_where_all_texts_have_one_length():
    nats = [3.0, 5.0, 10.0, 2.0]
    found = ratio_of_sums([{"value": value, "bytes": 4} for value in nats])
    deviation = math.sqrt(sum((value - 5) ** 2 for value in nats) / 3)
    assert found["bits_per_byte"] == pytest.approx(5 / 4 / math.log(2))
    assert found["bits_per_byte_stderr"] == pytest.approx(deviation / 2 / 4 / math.log(2))


@pytest.mark.parametrize("kind", TASKS)
def test_batches_and_repetition_change_nothing(kind, run):
    one, again, together = (run(kind, batch_size=size) for size in (1, 1, 5))
    assert one == again
    assert together["metrics"] == pytest.approx(one["metrics"], rel=1e-4)
    values = [[row["value"] for row in found["per_document"]] for found in (one, together)]
    assert values[0] == pytest.approx(values[1], rel=1e-4)


def test_a_limit_takes_the_first_documents_and_is_said(run):
    whole, some = run("next_line"), run("next_line", limit=4)
    assert some["per_document"] == whole["per_document"][:4]
    assert (some["limit"], some["documents"], whole["limit"]) == (4, 4, None)


def test_a_chat_template_changes_the_prompts_and_so_their_hash(run):
    plain, chat = run("next_line"), run("next_line", chat_template=True)
    assert chat["chat_template"]
    assert chat["harness"]["task_hashes"] != plain["harness"]["task_hashes"]


@pytest.mark.parametrize(("template", "expected"), [("auto", True), ("plain", False)])
def test_where_it_is_automatic_models_that_have_a_template_get_it(run, template, expected):
    found = run("next_line", chat_template="auto", rendering=READING | {"template": template})
    told = run("next_line", chat_template=expected)
    assert found["chat_template"] is expected
    assert found["harness"]["task_hashes"] == told["harness"]["task_hashes"]


@pytest.mark.parametrize(
    "kind, settings, words",
    [
        (
            "next_line",
            {"metric": "exact_match"},
            "is not reported by next_line.*choose one of acc_mutual_info, acc, ",
        ),
        (
            "next_word",
            {"metric": "exact_match"},
            "choose one of exact_match,first_word under benchmarks.mine.metric",
        ),
        ("next_line", {"few_shot": 3}, "few_shot is 3, but next_line is defined without"),
        (
            "next_line",
            {"chat_template": True, "rendering": READING | {"template": "plain"}},
            "asks for a chat template",
        ),
        ("next_word", {"max_length": 48}, "next_word may write 48 tokens, and the window is 48"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_what_to_do(kind, settings, words, run):
    with pytest.raises(ValueError, match=words):
        run(kind, **settings)
