"""The tokens of the trunk, looked at on their way to the bytes.

Byte distributions are sums over the logits of histories, and those of the trunk are what the teacher
says at its own tokens. A model that is wrapped in `TrunkTokens` gives the same logits, and what it
says of the next token is put aside before they are summed: both come from one forward pass.

Shapes: B histories of a block, I sorted tokens of the trie, K tokens kept, U supervised tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from bld.scoring.forest import Forest
from bld.scoring.kept_tokens import TokenRows
from bld.scoring.parts import Part
from bld.scoring.search import NextTokens
from bld.scoring.trie import Trie
from bld.tokenization.rendering import Rendered


class Said(NamedTuple):
    """What is said of tokens: the last four columns of `TokenRows`."""

    log_prob_U: np.ndarray
    ids_UK: np.ndarray
    log_probs_UK: np.ndarray
    log_tail_U: np.ndarray


class TrunkTokens:
    """A model that remembers what it says at tokens of the trunk, see `search.NextTokens`.

    The forest that it reads is that of `parts` of the documents `rendered`. Of a distribution the
    `kept` most probable tokens are remembered.
    """

    def __init__(
        self,
        model: NextTokens,
        trie: Trie,
        parts: Sequence[Part],
        rendered: Sequence[Rendered],
        kept: int,
    ) -> None:
        self.max_depth = model.max_depth
        self._model, self._trie, self._parts, self._kept = model, trie, parts, kept
        self._token_R = np.concatenate([_tokens_after(part, rendered) for part in parts])
        self._said: list[Said] = []

    def logits(self, forest: Forest, wave: np.ndarray) -> Iterator[torch.Tensor]:
        """Those of the model, block by block."""
        blocks = self._model.logits(forest, wave)
        return self._remembered(blocks) if wave[0] == 0 else blocks

    def said(self) -> list[Said]:
        """What is said of the tokens of every part."""
        columns = [np.concatenate(column) for column in zip(*self._said, strict=True)]
        stop = np.cumsum([part.tokens for part in self._parts])[:-1]
        return [Said(*own) for own in zip(*(np.split(c, stop) for c in columns), strict=True)]

    def _remembered(self, blocks: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
        first = 0
        for logits_BI in blocks:
            token_B = self._token_R[first : first + len(logits_BI)]
            self._said.append(self._say(logits_BI, token_B))
            first += len(token_B)
            yield logits_BI

    def _say(self, logits_BI: torch.Tensor, token_B: np.ndarray) -> Said:
        asked = np.flatnonzero(token_B >= 0)
        rank_U = self._trie.rank_V[token_B[asked]]
        index_U, rank_U = (torch.from_numpy(i).to(logits_BI.device) for i in (asked, rank_U))
        log_probs_UI = logits_BI.index_select(0, index_U).log_softmax(1)
        log_prob_U1 = log_probs_UI.gather(1, rank_U[:, None])
        log_probs_UK, rank_UK = log_probs_UI.topk(self._kept)
        log_tail_U = log_probs_UI.scatter_(1, rank_UK, -torch.inf).logsumexp(1)
        ids_UK = self._trie.ids_I[rank_UK.cpu().numpy()]
        ids_UK = np.where(torch.isfinite(log_probs_UK).cpu().numpy(), ids_UK, -1)
        log_prob_U, log_probs, log_tail = (
            column.cpu().numpy() for column in (log_prob_U1[:, 0], log_probs_UK, log_tail_U)
        )
        return Said(log_prob_U, ids_UK.astype(np.int32), log_probs, log_tail)


def _tokens_after(part: Part, rendered: Sequence[Rendered]) -> np.ndarray:
    """The token after each trunk history of a part, -1 where it is not the part's own."""
    token_R = np.full(part.stretch.trunk, -1)
    ids_T = rendered[part.document].ids_T[part.token : part.token + part.tokens]
    token_R[part.lead : part.lead + part.tokens] = ids_T
    return token_R


class DocumentTokens:
    """The token rows of a document, put together from its parts."""

    def __init__(self, rendered: Rendered, kept: int) -> None:
        self._position_U = np.flatnonzero(rendered.symbol_T >= 0)
        size = len(self._position_U)
        self.rows = TokenRows(
            symbol_U=rendered.symbol_T[self._position_U],
            count_U=rendered.count_T[self._position_U],
            token_U=rendered.ids_T[self._position_U],
            log_prob_U=np.empty(size, np.float32),
            ids_UK=np.empty((size, kept), np.int32),
            log_probs_UK=np.empty((size, kept), np.float32),
            log_tail_U=np.empty(size, np.float32),
        )

    def put(self, part: Part, said: Said) -> None:
        """Take in what is said of the tokens of a part."""
        first = int(np.searchsorted(self._position_U, part.token))
        for column, values in zip(self.rows[3:], said, strict=True):
            column[first : first + part.tokens] = values
