"""Byte heads: a student's distributions of each byte of the tokens that it is trained on.

`LinearHeads` is the paper's: ten projections to the 260 symbols, side by side; head j predicts byte
j of the token and never sees bytes 1..j-1. `CausalHeads` also read the bytes that the token has
spelt so far. `MarginalHead` has no weights: the student's own token distribution is summed to
bytes. A byte student needs none of these: `OutputHead` reads its vocabulary as symbols.

All take the hidden states of a batch, [X, H], X being its rows laid end to end, and give the
log-probabilities of the symbols that they predict.

Shape letters: M predicted symbols, S supervised tokens, J byte numbers, H hidden, D inner width, V
vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from bld.models import output_logits, soft_cap
from bld.scoring.marginal import marginal
from bld.symbols import END, HEAD_BYTES, SPECIAL, SYMBOLS
from bld.tokenization.vocabulary import Vocabulary

if TYPE_CHECKING:
    from bld.training.batches import Batch

CAUSAL_WIDTH = 256
HEADS_FILE = "head.safetensors"


class BytePredictions(NamedTuple):
    """`log_probs_MS` [M, 260] of the batch's symbols `symbol_M`; and, where they come along, the
    log-probabilities of all its supervised tokens."""

    symbol_M: torch.Tensor
    log_probs_MS: torch.Tensor
    token_log_probs_S: torch.Tensor | None = None


class ByteHead(nn.Module, ABC):
    """One interface for all heads."""

    @abstractmethod
    def forward(
        self, lm: PreTrainedModel, hidden_XH: torch.Tensor, batch: Batch
    ) -> BytePredictions:
        """The predictions for a batch."""


class LinearHeads(ByteHead):
    """Ten linear projections, hidden size to 260 (section 3 of arXiv 2604.07466)."""

    def __init__(self, hidden: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        projection = nn.Linear(hidden, HEAD_BYTES * SYMBOLS)
        self.weight, self.bias = projection.weight, projection.bias

    def forward(
        self, lm: PreTrainedModel, hidden_XH: torch.Tensor, batch: Batch
    ) -> BytePredictions:
        """Of the first ten bytes of every token."""
        hidden_SH = hidden_XH[batch.source_S]
        weight_J, bias_J = self.weight.split(SYMBOLS), self.bias.split(SYMBOLS)
        # Byte by byte, so that no projection is computed of bytes that a token does not have.
        symbol, logits = [], []
        for byte, (weight, bias) in enumerate(zip(weight_J, bias_J, strict=True)):
            token = (batch.count_S > byte).nonzero()[:, 0]
            symbol.append(batch.symbol_S[token] + byte)
            logits.append(functional.linear(hidden_SH.index_select(0, token), weight, bias))
        return BytePredictions(torch.cat(symbol), torch.cat(logits).float().log_softmax(-1))


class CausalHeads(ByteHead):
    """Ten heads that share their output and also read the bytes spelt so far in the token.

    Byte j is predicted from GELU(A h + P_j + sum over i < j of E_i[b_i]), with a table E_i for
    every place in the token; the width inside is 256 whatever the hidden size, which keeps it
    light.
    """

    def __init__(self, hidden: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.enter = nn.Linear(hidden, CAUSAL_WIDTH)
        self.spelt = nn.Embedding((HEAD_BYTES - 1) * SYMBOLS, CAUSAL_WIDTH)
        self.place = nn.Embedding(HEAD_BYTES, CAUSAL_WIDTH)
        self.leave = nn.Linear(CAUSAL_WIDTH, SYMBOLS)
        for table in (self.spelt, self.place):
            nn.init.normal_(table.weight, std=CAUSAL_WIDTH**-0.5)

    def forward(
        self, lm: PreTrainedModel, hidden_XH: torch.Tensor, batch: Batch
    ) -> BytePredictions:
        """Of the first ten bytes of every token, given the true ones before each."""
        known_SD = self.enter(hidden_XH[batch.source_S])
        first_S, count_S = batch.symbol_S, batch.count_S
        symbol, inner = [], []
        for byte, place_D in enumerate(self.place.weight):
            # Those tokens go on that have this byte.
            token = (count_S > byte).nonzero()[:, 0]
            first_S, count_S, known_SD = first_S[token], count_S[token], known_SD[token]
            if byte:
                spelt_S = batch.symbols_N[first_S + byte - 1]
                known_SD = known_SD + self.spelt((byte - 1) * SYMBOLS + spelt_S)
            symbol.append(first_S + byte)
            inner.append(known_SD + place_D)
        logits_MS = self.leave(functional.gelu(torch.cat(inner)))
        return BytePredictions(torch.cat(symbol), logits_MS.float().log_softmax(-1))


class MarginalHead(ByteHead):
    """No head: the student's token distributions summed over the histories of the batch."""

    def forward(
        self, lm: PreTrainedModel, hidden_XH: torch.Tensor, batch: Batch
    ) -> BytePredictions:
        """Of every byte and end, however long its token; the tokens' own come along, unless some
        tokens spell nothing: no histories are summed at those."""
        has_all = not batch.has_unspelt
        if batch.histories is None:
            assert not batch.count_S.any(), "the batch was made without histories"
            nothing_SV = output_logits(lm, hidden_XH[batch.source_S]).float()
            return BytePredictions(
                batch.symbol_S,
                nothing_SV.sum() + nothing_SV.new_zeros(0, SYMBOLS),
                nothing_SV.sum(1) if has_all else None,
            )
        device, output = hidden_XH.device, lm.get_output_embeddings()
        log_probs_NS, token_log_probs_S = marginal(
            batch.histories.sums,
            hidden_XH.index_select(0, batch.histories.position_R.to(device)),
            output.weight,
            getattr(output, "bias", None),
            soft_cap(lm),
        )
        log_probs_MS = log_probs_NS.index_select(0, batch.histories.row_M.to(device))
        symbol_M = batch.histories.symbol_M.to(device)
        return BytePredictions(symbol_M, log_probs_MS, token_log_probs_S if has_all else None)


class OutputHead(ByteHead):
    """A byte student's own output head: every token is one byte or an end."""

    def __init__(self, lm: PreTrainedModel, vocabulary: Vocabulary) -> None:
        super().__init__()
        symbols = [
            _symbol(i, vocabulary) for i in range(lm.get_output_embeddings().weight.shape[0])
        ]
        self.symbol_V: torch.Tensor
        self.register_buffer("symbol_V", torch.tensor(symbols), persistent=False)

    def forward(
        self, lm: PreTrainedModel, hidden_XH: torch.Tensor, batch: Batch
    ) -> BytePredictions:
        """Token probabilities summed by symbol; the tokens' own come along."""
        logits_SV = output_logits(lm, hidden_XH[batch.source_S]).float()
        log_probs_SV = logits_SV.log_softmax(-1)
        probs = torch.zeros(len(logits_SV), SYMBOLS, device=logits_SV.device)
        probs = probs.index_add(1, self.symbol_V, log_probs_SV.exp())
        log_probs_SS = probs.clamp_min(torch.finfo(torch.float32).tiny).log()
        tokens_S = log_probs_SV.gather(1, batch.target_S[:, None])[:, 0]
        spells_S = batch.count_S > 0
        return BytePredictions(batch.symbol_S[spells_S], log_probs_SS[spells_S], tokens_S)


TRAINED_HEADS: dict[str, type[LinearHeads] | type[CausalHeads]] = {
    "linear": LinearHeads,
    "causal": CausalHeads,
}


def save_head(weights: dict[str, torch.Tensor], folder: Path) -> None:
    """Write the weights of a trained head, in float32."""
    state = {name: tensor.float().contiguous().cpu() for name, tensor in weights.items()}
    save_file(state, folder / HEADS_FILE)


def load_head(kind: str, hidden: int, folder: Path) -> ByteHead:
    """A trained head from the folder that `save_head` wrote to."""
    head = TRAINED_HEADS[kind](hidden, seed=0)
    head.load_state_dict(load_file(folder / HEADS_FILE))
    return head


def _symbol(token_id: int, vocabulary: Vocabulary) -> int:
    spelt = vocabulary.token_bytes[token_id] if token_id < len(vocabulary) else None
    if spelt is None:
        return END if token_id in vocabulary.end else SPECIAL
    if len(spelt) != 1:
        raise ValueError(
            f"token {token_id} spells {len(spelt)} bytes ({spelt!r}), so this is not a byte "
            "student; use `bld.head: linear`, `causal` or `marginal`"
        )
    return spelt[0]
