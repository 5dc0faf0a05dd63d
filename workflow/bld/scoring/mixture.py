"""From histories to bytes: every alive history's distribution of the next byte, weighted and
summed.

A history is a sequence of committed tokens that ends at byte `start` of the text. At a byte n >=
start it is alive while text[start:n] is a path in the trie; there it gives mass w(history) * sum of
p(v | history) to the next byte, over the tokens v that spell text[start:n] and at least one byte
more. At its own start it also gives mass to END and SPECIAL. The byte distribution is the sum over
the alive histories, normalised (Eq. 3 of arXiv 2604.07466 when all histories are given). Which
histories are given is a policy's business; here they are only summed.

Sums are taken in the precision asked for; weights are float64 logarithms.

Shapes: R histories, W of them in a wave, B in a block, I sorted tokens of the trie, E edges of the
root, A (history, row) pairs alive, N rows, S symbols (258).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from bld.arrays import ragged_range
from bld.scoring.history_batch import HistoryBatch
from bld.scoring.trie import Alive, Ranges, Trie, tiled_sums
from bld.symbols import TRIE_SYMBOLS

# The largest exponential is e^60: float32 then reaches down to e^-147 of it, and not to e^-87.
LARGEST = 60.0


class Mixture:
    """The histories of a batch that were evaluated so far, and their sums.

    `log_weight_R`: log-probability of each history, known (`known_R`) as soon as its parent is
    evaluated (`evaluated_R`).
    """

    def __init__(
        self, trie: Trie, histories: HistoryBatch, dtype: torch.dtype = torch.float32
    ) -> None:
        self.trie, self.histories, self._dtype = trie, histories, dtype
        self.known_R = histories.parent_R < 0
        self.log_weight_R = np.where(self.known_R, 0.0, -np.inf)
        self.evaluated_R = np.zeros(len(histories), bool)
        rows = len(histories.text)
        # The masses of a row are held relative to the largest that one history has there so far.
        self._mass_NS = torch.zeros(rows, TRIE_SYMBOLS, dtype=torch.float64)
        self._log_scale_N = np.full(rows, -np.inf)
        self.alive_rows: list[np.ndarray] = []
        self.alive_log_masses: list[np.ndarray] = []

    def add(self, wave: np.ndarray, blocks: Iterable[torch.Tensor]) -> None:
        """Evaluate the histories `wave` [W]; `blocks` hold their logits [B, I] in the trie's order.

        The parents of all of them must be evaluated, or stand before them in the wave; the first
        wave is the trunk. Blocks are overwritten.
        """
        histories = self.histories
        start_W, stop_W = histories.start_R[wave], histories.stop_R[wave]
        inside = self.trie.walk_inside(histories.text, start_W, stop_W)
        child, child_row = self._children(wave)
        roots, parts, log_prob, first = [], [], [], 0
        for logits_BI in blocks:
            logits_BI = logits_BI.to(self._dtype)
            last = first + len(logits_BI)
            kids = slice(*np.searchsorted(child_row, [first, last]))
            pairs = slice(*np.searchsorted(inside.history_A, [first, last]))
            rank = self.trie.rank_V[histories.token_R[child[kids]]]
            logit = _at(logits_BI, child_row[kids] - first, rank)
            root_BS, log_total_B, sums = _sums(
                self.trie, logits_BI, inside.history_A[pairs] - first, inside.node_A[pairs]
            )
            roots.append(root_BS)
            parts.append((sums[0] + pairs.start, *sums[1:]))
            log_prob.append(logit - log_total_B[child_row[kids] - first])
            first = last
        assert first == len(wave), f"{first} rows of logits for {len(wave)} histories"
        self._set_weights(child, np.concatenate(log_prob))
        self.evaluated_R[wave] = True
        pair, symbol, mass = (np.concatenate(column) for column in zip(*parts, strict=True))
        self._accumulate(wave, np.concatenate(roots), inside, pair, symbol, mass)

    def grow(self, parent: np.ndarray, token: np.ndarray, start: np.ndarray) -> None:
        """Add histories to the batch, see `HistoryBatch.grow`; their parents are not evaluated
        yet."""
        self.histories.grow(parent, token, start)
        new = len(token)
        self.known_R = np.append(self.known_R, np.zeros(new, bool))
        self.evaluated_R = np.append(self.evaluated_R, np.zeros(new, bool))
        self.log_weight_R = np.append(self.log_weight_R, np.full(new, -np.inf))

    def _children(self, wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The histories whose parent is in the wave, and where it stands there, by rising place."""
        place_R = np.full(len(self.histories), -1)
        place_R[wave] = np.arange(len(wave))
        parent = self.histories.parent_R
        child = np.flatnonzero((parent >= 0) & (place_R[parent] >= 0))
        child = child[np.argsort(place_R[parent[child]], kind="stable")]
        return child, place_R[parent[child]]

    def _set_weights(self, child: np.ndarray, log_prob: np.ndarray) -> None:
        histories, log_weight_R = self.histories, self.log_weight_R
        log_prob_R = np.zeros(len(histories))
        log_prob_R[child] = log_prob
        if child.size and not self.known_R[: histories.trunk].all():
            total_T = np.cumsum(log_prob_R[: histories.trunk])
            is_first = histories.parent_R[: histories.trunk] < 0
            first_T = np.maximum.accumulate(np.where(is_first, np.arange(histories.trunk), 0))
            log_weight_R[: histories.trunk] = total_T - total_T[first_T]
            self.known_R[: histories.trunk] = True
        child = child[~self.known_R[child]]
        while child.size:
            ready = self.known_R[histories.parent_R[child]]
            assert ready.any(), "a history was evaluated before its parent"
            node, child = child[ready], child[~ready]
            log_weight_R[node] = log_weight_R[histories.parent_R[node]] + log_prob_R[node]
            self.known_R[node] = True

    def _accumulate(
        self,
        wave: np.ndarray,
        root_WS: np.ndarray,
        inside: Alive,
        pair: np.ndarray,
        symbol: np.ndarray,
        mass: np.ndarray,
    ) -> None:
        start_W, log_weight_W = self.histories.start_R[wave], self.log_weight_R[wave]
        mass_A = np.bincount(pair, mass, minlength=len(inside.history_A))
        with np.errstate(divide="ignore"):
            log_mass_A = log_weight_W[inside.history_A] + np.log(mass_A)
        self._rescale(start_W, log_weight_W)
        self._rescale(inside.position_A, log_mass_A)
        scale_W = np.exp(log_weight_W - self._log_scale_N[start_W])
        weighted_WS = torch.from_numpy(root_WS) * torch.from_numpy(scale_W)[:, None]
        self._mass_NS.index_add_(0, torch.from_numpy(start_W), weighted_WS)
        scale_A = np.zeros(len(mass_A))
        heavy = mass_A > 0
        log_scale_A = self._log_scale_N[inside.position_A[heavy]]
        scale_A[heavy] = np.exp(log_mass_A[heavy] - log_scale_A) / mass_A[heavy]
        cell = inside.position_A[pair] * TRIE_SYMBOLS + symbol
        weighted = torch.from_numpy(scale_A[pair] * mass)
        self._mass_NS.view(-1).scatter_add_(0, torch.from_numpy(cell), weighted)
        self.alive_rows += [start_W, inside.position_A]
        self.alive_log_masses += [log_weight_W, log_mass_A]

    def _rescale(self, row: np.ndarray, log_weight: np.ndarray) -> None:
        before_N = self._log_scale_N.copy()
        np.maximum.at(self._log_scale_N, row, log_weight)
        grown = np.flatnonzero((self._log_scale_N > before_N) & np.isfinite(before_N))
        if grown.size:
            factor = torch.from_numpy(np.exp(before_N[grown] - self._log_scale_N[grown]))
            self._mass_NS[torch.from_numpy(grown)] *= factor[:, None]

    def log_mass(self) -> np.ndarray:
        """Log P(text[:n]) [N] over the histories evaluated so far."""
        return np.asarray(self._mass_NS.sum(1).log().numpy() + self._log_scale_N)

    def log_probabilities(self) -> np.ndarray:
        """Log P(symbol | text[:n]) [N, S], float64; nan where no history leaves any mass."""
        return (self._mass_NS / self._mass_NS.sum(1, keepdim=True)).log_().numpy()

    def lost(self, for_good: bool) -> np.ndarray:
        """An upper bound [N] of the fraction of mass that dropped histories would have, float64.

        Dropped are known histories that were not evaluated, with all that would follow them. At
        most their weight is missing at a row: `for_good` at all rows after them (when every cover
        counts), else while they or a history of the batch that follows them is alive.
        """
        histories = self.histories
        dropped = np.flatnonzero(self.known_R & ~self.evaluated_R)
        last = histories.stop_R[dropped] if for_good else self._reach(dropped)
        pair, row = ragged_range(histories.start_R[dropped], last + 1)
        rows = len(histories.text)
        log_lost_N = _log_sum_exp_by(row, self.log_weight_R[dropped][pair], rows)
        log_mass_N = self.log_mass()
        with np.errstate(invalid="ignore"):
            return np.asarray(np.exp(log_lost_N - np.logaddexp(log_lost_N, log_mass_N)))

    def _reach(self, dropped: np.ndarray) -> np.ndarray:
        """The last row at which each dropped history, or one that follows it, is alive."""
        histories = self.histories
        node = np.flatnonzero(~self.evaluated_R)
        reach_R = histories.start_R.copy()
        alive = self.trie.walk(histories.text, histories.start_R[node], histories.stop_R[node])
        np.maximum.at(reach_R, node[alive.history_A], alive.position_A)
        while node.size:
            node = node[~self.known_R[node]]
            parent = histories.parent_R[node]
            np.maximum.at(reach_R, parent, reach_R[node])
            node = np.unique(parent)
        return np.asarray(reach_R[dropped])


def _sums(
    trie: Trie, logits_BI: torch.Tensor, row_A: np.ndarray, node_A: np.ndarray
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Probabilities summed by next symbol, at the root of every row and at every pair's node.

    Returns [B, S] of the roots; log of the sum of exponentials [B], float64; and for every pair and
    edge of its node: index of the pair, symbol, probability.
    """
    top_B = logits_BI.amax(dim=1, keepdim=True) - LARGEST
    values_BI = logits_BI.sub_(top_B).exp_()
    root_symbols_E = trie.edge_symbol_E[: trie.first_edge_M1[1]]
    root_BE = tiled_sums(values_BI, trie.lo_M[1 : len(root_symbols_E) + 1]).cpu().numpy()
    total_B = root_BE.sum(axis=1, dtype=np.float64)
    log_total_B = np.log(total_B) + top_B[:, 0].cpu().numpy()
    ranges = Ranges(trie, values_BI.shape[1], row_A, node_A)
    pair = ranges.pair_P
    scale_B = 1 / total_B  # float64: what is left of e^-147 would be nothing in float32
    root_BS = np.zeros((len(root_BE), TRIE_SYMBOLS))
    root_BS[:, root_symbols_E] = root_BE * scale_B[:, None]
    mass = ranges.sums(values_BI).cpu().numpy() * scale_B[row_A[pair]]
    return root_BS, log_total_B, (pair, ranges.symbol_P, mass)


def _at(logits_BI: torch.Tensor, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    device = logits_BI.device
    index = torch.from_numpy(row).to(device), torch.from_numpy(column).to(device)
    return logits_BI[index].double().cpu().numpy()


def _log_sum_exp_by(key: np.ndarray, log_value: np.ndarray, size: int) -> np.ndarray:
    """The log-sum-exp [size] of the values with one key; -inf where there is none."""
    top = np.full(size, -np.inf)
    np.maximum.at(top, key, log_value)
    top[np.isneginf(top)] = 0
    with np.errstate(divide="ignore"):
        return top + np.log(np.bincount(key, np.exp(log_value - top[key]), minlength=size))
