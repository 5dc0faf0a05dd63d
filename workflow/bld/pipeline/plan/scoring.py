"""What it costs to score a split with a teacher, and how large the byte cache will be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bld.arrays import LOGITS_AT_ONCE
from bld.cache.schema import StoredBytes, StoredTokens, bits_of
from bld.config.settings import Histories, Teacher
from bld.pipeline.plan.jobs import Job, Premises
from bld.pipeline.plan.memory import LOGIT_BYTES, WEIGHT_BYTES, Memory, layer_bytes
from bld.pipeline.plan.shapes import Shape, forward_flops

# Positions at which a teacher is run for each token of the text, as `make bench` measured them with a weak teacher, which
# needs more of them than a good one: (from this eps on, positions).
PREFIX_POSITIONS = ((0.01, 2.0), (0.001, 2.5), (0.0, 3.5))
BEAM_POSITIONS = 7.5


@dataclass(frozen=True, kw_only=True)
class ScoringJob(Job):
    """The shards of a split, one job each."""

    teacher: str
    corpus: str
    split: str
    positions: float
    cache_bytes: float


def scoring_job(premises: Premises, name: str, corpus: str, split: str) -> ScoringJob:
    """A teacher over a split."""
    settings = premises.settings
    teacher, amount = settings.teachers[name], premises.amounts[corpus, split]
    shapes = premises.shapes.teacher(name)
    tokens = amount.content / premises.bytes_per_token(corpus)
    positions = tokens * positions_per_token(teacher)
    context = min(teacher.window, tokens / amount.documents)
    flops = positions * sum(forward_flops(shape, context) for shape in shapes)
    return ScoringJob(
        rule="score_teacher",
        target=f"{name} {corpus} {split}",
        gpu_hours=premises.gpu.hours(flops, teacher.precision) / amount.shards,
        memory=scoring_memory(shapes, teacher),
        limits=premises.limits["score_teacher"][name],
        start_minutes=settings.plan.job_minutes,
        count=amount.shards,
        teacher=name,
        corpus=corpus,
        split=split,
        positions=positions,
        cache_bytes=amount.supervised
        * (
            cache_bytes_per_byte(teacher.top_k_symbols)
            + token_bytes(teacher) * tokens / amount.content
        ),
    )


def positions_per_token(histories: Histories) -> float:
    """Positions of a forward pass for every token of a text."""
    match histories.histories:
        case "trunk":
            return 1.0
        case "beam":
            return BEAM_POSITIONS
    return next(positions for eps, positions in PREFIX_POSITIONS if histories.eps >= eps)


def cache_bytes_per_byte(top_k_symbols: int) -> float:
    """Bytes in the cache for each supervised byte, at most: every byte keeps as many symbols as it may, and all their bits
    that can differ do."""
    return (top_k_symbols * bits_of(StoredBytes, "F") + bits_of(StoredBytes, "N")) / 8


def token_bytes(teacher: Teacher) -> float:
    """Bytes in the cache for each of the teacher's own tokens, at most."""
    if not teacher.top_k_tokens:
        return 0.0
    per_entry, per_token = bits_of(StoredTokens, "F"), bits_of(StoredTokens, "U")
    return (teacher.top_k_tokens * per_entry + per_token) / 8


def scoring_memory(shapes: Sequence[Shape], teacher: Teacher) -> Memory:
    """The weights of a teacher's models (their output heads twice, the second in the order of the trie), and what a full
    batch of one of them needs at its height: keys and values of all layers, the work of one layer, logits."""
    width = WEIGHT_BYTES[teacher.precision]
    weights = width * sum(shape.parameters + shape.table for shape in shapes)
    return Memory(weights, 0, 0, max(_batch_bytes(shape, teacher) for shape in shapes))


def _batch_bytes(shape: Shape, teacher: Teacher) -> float:
    width, tokens = WEIGHT_BYTES[teacher.precision], teacher.batch_tokens
    kept_positions = tokens * positions_per_token(teacher)
    narrow = shape.key_value_heads * shape.head_width
    keys_and_values = 2 * shape.layers * narrow * kept_positions * width
    layer = tokens * layer_bytes(shape, teacher.window, teacher.precision)
    return keys_and_values + layer + LOGIT_BYTES * LOGITS_AT_ONCE["cuda"]
