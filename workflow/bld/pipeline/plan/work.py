"""The work of a configuration: documents, scoring by teachers, and trainings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bld.arrays import LOGITS_AT_ONCE
from bld.cache.schema import StoredBytes, StoredTokens, bits_of
from bld.config.settings import (
    BldSettings,
    Corpus,
    Expected,
    Histories,
    Run,
    Settings,
    Teacher,
    Training,
)
from bld.files import MANIFEST, read_manifest
from bld.pipeline.plan import memory
from bld.pipeline.plan.jobs import Job, Limits
from bld.pipeline.plan.memory import Memory, layer_bytes
from bld.pipeline.plan.shapes import (
    WEIGHT_BYTES,
    Shape,
    Shapes,
    body_flops,
    forward_flops,
    head_parameters,
    lora_parameters,
    trained_parameters,
    training_flops,
)
from bld.symbols import HEAD_BYTES
from bld.training.pieces import context_of_pieces

BYTES_PER_TOKEN = 4.0
# Positions at which a teacher is run for each token of the text, as `make bench` measured them with
# a weak teacher, which needs more than a good one: (from this eps on, positions).
PREFIX_POSITIONS = ((0.01, 2.0), (0.001, 2.5), (0.0, 3.5))
BEAM_POSITIONS = 7.5
# Of rows of one document each, those that share a pass are padded by at most a tenth.
PADDED = 1 / 0.9


class Amount(NamedTuple):
    """Documents of a split, bytes of their content and of what is supervised of it; `counted`: not
    estimated."""

    documents: float
    content: float
    supervised: float
    shards: int
    counted: bool


def expected_of(corpus: Corpus) -> Expected | None:
    """What a corpus is expected to hold, if that is known."""
    return corpus.expected or corpus.source.size


def bytes_per_token(corpus: Corpus) -> float:
    """The mean length of a token in bytes."""
    expected = expected_of(corpus)
    return expected.bytes_per_token if expected else BYTES_PER_TOKEN


def amount_of(name: str, split: str, corpus: Corpus, results: Path) -> Amount:
    """What a split holds: counted where it is made, else as the configuration expects.

    Raises ValueError if its documents are neither made nor expected.
    """
    path, cut = results / "corpora" / name / split / MANIFEST, corpus.splits[split]
    if path.exists():
        made = read_manifest(path)
        counts = made["documents"], made["content_bytes"], made["supervised_bytes"]
        return Amount(*counts, cut.shards, counted=True)
    expected = expected_of(corpus)
    if expected is None:
        raise ValueError(
            f"corpora.{name}: how many documents it has is not known yet. Make the split `{split}` "
            f"(`snakemake ... {path}`), or say `corpora.{name}.expected`: documents and "
            "bytes_per_document"
        )
    documents = min(cut.fraction * expected.documents, cut.documents or float("inf"))
    content = documents * expected.bytes_per_document
    supervised = content * expected.supervised_fraction
    return Amount(documents, content, supervised, cut.shards, counted=False)


class CostInputs(NamedTuple):
    """What costs follow from: the settings, shapes of models, amounts of documents by corpus and
    split, limits of jobs by rule and name."""

    settings: Settings
    shapes: Shapes
    amounts: Mapping[tuple[str, str], Amount]
    limits: Mapping[str, Mapping[str, Limits]]

    def bytes_per_token(self, corpus: str, student: str | None = None) -> float:
        """The mean length of a token of this student, or of a model whose tokens are not bytes."""
        if student and self.settings.has_bytes_as_tokens(student):
            return 1.0
        return bytes_per_token(self.settings.corpora[corpus])


@dataclass(frozen=True, kw_only=True)
class ScoringJob(Job):
    """The shards of a split, one or several to a job."""

    teacher: str
    corpus: str
    split: str
    positions: float
    cache_bytes: float


def scoring_job(inputs: CostInputs, name: str, corpus: str, split: str) -> ScoringJob:
    """A teacher over a split."""
    settings = inputs.settings
    teacher, amount = settings.teachers[name], inputs.amounts[corpus, split]
    shapes = inputs.shapes.teacher(name)
    tokens = amount.content / inputs.bytes_per_token(corpus)
    context = min(teacher.window, tokens / amount.documents)
    positions = tokens * max(positions_per_token(teacher, shape, context) for shape in shapes)
    flops = tokens * sum(flops_per_token(shape, teacher, context) for shape in shapes)
    per_byte = cache_bytes_per_byte(teacher.top_k_symbols)
    per_byte += cache_bytes_per_token(teacher.top_k_tokens) * tokens / amount.content
    limits = inputs.limits["score_teacher"][name]
    jobs = math.ceil(amount.shards / limits.shards_per_job)
    return ScoringJob(
        rule="score_teacher",
        target=f"{name} {corpus} {split}",
        gpu_hours=settings.plan.gpu_hours(flops, teacher.precision) / jobs,
        memory=scoring_memory(shapes, teacher),
        limits=limits,
        start_minutes=settings.plan.job_minutes,
        count=jobs,
        teacher=name,
        corpus=corpus,
        split=split,
        positions=positions,
        cache_bytes=amount.supervised * per_byte,
    )


def flops_per_token(shape: Shape, teacher: Teacher, context: float) -> float:
    """Operations of a model as a teacher, or a part of one, for every token of a text."""
    return positions_per_token(teacher, shape, context) * forward_flops(shape, context)


def positions_per_token(histories: Histories, shape: Shape, context: float) -> float:
    """Positions of a forward pass for every token of a text of so many tokens."""
    match histories.histories:
        case "trunk":
            return 1.0
        case "beam":
            packed = BEAM_POSITIONS
        case "prefix":
            packed = next(size for eps, size in PREFIX_POSITIONS if histories.eps >= eps)
    # In a row of its own a history is read from the beginning of its text.
    return 1 + (packed - 1) * (max(1, context / 2) if shape.has_states else 1)


def cache_bytes_per_byte(top_k_symbols: int) -> float:
    """Bytes in the cache for each supervised byte, at most: every byte keeps as many symbols as it
    may, and all their bits that can differ do."""
    return (top_k_symbols * bits_of(StoredBytes, "F") + bits_of(StoredBytes, "N")) / 8


def cache_bytes_per_token(top_k_tokens: int) -> float:
    """Bytes in the cache for each of the teacher's own tokens, at most."""
    if not top_k_tokens:
        return 0.0
    return (top_k_tokens * bits_of(StoredTokens, "F") + bits_of(StoredTokens, "U")) / 8


def scoring_memory(shapes: Sequence[Shape], teacher: Teacher) -> Memory:
    """The weights of a teacher's models (their output heads twice, the second in the order of the
    trie), and what a full batch of one of them needs at its height: keys and values of all layers,
    the work of one layer, logits."""
    width, tokens = WEIGHT_BYTES[teacher.precision], teacher.batch_tokens

    def batch_bytes(shape: Shape) -> float:
        # Where nothing is packed on top of keys and values, none are kept.
        kept = tokens * positions_per_token(teacher, shape, 0)
        layer = tokens * layer_bytes(shape, teacher.window, teacher.precision)
        return 2 * shape.layers * shape.narrow * kept * width + layer

    weights = width * sum(shape.parameters + shape.table for shape in shapes)
    work = max(map(batch_bytes, shapes)) + memory.LOGIT_BYTES * LOGITS_AT_ONCE["cuda"]
    return Memory(weights, 0, 0, work)


@dataclass(frozen=True, kw_only=True)
class TrainingJob(Job):
    """A training; `passes`: how often it sees its documents; `rows` of a batch, of which one
    process has `rows_at_once`."""

    steps: int
    rows: int
    rows_at_once: int
    tokens_per_step: int
    flops_per_step: float
    passes: float
    checkpoint_bytes: float
    export_bytes: float
    host_bytes: float


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a training does per token: `added` parameters stand beside the model's, `trained` ones
    of both together get gradients; it predicts `symbols` bytes, runs at `positions` positions, and
    a live teacher takes `teacher_bytes`."""

    shape: Shape
    flops: float
    trained: float
    added: float = 0
    symbols: float = 0
    positions: float = 1
    teacher_bytes: float = 0


def pretraining(inputs: CostInputs, name: str) -> TrainingJob:
    """The making of a model from scratch."""
    scratch = inputs.settings.models[name].scratch
    assert scratch and scratch.training
    shape = inputs.shapes.model(name)
    load = Load(shape=shape, flops=_flops(shape, scratch.training), trained=shape.parameters)
    per_token = inputs.bytes_per_token(scratch.corpus)
    amount = inputs.amounts[scratch.corpus, scratch.split]
    return _job(inputs, "pretrain", name, scratch.training, load, amount, per_token)


def trainings_of_run(inputs: CostInputs, name: str) -> Iterator[TrainingJob]:
    """The warm-up of a run, if it has one, and its distillation."""
    run = inputs.settings.runs[name]
    per_token = inputs.bytes_per_token(run.corpus, run.student)
    amount = inputs.amounts[run.corpus, run.train_split]
    shape = inputs.shapes.student(run.student)
    if run.has_warmup:
        training = run.training.model_copy(update={"steps": run.head_warmup.steps, "lora": None})
        load = _warm_up(run, shape, min(per_token, HEAD_BYTES))
        yield _job(inputs, "warm_up", name, training, load, amount, per_token)
    load = _distillation(inputs, run, shape, per_token)
    yield _job(inputs, "distill", name, run.training, load, amount, per_token)


def epoch_tokens(amount: Amount, per_token: float, training: Training) -> float:
    """The tokens that rows hold while all documents are read once, those that pieces of longer ones
    repeat among them. Lengths are taken to be spread exponentially round their mean."""
    tokens, row = amount.content / per_token, training.sequence_length
    in_means = row * amount.documents / tokens
    longer = math.exp(-in_means)
    if training.long_documents != "cut":
        return tokens * (1 - (1 + in_means) * longer)
    again = context_of_pieces(row, training.overlap)
    pieces = longer / (1 - math.exp(-in_means * (row - again) / row))
    return tokens + amount.documents * pieces * again


def _warm_up(run: Run, shape: Shape, symbols: float) -> Load:
    """The body is frozen, and gives no logits; or trained too, all of it whatever `lora` says."""
    assert run.taught and run.taught.warmed_up_head
    head = head_parameters(run.taught.warmed_up_head, shape.hidden)
    whole = run.head_warmup.train_body
    context = run.training.sequence_length
    body = _flops(shape, run.training) if whole else body_flops(shape, context)
    trained = head + (shape.parameters if whole else 0)
    return Load(shape=shape, flops=body + 6 * head, added=head, trained=trained, symbols=symbols)


def _distillation(inputs: CostInputs, run: Run, shape: Shape, per_token: float) -> Load:
    settings, training, lora = inputs.settings, run.training, run.training.lora
    flops = training_flops(shape, training.sequence_length, lora, training.activation_checkpointing)
    flops *= _padding(shape, training)
    head, symbols, positions, teacher_bytes = 0, 0.0, 1.0, 0.0
    if isinstance(bld := run.taught, BldSettings):
        head = head_parameters(bld.head, shape.hidden)
        symbols = min(per_token, HEAD_BYTES) if head else per_token
        if bld.head == "marginal":
            summed = Histories(histories=bld.histories, eps=0)
            positions = positions_per_token(summed, shape, training.sequence_length)
        flops = positions * flops + 6 * head
    flops += run.sampling.on_policy * forward_flops(shape, training.sequence_length)
    if settings.learns_from(run, "live"):
        teacher = settings.teachers[str(run.teacher)]
        shapes = inputs.shapes.teacher(str(run.teacher))
        tokens = per_token / inputs.bytes_per_token(run.corpus)
        context = min(teacher.window, training.sequence_length * tokens)
        flops += tokens * sum(flops_per_token(shape, teacher, context) for shape in shapes)
        scoring = scoring_memory(shapes, teacher)
        teacher_bytes = scoring.weights + scoring.work
    return Load(
        shape=shape,
        flops=flops,
        added=head + (lora_parameters(shape, lora) if lora else 0),
        trained=head + trained_parameters(shape, lora),
        symbols=symbols,
        positions=positions,
        teacher_bytes=teacher_bytes,
    )


def _flops(shape: Shape, training: Training) -> float:
    """Of a training of all weights, per token."""
    again = training.activation_checkpointing
    flops = training_flops(shape, training.sequence_length, None, again)
    return flops * _padding(shape, training)


def _padding(shape: Shape, training: Training) -> float:
    """How much more a step runs where rows of one document each are padded to like lengths."""
    return PADDED if shape.is_read_apart(training.sequence_length) else 1.0


def _job(
    inputs: CostInputs,
    rule: str,
    name: str,
    training: Training,
    load: Load,
    amount: Amount,
    per_token: float,
) -> TrainingJob:
    limits, shape, plan = inputs.limits[rule][name], load.shape, inputs.settings.plan
    processes = limits.processes
    tokens = training.batch_size * training.sequence_length
    at_once = training.micro_batch_size * training.sequence_length * load.positions
    frozen = shape.parameters + load.added - load.trained
    states = memory.states(load.trained, frozen, training, processes)
    loading = memory.FLOAT32 * (shape.parameters + load.added) + load.teacher_bytes
    work = memory.work_bytes(shape, training, at_once, load.trained, processes, load.symbols)
    return TrainingJob(
        rule=rule,
        target=name,
        gpu_hours=plan.gpu_hours(load.flops * tokens * training.steps, training.precision),
        memory=Memory(*states, work, load.teacher_bytes, loading),
        limits=limits,
        start_minutes=plan.job_minutes,
        steps=training.steps,
        rows=training.batch_size,
        rows_at_once=training.micro_batch_size,
        tokens_per_step=tokens,
        flops_per_step=load.flops * tokens,
        passes=tokens * training.steps / epoch_tokens(amount, per_token, training),
        checkpoint_bytes=memory.checkpoint_bytes(load.trained, training),
        export_bytes=memory.FLOAT32 * load.added if rule == "warm_up" else shape.weights_bytes,
        host_bytes=memory.host_bytes(shape, training, load.trained, processes, limits.nodes),
    )
