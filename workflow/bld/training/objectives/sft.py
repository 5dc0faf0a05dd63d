"""Supervised fine-tuning: the cross-entropy of the student's own tokens, and nothing else.

Logits are computed block by block and never stand in memory as tokens x vocabulary: by torch's own
fused function, or, for models that cap their logits, by blocks that are computed again in the
backward pass.

Shape letters: S supervised tokens, X positions, H hidden, V vocabulary.
"""

from __future__ import annotations

import torch
from torch.nn import LinearCrossEntropyOptions
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from bld.models import output_logits
from bld.training.batches import Batch

BLOCK_TOKENS = 512


def token_loss(lm: PreTrainedModel, hidden_XH: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Mean over supervised tokens of -log p(token), in nats."""
    hidden_SH, head = hidden_XH[batch.source_S], lm.get_output_embeddings()
    if getattr(lm.config.get_text_config(), "final_logit_softcapping", None) is not None:
        return _capped(lm, hidden_SH, batch.target_S) / batch.tokens
    # Sums over blocks are taken in the model's precision, which in bf16 is a per cent off. Token by
    # token the backward pass computes the logits again.
    is_exact = hidden_SH.dtype == torch.float32
    loss_S = F.linear_cross_entropy(
        hidden_SH,
        head.weight,
        batch.target_S,
        linear_bias=getattr(head, "bias", None),
        reduction="sum" if is_exact else "none",
        options=_blocks(head.weight),
    )
    return loss_S.float().sum() / batch.tokens


def _blocks(weight_VH: torch.Tensor) -> LinearCrossEntropyOptions | None:
    """Whether to go by blocks: logits of a vocabulary as small as the hidden size (bytes) take no
    more room than the hidden states do, and are faster at once."""
    is_large = len(weight_VH) > 2 * weight_VH.shape[1]
    return LinearCrossEntropyOptions(batch_chunk_size=BLOCK_TOKENS) if is_large else None


def _capped(lm: PreTrainedModel, hidden_SH: torch.Tensor, target_S: torch.Tensor) -> torch.Tensor:
    def loss(hidden: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(output_logits(lm, hidden).float(), target, reduction="sum")

    blocks = zip(hidden_SH.split(BLOCK_TOKENS), target_S.split(BLOCK_TOKENS), strict=True)
    return torch.stack([checkpoint(loss, *block, use_reentrant=False) for block in blocks]).sum()


class Sft:
    """CE_token."""

    def losses(
        self, lm: PreTrainedModel, head: object, hidden_XH: torch.Tensor, batch: Batch
    ) -> dict[str, torch.Tensor]:
        """`loss` is what is descended; the other entries are its parts."""
        loss = token_loss(lm, hidden_XH, batch)
        return {"loss": loss, "token_loss": loss}
