"""A model's own token distributions summed to bytes, differentiably: what `mixture` computes, for
training.

Every history's logits are computed from its hidden state, summed over ranges of the sorted
vocabulary and, but for a few blocks of them, thrown away; the backward pass computes them again, so
that tokens x vocabulary never stand in memory. The token log-probabilities, which the cross-entropy
needs, come from the same logits.

Shapes: R histories, B of them in a block, H hidden, V vocabulary, I sorted tokens, E edges of the
root, A (history, node) pairs alive, P (pair, edge) pairs, C histories with a parent, N rows, S
symbols (260).
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from bld.arrays import LOGITS_AT_ONCE, ragged_range
from bld.scoring.history_batch import HistoryBatch
from bld.scoring.mixture import LARGEST
from bld.scoring.trie import Ranges, Trie, tiled_sums
from bld.symbols import MIN_PROBABILITY, SYMBOLS

MIN_BLOCK_ROWS = 64
BLOCK_ELEMENTS = LOGITS_AT_ONCE | {"cpu": 1 << 21}
KEPT_BLOCKS = 4  # whose values the backward pass need not compute again
UNSPELT = float(np.log(np.float32(MIN_PROBABILITY)))  # no gradient flows to what is less probable


class Vocabulary(NamedTuple):
    """A trie, and the ids of a model's logits in its order: `order_V` has those of the trie first,
    then those that the tokenizer does not know (padding). `rank_V`: where an id stands in it."""

    trie: Trie
    order_V: np.ndarray
    rank_V: np.ndarray


def vocabulary_of(trie: Trie, logits: int) -> Vocabulary:
    """For a model with so many logits."""
    absent = np.setdiff1d(np.arange(logits), trie.ids_I)
    order_V = np.concatenate([trie.ids_I, absent])
    return Vocabulary(trie, order_V, np.argsort(order_V))


class Sums:
    """Which sums are taken over a batch of histories: all that depends on its texts alone.

    `token_R`: the token after each history whose log-probability is asked for, -1 where none is.
    """

    def __init__(
        self, vocabulary: Vocabulary, histories: HistoryBatch, token_R: np.ndarray
    ) -> None:
        self.vocabulary, self.histories = vocabulary, histories
        text, start_R, stop_R = histories.text, histories.start_R, histories.stop_R
        alive = vocabulary.trie.walk_inside(text, start_R, stop_R)
        self.history_A, self.node_A, self.position_A = alive
        child = np.flatnonzero(histories.parent_R >= 0)
        asked = np.flatnonzero(token_R >= 0)
        # Log-probabilities of single tokens: of each history's last one, then of those asked for.
        self.child_C = child
        self.after = np.concatenate([histories.parent_R[child], asked])
        self.rank = vocabulary.rank_V[np.concatenate([histories.token_R[child], token_R[asked]])]
        first = np.arange(len(histories)) * (histories.parent_R < 0)
        self.first_R = np.maximum.accumulate(first[: histories.trunk])


class Found(NamedTuple):
    """`byte_log_probs_NS`: float32 log-probabilities of the symbols at every row of the batch; what
    is impossible has e^-69. `token_log_probs`: of the tokens asked for, among all logits, in the
    order of their histories."""

    byte_log_probs_NS: torch.Tensor
    token_log_probs: torch.Tensor


def marginal(
    sums: Sums,
    hidden_RH: torch.Tensor,
    weight_VH: torch.Tensor,
    bias_V: torch.Tensor | None = None,
    soft_cap: float | None = None,
    block_rows: int | None = None,
) -> Found:
    """Sum the distributions after the histories of a batch, given their hidden states and the
    output head; gradients flow to all of them, through the weights of the histories too. Logits are
    computed for `block_rows` histories at once, by default for as many as fit."""
    device = hidden_RH.device
    order_V = torch.from_numpy(sums.vocabulary.order_V).to(device)
    weight_VH = weight_VH.index_select(0, order_V)
    bias_V = None if bias_V is None else bias_V.index_select(0, order_V)
    fitting = BLOCK_ELEMENTS[device.type] // len(weight_VH)
    step = block_rows or max(MIN_BLOCK_ROWS, fitting)
    blocks = _blocks(sums, len(weight_VH), step, device)
    root_RS, log_pair_P, log_token, log_known_R = _RangeSums.apply(  # type: ignore[no-untyped-call]
        hidden_RH, weight_VH, bias_V, soft_cap, sums, blocks
    )
    children = len(sums.child_C)
    log_weight_R = _weights(sums, log_token[:children].double())
    after = torch.from_numpy(sums.after[children:]).to(device)
    asked = log_token[children:] + log_known_R.index_select(0, after)
    return Found(_rows(sums, blocks, log_weight_R, root_RS, log_pair_P), asked)


def _weights(sums: Sums, log_prob_C: torch.Tensor) -> torch.Tensor:
    """Log-probability [R] of every history, float64; that of a span's first one is 0."""
    histories, device = sums.histories, log_prob_C.device
    trunk, child = histories.trunk, torch.from_numpy(sums.child_C).to(device)
    log_prob_R = log_prob_C.new_zeros(len(histories)).index_copy(0, child, log_prob_C)
    total_T = log_prob_R[:trunk].cumsum(0)
    before_T = total_T.index_select(0, torch.from_numpy(sums.first_R).to(device))
    log_weight_R = torch.cat([total_T - before_T, log_prob_R[trunk:]])
    known = np.arange(len(histories)) < trunk
    while not known.all():
        node = np.flatnonzero(~known & known[histories.parent_R])
        index = torch.from_numpy(node).to(device)
        parent = torch.from_numpy(histories.parent_R[node]).to(device)
        log_weight_R = log_weight_R.index_add(0, index, log_weight_R.index_select(0, parent))
        known[node] = True
    return log_weight_R


def _rows(
    sums: Sums,
    blocks: list[_Block],
    log_weight_R: torch.Tensor,
    root_RS: torch.Tensor,
    log_pair_P: torch.Tensor,
) -> torch.Tensor:
    """Log-probabilities [N, S] of the symbols, float32, from those of every history."""
    histories, device = sums.histories, log_pair_P.device
    pair = np.concatenate([block.pair_P for block in blocks])
    symbol = np.concatenate([block.ranges.symbol_P for block in blocks])
    row = sums.position_A[pair]
    columns = histories.start_R, row, sums.history_A[pair], row * SYMBOLS + symbol
    start_R, row_P, history_P, cell_P = (torch.from_numpy(c).to(device) for c in columns)

    # Relative to the largest mass that one history gives to a symbol there: float32 is enough.
    log_weight_P = log_weight_R.index_select(0, history_P)
    with torch.no_grad():
        scale_N = log_weight_R.new_full((len(histories.text),), -torch.inf)
        scale_N.scatter_reduce_(0, start_R, log_weight_R, "amax")
        scale_N.scatter_reduce_(0, row_P, log_weight_P + log_pair_P, "amax")
    mass_RS = root_RS * (log_weight_R - scale_N[start_R]).float().exp()[:, None]
    mass_P = (log_pair_P + (log_weight_P - scale_N[row_P]).float()).exp()
    nothing = mass_P.new_full((len(histories.text) * SYMBOLS,), torch.finfo(torch.float32).tiny)
    mass_NS = nothing.index_add_(0, cell_P, mass_P).view(-1, SYMBOLS)
    mass_NS = mass_NS.index_add(0, start_R, mass_RS)
    return (mass_NS.log() - mass_NS.sum(1, keepdim=True).log()).clamp_min(UNSPELT)


class _Block(NamedTuple):
    """Some consecutive histories (`rows`). `pairs`: their (pair, edge) pairs in the order of the
    blocks; `row_P`: whose each is. `token`: the single tokens after them; `row`, `rank`: after
    which and which."""

    rows: slice
    ranges: Ranges
    pair_P: np.ndarray
    pairs: slice
    row_P: torch.Tensor
    token: torch.Tensor
    row: torch.Tensor
    rank: torch.Tensor


def _blocks(sums: Sums, size: int, step: int, device: torch.device) -> list[_Block]:
    count, done = len(sums.histories), 0
    blocks = []
    for first in range(0, count, step):
        last = min(first + step, count)
        inside = slice(*np.searchsorted(sums.history_A, [first, last]))
        row_A = sums.history_A[inside] - first
        ranges = Ranges(sums.vocabulary.trie, size, row_A, sums.node_A[inside])
        pairs = slice(done, done := done + len(ranges.pair_P))
        token = np.flatnonzero((sums.after >= first) & (sums.after < last))
        indexes = row_A[ranges.pair_P], token, sums.after[token] - first, sums.rank[token]
        on_device = (torch.from_numpy(index).to(device) for index in indexes)
        pair_P = ranges.pair_P + inside.start
        blocks.append(_Block(slice(first, last), ranges, pair_P, pairs, *on_device))
    return blocks


class _RangeSums(torch.autograd.Function):
    """Sums of probabilities over the trie's tokens: [R, S] by the root's edges; logarithms [P] by
    those of inner nodes, and of single tokens; and the logarithm [R] of the probability that the
    trie's tokens have among all logits. The head's rows are in the vocabulary's order."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_RH: torch.Tensor,
        weight_VH: torch.Tensor,
        bias_V: torch.Tensor | None,
        soft_cap: float | None,
        sums: Sums,
        blocks: list[_Block],
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """See the class."""
        trie, device = sums.vocabulary.trie, hidden_RH.device
        inner, roots = len(trie.ids_I), int(trie.first_edge_M1[1])
        symbol_E = torch.from_numpy(trie.edge_symbol_E[:roots]).to(device)

        def zeros(*size: int) -> torch.Tensor:
            return torch.zeros(size, device=device)

        root_RS, log_pair_P = zeros(len(hidden_RH), SYMBOLS), zeros(blocks[-1].pairs.stop)
        log_token, log_known_R = zeros(len(sums.after)), zeros(len(hidden_RH))
        top_R1, total_R1 = zeros(len(hidden_RH), 1), zeros(len(hidden_RH), 1)
        kept: list[torch.Tensor] = []
        for block in blocks:
            logits_BV = _logits(hidden_RH[block.rows], weight_VH, bias_V, soft_cap)
            logit = logits_BV[block.row, block.rank]
            top_B1 = logits_BV.amax(1, keepdim=True) - LARGEST
            values_BV = logits_BV.sub_(top_B1).exp_()
            root_BE = tiled_sums(values_BV[:, :inner], trie.lo_M[1 : roots + 1])
            total_B1 = root_BE.sum(1, keepdim=True)
            log_total_B1 = total_B1.log()
            root_RS[block.rows, symbol_E] = root_BE / total_B1
            sum_P = block.ranges.sums(values_BV)
            log_pair_P[block.pairs] = sum_P.log() - log_total_B1[block.row_P, 0]
            log_token[block.token] = logit - (top_B1 + log_total_B1)[block.row, 0]
            others_B1 = values_BV[:, inner:].sum(1, keepdim=True)
            log_known_R[block.rows] = -torch.log1p(others_B1 / total_B1)[:, 0]
            top_R1[block.rows], total_R1[block.rows] = top_B1, total_B1
            if soft_cap is None and len(kept) < KEPT_BLOCKS:
                kept.append(values_BV)
        found = root_RS, log_pair_P, log_token, log_known_R
        inputs = hidden_RH, weight_VH, bias_V
        ctx.save_for_backward(*inputs, top_R1, total_R1, *found, *kept)
        ctx.sums, ctx.blocks, ctx.soft_cap = sums, blocks, soft_cap
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        """Gradients of the hidden states, the head and its bias."""
        hidden_RH, weight_VH, bias_V, top_R1, total_R1, *found = ctx.saved_tensors
        root_RS, log_pair_P, _, log_known_R, *kept = found
        grad_root_RS, grad_pair_P, grad_token, grad_known_R = grads
        trie, device = ctx.sums.vocabulary.trie, hidden_RH.device
        inner, roots = len(trie.ids_I), int(trie.first_edge_M1[1])
        length_E = np.diff(trie.lo_M[1 : roots + 1], append=inner)
        symbol_I = torch.from_numpy(np.repeat(trie.edge_symbol_E[:roots], length_E)).to(device)
        grad_hidden = torch.empty_like(hidden_RH)
        trained = ctx.needs_input_grad[1]
        grad_weight = torch.zeros_like(weight_VH, dtype=torch.float32) if trained else None
        grad_bias = None if bias_V is None else torch.zeros_like(bias_V, dtype=torch.float32)
        for block, values_BV in zip_longest(ctx.blocks, kept):
            rows, pairs, bend_BV = block.rows, block.pairs, None
            if values_BV is None:
                logits_BV = _logits(hidden_RH[rows], weight_VH, bias_V, ctx.soft_cap)
                if ctx.soft_cap is not None:
                    bend_BV = 1 - (logits_BV / ctx.soft_cap) ** 2
                values_BV = logits_BV.sub_(top_R1[rows]).exp_()
            # What the normalisations give to every logit, then d log(sum) / d logit = value / sum.
            given_B = (grad_root_RS[rows] * root_RS[rows]).sum(1)
            given_B.index_add_(0, block.row_P, grad_pair_P[pairs])
            given_B.index_add_(0, block.row, grad_token[block.token])
            total_B1, share_B = total_R1[rows], log_known_R[rows].exp()
            inside_B1 = (grad_known_R[rows] * (1 - share_B) - given_B)[:, None]
            by_symbol_BS = (inside_B1 + grad_root_RS[rows]) / total_B1
            slope_BV = torch.empty_like(values_BV)
            torch.index_select(by_symbol_BS, 1, symbol_I, out=slope_BV[:, :inner])
            slope_BV[:, inner:] = -(grad_known_R[rows] * share_B)[:, None] / total_B1
            ragged = ragged_range(block.ranges.lo_P, block.ranges.hi_P)
            owner, place = (torch.from_numpy(index).to(device) for index in ragged)
            log_sum_P = log_pair_P[pairs] + total_B1.log()[block.row_P, 0]
            by_pair_P = _over(grad_pair_P[pairs], log_sum_P)
            slope_BV.view(-1).index_add_(0, place, by_pair_P.index_select(0, owner))
            slope_BV.mul_(values_BV)
            slope_BV.index_put_((block.row, block.rank), grad_token[block.token], accumulate=True)
            if bend_BV is not None:
                slope_BV.mul_(bend_BV)
            slope_BV = slope_BV.to(weight_VH.dtype)
            grad_hidden[rows] = slope_BV @ weight_VH
            if grad_weight is not None:
                grad_weight += slope_BV.T @ hidden_RH[rows]
            if grad_bias is not None:
                grad_bias += slope_BV.sum(0)
        of_head = (None if g is None else g.to(weight_VH.dtype) for g in (grad_weight, grad_bias))
        return grad_hidden, *of_head, None, None, None


def _logits(
    hidden_BH: torch.Tensor,
    weight_VH: torch.Tensor,
    bias_V: torch.Tensor | None,
    soft_cap: float | None,
) -> torch.Tensor:
    """Logits [B, V], float32."""
    logits_BV = functional.linear(hidden_BH, weight_VH, bias_V).float()
    if soft_cap is not None:
        logits_BV.div_(soft_cap).tanh_().mul_(soft_cap)
    return logits_BV


def _over(grad: torch.Tensor, log_sum: torch.Tensor) -> torch.Tensor:
    """Gradient over the sum; sums of nothing get nothing."""
    return torch.where(log_sum > -torch.inf, grad * (-log_sum).exp(), 0.0)
