"""Several models as one teacher: their byte distributions averaged, symbol by symbol.

Every model reads a document with its own tokenizer and in its own template. They predict the same
bytes, whatever their tokens, and the end of a turn is a symbol like a byte; so nothing has to be
aligned. With weights w_i that sum to 1, the two means of distributions p_i are what is nearest to
all of them:

    arithmetic  q = sum_i w_i p_i         the least sum_i w_i KL(p_i || q)
    geometric   q = prod_i p_i^w_i / Z    the least sum_i w_i KL(q || p_i), which is -log Z

(Heskes 1998, "Bias/variance decompositions for likelihood-based estimators"). The arithmetic mean
holds possible what any of the models does, the geometric one what all of them do. Of true bytes the
geometric mean never costs more than the models do on average, since Z <= 1; the arithmetic one
neither, and at no byte more than -log w_i above model i.

Shape letters: M models, N supervised symbols, S symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Literal

import numpy as np

from bld.config.settings import Average, Rendering
from bld.documents.document import Document, check_same_text
from bld.scoring.scorer import ByteScorer, Scored
from bld.tokenization.rendering import load_renderer

Mean = Literal["geometric", "arithmetic"]


class AverageScorer:
    """What `ByteScorer` is for one model, for several: their weighted mean.

    Only the ratios of `weights` count. Each document is in memory once for every model. Raises
    ValueError if no symbol is held possible by all models, of which there is no geometric mean.
    """

    def __init__(self, scorers: Sequence[ByteScorer], weights: Sequence[float], mean: Mean) -> None:
        self._scorers, self._mean = scorers, mean
        self._share_M = np.array(weights, np.float64) / sum(weights)

    @property
    def notes(self) -> list[str]:
        """Remarks on the models, each once."""
        return list(dict.fromkeys(note for scorer in self._scorers for note in scorer.notes))

    def distributions(self, documents: Iterable[Document]) -> Iterator[Scored]:
        """The documents' distributions, in their order; no tokens, which the models do not
        share."""
        documents = list(documents)
        streams = (scorer.distributions(documents) for scorer in self._scorers)
        for of_models in zip(*streams, strict=True):
            yield self._average(of_models)

    def _average(self, of_models: Sequence[Scored]) -> Scored:
        document = of_models[0].document
        check_same_text(document.id, [scored.document.supervised for scored in of_models])
        log_probs = [scored.log_probs_NS for scored in of_models]
        lost_MN = np.stack([scored.lost_N for scored in of_models])
        log_probs_NS, log_total_N = mean_of(log_probs, self._share_M, self._mean)
        if np.isneginf(log_total_N).any():
            raise ValueError(
                f"document {document.id}: at its supervised symbol {int(log_total_N.argmin())} "
                "nothing is held possible by all models, so they have no geometric mean; average "
                "with `mean: arithmetic`, or sum `prefix` histories with a smaller `eps`"
            )
        lost_N = lost_mass(lost_MN, self._share_M, self._mean, log_total_N)
        windows = max(scored.windows for scored in of_models)
        untaught = sorted({row for scored in of_models for row in scored.untaught})
        return Scored(
            document, log_probs_NS, lost_N.astype(np.float32), windows, untaught=tuple(untaught)
        )


def mean_of(
    log_probs: Sequence[np.ndarray], share_M: np.ndarray, mean: Mean
) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities [N, S] of the weighted mean of the models' [N, S], float32 and normalised;
    and log Z [N], float64: what they summed to before that, -inf where all are 0."""
    pairs = zip(share_M, log_probs, strict=True)
    if mean == "geometric":
        log_mean_NS = reduce(np.add, (share * of_model_NS for share, of_model_NS in pairs))
    else:
        weighted = (np.log(share) + of_model_NS for share, of_model_NS in pairs)
        log_mean_NS = reduce(np.logaddexp, weighted)
    log_total_N = np.logaddexp.reduce(log_mean_NS, axis=1)
    scale_N = np.where(np.isneginf(log_total_N), 0, log_total_N)
    return (log_mean_NS - scale_N[:, None]).astype(np.float32), log_total_N


def lost_mass(
    lost_MN: np.ndarray, share_M: np.ndarray, mean: Mean, log_total_N: np.ndarray
) -> np.ndarray:
    """An upper bound [N] of how far, in total variation, the mean lies from what it would be
    without dropped histories, given the models' own bounds and the log Z of `mean_of`.

    A model that lost at most the fraction l of the mass would have predicted p* = (1 - l) p + l r,
    with some distribution r. Let q* be the mean of the p*. If q* >= (1 - L) q at every symbol, then
    q* lies no farther than L from q.

    Arithmetic: q* >= sum w (1 - l) p, which misses q by sum w l p; so L = sum w l, which bounds the
    distance though not every ratio.

    Geometric: prod p*^w >= K prod p^w with K = prod (1 - l)^w, so q* >= (K Z / Z*) q, and Z* is to
    be bounded. x^w is subadditive, so p*^w <= (1 - l)^w p^w + l^w r^w. Of the product of these, the
    term without any r sums to K Z over the symbols, and by Hölder's inequality every other to no
    more than its factors: Z* <= K Z + prod ((1 - l)^w + l^w) - K. And Z* <= 1. It is the square
    root of l that counts for two equal weights: a symbol to which one model gives nothing may well
    be the other's favourite.
    """
    if mean == "arithmetic":
        return np.asarray(share_M @ lost_MN)
    share_M1 = share_M[:, None]
    kept_MN, dropped_MN = (1 - lost_MN) ** share_M1, lost_MN**share_M1
    kept_N = kept_MN.prod(axis=0)
    found_N = kept_N * np.exp(log_total_N)
    most_N = found_N + ((kept_MN + dropped_MN).prod(axis=0) - kept_N)
    return np.asarray(np.clip(1 - found_N / np.minimum(1, most_N), 0, 1))


Scorer = ByteScorer | AverageScorer
"""Whatever gives byte distributions of documents."""


def open_models(
    folders: Sequence[Path],
    rendering: Rendering | Mapping[str, Rendering],
    average: Average | None,
    open_one: Callable[[Path, Rendering], ByteScorer],
) -> Scorer:
    """The scorer of a teacher's model folders: of one by itself; of several as `average` says, each
    with the `rendering` under its folder's name."""
    if isinstance(rendering, Rendering):
        (folder,) = folders
        return open_one(folder, rendering)
    assert average, "several models are averaged"
    scorers = [open_one(folder, rendering[folder.name]) for folder in folders]
    weights = [average.models[folder.name] for folder in folders]
    return AverageScorer(scorers, weights, average.mean)


def check_documents(
    folders: Sequence[Path],
    rendering: Rendering | Mapping[str, Rendering],
    documents: Iterable[Document],
) -> None:
    """Render documents for the models in these folders, whose weights are not read, and print what
    is worth telling of that.

    Raises ValueError for a document that one of them cannot be given, or whose text that is trained
    on they would write differently.
    """

    def read_as(folder: Path) -> Rendering:
        return rendering if isinstance(rendering, Rendering) else rendering[folder.name]

    renderers = [load_renderer(folder, **dict(read_as(folder))) for folder in folders]
    for document in documents:
        name = f"document {document.id}"
        found = (renderer.render(document.segments, name) for renderer in renderers)
        texts = [b"".join(turn.text for turn in rendered.turns) for rendered in found]
        check_same_text(document.id, texts)
    for folder, renderer in zip(folders, renderers, strict=True):
        for note in renderer.told():
            print(f"{folder.name}: {note}")
