"""How a student reads a batch: as packed rows, or every document and history in a row of its own.

Rows are packed for every student alike, so that all see the same documents in the same steps.
Whether a student reads them as such is proven before its first step: a document has to have the
hidden states that it has alone, whatever stands beside it. Else it is read alone, and its hidden
states are put where the packed row has its tokens.

Shape letters: X positions of the rows laid end to end, H hidden, T tokens of a document.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count

import numpy as np
import torch
from torch import distributed
from transformers import PreTrainedModel

from bld.attention import differs, passes_of, read_apart, tried, why
from bld.models import device, hidden_states
from bld.tokenization.rendered import RenderedTokens
from bld.training.batches import Batch, Batches
from bld.training.packing import Piece

Reading = Callable[[PreTrainedModel, Batch], torch.Tensor]
"""The hidden states [X, H] of a batch."""

SHORT = (5, 1, 9)


def read_packed(lm: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """All rows in one pass, under masks."""
    hidden_BTH = hidden_states(lm, batch.ids_BT, batch.masks(lm), batch.positions_BT)
    return hidden_BTH.flatten(0, 1)


def read_in_own_rows(lm: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Rows of one document or history each, those of like length in one pass; 0 where the packed
    rows have nothing."""
    ids_X, paths = batch.ids_BT.flatten(), batch.paths()
    places = [torch.from_numpy(path.place_P).to(ids_X.device) for path in paths]
    passes = passes_of(lm, list(map(len, places)), ids_X.numel())
    # Every process takes part in every pass, as ZeRO 3 demands.
    passes += [[len(places) - 1]] * (_most_over_processes(len(passes)) - len(passes))
    found: dict[int, torch.Tensor] = {}
    for index, hidden_TH in read_apart(lm, [ids_X[place_P] for place_P in places], passes):
        found[index] = found[index] + 0 * hidden_TH if index in found else hidden_TH
    hidden_PH = torch.cat([found[index][path.own :] for index, path in enumerate(paths)])
    place_P = torch.cat([places[index][path.own :] for index, path in enumerate(paths)])
    hidden_XH = hidden_PH.new_zeros(len(ids_X), hidden_PH.shape[1])
    return hidden_XH.index_copy(0, place_P, hidden_PH)


def _most_over_processes(count: int) -> int:
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return count
    most = torch.tensor(count, device=device())
    distributed.all_reduce(most, distributed.ReduceOp.MAX)
    return int(most)


@torch.no_grad()
def reading_of(lm: PreTrainedModel, row_length: int) -> tuple[Reading, str | None]:
    """How a model reads rows of this length, and what a log should say of it.

    Documents of several lengths, one of them as long as a row, are read beside each other and each
    alone. Raises ValueError if a document reads otherwise in company even in a row of its own.
    """
    was_training, name = lm.training, type(lm).__name__
    lm.eval()
    found = _what_differs(lm, row_length, read_packed)
    apart = found and _what_differs(lm, row_length, read_in_own_rows)
    lm.train(was_training)
    if apart:
        raise ValueError(
            f"{name} does not read a text as it does alone where others are read in the same pass, "
            f"even in a row of its own ({apart}); it cannot be trained here"
        )
    if found is None:
        return read_packed, None
    return read_in_own_rows, (
        f"{name} does not read a document in a packed row as it does alone "
        f"({why(lm, found)}): each is read in a row of its own, those of like length in one pass"
    )


def _what_differs(lm: PreTrainedModel, row_length: int, reading: Reading) -> str | None:
    """What goes wrong with documents beside each other, in rows of this length."""
    size = lm.config.get_text_config().vocab_size
    # One row of short ones around a long one, so that columns are not positions; one of one alone.
    rest = row_length - sum(SHORT)
    lengths = [[SHORT[0], rest, *SHORT[1:]] if rest > 0 else [row_length], [row_length]]
    numbers = count()
    rows = [[Piece(next(numbers), 0, length, 1) for length in row] for row in lengths]
    texts = [np.arange(3, n + 3) % size for row in lengths for n in row]
    batch = Batches([_text(ids_T) for ids_T in texts]).collate(rows, 1, 1).to(lm.device)
    found_XH = tried(partial(reading, lm, batch))
    if isinstance(found_XH, str):
        return found_XH
    ids_X = batch.ids_BT.flatten()
    for path in batch.paths():
        alone_TH = hidden_states(lm, ids_X[path.place_P][None])[0]
        gap = differs(found_XH[path.place_P], alone_TH)
        if gap is not None:
            return f"hidden states differ by {gap:.3g}"
    return None


def _text(ids_T: np.ndarray) -> RenderedTokens:
    """A rendered document of which nothing is supervised."""
    nothing = np.full(len(ids_T), -1)
    return RenderedTokens(
        ids_T=ids_T, symbol_T=nothing, count_T=nothing * 0, symbols_N=nothing[:0], turns=()
    )
