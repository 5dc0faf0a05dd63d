"""Which histories are evaluated: the trunk first, then, wave by wave, those with enough weight.

A history's weight is known from its parent before it is evaluated, and what matters about it is its
fraction of the probability of the text before it. So the trunk goes first: the mass that its
histories have at a byte is a lower bound of that probability. Then go the histories whose fraction
exceeds eps, then those of the histories that follow them, and so on; a wave holds the histories of
all texts at once and is one forward pass. The policies differ in what may follow a history:

* trunk: nothing beside the trunk itself;
* prefix: what stands in the batch, the encodings of all prefixes. With eps = 0 all of them are
  known to be wanted, so they are one wave;
* beam: every token that spells the next bytes, of which the `beam_width` heaviest histories are
  kept at
  a byte, those that are alive there counted. All covers, if eps = 0 and the width is large.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch

from bld.arrays import ragged_range, rank_within
from bld.config.settings import Histories
from bld.scoring.history_batch import HistoryBatch
from bld.scoring.mixture import Mixture
from bld.scoring.trie import Trie


class NextTokens(Protocol):
    """A model that reads histories: what comes after each of them."""

    max_depth: int

    def logits(self, histories: HistoryBatch, wave: np.ndarray) -> Iterator[torch.Tensor]:
        """Logits [B, I] in the order of the trie, block by block of the histories in `wave`. Their
        parents are in an earlier wave or stand before them; the first wave is the trunk."""
        ...


def byte_distributions(
    trie: Trie,
    histories: HistoryBatch,
    model: NextTokens,
    policy: Histories,
    dtype: torch.dtype = torch.float32,
) -> tuple[np.ndarray, np.ndarray]:
    """Log P(symbol | text[:n]) [N, 258] for all rows of the batch, and lost mass [N], float64.

    Sums over the vocabulary are taken in `dtype`. The lost mass bounds the fraction of mass, and
    thus the total variation distance, by which dropping histories may have changed a row: against
    all prefixes' encodings for trunk and prefix; for beam against all covers, where it can only
    grow along the text, since nothing is known of what dropped histories would predict later.
    """
    mixture = Mixture(trie, histories, dtype)
    every_cover = policy.histories == "beam"
    wave = np.arange(histories.trunk)
    while wave.size:
        if every_cover:
            _expand(mixture, wave)
        mixture.add(wave, model.logits(histories, wave))
        if wave[0] == 0:
            trunk_log_mass_N = mixture.log_mass()
        wave = _next_wave(mixture, policy, wave, trunk_log_mass_N, model.max_depth)
    return mixture.log_probabilities(), mixture.lost(for_good=every_cover)


def _next_wave(
    mixture: Mixture,
    policy: Histories,
    wave: np.ndarray,
    trunk_log_mass_N: np.ndarray,
    max_depth: int,
) -> np.ndarray:
    """The histories to evaluate after `wave`, by rising number."""
    histories = mixture.histories
    if policy.histories == "trunk":
        return wave[:0]
    readable_R = ~mixture.evaluated_R & (histories.depth_R < max_depth)
    if policy.histories == "prefix" and policy.eps == 0:
        return np.flatnonzero(readable_R)
    follows_R = np.isin(histories.parent_R, wave)
    candidate = np.flatnonzero(readable_R & follows_R)
    log_weight = mixture.log_weight_R[candidate]
    # The trunk alone bounds the text's probability from below: fractions are never too small.
    log_rest = trunk_log_mass_N[histories.start_R[candidate]]
    fraction = np.exp(log_weight - np.logaddexp(log_weight, log_rest))
    candidate = candidate[fraction > policy.eps]
    if policy.histories == "beam":
        candidate = candidate[_is_among_heaviest(mixture, candidate, policy.beam_width)]
    return np.asarray(candidate)


def _expand(mixture: Mixture, wave: np.ndarray) -> None:
    """Add every history that follows one of the wave by a token which spells bytes of the text."""
    trie, histories = mixture.trie, mixture.histories
    alive = trie.walk(histories.text, histories.start_R[wave], histories.stop_R[wave])
    pair, index = ragged_range(trie.lo_M[alive.node_A], trie.exact_hi_M[alive.node_A])
    parent, token = wave[alive.history_A[pair]], trie.ids_I[index]
    size = len(trie.vocabulary)
    new = ~np.isin(parent * size + token, histories.parent_R * size + histories.token_R)
    mixture.grow(parent[new], token[new], alive.position_A[pair[new]])


def _is_among_heaviest(mixture: Mixture, candidate: np.ndarray, width: int) -> np.ndarray:
    """Whether each candidate is one of the `width` heaviest histories at the byte where it ends."""
    row = np.concatenate([*mixture.alive_rows, mixture.histories.start_R[candidate]])
    log_mass = np.concatenate([*mixture.alive_log_masses, mixture.log_weight_R[candidate]])
    rank = rank_within(row, -log_mass)
    return rank[len(row) - len(candidate) :] < width
