"""The histories over which a student's tokens are summed to bytes while it is trained.

The trunk needs nothing but the hidden states of the text itself. Prefix histories branch off it:
they stand as further positions behind the text in its row, where each sees the trunk up to where it
branches off, the histories that lead to it, and itself.

Shape letters: B rows, T columns of a row, R histories, M supervised rows of the histories, Q
(history, ancestor) pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import torch

from bld.arrays import rank_within
from bld.scoring.history_batch import HistoryBatch, Span, part_of, trunk_tree
from bld.scoring.marginal import Sums, vocabulary_of
from bld.scoring.prefixes import HistoryTree, PrefixEncoder
from bld.scoring.trie import Trie
from bld.symbols import END
from bld.tokenization.rendered import RenderedTokens, Turn
from bld.tokenization.rendering import Renderer
from bld.training.packing import Piece, Places, Row, supervised_positions, supervised_symbols
from bld.windows import Window

TREES_IN_MEMORY = 4096


class _Placed(NamedTuple):
    """A span in its batch: where its piece stands, and what of it is trained on."""

    span: Span
    row: int
    order: int
    column: int
    tokens: np.ndarray
    rows: np.ndarray
    symbols: np.ndarray


class Histories:
    """Makes the histories of batches for a student with so many `logits`.

    `kind`: "trunk" or "prefix". A prefix history may stand up to `extra_positions` deeper than the
    text itself.
    """

    def __init__(self, renderer: Renderer, logits: int, kind: Literal["trunk", "prefix"]) -> None:
        token_bytes = renderer.vocabulary.token_bytes
        self._vocabulary = vocabulary_of(Trie(renderer.vocabulary.of_model(logits)), logits)
        self._longest = max(map(len, filter(None, token_bytes)))
        self.extra_positions = self._longest if kind == "prefix" else 0
        prefixes = PrefixEncoder(renderer.content)

        @lru_cache(TREES_IN_MEMORY)
        def tree(text: bytes, trunk: tuple[int, ...]) -> HistoryTree:
            if kind == "trunk":
                return trunk_tree(trunk, token_bytes)
            return prefixes.tree(text, trunk)

        self._tree = tree

    def of_rows(
        self, documents: Sequence[RenderedTokens], rows: Sequence[Row], width: int
    ) -> RowHistories | None:
        """The histories of packed rows, whose text takes up `width` columns; None where nothing is
        supervised."""
        placed = list(self._placed(documents, rows))
        if not placed:
            return None
        histories = HistoryBatch(
            [entry.span._replace(sequence=i) for i, entry in enumerate(placed)]
        )
        token_R = np.full(len(histories), -1)
        token_R[: histories.trunk] = np.concatenate([entry.tokens for entry in placed])
        return RowHistories(Sums(self._vocabulary, histories, token_R), placed, width)

    def _placed(
        self, documents: Sequence[RenderedTokens], rows: Sequence[Row]
    ) -> Iterator[_Placed]:
        symbols = 0
        for number, row in enumerate(rows):
            column = 0
            for order, piece in enumerate(row):
                document = documents[piece.document]
                first, last = supervised_symbols(document, piece)
                for turn in document.turns:
                    place = number, order, column, symbols - first
                    yield from self._of_turn(document, piece, turn, place)
                symbols += last - first
                column += piece.width

    def _of_turn(
        self, document: RenderedTokens, piece: Piece, turn: Turn, place: tuple[int, int, int, int]
    ) -> Iterator[_Placed]:
        # What predicts the tokens [fresh, stop) stands one column before them.
        window = Window(piece.start, piece.stop - 1, piece.fresh - 1)
        tree = self._tree(turn.text, tuple(document.ids_T[turn.first : turn.last].tolist()))
        part = part_of(turn, tree, window, 0, 0, self._longest)
        if part is None:
            return
        number, order, column, shift = place
        span = part.span
        target = piece.start + span.column + 1 + np.arange(span.trunk)
        is_asked = np.isin(target, supervised_positions(document, piece))
        tokens = np.where(is_asked, document.ids_T[np.minimum(target, len(document) - 1)], -1)
        rows = part.skip + np.arange(part.rows)
        symbol = part.symbol + np.arange(part.rows)
        # Where the template ends a turn with no end token, nothing is learned of its end.
        learned = (document.symbols_N[symbol] != END) | turn.ends
        yield _Placed(span, number, order, column, tokens, rows[learned], symbol[learned] + shift)


class RowHistories:
    """The histories of a batch: what is summed (`sums`), at which positions of the flattened rows
    their hidden states stand (`position_R`), and which rows of the sums [M] are which of the
    batch's symbols (`row_M`, `symbol_M`)."""

    def __init__(self, sums: Sums, placed: Sequence[_Placed], width: int) -> None:
        self.sums, histories = sums, sums.histories
        self._width, trunk = width, histories.trunk
        span_R = histories.sequence_R
        row, order, column = (
            np.array([getattr(entry, name) for entry in placed], np.int64)[span_R]
            for name in ("row", "order", "column")
        )
        self._row, self._order = row[trunk:], order[trunk:]
        self._side = rank_within(self._row)
        self.side_columns = int(self._side.max(initial=-1)) + 1
        # Which trunk columns a history beside the trunk sees: those up to where it branches off.
        self._branch = histories.column_R[trunk:]
        place_R = np.concatenate([(column + histories.column_R)[:trunk], width + self._side])
        self.position_R = torch.from_numpy(row * (width + self.side_columns) + place_R)
        first_row = np.cumsum([0, *(len(entry.span.text) + 1 for entry in placed)])
        rows = [entry.rows + first for entry, first in zip(placed, first_row, strict=False)]
        self.row_M = torch.from_numpy(np.concatenate(rows))
        self.symbol_M = torch.from_numpy(np.concatenate([entry.symbols for entry in placed]))

    def place(self, ids_BT: np.ndarray, positions_BT: np.ndarray, pieces_BT: np.ndarray) -> None:
        """Write the histories beside the trunk into the rows of a batch."""
        histories, column = self.sums.histories, self._width + self._side
        ids_BT[self._row, column] = histories.token_R[histories.trunk :]
        positions_BT[self._row, column] = histories.depth_R[histories.trunk :]
        pieces_BT[self._row, column] = self._order

    def restrict(self, allowed_BTT: torch.Tensor, positions_BT: torch.Tensor) -> None:
        """Mask what is not on a history's own path from what the rows' positions attend to."""
        if not self.side_columns:
            return
        width, device = self._width, allowed_BTT.device
        branch = np.full((len(allowed_BTT), self.side_columns), -1)
        branch[self._row, self._side] = self._branch
        branch_BQ = torch.from_numpy(branch).to(device)
        allowed_BTT[:, width:, :width] &= positions_BT[:, None, :width] <= branch_BQ[:, :, None]
        allowed_BTT[:, width:, width:] = torch.eye(
            self.side_columns, dtype=torch.bool, device=device
        )
        histories = self.sums.histories
        history = np.arange(histories.trunk, len(histories))
        ancestor = histories.parent_R[history]
        while history.size:
            on = ancestor >= histories.trunk
            history, ancestor = history[on], ancestor[on]
            index = history - histories.trunk
            allowed_BTT[
                torch.from_numpy(self._row[index]),
                torch.from_numpy(width + self._side[index]),
                torch.from_numpy(width + self._side[ancestor - histories.trunk]),
            ] = True
            ancestor = histories.parent_R[ancestor]

    def paths(self, texts: Mapping[tuple[int, int], np.ndarray]) -> list[Places]:
        """The paths of the histories beside the trunk, given the flat positions of each text by its
        row and its place there: one for each history that no other follows."""
        histories, trunk = self.sums.histories, self.sums.histories.trunk
        follows = set(histories.parent_R[trunk:].tolist())
        columns = self._width + self.side_columns
        paths, known = [], set()
        for leaf in (node for node in range(trunk, len(histories)) if node not in follows):
            nodes = [leaf]
            while (parent := int(histories.parent_R[nodes[0]])) >= trunk:
                nodes.insert(0, parent)
            side = np.array(nodes) - trunk
            row, order, branch = self._row[side[0]], self._order[side[0]], self._branch[side[0]]
            before = texts[row, order][: branch + 1]
            places = np.concatenate([before, row * columns + self._width + self._side[side]])
            # What two of them share is the beginning of both.
            paths.append(Places(places, len(before) + sum(node in known for node in nodes)))
            known.update(nodes)
        return paths
