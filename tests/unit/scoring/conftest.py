from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from bld.scoring.history_batch import HistoryBatch, Span
from bld.scoring.prefixes import HistoryTree
from bld.scoring.trie import Trie
from bld.symbols import END, SPECIAL
from bld.tokenization.vocabulary import Vocabulary
from oracle import spellings

Path = tuple[int, ...]


@pytest.fixture(scope="session")
def random_model() -> Callable:
    """(vocabulary, seed) -> a model whose distribution depends on every token of the history."""

    def model(vocabulary: Vocabulary, seed: int, dtype: type = np.float64, scale: float = 2):
        silent = {i for i, spelt in enumerate(vocabulary.token_bytes) if spelt is None}
        absent = list(silent - vocabulary.special)

        @cache
        def next_log_probs(tokens: Path) -> np.ndarray:
            logits = scale * np.random.default_rng([seed, *tokens]).standard_normal(len(vocabulary))
            logits[absent] = -np.inf
            return (logits - np.logaddexp.reduce(logits)).astype(dtype)

        return next_log_probs

    return model


class Toy(NamedTuple):
    """A vocabulary over a few bytes and one span: any trunk, and any histories beside it.

    The text goes on for one more token than the trunk has histories unless it is `whole`, as in the
    window of a longer document; the row of its end is then nobody's, and `rows` leaves it out.
    """

    vocabulary: Vocabulary
    text: bytes
    trunk: tuple[Path, ...]
    sides: tuple[Path, ...]
    rows: int

    @property
    def histories(self) -> tuple[Path, ...]:
        return self.trunk + self.sides

    def spelt(self, path: Path) -> bytes:
        return spelt(self.vocabulary, path)

    def span(self, sequence: int = 0, column: int = 0) -> Span:
        place = {path: number for number, path in enumerate(self.histories)}
        tree = HistoryTree(
            token_R=np.array([path[-1] if path else -1 for path in self.histories]),
            parent_R=np.array([place[path[:-1]] if path else -1 for path in self.histories]),
            start_R=np.array([len(self.spelt(path)) for path in self.histories]),
        )
        return Span(self.text, tree, len(self.trunk), sequence, column)


def spelt(vocabulary: Vocabulary, path: Path) -> bytes:
    return b"".join(vocabulary.token_bytes[token] for token in path)


@st.composite
def _vocabularies(draw) -> Vocabulary:
    """Few bytes, so that much can be spelt in many ways; some entries are halves of characters."""
    letter = st.sampled_from(draw(st.sampled_from([b"ab", b"\x00a\xff", "é€".encode()])))
    word = st.lists(letter, min_size=1, max_size=3).map(bytes)
    words = draw(st.lists(word, min_size=2, max_size=6, unique=True))
    words += draw(st.lists(st.sampled_from(words), max_size=2))
    others = st.sampled_from(["end", "special", "absent", "empty"])
    entries = draw(st.permutations([*words, *draw(st.lists(others, max_size=5))]))
    texts = {"empty": b""}
    return Vocabulary(
        tuple(e if isinstance(e, bytes) else texts.get(e) for e in entries),
        special=frozenset(i for i, e in enumerate(entries) if e in ("end", "special")),
        end=frozenset(i for i, e in enumerate(entries) if e == "end"),
    )


@st.composite
def _toys(draw, vocabulary: Vocabulary | None = None, longest: int = 6) -> Toy:
    vocabulary = vocabulary or draw(_vocabularies())
    content = [i for i, entry in enumerate(vocabulary.token_bytes) if entry]
    path = tuple(draw(st.lists(st.sampled_from(content), max_size=5)))
    while len(spelt(vocabulary, path)) > longest:
        path = path[:-1]
    text = spelt(vocabulary, path)
    whole = not path or draw(st.booleans())
    trunk = tuple(path[:i] for i in range(len(path) + whole))
    known = sorted({h for n in range(len(text) + 1) for h in spellings(vocabulary, text[:n])})
    drawn = draw(st.lists(st.sampled_from(known), max_size=8))
    closed = {side[:i] for side in drawn for i in range(len(side) + 1)} - set(trunk)
    if not whole:
        closed = {side for side in closed if len(spelt(vocabulary, side)) < len(text)}
    sides = draw(st.permutations(sorted(closed)))
    return Toy(vocabulary, text, trunk, tuple(sorted(sides, key=len)), len(text) + whole)


@pytest.fixture(scope="session")
def random_toy() -> Callable[[Vocabulary, bytes, int], Toy]:
    """(vocabulary, text, seed) -> one way to spell the text as the trunk, all others beside it."""

    def random_toy(vocabulary: Vocabulary, text: bytes, seed: int) -> Toy:
        some = sorted(spellings(vocabulary, text))
        path = some[np.random.default_rng(seed).integers(len(some))]
        trunk = tuple(path[:i] for i in range(len(path) + 1))
        known = {h for n in range(len(text) + 1) for h in spellings(vocabulary, text[:n])}
        sides = tuple(sorted(known - set(trunk), key=lambda side: (len(side), side)))
        return Toy(vocabulary, text, trunk, sides, len(text) + 1)

    return random_toy


@pytest.fixture(scope="session")
def vocabularies() -> Callable[[], st.SearchStrategy[Vocabulary]]:
    return _vocabularies


@pytest.fixture(scope="session")
def toys() -> Callable[..., st.SearchStrategy[Toy]]:
    return _toys


class PathReader:
    """A model that reads one path at a time: what `search.NextTokens` asks for, made slow and
    plain.

    A history's path is (sequence, column of its first state, *its tokens). Logits are shifted by
    any constant and come in blocks of any size. `asked` lists the waves as paths.
    """

    def __init__(self, next_log_probs: Callable, trie: Trie, seed: int, max_depth: int = 1 << 30):
        self.max_depth = max_depth
        self.asked: list[list[Path]] = []
        self._next_log_probs, self._ids_I = next_log_probs, trie.ids_I
        self._random = np.random.default_rng(seed)

    def logits(self, histories: HistoryBatch, wave: np.ndarray) -> Iterator[torch.Tensor]:
        paths = [_path(histories, node) for node in wave]
        assert self.asked or wave.tolist() == list(range(histories.trunk))
        before = {path for wave in self.asked for path in wave}
        for path in paths:
            assert path not in before, "asked twice"
            assert len(path) == 2 or path[:-1] in before, "asked before its parent"
            assert path[1] + len(path) - 2 < self.max_depth, "too deep for the model"
            before.add(path)
        self.asked.append(paths)
        while paths:
            size = self._random.integers(1, len(paths) + 1)
            rows = np.stack([self._next_log_probs(path)[self._ids_I] for path in paths[:size]])
            yield torch.from_numpy(rows + self._random.standard_normal((size, 1)))
            paths = paths[size:]


def _path(histories: HistoryBatch, node: int) -> Path:
    tokens: list[int] = []
    while histories.parent_R[node] >= 0:
        tokens.insert(0, int(histories.token_R[node]))
        node = histories.parent_R[node]
    return (int(histories.sequence_R[node]), int(histories.column_R[node]), *tokens)


@pytest.fixture(scope="session")
def path_reader() -> type[PathReader]:
    return PathReader


@pytest.fixture(scope="session")
def symbol_masses() -> Callable:
    """P(history, then a token that spells text[:n] and `symbol`) [N, 258], history by history."""

    def masses(
        next_log_probs: Callable, vocabulary: Vocabulary, text: bytes, histories: Iterable[Path]
    ) -> np.ndarray:
        mass = np.zeros((len(text) + 1, 258))
        for history in histories:
            start = len(spelt(vocabulary, history))
            log_weight = sum(next_log_probs(history[:i])[t] for i, t in enumerate(history))
            for token, p in enumerate(np.exp(log_weight + next_log_probs(history))):
                entry = vocabulary.token_bytes[token]
                if token in vocabulary.end:
                    mass[start, END] += p
                elif token in vocabulary.special or entry == b"":
                    mass[start, SPECIAL] += p
                elif entry:
                    for length, symbol in enumerate(entry):
                        if text[start : start + length] == entry[:length] and (
                            start + length <= len(text)
                        ):
                            mass[start + length, symbol] += p
        return mass

    return masses
