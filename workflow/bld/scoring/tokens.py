"""What a model says at the tokens of its own tokenization of a document, beside its bytes.

Byte distributions are sums over the logits of histories, and the logits of the trunk are the
model's own token distributions. A model that is wrapped in `TrunkTokens` gives the same logits, and
scores the next token before they are summed: both come from one forward pass.

Shapes: R trunk histories, B of them in a block, I sorted tokens of the trie, U supervised tokens, K
tokens kept of a distribution.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from bld.scoring.history_batch import HistoryBatch, Part
from bld.scoring.search import NextTokens
from bld.scoring.token_scores import TokenScores, joined
from bld.scoring.trie import Trie
from bld.tokenization.rendered import Rendered


class TrunkTokens:
    """A model that scores the tokens of the trunk while its logits are read, see
    `search.NextTokens`.

    The histories that it reads are those of `parts` of the documents `rendered`. Of a distribution
    the `kept` most probable tokens are kept.
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
        self._next_3R = np.concatenate([_next(part, rendered) for part in parts], axis=1)
        self._blocks: list[TokenScores[np.ndarray]] = []

    def logits(self, histories: HistoryBatch, wave: np.ndarray) -> Iterator[torch.Tensor]:
        """Those of the model, block by block."""
        blocks = self._model.logits(histories, wave)
        return self._scored(blocks) if wave[0] == 0 else blocks

    def scores(self) -> list[TokenScores[np.ndarray]]:
        """The scores of the tokens of every part."""
        whole, stops = joined(self._blocks), np.cumsum([part.tokens for part in self._parts])
        return [
            whole.of(slice(stop - part.tokens, stop))
            for part, stop in zip(self._parts, stops, strict=True)
        ]

    def _scored(self, blocks: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
        first = 0
        for logits_BI in blocks:
            last = first + len(logits_BI)
            self._blocks.append(self._score(logits_BI, self._next_3R[:, first:last]))
            first = last
            yield logits_BI

    def _score(self, logits_BI: torch.Tensor, next_3B: np.ndarray) -> TokenScores[np.ndarray]:
        asked = np.flatnonzero(next_3B[0] >= 0)
        token_U, symbol_U, count_U = next_3B[:, asked]
        rank_U = self._trie.rank_V[token_U]
        index_U, rank_U = (torch.from_numpy(i).to(logits_BI.device) for i in (asked, rank_U))
        log_probs_UI = logits_BI.index_select(0, index_U).log_softmax(1)
        log_prob_U = log_probs_UI.gather(1, rank_U[:, None])[:, 0]
        log_probs_UK, rank_UK = log_probs_UI.topk(self._kept)
        log_tail_U = log_probs_UI.scatter_(1, rank_UK, -torch.inf).logsumexp(1)
        ids_UK = self._trie.ids_I[rank_UK.cpu().numpy()]
        ids_UK = np.where(torch.isfinite(log_probs_UK).cpu().numpy(), ids_UK, -1)
        return TokenScores(
            symbol_U,
            count_U,
            token_U,
            log_prob_U.cpu().numpy(),
            ids_UK.astype(np.int32),
            log_probs_UK.cpu().numpy(),
            log_tail_U.cpu().numpy(),
        )


def _next(part: Part, rendered: Sequence[Rendered]) -> np.ndarray:
    """The token after each trunk history of a part, its symbol and its count [3, R], int32; -1
    where the token is not the part's own."""
    document, own = rendered[part.document], slice(part.token, part.token + part.tokens)
    next_3R = np.full((3, part.span.trunk), -1, np.int32)
    columns = document.ids_T, document.symbol_T, document.count_T
    next_3R[:, part.lead : part.lead + part.tokens] = [column[own] for column in columns]
    return next_3R
