"""Log-probabilities and losses of a student's tokens, block by block: logits of tokens x vocabulary
never stand in memory.

The loss of the tokens themselves is torch's own fused function, or, for models that cap their
logits, goes by blocks that are computed again in the backward pass, like everything else here.

Shape letters: S supervised tokens, B those of a block, X positions, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.nn import LinearCrossEntropyOptions
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from bld.models import soft_cap, soft_capped
from bld.training.batches import Batch

BLOCK_TOKENS = 512


def token_loss(
    lm: PreTrainedModel,
    hidden_XH: torch.Tensor,
    batch: Batch,
    block_tokens: int = BLOCK_TOKENS,
) -> torch.Tensor:
    """Mean over supervised tokens of -log p(token), in nats; those that the student itself has
    written count as nothing. Logits are computed for `block_tokens` tokens at once."""
    source_S, target_S = batch.from_corpus(batch.source_S), batch.from_corpus(batch.target_S)
    hidden_SH, head = hidden_XH[source_S], lm.get_output_embeddings()
    if soft_cap(lm) is not None:
        return (
            -token_log_probs(lm, hidden_SH, target_S, block_tokens).sum() / batch.token_normaliser
        )
    # Sums over blocks are taken in the model's precision, which in bf16 is a per cent off. Token by
    # token the backward pass computes the logits again.
    is_exact = hidden_SH.dtype == torch.float32
    loss_S = F.linear_cross_entropy(
        hidden_SH,
        head.weight,
        target_S,
        linear_bias=getattr(head, "bias", None),
        reduction="sum" if is_exact else "none",
        options=_blocks(head.weight, block_tokens),
    )
    return loss_S.float().sum() / batch.token_normaliser


def _blocks(weight_VH: torch.Tensor, block_tokens: int) -> LinearCrossEntropyOptions | None:
    """Whether to go by blocks: logits of a vocabulary as small as the hidden size (bytes) take no
    more room than the hidden states do, and are faster at once."""
    is_large = len(weight_VH) > 2 * weight_VH.shape[1]
    return LinearCrossEntropyOptions(batch_chunk_size=block_tokens) if is_large else None


def token_log_probs(
    lm: PreTrainedModel,
    hidden_SH: torch.Tensor,
    target_S: torch.Tensor,
    block_tokens: int = BLOCK_TOKENS,
) -> torch.Tensor:
    """Log p(token) [S], float32."""

    def chosen(log_probs_BV: torch.Tensor, target_B: torch.Tensor) -> torch.Tensor:
        return log_probs_BV.gather(1, target_B[:, None])[:, 0]

    return by_blocks(lm, hidden_SH, chosen, target_S, sizes=block_tokens)


def by_blocks(
    lm: PreTrainedModel,
    hidden_SH: torch.Tensor,
    function: Callable[..., torch.Tensor],
    *columns: torch.Tensor,
    sizes: int | Sequence[int] = BLOCK_TOKENS,
) -> torch.Tensor:
    """`function(log_probs_BV, *columns_B)` of blocks of rows, joined [S, ...].

    `log_probs_BV` are float32 log-probabilities over all logits of the student; `columns` have S
    rows. `sizes`: how many rows a block has, or each of them.
    """
    # Taken once: under ZeRO 3 every use gathers them, and processes differ in how many
    # blocks they have.
    head = lm.get_output_embeddings()
    weight_VH, bias_V = head.weight, getattr(head, "bias", None)

    def block(hidden_BH: torch.Tensor, *columns_B: torch.Tensor) -> torch.Tensor:
        logits_BV = soft_capped(lm, F.linear(hidden_BH, weight_VH, bias_V))
        return function(logits_BV.float().log_softmax(-1), *columns_B)

    # An empty tensor has one empty block, which keeps it in the graph.
    blocks = zip(*(tensor.split(sizes) for tensor in (hidden_SH, *columns)), strict=True)
    return torch.cat([checkpoint(block, *rows, use_reentrant=False) for rows in blocks])
