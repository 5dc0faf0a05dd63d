"""What is known, what is refused, and what is said of it."""

import io
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from transformers import LlamaConfig, Mamba2Config, Phi3Config

from bld.config.checks import read_settings
from bld.pipeline.plan.contexts import contexts
from bld.pipeline.plan.costs import flops, hours, make_plan, short, size
from bld.pipeline.plan.jobs import Limits, limits_of, other_jobs
from bld.pipeline.plan.page import WIDTH, print_plan
from bld.pipeline.targets import Targets

EXPERIMENTS = Path(__file__).parents[4] / "config/experiments"
TERABYTE = 10**12


class Everything(dict):
    """The same limits for every job."""

    def __init__(self, limits):
        self.limits = limits

    def __missing__(self, key):
        return Everything(self.limits) if key in RULES else self.limits


RULES = ("score_teacher", "pretrain", "warm_up", "distill")
NO_LIMIT = Limits(0, 0, gpus=1, nodes=1)


@pytest.fixture(autouse=True)
def disk(monkeypatch):
    """Much room; `disk(n)` leaves n bytes."""

    def leave(free):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))

    leave(100 * TERABYTE)
    return leave


@pytest.fixture
def t1():
    return yaml.safe_load((EXPERIMENTS / "t1.yaml").read_text())


@pytest.fixture
def plan(tmp_path):
    def make(raw, limits=NO_LIMIT):
        return make_plan(read_settings(raw), Everything(limits), tmp_path)

    return make


def test_with_room_and_time_it_fits(plan, t1):
    made = plan(t1)
    assert (made.refusals, made.warnings) == ([], [])


def test_what_is_written_must_fit_on_the_disk(plan, t1, disk):
    needed = plan(t1).to_write
    disk(needed * 0.99)
    [refusal] = plan(t1).refusals
    assert refusal.startswith(f"Disk: {size(needed)} will be written, and {size(needed * 0.99)}")
    disk(needed * 1.1)
    assert plan(t1).refusals == []
    assert len(plan(t1).warnings) == 1
    disk(needed * 1.3)
    assert plan(t1).warnings == []


def test_a_gpu_that_is_too_small_is_refused(plan, t1):
    t1["plan"] = {"gpu": "RTX-4090"}
    refusals = plan(t1).refusals
    assert [text.split(":")[0] for text in refusals] == ["distill t1_sft", "distill t1_bld"]
    assert "GiB on each GPU, and RTX-4090 has 24.0 GiB" in refusals[0]
    # Some 18 of 24 GiB for scoring, some 20 for the warm-up.
    assert [text.split(":")[0] for text in plan(t1).warnings] == ["warm_up t1_bld"]


def test_on_the_cpu_no_gpu_is_too_small(plan, t1):
    t1["plan"] = {"gpu": "RTX-4090"}
    assert plan(t1, NO_LIMIT._replace(gpus=0)).refusals == []


def test_a_job_that_has_no_time_to_work_is_refused_and_any_other_is_sent_until_it_is_done(plan, t1):
    refusals = plan(t1, NO_LIMIT._replace(runtime=15)).refusals
    trainings = ["distill t1_sft", "warm_up t1_bld", "distill t1_bld"]
    assert [text.split(":")[0] for text in refusals[-3:]] == trainings
    assert "`runtime` is 15 minutes, and it needs 15 to start and save" in refusals[-1]
    two_hours, ten_hours = (NO_LIMIT._replace(runtime=minutes) for minutes in (120, 600))
    assert plan(t1, two_hours).refusals == plan(t1, ten_hours).refusals == []
    assert [job.submissions for job in plan(t1, ten_hours).trainings] == [3, 1, 3]


def test_a_host_with_too_little_memory_is_refused(plan, t1):
    [first, *_] = plan(t1, NO_LIMIT._replace(mem_mb=1000)).refusals
    assert first.startswith("distill t1_sft: needs 17.4 GB of memory on each node")


def test_a_batch_that_the_gpus_cannot_share_is_refused(plan, t1):
    refusals = plan(t1, NO_LIMIT._replace(gpus=3)).refusals
    assert any("64 rows cannot be shared out between 3 GPUs" in text for text in refusals)


def test_what_is_there_already_is_not_written_again(plan, t1, tmp_path):
    before = plan(t1)
    cache = tmp_path / "results/teachers/llama_3b/tulu_3/train/manifest.json"
    cache.parent.mkdir(parents=True)
    cache.write_text("{}")
    after = plan(t1)
    assert before.to_write - after.to_write == pytest.approx(after.scoring[0].cache_bytes)
    there = [item.name for item in after.items if item.there]
    assert there == ["byte cache llama_3b tulu_3 train"]


def test_documents_that_are_made_are_counted_and_no_longer_expected(plan, t1, tmp_path):
    del t1["corpora"]["tulu_3"]["expected"]
    for split in ("train", "validation"):
        path = tmp_path / f"results/corpora/tulu_3/{split}/manifest.json"
        path.parent.mkdir(parents=True)
        path.write_text('{"documents": 7, "content_bytes": 900, "supervised_bytes": 500}')
    made = plan(t1).splits["tulu_3", "train"]
    assert (made.documents, made.content, made.supervised, made.counted) == (7, 900, 500, True)


def test_of_a_split_with_a_limit_no_more_is_expected(plan, t1):
    made = plan(t1).splits["tulu_3", "validation"]
    assert (made.documents, made.content) == (2000, 2000 * 3100)
    assert made.supervised == pytest.approx(2000 * 3100 * 0.6)
    assert plan(t1).splits["tulu_3", "train"].documents == pytest.approx(0.99 * 939343)


def test_too_little_known_is_said_all_at_once_with_both_ways_out(plan, t1):
    del t1["corpora"]["tulu_3"]["expected"]
    for model in t1["models"].values():
        del model["shape"]
    with pytest.raises(ValueError) as error:
        plan(t1)
    text = str(error.value)
    for way_out in (
        "results/corpora/tulu_3/train/manifest.json",
        "`corpora.tulu_3.expected`",
        "`snakemake fetch`",
        "`models.llama_3b.shape`",
    ):
        assert way_out in text
    t1["corpora"]["tulu_3"]["expected"] = {"documents": 10, "bytes_per_document": 10}
    t1["models"]["llama_3b"]["shape"] = {
        **{"vocabulary": 100, "hidden": 8, "layers": 1, "heads": 1, "intermediate": 8}
    }
    with pytest.raises(ValueError, match=r"vocabulary is not known yet.*`models.qwen_2.shape`"):
        plan(t1)


def fetched(tmp_path, **sizes):
    config = LlamaConfig(
        vocab_size=128256,
        hidden_size=3072,
        num_hidden_layers=28,
        num_attention_heads=24,
        num_key_value_heads=8,
        intermediate_size=8192,
        tie_word_embeddings=True,
        dtype="bfloat16",
        **sizes,
    )
    config.save_pretrained(tmp_path / "resources/models/llama_3b")


def test_a_fetched_model_speaks_for_itself(plan, t1, tmp_path):
    said = replace(plan(t1).models["llama_3b"], positions=2048)
    fetched(tmp_path)
    assert plan(t1).models["llama_3b"] == said
    assert plan(t1).warnings == []
    del t1["models"]["llama_3b"]["shape"]
    assert plan(t1).models["llama_3b"] == said


def test_contexts_that_differ_are_told_with_positions_where_they_are_known(plan, t1, tmp_path):
    stated = list(contexts(plan(t1)))
    assert len(stated) == 1 and "hold 512 tokens (some 2.05 kB of `tulu_3`)" in stated[0]
    assert "up to 4,096 (some 16.4 kB)" in stated[0] and "at least 256 before" in stated[0]
    fetched(tmp_path)
    told, teacher, student = contexts(plan(t1))
    assert told == stated[0] and "llama_3b.window` is 4,096" in teacher and "2,048" in teacher
    assert "`evaluation.window` is 4,096" in student and "llama_3b_qwen_2" in student


def test_a_shape_that_is_not_the_fetched_models_is_warned_of(plan, t1, tmp_path):
    fetched(tmp_path)
    t1["models"]["llama_3b"]["shape"] |= {"layers": 29, "tied": False}
    [warning] = plan(t1).warnings
    assert warning.startswith(
        "models.llama_3b.shape is not that of the model, whose config.json says layers 28, tied "
        "True"
    )
    assert plan(t1).models["llama_3b"].layers == 28


def test_a_kind_that_is_not_known_is_counted_like_a_llama_with_a_warning(plan, t1):
    as_llama = plan(t1).models["llama_3b"].parameters
    t1["models"]["llama_3b"]["shape"]["kind"] = "phoenix"
    assert plan(t1).models["llama_3b"].parameters == as_llama
    [warning] = plan(t1).warnings
    assert "`phoenix`" in warning


def test_a_students_rows_are_its_tokenizers_entries_padded(plan, t1):
    assert plan(t1).students["llama_3b_qwen_2"].vocabulary == 151646
    t1["students"]["llama_3b_qwen_2"]["pad_vocabulary_to"] = 64
    assert plan(t1).students["llama_3b_qwen_2"].vocabulary == 151680


def test_what_nobody_reads_is_not_planned(t1):
    t1["corpora"]["tulu_3"]["splits"]["train"]["fraction"] = 0.9
    t1["corpora"]["tulu_3"]["splits"]["unused"] = {"fraction": 0.001}
    settings = read_settings(t1)
    targets = Targets(settings)
    assert targets.splits() == [("tulu_3", "train"), ("tulu_3", "validation")]
    assert targets.caches() == [("llama_3b", "tulu_3", "train")]
    # 2 splits, one of them as the student reads it, the student; gather, audit and information of
    # the cache; bits and text of both runs, the student and the teacher, divergences of all but the
    # teacher, 7 benchmarks of all; how the tokenizers agree; the report, and that of the archive.
    assert other_jobs(targets) == 2 + 1 + 1 + 3 + 2 * 4 + 3 + 7 * 4 + 1 + 2


def test_limits_are_read_from_resources():
    resources = {"runtime": 60, "gpu": 2, "mem_mb": 1000}
    assert limits_of(resources) == Limits(60, 1000, gpus=2, nodes=1)
    assert limits_of({}).processes == 1


def test_the_page_is_a_hundred_columns_wide_and_nothing_is_cut_short(plan, t1):
    t1["plan"] = {"gpu": "RTX-4090"}
    t1["report"]["title"] = "A [draft] :smile:"
    out = io.StringIO()
    print_plan(plan(t1), out)
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= WIDTH == 100
    assert "\u2026" not in text
    for title in ("Documents", "Models", "Trainings", "Disk", "In all", "Assumed", "Cannot work"):
        assert title in text
    assert "Plan: A [draft] :smile:\n" in text
    assert "35% are reached" in text


@pytest.mark.parametrize(
    "words, expected",
    [
        (size(0), "0 B"),
        (size(999_600), "1 MB"),
        (size(71_600_000_000), "71.6 GB"),
        (flops(4.84e14), "484 TFLOP"),
        (short(3_212_749_824), "3.21 B"),
        (short(80_000), "80 k"),
        (hours(0), "0.00"),
        (hours(0.004), "<0.01"),
        (hours(3.756), "3.76"),
        (hours(24.64), "24.6"),
        (hours(1234.5), "1,234"),
    ],
)
def test_numbers_are_rounded_to_what_tells_something(words, expected):
    assert words == expected


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_that_comes_along_can_be_planned(plan, path):
    raw = yaml.safe_load(path.read_text())
    assert plan(raw).refusals == []


@pytest.mark.parametrize(
    "config, words",
    [
        (Mamba2Config(num_heads=16, head_dim=64, hidden_size=512), "carry a state along a row, so"),
        (
            Phi3Config(
                max_position_embeddings=131072,
                original_max_position_embeddings=256,
                rope_parameters={
                    "rope_type": "longrope",
                    "rope_theta": 1e4,
                    "original_max_position_embeddings": 256,
                    "short_factor": [1.0] * 48,
                    "long_factor": [2.0] * 48,
                },
            ),
            "are encoded otherwise in texts of more than 256 tokens, so",
        ),
    ],
    ids=lambda value: getattr(value, "model_type", None),
)
def test_rows_of_one_document_are_counted_and_told(plan, t1, tmp_path, config, words):
    student = next(iter(t1["students"].values()))["model"]
    folder = tmp_path / "resources/models" / student
    folder.mkdir(parents=True)
    config.save_pretrained(folder)
    out = io.StringIO()
    print_plan(plan(t1), out)
    told = " ".join(out.getvalue().split())
    assert words in told and "document is read in a row of its own; 11% of padding are c" in told


def test_a_kind_that_is_not_supported_is_refused(plan, t1, tmp_path):
    folder = tmp_path / "resources/models/llama_3b"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    with pytest.raises(ValueError, match="no causal language model of text alone"):
        plan(t1)


def test_a_mixture_of_experts_is_refused(plan, t1, tmp_path):
    folder = tmp_path / "resources/models/llama_3b"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "mixtral"}')
    with pytest.raises(ValueError, match="mixture of experts"):
        plan(t1)
