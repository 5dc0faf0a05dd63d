"""The columns of the byte cache, in one table: the annotated fields of `StoredBytes` and
`StoredTokens`.

The parquet schema, what writing, gathering and reading handle, what is padded in memory, and the
sizes that the plan counts with all follow from these fields. A new column is one more field; with
`compute` it is filled from a document's distributions, else `top_k` has to fill it.

The last letter of a field says how many elements it has: N supervised symbols of a document, U
supervised tokens of the teacher's own tokenization of it, F kept entries of all of them, end to
end. S symbols, K entries kept of one distribution at most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, NamedTuple, TypeVar, get_type_hints

import numpy as np

from bld.symbols import PAD

FORMAT = 5
"""To be raised with every change of what a column means, or of what a shard tells of itself."""

EXPONENT_BITS = 5  # of a float16, beside its sign
LOG_PROB_MANTISSA = 5
LOST_MASS_MANTISSA = 3


class Column(NamedTuple):
    """`name`: in the file. `type`: of an element, as numpy calls it. `bits`: what compression
    cannot save of an element, at most. `padding`: what fills unused places [.., K] in memory, in
    the type that it has there; None for columns that are not padded. `compute`: the column from
    normalised log-probabilities [N, S]."""

    name: str
    type: str
    bits: int
    padding: np.generic | None = None
    compute: Callable[[np.ndarray], np.ndarray] | None = None


NOTHING, NO_TOKEN = np.float32(-np.inf), np.int32(-1)


class StoredBytes(NamedTuple):
    """A document's byte distributions as they are stored.

    `kept_N` symbols each; `symbols_F` and `log_probs_F` end to end, the most probable first;
    `log_tail_N`, the mass of all others, is -inf where nothing is left over; `lost_mass_N`, an
    upper bound of the mass that dropped histories would have had, is between 0 and 1; `taught_N` is
    0 where nothing is to be learned from a row (`Scored.untaught`).
    """

    kept_N: Annotated[np.ndarray, Column("kept", "uint16", 9)]
    symbols_F: Annotated[np.ndarray, Column("symbols", "uint16", 9, np.int64(PAD))]
    log_probs_F: Annotated[
        np.ndarray, Column("log_probs", "float16", EXPONENT_BITS + LOG_PROB_MANTISSA, NOTHING)
    ]
    log_tail_N: Annotated[
        np.ndarray, Column("log_tail", "float16", EXPONENT_BITS + LOG_PROB_MANTISSA)
    ]
    lost_mass_N: Annotated[
        np.ndarray, Column("lost_mass", "float16", EXPONENT_BITS + LOST_MASS_MANTISSA)
    ]
    taught_N: Annotated[np.ndarray, Column("taught", "uint8", 1)]


class StoredTokens(NamedTuple):
    """What a teacher says at its own tokens as it is stored: `kept_U` tokens each, `ids_F` and
    `log_probs_F` end to end; the rest as in `scoring.tokens.TokenScores`."""

    symbol_U: Annotated[np.ndarray, Column("token_symbol", "int32", 20)]
    count_U: Annotated[np.ndarray, Column("token_count", "int32", 4)]
    token_U: Annotated[np.ndarray, Column("token", "int32", 17)]
    log_prob_U: Annotated[np.ndarray, Column("token_log_prob", "float32", 32)]
    kept_U: Annotated[np.ndarray, Column("tokens_kept", "int32", 8)]
    ids_F: Annotated[np.ndarray, Column("token_ids", "int32", 17, NO_TOKEN)]
    log_probs_F: Annotated[np.ndarray, Column("token_log_probs", "float16", 15, NOTHING)]
    log_tail_U: Annotated[np.ndarray, Column("token_log_tail", "float16", 15)]


Stored = TypeVar("Stored", StoredBytes, StoredTokens)


Record = type[StoredBytes] | type[StoredTokens]
RECORDS: tuple[Record, ...] = (StoredBytes, StoredTokens)
_COLUMNS: dict[str, dict[str, Column]] = {
    record.__name__: {
        field: hint.__metadata__[0]
        for field, hint in get_type_hints(record, include_extras=True).items()
    }
    for record in RECORDS
}


def columns_of(record: Record) -> dict[str, Column]:
    """The columns of a record, by field, in their order in a file."""
    return _COLUMNS[record.__name__]


def bits_of(record: Record, letter: str) -> int:
    """The bits of one element of every column whose field ends in this letter: N, U or F."""
    columns = columns_of(record).items()
    return sum(column.bits for field, column in columns if field.endswith(f"_{letter}"))


def computed(log_probs_NS: np.ndarray) -> dict[str, np.ndarray]:
    """The fields of `StoredBytes` that are computed from log-probabilities."""
    return {
        field: column.compute(log_probs_NS).astype(column.type)
        for field, column in columns_of(StoredBytes).items()
        if column.compute
    }


def nothing_stored(record: type[Stored]) -> Stored:
    """The record of a document of which nothing is stored."""
    return record(**{f: np.zeros(0, column.type) for f, column in columns_of(record).items()})
