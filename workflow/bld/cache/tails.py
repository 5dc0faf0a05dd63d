"""How the mass of tails is spread: a cache stores one mass for all the symbols that it drops at a
byte, and, once for a whole shard, the average shape of such tails.

The average is taken by the most probable symbol of the byte: what else could follow where `e` is
likeliest is other than where a space is. Spread like that, a tail costs a tenth of the information
that it costs spread evenly.

Shape letters: N supervised symbols, S symbols, F kept symbols of a document, end to end.
"""

from __future__ import annotations

import base64
import zlib

import numpy as np

from bld.cache.schema import StoredBytes
from bld.symbols import TRIE_SYMBOLS

ONE_IN = 8  # bytes of a document that are counted
WEIGHT_OF_ALL = 0.1  # tail mass at which a symbol's own average counts as much as that of all
MIN_FRACTION = 1e-8


class TailSums:
    """Sums over tails: at bytes whose most probable symbol is c, `mass_SS[c, s]` is what symbol s
    had of the tails that it was in, and `room_SS[c, s]` how large those tails were."""

    def __init__(self) -> None:
        self.mass_SS = np.zeros((TRIE_SYMBOLS, TRIE_SYMBOLS), np.float32)
        self.room_SS = np.zeros((TRIE_SYMBOLS, TRIE_SYMBOLS), np.float32)

    def add(self, log_probs_NS: np.ndarray, found: StoredBytes) -> None:
        """Count a document's tails in; `found` is what is kept of `log_probs_NS`."""
        sample = slice(None, None, ONE_IN)
        in_tail_NS = ~_is_kept(found)[sample]
        tail_NS = np.where(in_tail_NS, np.exp(log_probs_NS[sample], dtype=np.float64), 0)
        first_N = found.symbols_F[_starts(found)][sample]
        np.add.at(self.mass_SS, first_N, tail_NS)
        np.add.at(self.room_SS, first_N, in_tail_NS * tail_NS.sum(axis=1, keepdims=True))

    def __iadd__(self, other: TailSums) -> TailSums:
        self.mass_SS += other.mass_SS
        self.room_SS += other.room_SS
        return self

    def packed(self) -> str:
        """The sums as a text."""
        return _packed(np.stack([self.mass_SS, self.room_SS]))

    @classmethod
    def unpacked(cls, text: str) -> TailSums:
        """What `packed` has written; raises ValueError if it is damaged."""
        sums, shape = cls(), (2, TRIE_SYMBOLS, TRIE_SYMBOLS)
        sums.mass_SS, sums.room_SS = np.frombuffer(_unpacked(text), np.float32).reshape(shape)
        return sums

    def shape(self) -> str:
        """The shape of tails, as a text: the logarithm of the fraction that a symbol has, on
        average, of the tails that it is in."""
        mass_S, room_S = self.mass_SS.sum(axis=0), self.room_SS.sum(axis=0)
        fraction_S = mass_S / np.maximum(room_S, MIN_FRACTION)
        fraction_SS = (self.mass_SS + WEIGHT_OF_ALL * fraction_S) / (self.room_SS + WEIGHT_OF_ALL)
        return _packed(np.log(np.maximum(fraction_SS, MIN_FRACTION)).astype(np.float16))


def read_shape(text: str) -> np.ndarray:
    """What `TailSums.shape` has written, [S, S]; raises ValueError if it is damaged."""
    return np.frombuffer(_unpacked(text), np.float16).reshape(TRIE_SYMBOLS, TRIE_SYMBOLS)


def spread_tails(found: StoredBytes, log_shape_SS: np.ndarray) -> np.ndarray:
    """Normalised log-probabilities [N, S] of all symbols, the tails spread in this shape."""
    is_kept_NS = _is_kept(found)
    shape_NS = log_shape_SS[found.symbols_F[_starts(found)]].astype(np.float64)
    shape_NS[is_kept_NS] = -np.inf
    log_probs_NS = found.log_tail_N[:, None] + shape_NS
    log_probs_NS -= np.logaddexp.reduce(shape_NS, axis=1, keepdims=True)
    log_probs_NS[_rows(found), found.symbols_F] = found.log_probs_F
    log_probs_NS -= np.logaddexp.reduce(log_probs_NS, axis=1, keepdims=True)
    return np.asarray(log_probs_NS)


def _starts(found: StoredBytes) -> np.ndarray:
    return np.asarray(np.cumsum(found.kept_N, dtype=np.int64) - found.kept_N)


def _rows(found: StoredBytes) -> np.ndarray:
    return np.repeat(np.arange(len(found.kept_N)), found.kept_N)


def _is_kept(found: StoredBytes) -> np.ndarray:
    is_kept_NS = np.zeros((len(found.kept_N), TRIE_SYMBOLS), bool)
    is_kept_NS[_rows(found), found.symbols_F] = True
    return is_kept_NS


def _packed(array: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(array.tobytes())).decode()


def _unpacked(text: str) -> bytes:
    try:
        return zlib.decompress(base64.b64decode(text))
    except zlib.error as error:
        raise ValueError(f"its sums over tails are damaged ({error})") from error
