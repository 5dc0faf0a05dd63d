"""What bytes reveal of a token: the entropies of the teacher's byte distributions along its tokens,
against the entropies of its token distributions.

Let the teacher write a text itself: V its tokens and the end, B the bytes that they spell and END.
Tokens determine bytes, so H(V) = H(B) + H(V | B); and by the chain rule H(V) is the expected sum of
the token entropies H(V_t | v_<t), H(B) that of the byte entropies H(B_n | b_<n). Over the teacher's
own texts, whole, and with byte distributions over all covers, the two sums therefore differ in
expectation by exactly the entropy of the segmentation given the text: by nothing if tokens are
bytes or if the teacher always writes the canonical tokens, by little for a teacher trained on
those.

Of a single token nothing of the kind holds, and what is measured here is the gap:

* Bytes do not show where a token ends. Inside a token, the distribution of the next byte also holds
  the chance that the token has ended already: part of the uncertainty about the next token is paid
  early, in the bytes of this one.
* The last byte's distribution does not say that the token ends there either. That is paid by the
  bytes that follow.
* The byte entropies are taken along the token that the text has, not in expectation over all that
  the teacher might have written; and the text is somebody else's.

Targets for fewer bytes than a token has (the first byte alone, or the first ten, which is all that
ten heads see) leave out the entropy of the other bytes: that loss is read off the rows by position.

Shape letters: T tokens, V vocabulary, N supervised symbols; elsewhere M tokens of all documents, B
their bytes, end to end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from bld.evaluation.measures import entropy
from bld.evaluation.reader import Reader
from bld.scoring.scorer import Scored
from bld.symbols import HEAD_BYTES
from bld.tokenization.rendered import Rendered

ROWS_AT_ONCE = 256


def byte_entropies(scored: Iterable[Scored]) -> Iterator[np.ndarray]:
    """The entropy of every supervised symbol, nats, [N] for each document."""
    return (entropy(one.log_probs_NS) for one in scored)


def token_entropies(rendered: Sequence[Rendered], reader: Reader) -> list[np.ndarray]:
    """The entropy of the token distribution after every position, nats, [T] for each document.

    End tokens count as one outcome and other special tokens as another, as they do among the
    symbols of a byte distribution.
    """
    vocabulary = reader.vocabulary
    spelt = [i for i, text in enumerate(vocabulary.token_bytes) if text is not None]
    outcomes = (spelt, sorted(vocabulary.end), sorted(vocabulary.special - vocabulary.end))
    found: list[np.ndarray] = [np.zeros(0)] * len(rendered)
    for index, log_probs_TV in reader.log_probs([r.ids_T for r in rendered]):
        blocks = log_probs_TV.split(ROWS_AT_ONCE)
        found[index] = torch.cat([_entropy(block, *outcomes) for block in blocks]).cpu().numpy()
    return found


def information(
    rendered: Sequence[Rendered],
    token_entropy: Sequence[np.ndarray],
    byte_entropy: Iterable[np.ndarray],
) -> dict[str, Any]:
    """Token entropies against byte entropies along the same tokens, in bits.

    Counted are the content tokens of supervised turns, not their ends. `by_position`: for the j-th
    byte of a token (the last row: all bytes after the tenth), the tokens that reach it, its mean
    entropy, and `known`, the sum of the entropies of all bytes up to it over that of all token
    entropies. `by_length`: the mean token entropy and the mean sum of byte entropies of the tokens
    with so many bytes. `beyond_heads`: the fractions of tokens, bytes and byte entropy that ten
    byte heads do not see. Raises ValueError if there is no such token.
    """
    token_M, count_M, byte_B = _joined(rendered, token_entropy, byte_entropy)
    first_M = np.cumsum(count_M) - count_M
    position_B = np.arange(len(byte_B)) - np.repeat(first_M, count_M) + 1
    summed_M = np.add.reduceat(byte_B, first_M)
    total = token_M.sum()
    late_B = position_B > HEAD_BYTES
    return {
        "task": "information",
        "documents": len(rendered),
        "tokens": len(token_M),
        "bytes": len(byte_B),
        "token_bits": float(token_M.mean()),
        "byte_bits": float(summed_M.mean()),
        "ratio": _ratio(byte_B.sum(), total),
        "by_position": [
            {
                "position": position,
                "tokens": int((count_M >= position).sum()),
                "byte_bits": float(byte_B[_row(position_B) == position].mean()),
                "known": _ratio(byte_B[_row(position_B) <= position].sum(), total),
            }
            for position in np.unique(_row(position_B)).tolist()
        ],
        "by_length": [
            {
                "length": length,
                "tokens": int((_row(count_M) == length).sum()),
                "token_bits": float(token_M[_row(count_M) == length].mean()),
                "byte_bits": float(summed_M[_row(count_M) == length].mean()),
            }
            for length in np.unique(_row(count_M)).tolist()
        ],
        "beyond_heads": {
            "tokens": float((count_M > HEAD_BYTES).mean()),
            "bytes": float(late_B.mean()),
            "byte_bits": _ratio(byte_B[late_B].sum(), byte_B.sum()),
        },
    }


def _entropy(
    log_probs_TV: torch.Tensor, spelt: list[int], end: list[int], special: list[int]
) -> torch.Tensor:
    probs_TV = log_probs_TV.exp()
    text_T = torch.special.entr(probs_TV[:, spelt]).sum(1)
    others = (torch.special.entr(probs_TV[:, ids].sum(1)) for ids in (end, special))
    return torch.as_tensor(text_T + sum(others))


def _joined(
    rendered: Sequence[Rendered],
    token_entropy: Sequence[np.ndarray],
    byte_entropy: Iterable[np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of all content tokens of supervised turns: entropies in bits [M], how many bytes they spell
    [M], and the entropies of those bytes in bits [B]."""
    tokens, counts, of_bytes = [], [], []
    for one, token_T, byte_N in zip(rendered, token_entropy, byte_entropy, strict=True):
        assert (len(token_T), len(byte_N)) == (len(one), len(one.symbols_N))
        for turn in one.turns:
            tokens.append(token_T[turn.first - 1 : turn.last - 1])
            counts.append(one.count_T[turn.first : turn.last])
            of_bytes.append(byte_N[turn.symbol : turn.symbol + len(turn.text)])
    if not sum(map(len, tokens)):
        raise ValueError("the documents hold no supervised token, so there is nothing to measure")
    token_M, count_M, byte_B = (np.concatenate(parts) for parts in (tokens, counts, of_bytes))
    assert count_M.min() > 0 and count_M.sum() == len(byte_B)
    return token_M / math.log(2), count_M, byte_B / math.log(2)


def _row(position: np.ndarray) -> np.ndarray:
    """The row of a position or a length: its own up to ten, then one for all others."""
    return np.asarray(np.minimum(position, HEAD_BYTES + 1))


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
