"""A vocabulary map: pairs of a student's and a teacher's token with a weight, and the file that it
is kept in.

Shape letters: M pairs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bld.files import appearing
from bld.tokenization.vocabulary import Vocabulary, spelt

SCHEMA = pa.schema([("student", pa.int32()), ("teacher", pa.int32()), ("weight", pa.float32())])


class VocabularyMap(NamedTuple):
    """Pairs by rising student and teacher: ids (int32) and weight (float32)."""

    student_M: np.ndarray
    teacher_M: np.ndarray
    weight_M: np.ndarray


def map_of(pairs: Iterable[tuple[int, int, float]]) -> VocabularyMap:
    """A map of (student, teacher, weight), in any order."""
    columns = zip(*sorted(pairs), strict=True)
    return VocabularyMap(*map(np.array, columns, (np.int32, np.int32, np.float32)))


def same_spelling(source: Vocabulary, target: Vocabulary) -> Iterator[tuple[int, int]]:
    """(id, id of the target) of entries that spell the same bytes, and of end tokens.

    Where several entries spell the same, the first goes with the first and so on; those that are
    left over go with the last.
    """
    places = defaultdict(list)
    for token_id, text in spelt(target).items():
        places[text].append(token_id)
    seen: Counter[tuple[bool, bytes]] = Counter()
    for token_id, text in spelt(source).items():
        if found := places.get(text):
            yield token_id, found[min(seen[text], len(found) - 1)]
            seen[text] += 1


def save_map(path: Path, pairs: VocabularyMap) -> None:
    """Write a map as parquet; the file appears by rename."""
    with appearing(path) as partial:
        table = pa.table(dict(zip(SCHEMA.names, pairs, strict=True)), schema=SCHEMA)
        pq.write_table(table, partial)


def load_map(path: Path) -> VocabularyMap:
    """Read a map; raises ValueError, naming the file, if it is missing or damaged."""
    try:
        table = pq.read_table(path, schema=SCHEMA)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: not a whole vocabulary map ({error}); make it again") from error
    return VocabularyMap(*(table[name].to_numpy() for name in SCHEMA.names))
