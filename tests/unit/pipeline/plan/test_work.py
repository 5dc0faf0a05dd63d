"""What scoring and training cost, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from bld.cache.shards import Row, table_of, write_tables
from bld.cache.top_k import keep_most_probable
from bld.config.plan import GIB, PEAKS, Plan
from bld.config.settings import Histories, Settings, Shape, Teacher, Training
from bld.pipeline.plan import work
from bld.pipeline.plan.jobs import Job, Limits, all_gpu_hours, all_submissions
from bld.pipeline.plan.memory import Memory
from bld.pipeline.plan.shapes import Shapes, stated_shape
from bld.pipeline.plan.work import (
    Amount,
    CostInputs,
    cache_bytes_per_byte,
    epoch_tokens,
    positions_per_token,
    pretraining,
    scoring_job,
    trainings_of_run,
)
from bld.symbols import SYMBOLS
from bld.windows import windows

# 2 layers of 4 * 8 * 8 + 3 * 8 * 16 entries, an output head of 300 * 8.
LAYER = 4 * 8 * 8 + 3 * 8 * 16
HEAD = 300 * 8
ENTRIES = 2 * LAYER + HEAD
PARAMETERS = ENTRIES + 2 * 2 * 8 + 8
STATED = Shape(vocabulary=300, hidden=8, layers=2, heads=2, intermediate=16)
TOKENIZER = {"kind": "byte_level_bpe", "vocabulary": 300}
TRAINING = {
    "steps": 100,
    "sequence_length": 32,
    "batch_size": 8,
    "micro_batch_size": 2,
    "precision": "fp32",
}
RUN = {"student": "s", "teacher": "t", "corpus": "c"}
ATTENTION = 2 * 8 * 32  # layers, width, context


def configuration(**sections):
    return Settings.model_validate(
        {
            "corpora": {
                "c": {
                    "source": {"kind": "python_docs"},
                    "expected": {"documents": 1, "bytes_per_document": 1, "bytes_per_token": 4},
                    "splits": {
                        "train": {"fraction": 0.9, "shards": 4},
                        "validation": {"fraction": 0.1},
                    },
                }
            },
            "models": {
                "m": {
                    "scratch": {
                        "corpus": "c",
                        "tokenizer": TOKENIZER,
                        "architecture": {"hidden": 8, "layers": 2, "heads": 2, "intermediate": 16},
                        "training": TRAINING,
                    }
                }
            },
            "teachers": {"t": {"model": "m"}},
            "students": {"s": {"model": "m"}},
            "training": TRAINING,
            "runs": {"sft": RUN | {"method": "sft"}},
            "plan": {"gpu": "V100-32", "utilisation": 0.5},
        }
        | sections
    )


def limits(runtime=0, gpus=1, nodes=1):
    return Limits(runtime, 0, gpus, nodes)


class OneForAll(dict):
    def __missing__(self, key):
        return limits(60)


@pytest.fixture
def inputs(tmp_path):
    def make(settings, given=None):
        amounts = {("c", "train"): AMOUNT}
        rules = ("score_teacher", "pretrain", "warm_up", "distill")
        limits = given or {rule: OneForAll() for rule in rules}
        return CostInputs(settings, Shapes(settings, tmp_path), amounts, limits)

    return make


PER_SECOND = 15.7e12 * 0.5
AMOUNT = Amount(1000, 400_000, 300_000, 4, counted=True)


@pytest.mark.parametrize("mean", [20, 100, 700])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("how", ["cut", "drop"])
def test_an_epoch_holds_what_pieces_repeat_of_documents_whose_lengths_are_spread_exponentially(
    mean, overlap, how
):
    row, context = 128, max(1, int(128 * overlap))
    lengths = np.random.default_rng(0).exponential(mean, 200_000)
    tokens = 0
    for length in np.ceil(lengths).astype(int).tolist():
        if how == "cut" or length <= row:
            tokens += sum(stop - start for start, stop, _ in windows(length, row, context))
    amount = Amount(len(lengths), 4 * lengths.sum(), 0, 1, counted=True)
    training = Training(sequence_length=row, overlap=overlap, long_documents=how)
    assert epoch_tokens(amount, 4, training) == pytest.approx(tokens, rel=0.05)


def test_documents_that_fit_into_a_row_are_read_once():
    assert epoch_tokens(AMOUNT, 4, Training(sequence_length=8192)) == pytest.approx(100_000)


def test_a_teacher_is_run_over_every_token_and_what_else_its_beginnings_could_be(inputs):
    job = scoring_job(inputs(configuration()), "t", "c", "train")
    tokens = 400_000 / 4
    per_position = 2 * ENTRIES + 4 * 2 * 8 * 100  # a document has 100 tokens
    assert job.positions == 2.5 * tokens
    assert (job.count, job.submissions) == (4, 1)
    assert job.gpu_hours == pytest.approx(2.5 * tokens * per_position / PER_SECOND / 3600 / 4)
    assert job.cache_bytes == 300_000 * (16 * (9 + 10) + 10 + 8 + 9 + 1) / 8


def test_histories_and_documents_in_rows_of_their_own_are_counted(inputs, monkeypatch):
    asked = inputs(configuration())
    packed, [training] = scoring_job(asked, "t", "c", "train"), trainings_of_run(asked, "sft")
    shape = replace(asked.shapes.model("m"), has_states=True)
    monkeypatch.setattr(Shapes, "model", lambda *_: shape)
    apart, [padded] = scoring_job(asked, "t", "c", "train"), trainings_of_run(asked, "sft")
    # 1.5 histories beside each token, of documents of 100 tokens.
    assert apart.positions / packed.positions == (1 + 1.5 * 50) / 2.5
    assert apart.gpu_hours / packed.gpu_hours == pytest.approx(76 / 2.5)
    assert padded.flops_per_step / training.flops_per_step == pytest.approx(1 / 0.9)


@pytest.mark.parametrize(
    "settings, positions",
    [
        ({"histories": "trunk"}, 1),
        ({"histories": "prefix", "eps": 0}, 3.5),
        ({"histories": "prefix", "eps": 1e-4}, 3.5),
        ({"histories": "prefix", "eps": 1e-3}, 2.5),
        ({"histories": "prefix", "eps": 0.05}, 2),
        ({"histories": "beam"}, 7.5),
    ],
)
def test_histories_cost_the_positions_that_were_measured(settings, positions):
    """The table under 'The teacher's bytes' in README.md, rounded."""
    shape = stated_shape(STATED)
    assert positions_per_token(Histories(**settings), shape, 1000) == positions
    # Where every history is read from the beginning of its text, that is half a text each.
    apart = replace(shape, has_states=True)
    assert positions_per_token(Histories(**settings), apart, 1000) == 1 + 500 * (positions - 1)


@pytest.mark.parametrize("top_k_symbols", [4, 16, 64])
def test_no_cache_is_larger_than_planned(tmp_path, top_k_symbols):
    random = np.random.default_rng(0)
    rows = []
    for number in range(40):
        probs = random.dirichlet(np.full(SYMBOLS, 3.0), 1000)
        lost = random.random(1000) * 0.1
        kept = keep_most_probable(np.log(probs).astype(np.float32), lost, 1.0, top_k_symbols)
        rows.append(Row(str(number), 1, kept))
    path = tmp_path / "shard.parquet"
    write_tables(path, [table_of(rows)], {})
    per_byte = path.stat().st_size / (40 * 1000)
    assert (
        0.4 * cache_bytes_per_byte(top_k_symbols) < per_byte < cache_bytes_per_byte(top_k_symbols)
    )


def test_the_memory_of_a_teacher_by_hand(inputs):
    settings = configuration()
    teacher = Teacher(model="m", window=64, batch_tokens=512, precision="bf16")
    found = work.scoring_memory([inputs(settings).shapes.model("m")], teacher)
    assert found.weights == 2 * (PARAMETERS + HEAD)
    keys = 2 * 2 * 8 * (512 * 2.5) * 2
    layer = 512 * (16 * 8 + 8 * 8 + 8 * 16 + 4 * 2 + 32)
    assert found.work == keys + layer + 16 * 2**26


def averaging():
    """Teacher `t` is the average of `m` and of `n`, which has one layer more."""
    models = configuration().model_dump()["models"]
    deeper = models["m"]["scratch"]["architecture"] | {"layers": 3}
    models["n"] = models["m"] | {"scratch": models["m"]["scratch"] | {"architecture": deeper}}
    return {"models": models, "teachers": {"t": {"average": {"models": {"m": 1, "n": 3}}}}}


def test_models_that_are_averaged_are_all_run_and_all_in_memory_one_at_work(inputs):
    one = configuration(models=averaging()["models"], teachers={"t": {"model": "n"}})
    parts = [scoring_job(inputs(x), "t", "c", "train") for x in (configuration(), one)]
    job = scoring_job(inputs(configuration(**averaging())), "t", "c", "train")
    assert job.gpu_hours == pytest.approx(sum(part.gpu_hours for part in parts))
    assert job.memory.weights == sum(part.memory.weights for part in parts)
    assert job.memory.work == parts[1].memory.work > parts[0].memory.work
    assert job.cache_bytes == parts[0].cache_bytes


def test_a_live_average_is_asked_in_every_step(inputs):
    taught = {"method": "bld", "bld": {"head": "marginal"}}

    def flops(**sections):
        runs = {"bld": RUN | taught}
        [job] = trainings_of_run(inputs(configuration(**sections, runs=runs)), "bld")
        return job.flops_per_step, job.memory.teacher

    models, live = averaging()["models"], {"mode": "live"}
    alone = flops()[0]
    asked = [flops(models=models, teachers={"t": {"model": x} | live}) for x in ("m", "n")]
    both, memory = flops(models=models, teachers={"t": averaging()["teachers"]["t"] | live})
    assert both - alone == pytest.approx(sum(one - alone for one, _ in asked))
    assert asked[1][1] < memory < asked[0][1] + asked[1][1]


def test_a_fine_tuning_takes_six_operations_for_each_weight_and_token(inputs):
    (job,) = trainings_of_run(inputs(configuration()), "sft")
    assert job.tokens_per_step == 8 * 32
    assert job.flops_per_step == 256 * (6 * ENTRIES + 12 * ATTENTION)
    assert job.gpu_hours == pytest.approx(100 * job.flops_per_step / PER_SECOND / 3600)
    assert job.passes == pytest.approx(100 * 256 / epoch_tokens(AMOUNT, 4, Training(**TRAINING)))
    assert job.memory[:3] == (4 * PARAMETERS, 4 * PARAMETERS, 8 * PARAMETERS)
    assert job.memory.loading == 4 * PARAMETERS
    assert job.export_bytes == 4 * PARAMETERS
    assert job.checkpoint_bytes == 12 * PARAMETERS


def runs_of(inputs, run, **sections):
    settings = configuration(runs={"bld": RUN | {"method": "bld"} | run}, **sections)
    return list(trainings_of_run(inputs(settings), "bld"))


def test_a_byte_head_is_warmed_up_on_a_frozen_body_and_then_trained_with_it(inputs):
    warm_up, distillation = runs_of(inputs, {})
    head = 10 * 260 * (8 + 1)
    assert (warm_up.name, distillation.name) == ("warm_up bld", "distill bld")
    assert warm_up.steps == 200
    assert warm_up.flops_per_step == 256 * (2 * 2 * LAYER + 4 * ATTENTION + 6 * head)
    assert warm_up.memory[:3] == (4 * (PARAMETERS + head), 4 * head, 8 * head)
    assert warm_up.export_bytes == 4 * head
    assert distillation.flops_per_step == 256 * (6 * (ENTRIES + head) + 12 * ATTENTION)
    assert distillation.checkpoint_bytes == 12 * (PARAMETERS + head)


def test_a_warm_up_that_trains_the_body_costs_what_a_training_costs(inputs):
    warm_up, distillation = runs_of(inputs, {"head_warmup": {"train_body": True}})
    assert warm_up.flops_per_step == distillation.flops_per_step
    assert warm_up.checkpoint_bytes == distillation.checkpoint_bytes


def test_low_rank_updates_save_gradients_and_optimiser(inputs):
    lora = {"rank": 2, "targets": ["q_proj", "v_proj"]}
    *_, job = runs_of(inputs, {"training": {"lora": lora}, "bld": {"head": "marginal"}})
    factors = 2 * 2 * 2 * (8 + 8)
    assert job.memory[:3] == (4 * (PARAMETERS + factors), 4 * factors, 8 * factors)
    assert job.flops_per_step == 256 * (4 * ENTRIES + 6 * factors + 12 * ATTENTION)
    assert job.export_bytes == 4 * PARAMETERS


def test_a_sum_over_all_beginnings_costs_several_times_the_positions(inputs):
    [trunk] = runs_of(inputs, {"bld": {"head": "marginal"}})
    [prefix] = runs_of(inputs, {"bld": {"head": "marginal", "histories": "prefix"}})
    assert prefix.flops_per_step == 3.5 * trunk.flops_per_step
    assert prefix.memory.work > 3 * trunk.memory.work - 16 * 256 * 300


def test_a_live_teacher_works_in_every_step_and_stands_in_the_same_memory(inputs):
    [cached] = runs_of(inputs, {"bld": {"head": "marginal"}})
    live = {"t": {"model": "m", "mode": "live", "histories": "trunk"}}
    [asked] = runs_of(inputs, {"bld": {"head": "marginal"}}, teachers=live)
    assert asked.flops_per_step - cached.flops_per_step == 256 * (2 * ENTRIES + 4 * ATTENTION)
    assert asked.memory.teacher > 4 * (PARAMETERS + HEAD)
    assert cached.memory.teacher == 0


def test_what_a_student_writes_itself_takes_a_forward_pass(inputs):
    [given] = runs_of(inputs, {"bld": {"head": "marginal"}})
    [own] = runs_of(inputs, {"bld": {"head": "marginal"}, "sampling": {"on_policy": 0.25}})
    forward = 2 * ENTRIES + 4 * ATTENTION
    assert own.flops_per_step - given.flops_per_step == 256 * 0.25 * forward


def test_a_token_of_a_byte_student_is_a_byte(inputs):
    settings = configuration(students={"s": {"model": "m", "tokenizer": "bytes"}})
    (job,) = trainings_of_run(inputs(settings), "sft")
    assert job.passes == pytest.approx(100 * 256 / epoch_tokens(AMOUNT, 1, Training(**TRAINING)))
    # 256 bytes and no more than as many special tokens.
    assert job.export_bytes == 4 * (PARAMETERS - HEAD + 512 * 8)


def test_a_model_from_scratch_is_a_training_of_all_weights(inputs):
    job = pretraining(inputs(configuration()), "m")
    assert job.name == "pretrain m"
    assert job.flops_per_step == 256 * (6 * ENTRIES + 12 * ATTENTION)


def test_processes_share_the_work_and_what_zero_shares_out(inputs):
    on_eight = {"distill": {"sft": limits(60, gpus=8, nodes=2)}}
    settings = configuration(training=TRAINING | {"zero_stage": 1})
    (job,) = trainings_of_run(inputs(settings, on_eight), "sft")
    assert job.hours == job.gpu_hours / 8
    assert job.memory.optimizer == 12 * PARAMETERS / 8
    assert job.host_bytes == 4 * (4 * PARAMETERS + 4 * GIB)


@pytest.mark.parametrize(
    "hours, runtime, submissions",
    [
        # Of every hour a quarter goes to start and save.
        (0.7, 60, 1),
        (0.75, 60, 1),
        (1.0, 60, 2),
        (9.0, 60, 12),
        (99.0, 0, 1),
        (0.1, 10, 1),
    ],
)
def test_a_job_is_sent_until_it_is_done(hours, runtime, submissions):
    job = Job(
        rule="distill",
        target="x",
        gpu_hours=hours,
        memory=Memory(0, 0, 0, 0),
        limits=limits(runtime),
        start_minutes=15,
        count=3,
    )
    assert job.submissions == submissions
    assert all_gpu_hours([job, job]) == pytest.approx(6 * hours)
    assert all_submissions([job, job]) == 6 * submissions


def test_own_numbers_of_a_gpu_come_before_published_ones():
    published = Plan(gpu="A100-80")
    assert (published.peak("bf16"), published.peak("fp32")) == (312, 19.5)
    assert published.memory == 80 * GIB
    own = Plan(gpu="mine", tflops=100, memory_gib=10, utilisation=0.5)
    assert own.gpu_hours(100e12 * 0.5 * 3600, "bf16") == 1
    assert own.memory == 10 * GIB
    assert all(peak.bf16 >= peak.fp32 for peak in PEAKS.values())
