"""The trunk policy: the histories are the prefixes of the canonical encoding of the whole text.

It costs one forward pass and is biased, for the boundaries of the whole text's tokens tell about
bytes not yet read: it is the control against which better policies are judged.

Shapes: T tokens of the turn, R = T + 1 histories, V vocabulary, N bytes of the turn and its end,
S symbols (258).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bld.covers.mixture import Histories, mix
from bld.covers.trie import Trie

if TYPE_CHECKING:
    import torch


def trunk_distributions(
    trie: Trie,
    log_probs: np.ndarray | torch.Tensor,
    token_ids: Sequence[int],
    text: bytes,
) -> tuple[np.ndarray, np.ndarray]:
    """Byte distributions of one supervised turn over its trunk histories.

    `log_probs` [T + 1, V], float32, on the CPU (a tensor is read without a copy): row i is the
    log-distribution of the token after the fixed context and the first i tokens of the turn, with
    absent ids masked before normalising. `token_ids` [T] spell `text`.

    Returns log P(symbol | text[:n]) [N, S] and lost [N], both float32; row n = len(text) is the end
    of the turn, where END is the true symbol. lost[n] is the share of the mass known at byte n that
    leaves the trunk exactly there: tokens that end at n, from a trunk history alive at n, other
    than the trunk's own. It is only what is dropped at that byte (what was dropped earlier is no
    longer known), so it is no bound on the error.

    Raises ValueError where the tokens do not spell the text, where the model gives one of them
    probability zero, and where the shape of `log_probs` does not fit.
    """
    log_probs_RV = np.asarray(log_probs)
    expected = (len(token_ids) + 1, len(trie.vocabulary))
    if log_probs_RV.shape != expected:
        raise ValueError(
            f"log_probs: expected shape {expected}, a row before each of {len(token_ids)} tokens "
            f"and one after the last, a column per vocabulary entry; found {log_probs_RV.shape}"
        )
    histories = _trunk(log_probs_RV, token_ids, _token_ends(trie, token_ids, text))
    log_P_NS, lost_N = mix(trie, log_probs_RV, histories, text)
    return log_P_NS.astype(np.float32), lost_N.astype(np.float32)


def _trunk(log_probs_RV: np.ndarray, token_ids: Sequence[int], end_T: list[int]) -> Histories:
    token_T = np.array(token_ids, np.int64)
    chosen_T = log_probs_RV[np.arange(len(token_T)), token_T].astype(np.float64)
    for t in np.flatnonzero(~np.isfinite(chosen_T))[:1]:
        raise ValueError(
            f"token {t} of the turn (id {token_T[t]}): its log-probability is {chosen_T[t]}, so "
            "nothing after it has a distribution; was its id masked as absent?"
        )
    return Histories(
        start_R=np.array([0, *end_T], np.int64),
        log_weight_R=np.concatenate([[0.0], np.cumsum(chosen_T)]),
        parent_R=np.arange(-1, len(token_T)),
        token_R=np.concatenate([[-1], token_T]),
    )


def _token_ends(trie: Trie, token_ids: Sequence[int], text: bytes) -> list[int]:
    """The byte at which each token ends [T]; ValueError unless the tokens spell the text."""
    ends, offset = [], 0
    for t, token in enumerate(token_ids):
        spelt = trie.vocabulary.token_bytes[token]
        if not spelt:
            raise ValueError(
                f"token {t} of the turn (id {token}), at byte {offset} of the text, spells no "
                "bytes; a turn's tokens are content, special tokens belong to the fixed context"
            )
        found = text[offset : offset + len(spelt)]
        if spelt != found:
            raise ValueError(
                f"token {t} of the turn (id {token}) spells {spelt!r}, but the text has {found!r} "
                f"at byte {offset}; the tokens must be those of this text"
            )
        offset += len(spelt)
        ends.append(offset)
    if offset != len(text):
        raise ValueError(
            f"the tokens spell the first {offset} bytes of a text of {len(text)}; "
            f"{text[offset : offset + 20]!r} is left"
        )
    return ends
