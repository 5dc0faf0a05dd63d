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
from bld.models import context_of, soft_capped
from bld.scoring.history_batch import HistoryBatch, Span
from bld.scoring.prefixes import HistoryTree
from bld.scoring.trie import Trie
from bld.windows import batches_of_like_length

ROW_HISTORIES = 128
MIN_BLOCK_ROWS = 64


class PackedModel:
    """A language model whose logits come in the order of a trie.

    The trie's vocabulary is one that the model can give (`Vocabulary.of_model`). Raises ValueError
    for a model that cannot read trees (recurrent layers, distances of its own instead of position
    ids).
    """

    def __init__(
        self,
        lm: PreTrainedModel,
        trie: Trie,
        batch_tokens: int,
        block_rows: int | None = None,
    ) -> None:
        head = lm.get_output_embeddings()
        ids_I = torch.from_numpy(trie.ids_I).to(lm.device)
        bias = getattr(head, "bias", None)
        with torch.no_grad():
            self._weight_IH = head.weight[ids_I]
            self._bias_I = None if bias is None else bias[ids_I]
        self.lm, self.batch_tokens = lm, batch_tokens
        self.context = context_of(lm)
        fitting = LOGITS_AT_ONCE[lm.device.type] // len(trie.ids_I)
        self._block_rows = block_rows or max(MIN_BLOCK_ROWS, fitting)
        check_reads_trees(lm)

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
        self.evaluated = [0, 0]
        self._model, self._rows = model, _Rows(model.lm, sequences, row_histories)

    def logits(self, histories: HistoryBatch, wave: np.ndarray) -> Iterator[torch.Tensor]:
        """Logits [B, I] after each history of the wave, block by block."""
        if wave[0] == 0:
            hidden_WH = self._rows.trunk(histories, wave)
            self.evaluated[0] += self._rows.tokens
        else:
            hidden_WH = self._rows.wave(histories, wave, self._model.batch_tokens)
            self.evaluated[1] += len(wave)
        return self._model.logits(hidden_WH)


class _Group(NamedTuple):
    """Rows that are run together: keys and values, of which the first `trunk_keys` are a
    trunk's."""

    cache: DynamicCache
    trunk_keys: int
    rows: int


class _Rows:
    """The keys and values of a batch: of its sequences, and of groups of rows on top of them."""

    def __init__(
        self, lm: PreTrainedModel, sequences: Sequence[np.ndarray], row_histories: int
    ) -> None:
        self._lm, self._sequences, self._row_histories = lm, sequences, row_histories
        self.tokens = sum(map(len, sequences))
        self._groups: list[_Group] = []
        # For every history of the batch: the group of rows that it is in, its row, its key.
        self._place_3R = np.full((3, 0), -1)

    @torch.no_grad()
    def trunk(self, histories: HistoryBatch, wave: np.ndarray) -> torch.Tensor:
        # Padding stands on the right, where causal attention never looks.
        self._width = max(map(len, self._sequences))
        ids_BT = torch.zeros(len(self._sequences), self._width, dtype=torch.long)
        for row, ids in enumerate(self._sequences):
            ids_BT[row, : len(ids)] = torch.from_numpy(ids.astype(np.int64))
        self._cache = DynamicCache()
        ids_BT = ids_BT.to(self._lm.device)
        body = self._lm.base_model
        hidden = body(input_ids=ids_BT, past_key_values=self._cache, use_cache=True)
        place = histories.sequence_R[wave], histories.column_R[wave]
        hidden_WH: torch.Tensor = hidden.last_hidden_state[place]
        return hidden_WH

    @torch.no_grad()
    def wave(self, histories: HistoryBatch, wave: np.ndarray, batch_tokens: int) -> torch.Tensor:
        new = len(histories) - self._place_3R.shape[1]
        self._place_3R = np.pad(self._place_3R, ((0, 0), (0, new)), constant_values=-1)
        if self._groups:
            self._place_3R[:2, wave] = self._place_3R[:2, histories.parent_R[wave]]
            self._drop_idle_rows(wave)
        else:
            self._assign(histories, wave, batch_tokens)
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

    def _assign(self, histories: HistoryBatch, wave: np.ndarray, batch_tokens: int) -> None:
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
        for batch in batches_of_like_length(16 * like, batch_tokens):
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
        hidden = self._lm.base_model(
            input_ids=torch.from_numpy(ids_BQ).to(device),
            attention_mask=self._masks(histories, node, (row, column), group.trunk_keys, shape),
            position_ids=torch.from_numpy(depth_BQ).to(device),
            past_key_values=group.cache,
            use_cache=True,
        )
        hidden_WH: torch.Tensor = hidden.last_hidden_state[row, column]
        return hidden_WH

    def _masks(
        self,
        histories: HistoryBatch,
        node: np.ndarray,
        place: tuple[np.ndarray, np.ndarray],
        trunk_keys: int,
        shape: tuple[int, int, int],
    ) -> torch.Tensor | dict[str, torch.Tensor]:
        """What is added to attention scores [B, 1, Q, K], one mask for each kind of layer; `place`:
        row and column of each node."""
        config = self._lm.config.get_text_config()
        kinds = set(getattr(config, "layer_types", None) or ())
        window = getattr(config, "sliding_window", None)
        depth_n, key_depth = histories.depth_R[node], np.arange(trunk_keys)
        sees_trunk = key_depth <= histories.column_R[node][:, None]

        def mask(sees_trunk: np.ndarray, window: int) -> torch.Tensor:
            visible = np.zeros(shape, bool)
            visible[*place, :trunk_keys] = sees_trunk
            (row, column), seen, depth = place, node, depth_n
            while seen.size:
                visible[row, column, self._place_3R[2, seen]] = True
                seen = histories.parent_R[seen]
                on = (seen >= histories.trunk) & (histories.depth_R[seen] > depth - window)
                seen, row, column, depth = seen[on], row[on], column[on], depth[on]
            mask = torch.full(shape, torch.finfo(self._lm.dtype).min, dtype=self._lm.dtype)
            mask[torch.from_numpy(visible)] = 0
            return mask[:, None].to(self._lm.device)

        full = mask(sees_trunk, 1 << 30)
        if window is None or (kinds and "sliding_attention" not in kinds):
            return full
        sliding = mask(sees_trunk & (key_depth > depth_n[:, None] - window), window)
        masks = {"full_attention": full, "sliding_attention": sliding}
        return masks if kinds else sliding


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
def check_reads_trees(lm: PreTrainedModel) -> None:
    """Raise ValueError unless packed histories give the hidden states that they have alone."""
    ids = np.arange(8) % lm.config.get_text_config().vocab_size
    # Two histories branch off the trunk 0..7, one of them goes on; each is three tokens or more.
    tree = HistoryTree(
        token_R=np.concatenate([[-1], ids[1:], [5, 6, 3]]),
        parent_R=np.concatenate([np.arange(-1, 7), [2, 5, 8]]),
        start_R=np.concatenate([np.arange(8), [4, 7, 5]]),
    )
    histories = HistoryBatch([Span(b"." * 8, tree, trunk=8, sequence=0, column=0)])
    paths = [[*ids[:3], 5], [*ids[:6], 6], [*ids[:3], 5, 3]]
    try:
        rows = _Rows(lm, [ids], ROW_HISTORIES)
        rows.trunk(histories, np.arange(8))
        packed_WH = rows.wave(histories, np.arange(8, 11), 1 << 10).float()
    except (AttributeError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(_cannot_read_trees(lm, str(error))) from error
    for hidden_H, path in zip(packed_WH, paths, strict=True):
        path_1T = torch.tensor([path], device=lm.device)
        alone_H = lm.base_model(input_ids=path_1T, use_cache=False).last_hidden_state[0, -1].float()
        gap, size = float((hidden_H - alone_H).abs().max()), float(alone_H.abs().max())
        if not gap < (1e-3 if lm.dtype == torch.float32 else 0.05) * size:
            raise ValueError(_cannot_read_trees(lm, f"hidden states differ by {gap:.3g}"))


def _cannot_read_trees(lm: PreTrainedModel, reason: str) -> str:
    return (
        f"{type(lm).__name__} does not read several histories in one pass as it reads each alone "
        f"({reason}): layers that are recurrent, or that measure distances without position ids, "
        "cannot be packed. Use a model with ordinary attention"
    )
