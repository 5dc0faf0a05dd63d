"""The histories of the `prefix` policy: the encodings of all prefixes of a text, as one tree.

encode(text[:n]) is what a model is given if the text ends at byte n. Together with the trunk, the
encoding of the whole text, that is about one history per byte. To encode every prefix from its
beginning would cost the square of the text's length, so the text is cut into *segments* at places
across which the tokenizer decides nothing. There

    encode(text[:n]) = the trunk up to the segment + encode(the segment's bytes before n),

hence the histories beside the trunk in a segment depend on the segment alone. Segments are mostly
words and come back, so their histories are cached.

Where a cut is exact. No vocabulary entry may contain the two bytes beside it: then neither a merge
nor an added token lies across. And no pre-tokenizer may look across. GPT-2's pattern and its
descendants do not at two kinds of place: before a space that follows no white space (a match has a
space only at its beginning or amid white space), and between an ASCII letter or digit and an ASCII
character that is neither, but for an apostrophe (it's) and ">", which may end a `<0x41>`. Not the
other way round: "(it" may be one match, and so may a full stop and a line break. A Unigram model
adds scores up from the start of a piece and rounding breaks its ties, so it is cut only where a
piece starts, before a space. Parts of a tokenizer that look further (UnicodeScripts, added tokens
that must be single words) forbid all cuts. If a pattern looks further, the encodings of the
segments, end to end, are not the trunk; then the whole text is one segment.

Where it is an approximation. In a segment longer than 96 bytes (Chinese, base64, long rules) only a
tail is encoded: from a trunk token at least 64 bytes back from which the text is encoded as in the
trunk. Context further back is missed; the history still spells the prefix.

Shapes: T tokens of the trunk; R histories, T + 1 of the trunk and S beside it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, compress, count, pairwise, repeat
from operator import ne
from typing import Any, NamedTuple

import numpy as np

from bld.tokenization.content import ContentTokenizer
from bld.tokenization.families import family_of, unfold

TAIL = 64  # bytes of text encoded again at least
STEP = 32  # bytes after which a tail is shortened
CANDIDATES = 16  # trunk tokens at which it may begin, at most
REMEMBERED_SEGMENTS = 1 << 16

WORD_ENDS = [byte for byte in range(128) if chr(byte).isalnum()]
AFTER_WORDS = [byte for byte in range(128) if not chr(byte).isalnum() and byte not in b"'>"]
NON_ASCII_SPACES = [chr(code) for code in range(0x80, 0x10000) if chr(code).isspace()]


class HistoryTree(NamedTuple):
    """The histories of a text: history r is history parent_R[r] and one more token, token_R[r].

    Node 0 is the empty history, with parent and token -1; node t is the first t tokens of the
    trunk, t <= T. The other histories follow by rising start, so parents stand before their
    children. `start_R`: the byte of the text where each history ends. All are int64.
    """

    token_R: np.ndarray
    parent_R: np.ndarray
    start_R: np.ndarray


class _Branches(NamedTuple):
    """The histories beside the trunk in a segment: token, parent and start of S histories.

    Parent t >= 0 is the history of t trunk tokens, parent -1 - s is column s; both, like the start,
    count from the start of the segment. `fits`: the segment's own encoding is the trunk's.
    """

    nodes_3S: np.ndarray
    fits: bool


class _Segment(NamedTuple):
    """A part of a text and of its trunk; `starts`: the bytes where the trunk's nodes stand;
    `ends`: those where a character ends."""

    text: bytes
    trunk: tuple[int, ...]
    starts: list[int]
    ends: list[int]


class PrefixEncoder:
    """Builds history trees for one tokenizer."""

    def __init__(self, content: ContentTokenizer) -> None:
        self._content = content
        self._spelt = [spelt or b"" for spelt in content.vocabulary.token_bytes]
        self._length = [len(spelt) for spelt in self._spelt]
        self._id_of: dict[bytes, int] = {}
        for token_id, spelt in enumerate(self._spelt):
            self._id_of.setdefault(spelt, token_id)
        self._may_cut = _pairs_to_cut(content.outline, self._spelt)
        self._branches_of_word = lru_cache(REMEMBERED_SEGMENTS)(self._branches)

    def tree(self, text: bytes, trunk: Sequence[int]) -> HistoryTree:
        """The trunk and encode(text[:n]) for every byte n; `trunk` [T] is the encoding of `text`.

        Where text[:n] ends inside a character, its encoding is that of the whole characters,
        followed by the longest entries that spell the bytes after them (the smallest of equal ids).
        A prefix that the tokenizer cannot spell has no history. No two nodes are equal.
        """
        token_T = tuple(trunk)
        start_R = np.cumsum([0, *(self._length[token] for token in token_T)])
        assert start_R[-1] == len(text), "the tokens of the trunk do not spell the text"
        side_3S, fits = self._side(text, token_T, start_R, self._cuts(text))
        if not fits:
            side_3S, _ = self._side(text, token_T, start_R, np.array([0, len(text)]))
        return HistoryTree(
            token_R=np.concatenate([[-1], token_T, side_3S[0]]).astype(np.int64),
            parent_R=np.concatenate([np.arange(-1, len(token_T)), side_3S[1]]),
            start_R=np.concatenate([start_R, side_3S[2]]),
        )

    def _cuts(self, text: bytes) -> np.ndarray:
        """The bytes at which segments begin, and the end of the text."""
        byte_N = np.frombuffer(text, np.uint8)
        cut_N = self._may_cut[byte_N[:-1], byte_N[1:]]
        cut_N[1:] &= ~ENDS_NON_ASCII_SPACE[byte_N[:-2], byte_N[1:-1]]
        return np.concatenate([[0], np.flatnonzero(cut_N) + 1, [len(text)]])

    def _side(
        self, text: bytes, trunk: tuple[int, ...], start_R: np.ndarray, cuts: np.ndarray
    ) -> tuple[np.ndarray, bool]:
        """Token, parent and start [3, S] of the histories beside the trunk, by rising start; and
        whether every segment's encoding is the trunk's."""
        first = np.searchsorted(start_R, cuts)
        segments = [
            (self._branches_of_word if stop - start <= TAIL else self._branches)(
                text[start:stop], trunk[node:last]
            )
            for (start, stop), (node, last) in zip(
                pairwise(cuts.tolist()), pairwise(first.tolist()), strict=True
            )
        ]
        sizes = np.array([segment.nodes_3S.shape[1] for segment in segments])
        nodes_3S = np.concatenate(
            [segment.nodes_3S for segment in segments], axis=1, dtype=np.int64
        )
        parent_S, start_S = nodes_3S[1:]
        start_S += np.repeat(cuts[:-1], sizes)
        order = np.argsort(start_S, kind="stable")
        node_S = np.empty_like(order)
        node_S[order] = len(trunk) + 1 + np.arange(len(order))

        beside = parent_S < 0
        column_S = np.repeat(np.cumsum(sizes) - sizes, sizes) - 1 - parent_S
        parent_S += np.repeat(first[:-1], sizes)
        parent_S[beside] = node_S[column_S[beside]]
        return nodes_3S[:, order], all(segment.fits for segment in segments)

    def _branches(self, text: bytes, trunk: tuple[int, ...]) -> _Branches:
        """The histories beside the trunk of a segment."""
        child = {(t, token): t + 1 for t, token in enumerate(trunk)}
        nodes: list[tuple[int, int, int]] = []

        def descend(node: int, start: int, tokens: Sequence[int]) -> int:
            for token in tokens:
                start += self._length[token]
                key = node, token
                if key not in child:
                    nodes.append((token, node, start))
                    child[key] = -len(nodes)
                node = child[key]
            return node

        starts = list(accumulate((self._length[token] for token in trunk), initial=0))
        ends = [n for n in range(1, len(text)) if _begins_character(text[n])] + [len(text)]
        segment = _Segment(text, trunk, starts, ends)
        node_at, fits = {0: 0}, True
        for end, t, tokens in self._encodings(segment):
            if end == len(text):
                fits = tuple(tokens) == trunk[t:]
            elif self._spell(tokens) == text[starts[t] : end]:
                shared = _shared(tokens, trunk, t)
                node_at[end] = descend(t + shared, starts[t + shared], tokens[shared:])
        for n, first in _inside_characters(text):
            fragment = self._encode_fragment(text[first:n])
            if first in node_at and fragment:
                descend(node_at[first], first, fragment)
        return _Branches(np.array(nodes, np.int32).reshape(-1, 3).T, fits)

    def _encodings(self, segment: _Segment) -> Iterator[tuple[int, int, list[int]]]:
        """(end, t, tokens) for the end of every character, in order: text[:end] is encoded as t
        tokens of the trunk and then `tokens`."""
        text, _, starts, ends = segment
        t = first = done = 0
        while first < len(ends):
            t = self._closer(segment, t, done)
            last = bisect_right(ends, done + STEP)
            encoded = self._encode([text[starts[t] : end] for end in ends[first:last]])
            yield from zip(ends[first:last], repeat(t), encoded)
            first, done = last, ends[last - 1]

    def _closer(self, segment: _Segment, t: int, end: int) -> int:
        """A trunk node closer to byte `end` than t, yet TAIL away, from which the text that follows
        is encoded as in the trunk; t if the last few are none."""
        text, trunk, starts, ends = segment
        nearest = bisect_right(starts, end - TAIL) - 1
        for node in range(nearest, max(t, nearest - CANDIDATES), -1):
            start = starts[node]
            if _begins_character(text[start]):
                far = ends[bisect_right(ends, start + 4 * TAIL) - 1]
                [tokens] = self._encode([text[start:far]])
                if starts[node + _shared(tokens, trunk, node)] >= min(start + 2 * TAIL, len(text)):
                    return node
        return t

    def _encode(self, texts: Sequence[bytes]) -> list[list[int]]:
        return self._content.encode_each([text.decode() for text in texts])

    def _encode_fragment(self, fragment: bytes) -> list[int]:
        """The tokens that spell the first bytes of a character, longest first; none if they cannot
        be spelt."""
        tokens = []
        while fragment:
            sizes = range(len(fragment), 0, -1)
            size = next((n for n in sizes if fragment[:n] in self._id_of), None)
            if size is None:
                return []
            tokens.append(self._id_of[fragment[:size]])
            fragment = fragment[size:]
        return tokens

    def _spell(self, tokens: Sequence[int]) -> bytes:
        return b"".join([self._spelt[token] for token in tokens])


def _shared(tokens: Sequence[int], trunk: tuple[int, ...], t: int) -> int:
    """How many of the first tokens are those of the trunk after t."""
    expected = trunk[t : t + len(tokens)]
    return next(compress(count(), map(ne, tokens, expected)), len(expected))


def _begins_character(byte: int) -> bool:
    return byte & 0xC0 != 0x80


def _inside_characters(text: bytes) -> Iterator[tuple[int, int]]:
    """Every byte inside a character, and the byte where that character begins."""
    first = 0
    for n, byte in enumerate(text):
        if _begins_character(byte):
            first = n
        else:
            yield n, first


def _pairs_to_cut(specification: dict[str, Any], spelt: Sequence[bytes]) -> np.ndarray:
    """[256, 256]: whether a text may be cut between two bytes, by the module's rule."""
    pairs = np.zeros((256, 256), bool)
    parts = {part["type"] for part in unfold(specification["pre_tokenizer"])}
    added_tokens = [added for added in specification["added_tokens"] if not added["special"]]
    if parts - family_of(specification).short_sighted or any(
        added["single_word"] for added in added_tokens
    ):
        return pairs
    pairs[0x21:0x7F, ord(" ")] = pairs[0x80:, ord(" ")] = True
    if specification["model"]["type"] != "Unigram":
        pairs[np.ix_(WORD_ENDS, AFTER_WORDS)] = True
    byte_N = np.frombuffer(b"".join(spelt), np.uint8)
    is_last_N = np.zeros(len(byte_N), bool)
    is_last_N[np.cumsum([len(entry) for entry in spelt if entry]) - 1] = True
    inside_N = np.flatnonzero(~is_last_N)
    pairs[byte_N[inside_N], byte_N[inside_N + 1]] = False
    return pairs


def _ends_of(characters: Sequence[str]) -> np.ndarray:
    """[256, 256]: whether two bytes are the last two of one of these characters."""
    pairs = np.zeros((256, 256), bool)
    for character in characters:
        pairs[tuple(character.encode()[-2:])] = True
    return pairs


ENDS_NON_ASCII_SPACE = _ends_of(NON_ASCII_SPACES)
