"""Which positions of a row see which; and rows of one document each, for models that see more.

Packed rows and trees of histories are read through masks, one for each kind of layer. A model whose
layers carry a state along the row, or measure distances by columns, does not keep to them: it reads
every document, and every history, in a row of its own, those of like length in one pass. Padding
stands on the right, where nothing of a text looks.

Shape letters: B rows, Q queries and K keys of a row, T tokens of a sequence, H hidden.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from bld.kinds import ATTENTION, has_states, position_switch
from bld.models import Masks, hidden_states
from bld.windows import batches_of_like_length


def masks_of(
    lm: PreTrainedModel, allowed_BQK: torch.Tensor, query_BQ: torch.Tensor, key_BK: torch.Tensor
) -> Masks:
    """The masks of a model's layers, from what every query may see of all that stands before it and
    from the positions of queries and keys in their texts."""
    config: Any = lm.config.get_text_config()
    window: Any = getattr(config, "sliding_window", None)
    query_BQ1, key_B1K = query_BQ[:, :, None], key_BK[:, None, :]

    def mask(kind: str) -> torch.Tensor:
        seen_BQK = allowed_BQK
        if kind == "sliding_attention":
            seen_BQK = seen_BQK & (key_B1K > query_BQ1 - window)
        elif kind == "chunked_attention":
            size = config.attention_chunk_size
            seen_BQK = seen_BQK & (key_B1K // size == query_BQ1 // size)
        mask_BQK = torch.zeros(seen_BQK.shape, dtype=lm.dtype, device=seen_BQK.device)
        return mask_BQK.masked_fill_(~seen_BQK, torch.finfo(lm.dtype).min)[:, None]

    kinds = set(getattr(config, "layer_types", None) or ())
    if not kinds and window:
        return mask("sliding_attention")
    if kinds and kinds <= ATTENTION:
        masks = {kind: mask(kind) for kind in sorted(kinds)}
        return masks if len(masks) > 1 else masks.popitem()[1]
    return mask("full_attention")


def passes_of(
    lm: PreTrainedModel, lengths: Sequence[int], positions: int, padding: float = 0.1
) -> list[list[int]]:
    """Which sequences of these lengths share a pass of at most so many positions, see
    `batches_of_like_length`; a text beyond the model's `position_switch` none with a shorter
    one."""
    switch = position_switch(lm.config) or max(lengths, default=0)
    passes = []
    for is_beyond in (True, False):
        own = [i for i, length in enumerate(lengths) if (length > switch) == is_beyond]
        batches = batches_of_like_length([lengths[i] for i in own], positions, padding)
        passes += [[own[i] for i in batch] for batch in batches]
    return passes


def read_apart(
    lm: PreTrainedModel, sequences: Sequence[torch.Tensor], passes: Iterable[Sequence[int]]
) -> Iterator[tuple[int, torch.Tensor]]:
    """The number of every sequence of ids [T] and its hidden states [T, H], pass by pass."""
    for chosen in passes:
        ids_BT = pad_sequence([sequences[i] for i in chosen], batch_first=True)
        for index, hidden_TH in zip(chosen, hidden_states(lm, ids_BT), strict=True):
            yield index, hidden_TH[: len(sequences[index])]


def tried(read: Callable[[], torch.Tensor]) -> torch.Tensor | str:
    """What reading gives, or how it fails; a full memory says nothing of the model."""
    try:
        return read()
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"


def why(lm: PreTrainedModel, found: str) -> str:
    """What a reader should know of why a model cannot be read as was tried; `found` by trying."""
    return "some of its layers carry a state along the row" if has_states(lm.config) else found


def differs(found: torch.Tensor, expected: torch.Tensor) -> float | None:
    """How far hidden states are from what they should be, if that is more than arithmetic makes in
    their precision; weights that are not finite show elsewhere."""
    gap, size = float((found - expected).abs().max()), float(expected.abs().max())
    is_close = gap <= (0.05 if found.dtype == torch.bfloat16 else 1e-3) * size
    return None if is_close or not math.isfinite(size) else gap
