"""What the limits of a task mean, and what they cut.

Tasks and windows count tokens, and a token is a word for one model and a byte for another: 1,280 of
them are an essay or a paragraph. So for a student with another tokenizer all limits are counted in
tokens of its source, the model that it was made from: what it reads and what it writes may be as
long, as text, as that of the source. Its own positions are a limit besides, which prompts share
with answers as they do the window.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedTokenizerBase

CHECKED_EVERY = 16
"""At least so many tokens are written before an answer is counted again."""
MOST_PER_TOKEN = 16
"""At most so many tokens are written for one of the source. No text needs as many; a model that
writes spaces for ever does, of which one token may hold a hundred."""

Pair = tuple[Any, list[int], list[int]]


class Limited(HFLM):  # type: ignore[misc]
    """lm-eval's model, which counts the prompts whose beginning did not fit, in `cut`."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.cut = 0

    def tok_batch_encode(
        self,
        strings: list[str],
        padding_side: str = "left",
        left_truncate_len: int | None = None,
        truncation: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Prompts [B, T] that are to be answered, of each the last `left_truncate_len` tokens; and
        where there are some."""
        most = left_truncate_len
        if most is not None:
            strings, most = self._ends(strings, most)
        ids_BT, mask_BT = super().tok_batch_encode(strings, padding_side, None, truncation)
        if most is None:
            return ids_BT, mask_BT
        self.cut += int((mask_BT.sum(1) > most).sum())
        return ids_BT[:, -most:], mask_BT[:, -most:]

    def _ends(self, strings: list[str], most: int) -> tuple[list[str], int]:
        """What of the prompts may be read if so many tokens of each are, and how many those are."""
        return strings, most

    def _loglikelihood_tokens(self, requests: list[Pair], *how: Any, **named: Any) -> Any:
        sizes = (len(context) + len(continuation) for _, context, continuation in requests)
        self.cut += sum(size > self.max_length + 1 for size in sizes)
        return super()._loglikelihood_tokens(requests, *how, **named)


class LimitedAsSource(Limited):
    """The same, with the window `max_length` in tokens of `source`; `positions` are those that the
    model has, if it numbers them."""

    def __init__(
        self, source: PreTrainedTokenizerBase, positions: int | None, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self._source, self._window = source, self.max_length
        self._positions = positions or sys.maxsize

    def _ends(self, strings: list[str], most: int) -> tuple[list[str], int]:
        ends = [text[self._begin(text, most) :] for text in strings]
        return ends, self._positions * most // self._window

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        begin = self._begin(context + continuation, self._window + 1)
        pair: tuple[list[int], list[int]]
        pair = super()._encode_pair(context[min(begin, len(context) - 1) :], continuation)
        return pair

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Of whole texts, in windows that hold what the fullest window of the source does."""
        pieces = (piece for request in requests for piece in self._pieces(request.args[0]))
        fullest = max(len(self.tok_encode(piece)) for piece in pieces)
        self._max_length = min(fullest, self._positions)
        found: list[float] = super().loglikelihood_rolling(requests, disable_tqdm)
        self._max_length = self._window
        return found

    def _loglikelihood_tokens(self, requests: list[Pair], *how: Any, **named: Any) -> Any:
        # The texts are cut by now.
        window, self._max_length = self._max_length, self._positions
        found = super()._loglikelihood_tokens(requests, *how, **named)
        self._max_length = window
        return found

    def _model_generate(
        self, context: torch.Tensor, max_length: int, stop: list[str], **settings: Any
    ) -> torch.Tensor:
        """`max_length` leaves room for so many tokens of the source behind the prompts."""
        begin = context.shape[1]
        most = max_length - begin
        ends = _EndsAt(lambda ids: self._size(ids[begin:]), most, self.eot_token_id)
        ids_BT: torch.Tensor = super()._model_generate(
            context,
            min(begin + most * MOST_PER_TOKEN, self._positions),
            stop,
            logits_processor=LogitsProcessorList([ends]),
            **settings,
        )
        for ids_T in ids_BT[:, begin:]:
            ids_T[self._within(ids_T.tolist(), most) :] = self.tokenizer.pad_token_id
        return ids_BT

    def _begin(self, text: str, most: int) -> int:
        """Where the last `most` tokens of the source begin, as it reads a text."""
        offsets = self._source(text, return_offsets_mapping=True).offset_mapping
        if len(offsets) <= most:
            return 0
        self.cut += 1
        return int(offsets[-most][0])

    def _pieces(self, text: str) -> list[str]:
        """A text as it fills the windows of the source."""
        said = self._source(text, add_special_tokens=False, return_offsets_mapping=True)
        starts = [start for start, _ in said.offset_mapping[:: self._window]] or [0]
        return [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]

    def _within(self, ids: list[int], most: int) -> int:
        """How many tokens write the first `most` tokens of the source."""
        text = self.tok_decode(ids)
        said = self._source(text, add_special_tokens=False, return_offsets_mapping=True)
        if len(said.offset_mapping) <= most:
            return len(ids)
        beginnings = [ids[:stop] for stop in range(1, len(ids) + 1)]
        end = said.offset_mapping[most - 1][1]
        return bisect_right(beginnings, end, key=lambda part: len(self.tok_decode(part)))

    def _size(self, ids: Sequence[int]) -> int:
        """How many tokens of the source a text has."""
        return len(self._source(self.tok_decode(ids), add_special_tokens=False).input_ids)


class _EndsAt(LogitsProcessor):
    """Ends a text once it has more than `most` tokens by `size`, or soon afterwards."""

    def __init__(self, size: Callable[[list[int]], int], most: int, end: int) -> None:
        self._size, self._most, self._end = size, most, end
        self._next: int | None = None
        self._is_over_B: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The logits [B, V] of the next tokens of texts [B, T]."""
        columns = input_ids.shape[1]
        if self._next is None:
            self._next = columns + self._most
        if columns >= self._next:
            sizes = [self._size(ids) for ids in input_ids.tolist()]
            going = [size for size in sizes if size <= self._most]
            left = self._most - max(going, default=0)
            self._next = columns + max(left, CHECKED_EVERY)
            self._is_over_B = torch.tensor(sizes, device=scores.device) > self._most
        if self._is_over_B is not None:
            scores = scores.masked_fill(self._is_over_B[:, None], -torch.inf)
            scores[self._is_over_B, self._end] = 0.0
        return scores
