"""Tokens sampled from a model, for many prompts at once, each with random numbers of its own: what
follows a prompt does not depend on what stands beside it. `generate` of transformers samples from
one random state for the whole batch, and its positions run on where a prompt has none left.

Shape letters: B prompts, T columns, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from bld.models import hidden_states, output_logits
from bld.tokenization.vocabulary import Vocabulary


@torch.no_grad()
def generate(
    lm: PreTrainedModel,
    vocabulary: Vocabulary,
    prompts: Sequence[Sequence[int]],
    random: Sequence[np.ndarray],
    temperature: float,
) -> list[list[int]]:
    """The tokens with which the model goes on from each prompt: one for each of its random numbers
    in [0, 1), or fewer if the last is an end token.

    Tokens that spell nothing and end nothing are not sampled. Torch's random states stay as they
    are.
    """
    was_training = lm.training
    lm.eval()
    # Prompts stand at the right, so that all go on in the same column.
    ids_BT, seen_BT = (side.flip(1) for side in _rows([p[::-1] for p in prompts], lm.device))
    position_BT = (seen_BT.cumsum(1) - 1).clamp_min(0)
    random_BT, is_asked_BT = _rows(random, lm.device)
    lengths_B = is_asked_BT.sum(1)
    silent_V, end_V = _silent_and_end(vocabulary, lm)

    columns, cache = [], DynamicCache(config=lm.config)
    is_going_B = lengths_B > 0
    for column, random_B in enumerate(random_BT.T):
        # Where nothing but states is kept, what was hidden from them need not be hidden again.
        has_keys = any(isinstance(layer, DynamicLayer) for layer in cache.layers)
        mask_BT = seen_BT if has_keys or column == 0 else None
        hidden_BTH = hidden_states(lm, ids_BT, mask_BT, position_BT, cache)
        logits_BV = output_logits(lm, hidden_BTH[:, -1]).double() / temperature
        probs_BV = logits_BV.masked_fill(silent_V, -torch.inf).softmax(-1)
        up_to_BV = probs_BV.cumsum(1)
        threshold_B1 = random_B[:, None] * up_to_BV[:, -1:]
        token_B = torch.searchsorted(up_to_BV, threshold_B1, right=True)[:, 0]
        columns.append(token_B)
        is_going_B = is_going_B & ~end_V[token_B] & (column + 1 < lengths_B)
        if not is_going_B.any():
            break
        ids_BT = token_B[:, None]
        seen_BT = torch.cat([seen_BT, torch.ones_like(ids_BT)], 1)
        # Those that are done stay where they are: the model has no more positions than it has.
        position_BT = position_BT[:, -1:] + is_going_B[:, None]
    lm.train(was_training)
    rows = zip(torch.stack(columns, 1).tolist(), random, strict=True)
    return [_up_to_end(tokens[: len(asked)], vocabulary.end) for tokens, asked in rows]


def _rows(
    values: Sequence[Sequence[int] | np.ndarray], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of different lengths as one tensor, filled up with 0, and where there was something, 1
    or 0."""
    rows = [torch.as_tensor(row) for row in values]
    there = [torch.ones(len(row), dtype=torch.long) for row in rows]
    filled, was_there = (pad_sequence(side, batch_first=True) for side in (rows, there))
    return filled.to(device), was_there.to(device)


def _silent_and_end(
    vocabulary: Vocabulary, lm: PreTrainedModel
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of all logits, which stand for nothing that can be written, and which end a turn."""
    size = len(lm.get_output_embeddings().weight)
    vocabulary = vocabulary.of_model(size)
    is_end = torch.zeros(size, dtype=torch.bool)
    is_end[sorted(vocabulary.end)] = True
    is_silent = torch.ones(size, dtype=torch.bool)
    is_silent[: len(vocabulary)] = torch.tensor([not spelt for spelt in vocabulary.token_bytes])
    return (is_silent & ~is_end).to(lm.device), is_end.to(lm.device)


def _up_to_end(tokens: list[int], ends: frozenset[int]) -> list[int]:
    stops = (place + 1 for place, token in enumerate(tokens) if token in ends)
    return tokens[: next(stops, len(tokens))]
