"""Byte heads: from the hidden state that predicts a token to the distribution of each of its bytes.

`LinearHeads` is the paper's: ten projections to the 260 symbols, side by side; head j predicts byte
j of the token and never sees bytes 1..j-1. A byte student needs no head of its own: `OutputHead`
reads its vocabulary as symbols.

Both take hidden states [M, H] and the byte number of each, [M], and return log-probabilities [M,
260].

Shape letters: M (token, byte) pairs, H hidden, V vocabulary.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from bld.models import output_logits
from bld.tokenization.symbols import END, SPECIAL, SYMBOLS
from bld.tokenization.vocabulary import Vocabulary

HEAD_BYTES = 10
HEADS_FILE = "head.safetensors"


class ByteHead(nn.Module):
    """What every head has: the number of bytes of a token that it predicts."""

    max_bytes: int


class LinearHeads(ByteHead):
    """Ten linear projections, hidden size to 260 (section 3 of arXiv 2604.07466)."""

    max_bytes = HEAD_BYTES

    def __init__(self, hidden: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.projection = nn.Linear(hidden, HEAD_BYTES * SYMBOLS)

    def forward(
        self, hidden_SH: torch.Tensor, token_M: torch.Tensor, byte_M: torch.Tensor
    ) -> torch.Tensor:
        """Log-probabilities [M, 260] of byte `byte_M` of the token that `hidden_SH[token_M]`
        predicts."""
        symbols = self.projection(hidden_SH).view(-1, SYMBOLS)
        return symbols[token_M * HEAD_BYTES + byte_M].float().log_softmax(-1)

    @classmethod
    def load(cls, folder: Path) -> LinearHeads:
        """Read what `save_heads` wrote."""
        state = load_file(folder / HEADS_FILE)
        heads = cls(state["projection.weight"].shape[1], seed=0)
        heads.load_state_dict(state)
        return heads


def save_heads(weights: dict[str, torch.Tensor], folder: Path) -> None:
    """Write the weights of linear heads, in float32."""
    state = {name: tensor.float().contiguous().cpu() for name, tensor in weights.items()}
    save_file(state, folder / HEADS_FILE)


class OutputHead(ByteHead):
    """A byte student's own output head: every token is one byte or an end."""

    max_bytes = 1

    def __init__(self, lm: PreTrainedModel, vocabulary: Vocabulary) -> None:
        super().__init__()
        self._lm = [lm]  # in a list: the model is the trainer's, not a submodule of this one
        symbols = [
            _symbol(i, vocabulary) for i in range(lm.get_output_embeddings().weight.shape[0])
        ]
        self.symbol_V: torch.Tensor
        self.register_buffer("symbol_V", torch.tensor(symbols), persistent=False)

    def forward(
        self, hidden_SH: torch.Tensor, token_M: torch.Tensor, byte_M: torch.Tensor
    ) -> torch.Tensor:
        """Log-probabilities [M, 260]: token probabilities summed by symbol."""
        probs_SV = output_logits(self._lm[0], hidden_SH).float().softmax(-1)
        probs_S = torch.zeros(len(hidden_SH), SYMBOLS, device=hidden_SH.device)
        sums = probs_S.index_add(1, self.symbol_V, probs_SV)
        return sums.clamp_min(torch.finfo(torch.float32).tiny).log()[token_M]


def _symbol(token_id: int, vocabulary: Vocabulary) -> int:
    spelt = vocabulary.token_bytes[token_id] if token_id < len(vocabulary) else None
    if spelt is None:
        return END if token_id in vocabulary.end else SPECIAL
    if len(spelt) != 1:
        raise ValueError(
            f"token {token_id} spells {len(spelt)} bytes ({spelt!r}), so this is not a byte student; "
            "use `bld.head: linear`"
        )
    return spelt[0]
