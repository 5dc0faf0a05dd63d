"""What it costs to score a split with a teacher, and how large the byte cache will be."""

from __future__ import annotations

from dataclasses import dataclass

from bld.config import Histories, Teacher
from bld.planning.jobs import Job, Premises
from bld.planning.memory import LOGIT_BYTES, WEIGHT_BYTES, Memory, layer_bytes
from bld.planning.shapes import Shape, forward_flops

# Positions at which a teacher is run for each token of the text, as `make bench` measured them with a weak teacher, which
# needs more of them than a good one: (from this eps on, positions).
PREFIX_POSITIONS = ((0.01, 2.0), (0.001, 2.5), (0.0, 3.5))
BEAM_POSITIONS = 7.5
# What zstd cannot save: of a kept symbol its number (9 bits) and its log-probability (a float16 without sign and with 5
# bits of mantissa: 10); of a byte its tail (10), lost mass (8) and how many symbols are kept (9).
BITS_PER_SYMBOL, BITS_PER_BYTE = 19, 27
# Logits that are computed at once.
BLOCK_ELEMENTS = 1 << 26


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
    shape = premises.shapes.model(teacher.model)
    tokens = amount.content / premises.bytes_per_token(corpus)
    positions = tokens * positions_per_token(teacher)
    context = min(teacher.window, tokens / amount.documents)
    flops = positions * forward_flops(shape, context)
    return ScoringJob(
        rule="score_teacher",
        target=f"{name} {corpus} {split}",
        gpu_hours=premises.gpu.hours(flops, teacher.precision) / amount.shards,
        memory=scoring_memory(shape, teacher),
        limits=premises.limits["score_teacher"][name],
        start_minutes=settings.plan.job_minutes,
        count=amount.shards,
        teacher=name,
        corpus=corpus,
        split=split,
        positions=positions,
        cache_bytes=amount.supervised * cache_bytes_per_byte(teacher.keep_symbols),
    )


def positions_per_token(histories: Histories) -> float:
    """Positions of a forward pass for every token of a text."""
    match histories.histories:
        case "trunk":
            return 1.0
        case "beam":
            return BEAM_POSITIONS
    return next(positions for eps, positions in PREFIX_POSITIONS if histories.eps >= eps)


def cache_bytes_per_byte(keep_symbols: int) -> float:
    """Bytes in the cache for each supervised byte, at most: every byte keeps as many symbols as it may, and all their bits
    that can differ do."""
    return (keep_symbols * BITS_PER_SYMBOL + BITS_PER_BYTE) / 8


def scoring_memory(shape: Shape, teacher: Teacher) -> Memory:
    """A teacher's weights (its output head twice, the second in the order of its trie), and what a full batch needs at its
    height: keys and values of all layers, the work of one layer, logits."""
    width, tokens = WEIGHT_BYTES[teacher.precision], teacher.batch_tokens
    kept_positions = tokens * positions_per_token(teacher)
    narrow = shape.key_value_heads * shape.head_width
    keys_and_values = 2 * shape.layers * narrow * kept_positions * width
    layer = tokens * layer_bytes(shape, teacher.window, teacher.precision)
    weights = width * (shape.parameters + shape.table)
    return Memory(weights, 0, 0, keys_and_values + layer + LOGIT_BYTES * BLOCK_ELEMENTS)
