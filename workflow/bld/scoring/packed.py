"""A language model that reads trees of histories: a plain pass over the trunks, then packed waves.

The trunks of a batch are ordinary sequences and go through the model as such. Histories beside them
are read on top of their keys and values: histories of one sequence share a row, each sees the trunk
up to where it branches off, the histories that lead to it, and itself (a tree attention mask, its
depth as position id). A row takes a bounded number of them, so that none attends to a long row of
strangers, and rows of like length share a pass.

Shapes: B rows, T tokens of a sequence, Q histories of a row, K keys of a row, W histories of a
wave, H hidden, I sorted tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from bld.arrays import LOGITS_AT_ONCE, rank_within
from bld.attention import differs, masks_of, tried, why
from bld.kinds import position_switch
from bld.models import Masks, context_of, hidden_states, soft_capped
from bld.scoring.history_batch import HistoryBatch, Span
from bld.scoring.own_rows import OwnRows, path_of
from bld.scoring.prefixes import HistoryTree
from bld.scoring.trie import Trie
from bld.windows import batches_of_like_length

ROW_HISTORIES = 128
MIN_BLOCK_ROWS = 64


class PackedModel:
    """A language model whose logits come in the order of a trie.

    The trie's vocabulary is one that the model can give (`Vocabulary.of_model`). Whether the model
    reads trees is tried on sequences of up to `longest` tokens; if it does not (recurrent layers,
    distances of its own instead of position ids), `note` says why, and its histories are read in
    rows of their own. It is read no farther than to where its position codes change (`context`),
    since what a text says must not depend on what is read beside it.

    Raises ValueError for a model that reads a text otherwise in company even in a row of its own.
    """

    def __init__(
        self,
        lm: PreTrainedModel,
        trie: Trie,
        batch_tokens: int,
        block_rows: int | None = None,
        longest: int = 0,
    ) -> None:
        head = lm.get_output_embeddings()
        ids_I = torch.from_numpy(trie.ids_I).to(lm.device)
        bias = getattr(head, "bias", None)
        with torch.no_grad():
            self._weight_IH = head.weight[ids_I]
            self._bias_I = None if bias is None else bias[ids_I]
        self.lm, self.batch_tokens = lm, batch_tokens
        limits = filter(None, (context_of(lm), position_switch(lm.config)))
        self.context = min(limits, default=None)
        fitting = LOGITS_AT_ONCE[lm.device.type] // len(trie.ids_I)
        self._block_rows = block_rows or max(MIN_BLOCK_ROWS, fitting)
        self.note, self.rows = self._reading(min(longest, self.context or longest))

    def _reading(self, longest: int) -> tuple[str | None, type[TreeRows] | type[OwnRows]]:
        name = type(self.lm).__name__
        if (found := what_differs(self.lm, TreeRows, longest)) is None:
            return None, TreeRows
        if (apart := what_differs(self.lm, OwnRows, longest)) is not None:
            raise ValueError(
                f"{name} does not read a text as it does alone where others are read in the same "
                f"pass, even in a row of its own ({apart}); it cannot be scored"
            )
        return (
            f"{name} does not read several histories in one row as it reads each alone "
            f"({why(self.lm, found)}): each is read in a row of its own, from the beginning of "
            "its text, which takes many times longer; `histories: trunk` needs none of them"
        ), OwnRows

    @torch.no_grad()
    def logits(self, hidden_WH: torch.Tensor) -> Iterator[torch.Tensor]:
        """Logits [B, I] of the trie's tokens, in float32 or better, block by block."""
        for block_BH in hidden_WH.split(self._block_rows):
            logits_BI = functional.linear(block_BH, self._weight_IH, self._bias_I)
            yield soft_capped(self.lm, logits_BI).float()


class PackedBatch:
    """Sequences of token ids and the histories that branch off them, see `search.NextTokens`.

    A row holds about `row_histories` of them, or half the length of the sequences if that is more.
    `evaluated` counts the positions that the model ran: those of the sequences, then the others.
    """

    def __init__(
        self,
        model: PackedModel,
        sequences: Sequence[np.ndarray],
        row_histories: int = ROW_HISTORIES,
    ) -> None:
        self.max_depth = model.context or 1 << 30
        self._model = model
        self._rows = model.rows(model.lm, sequences, model.batch_tokens, row_histories)

    @property
    def evaluated(self) -> list[int]:
        """Positions of the sequences, then of other histories."""
        return self._rows.evaluated

    def logits(self, histories: HistoryBatch, wave: np.ndarray) -> Iterator[torch.Tensor]:
        """Logits [B, I] after each history of the wave, block by block."""
        read = self._rows.trunk if wave[0] == 0 else self._rows.wave
        return self._model.logits(read(histories, wave))


class _Group(NamedTuple):
    """Rows that are run together: keys and values, of which the first `trunk_keys` are a
    trunk's."""

    cache: DynamicCache
    trunk_keys: int
    rows: int


class TreeRows:
    """The keys and values of a batch: of its sequences, and of groups of rows on top of them."""

    def __init__(
        self,
        lm: PreTrainedModel,
        sequences: Sequence[np.ndarray],
        batch_tokens: int,
        row_histories: int = ROW_HISTORIES,
    ) -> None:
        self._lm, self._sequences, self._row_histories = lm, sequences, row_histories
        self._batch_tokens, self.evaluated = batch_tokens, [0, 0]
        self._groups: list[_Group] = []
        # For every history of the batch: the group of rows that it is in, its row, its key.
        self._place_3R = np.full((3, 0), -1)

    @torch.no_grad()
    def trunk(self, histories: HistoryBatch, wave: np.ndarray) -> torch.Tensor:
        """Hidden states [W, H] of the sequences, where the histories of the wave stand in them."""
        # Padding stands on the right, where causal attention never looks.
        self._width = max(map(len, self._sequences))
        ids_BT = torch.zeros(len(self._sequences), self._width, dtype=torch.long)
        for row, ids in enumerate(self._sequences):
            ids_BT[row, : len(ids)] = torch.from_numpy(ids.astype(np.int64))
        self._cache = DynamicCache()
        hidden_BTH = hidden_states(self._lm, ids_BT.to(self._lm.device), cache=self._cache)
        self.evaluated[0] += sum(map(len, self._sequences))
        return hidden_BTH[histories.sequence_R[wave], histories.column_R[wave]]

    @torch.no_grad()
    def wave(self, histories: HistoryBatch, wave: np.ndarray) -> torch.Tensor:
        """Hidden states [W, H] of histories beside the sequences, on top of their keys."""
        self.evaluated[1] += len(wave)
        new = len(histories) - self._place_3R.shape[1]
        self._place_3R = np.pad(self._place_3R, ((0, 0), (0, new)), constant_values=-1)
        if self._groups:
            self._place_3R[:2, wave] = self._place_3R[:2, histories.parent_R[wave]]
            self._drop_idle_rows(wave)
        else:
            self._assign(histories, wave)
        group_W = self._place_3R[0, wave]
        hidden_WH = None
        for number, group in enumerate(self._groups):
            chosen = np.flatnonzero(group_W == number)
            if chosen.size:
                hidden = self._run(histories, wave[chosen], group)
                if hidden_WH is None:
                    hidden_WH = hidden.new_empty(len(wave), hidden.shape[1])
                hidden_WH[torch.from_numpy(chosen).to(hidden.device)] = hidden
        assert hidden_WH is not None
        return hidden_WH

    def _assign(self, histories: HistoryBatch, wave: np.ndarray) -> None:
        """Distribute the wave over rows, keeping what branches off one trunk node together."""
        limit = max(self._row_histories, self._width // 2)
        order = np.lexsort([wave, histories.column_R[wave], histories.sequence_R[wave]])
        node = wave[order]
        sequence, column = histories.sequence_R[node], histories.column_R[node]
        begins = np.diff(sequence, prepend=-1) != 0
        branches_anew = begins | (np.diff(column, prepend=-1) != 0)
        row = _filled_rows(begins, branches_anew, limit)
        first, size = np.unique(row, return_index=True, return_counts=True)[1:]
        keys = column[np.append(first[1:], len(row)) - 1] + 1
        by_keys = np.argsort(-keys, kind="stable")
        # Rows of like length share a group, and among them those that see as much of the trunk.
        like = -(-size[by_keys] // 16)
        place_of_row, group_of_row = np.empty((2, len(size)), np.int64)
        for batch in batches_of_like_length(16 * like, self._batch_tokens):
            rows = by_keys[batch]
            group_of_row[rows], place_of_row[rows] = len(self._groups), np.arange(len(rows))
            seen = int(keys[rows].max())
            cache = _rows_of(self._cache, sequence[first[rows]], seen)
            self._groups.append(_Group(cache, seen, len(rows)))
        self._place_3R[0, node], self._place_3R[1, node] = group_of_row[row], place_of_row[row]

    def _drop_idle_rows(self, wave: np.ndarray) -> None:
        """Rows in which nothing follows any more are not run again, if they are half or more."""
        for number, group in enumerate(self._groups):
            inside = wave[self._place_3R[0, wave] == number]
            rows, place = np.unique(self._place_3R[1, inside], return_inverse=True)
            if 0 < len(rows) <= group.rows // 2:
                cache = _rows_of(group.cache, rows, group.cache.get_seq_length())
                self._groups[number] = _Group(cache, group.trunk_keys, len(rows))
                self._place_3R[1, inside] = place

    def _run(self, histories: HistoryBatch, node: np.ndarray, group: _Group) -> torch.Tensor:
        """Hidden states [n, H] of histories that are in the rows of this group."""
        row = self._place_3R[1, node]
        column = rank_within(row)
        before, width = group.cache.get_seq_length(), int(column.max()) + 1
        self._place_3R[2, node] = before + column
        shape = group.rows, width, before + width
        ids_BQ, depth_BQ = np.zeros((2, group.rows, width), np.int64)
        ids_BQ[row, column] = histories.token_R[node]
        depth_BQ[row, column] = histories.depth_R[node]
        device = self._lm.device
        positions_BQ = torch.from_numpy(depth_BQ).to(device)
        hidden_BQH = hidden_states(
            self._lm,
            torch.from_numpy(ids_BQ).to(device),
            self._masks(histories, node, (row, column), group.trunk_keys, shape, positions_BQ),
            positions_BQ,
            group.cache,
        )
        return hidden_BQH[row, column]

    def _masks(
        self,
        histories: HistoryBatch,
        node: np.ndarray,
        place: tuple[np.ndarray, np.ndarray],
        trunk_keys: int,
        shape: tuple[int, int, int],
        positions_BQ: torch.Tensor,
    ) -> Masks:
        """What each history sees: the trunk up to where it branches off, and those that lead to it;
        `place`: row and column of each node."""
        allowed_BQK, depth_BK = np.zeros(shape, bool), np.zeros((shape[0], shape[2]), np.int64)
        depth_BK[:, :trunk_keys] = np.arange(trunk_keys)
        allowed_BQK[*place, :trunk_keys] = (
            np.arange(trunk_keys) <= histories.column_R[node][:, None]
        )
        (row, column), seen = place, node
        while seen.size:
            key = self._place_3R[2, seen]
            allowed_BQK[row, column, key] = True
            depth_BK[row, key] = histories.depth_R[seen]
            seen = histories.parent_R[seen]
            on = seen >= histories.trunk
            seen, row, column = seen[on], row[on], column[on]
        allowed, depth = (
            torch.from_numpy(x).to(positions_BQ.device) for x in (allowed_BQK, depth_BK)
        )
        return masks_of(self._lm, allowed, positions_BQ, depth)


def _filled_rows(begins: np.ndarray, branches_anew: np.ndarray, limit: int) -> np.ndarray:
    """The row of each element: a new one at every beginning, and where what belongs
    together would make the row longer than `limit`."""
    tree = np.cumsum(branches_anew) - 1
    size, opens = np.bincount(tree), begins[branches_anew]
    row_of_tree, row, filled = np.empty(len(size), np.int64), -1, 0
    for number, (more, is_first) in enumerate(zip(size.tolist(), opens.tolist(), strict=True)):
        if is_first or filled + more > limit:
            row, filled = row + 1, 0
        filled += more
        row_of_tree[number] = row
    return np.asarray(row_of_tree[tree])


def _rows_of(cache: DynamicCache, rows: np.ndarray, keys: int) -> DynamicCache:
    """A copy of the first `keys` keys of some rows."""
    layers: list[Any] = cache.layers
    index = torch.from_numpy(rows).to(layers[0].keys.device)
    taken = DynamicCache()
    for layer in layers:
        # Set rather than given to the constructor, which would copy them once more.
        own = DynamicLayer()
        own.lazy_initialization(layer.keys, layer.values)
        own.keys, own.values = layer.keys[:, :, :keys][index], layer.values[:, :, :keys][index]
        taken.layers.append(own)
    return taken


@torch.no_grad()
def what_differs(
    lm: PreTrainedModel, rows: type[TreeRows] | type[OwnRows], longest: int = 0
) -> str | None:
    """What goes wrong where histories are read like this, in sequences of 8, of one and of
    `longest` tokens; None if each has the hidden states that it has alone."""
    size = lm.config.get_text_config().vocab_size
    sequences = [np.arange(3, length + 3) % size for length in (8, 1, max(longest - 2, 8))]
    last = len(sequences[-1]) - 1
    # Two histories branch off each of the long trunks, one of them goes on.
    spans = [_probe(sequences[0], 2, 5), _probe(sequences[1], 0, 0), _probe(sequences[2], 3, last)]
    histories = HistoryBatch([s._replace(sequence=i) for i, s in enumerate(spans)])
    waves = np.split(np.arange(len(histories)), [histories.trunk])

    def read() -> torch.Tensor:
        batch = rows(lm, sequences, sum(map(len, sequences)))
        return torch.cat([batch.trunk(histories, waves[0]), batch.wave(histories, waves[1])])

    hidden_RH = tried(read)
    if isinstance(hidden_RH, str):
        return hidden_RH
    ends = [np.flatnonzero(histories.sequence_R[waves[0]] == i)[-1] for i in range(3)]
    for node in [*ends, *waves[1]]:
        path_1T = torch.from_numpy(path_of(histories, sequences, node)[None]).to(lm.device)
        gap = differs(hidden_RH[node], hidden_states(lm, path_1T)[0, -1])
        if gap is not None:
            return f"hidden states differ by {gap:.3g}"
    return None


def _probe(ids: np.ndarray, first: int, second: int) -> Span:
    """A trunk with a history behind each of two of its nodes, the first of which goes on."""
    trunk = len(ids)
    tree = HistoryTree(
        token_R=np.concatenate([[-1], ids[1:], [5, 6, 3]]),
        parent_R=np.concatenate([np.arange(-1, trunk - 1), [first, second, trunk]]),
        start_R=np.concatenate([np.arange(trunk), [first + 2, second + 2, first + 3]]),
    )
    return Span(b"." * trunk, tree, trunk, sequence=0, column=0)
