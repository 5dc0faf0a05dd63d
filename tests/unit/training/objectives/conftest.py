"""A student and a teacher with another tokenizer, documents that are cut and packed, and what a
random teacher says of its own tokens."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bld.cache.top_k import Signal
from bld.models import hidden_states
from bld.scoring.token_scores import TokenScores
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer
from bld.training.batches import Batches, TeacherTokens
from bld.training.logits import by_blocks
from bld.training.pieces import pieces_of

OTHER_SAMPLE = ["Return the value, or raise an error where the key is not in the index."] * 9


class RandomTokens:
    """A random distribution of a teacher at each of its supervised tokens, of which `keep` tokens
    are told; without `keep` all of them."""

    def __init__(self, rendered, size, keep=None):
        self.rendered, self.size, self.keep = rendered, size, keep or size

    def dense(self, document):
        """Log-probabilities [U, W], float64."""
        count = int((self.rendered[document].symbol_T >= 0).sum())
        logits = 3 * np.random.default_rng(document).standard_normal((count, self.size))
        return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)

    def read(self, documents):
        return [self._signal(document) for document in documents]

    def _signal(self, number):
        document, dense = self.rendered[number], self.dense(number)
        token_U = np.flatnonzero(document.symbol_T >= 0)
        ids_UK = np.argsort(-dense, axis=1)[:, : self.keep]
        kept_UK = np.take_along_axis(dense, ids_UK, axis=1)
        with np.errstate(divide="ignore"):
            beside_U = 1 - np.exp(kept_UK).sum(1) if self.keep < self.size else np.zeros(len(dense))
            log_tail_U = np.log(beside_U)
        rows = TokenScores(
            symbol_U=document.symbol_T[token_U],
            count_U=document.count_T[token_U],
            token_U=document.ids_T[token_U],
            log_prob_U=dense[np.arange(len(dense)), document.ids_T[token_U]].astype(np.float32),
            ids_UK=ids_UK.astype(np.int32),
            log_probs_UK=kept_UK.astype(np.float32),
            log_tail_U=log_tail_U.astype(np.float32),
        )
        symbols = len(document.symbols_N)
        nothing = np.zeros((symbols, 0))
        return Signal(nothing, nothing, np.full(symbols, -np.inf), rows)


@pytest.fixture(scope="session")
def other_renderer():
    return Renderer(train_tokenizer(OTHER_SAMPLE, "byte_level_bpe", 310, "chatml"))


@pytest.fixture
def pair(renderer, other_renderer, documents, tiny_model):
    """(kept tokens, length of a row) -> a student, a random teacher, and a batch of both."""

    def build(keep=None, row_length=24, tokens=7.0, of_student=renderer):
        student = [of_student.render(d.segments, d.id) for d in documents]
        theirs = [other_renderer.render(d.segments, d.id) for d in documents]
        teacher = RandomTokens(theirs, len(other_renderer.vocabulary), keep)
        pieces = pieces_of(student, row_length, 0.5)
        rows = [pieces[i : i + 2] for i in range(0, len(pieces), 2)]
        batch = Batches(student, teacher).collate(rows, tokens, 1.0)
        lm = tiny_model()
        with torch.no_grad():
            hidden = hidden_states(lm, batch.ids_BT, batch.masks(lm), batch.positions_BT)
        return SimpleNamespace(
            lm=lm,
            hidden_XH=hidden.flatten(0, 1).requires_grad_(),
            batch=batch,
            tokens=tokens,
            student=student,
            teacher=teacher,
            pieces=pieces,
        )

    return build


@pytest.fixture
def stretches():
    """pair -> every unbroken stretch of supervised tokens, told plainly: for the student its tokens
    (symbol, count, id) and log-probabilities as the model gives them for the piece alone; for the
    teacher the tokens among the same symbols and theirs; float64."""

    def tell(pair):
        for piece in pair.pieces:
            document, theirs = pair.student[piece.document], pair.teacher.rendered[piece.document]
            ids = torch.from_numpy(document.ids_T[piece.start : piece.stop].astype(np.int64))
            with torch.no_grad():
                log_probs = pair.lm(ids[None]).logits[0].double().log_softmax(-1).numpy()
            dense = pair.teacher.dense(piece.document)
            supervised = [t for t in range(len(theirs)) if theirs.symbol_T[t] >= 0]
            for run in _unbroken(document, piece):
                first = document.symbol_T[run[0]]
                last = document.symbol_T[run[-1]] + document.count_T[run[-1]]
                inside = [
                    (row, t)
                    for row, t in enumerate(supervised)
                    if first <= theirs.symbol_T[t]
                    and theirs.symbol_T[t] + theirs.count_T[t] <= last
                ]
                yield SimpleNamespace(
                    student=[_token(document, t) for t in run],
                    student_says=[log_probs[t - 1 - piece.start] for t in run],
                    teacher=[_token(theirs, t) for _, t in inside],
                    teacher_says=[dense[row] for row, _ in inside],
                )

    return tell


def _unbroken(document, piece):
    runs = []
    for t in range(piece.fresh, piece.stop):
        if document.symbol_T[t] < 0:
            continue
        if runs and runs[-1][-1] == t - 1:
            runs[-1].append(t)
        else:
            runs.append([t])
    return runs


def _token(document, t):
    return int(document.symbol_T[t]), int(document.count_T[t]), int(document.ids_T[t])


@pytest.fixture
def mirror():
    """pair, keep -> the batch as a teacher sees it who is the student itself."""

    def tell(pair, keep):
        batch = pair.batch
        with torch.no_grad():
            dense = by_blocks(pair.lm, pair.hidden_XH[batch.source_S], lambda block: block)
        log_probs, ids = dense.topk(min(keep, dense.shape[1]), 1)
        beside = dense.exp().scatter(1, ids, 0.0).sum(1)
        batch.teacher_tokens = TeacherTokens(
            symbol_U=batch.symbol_S,
            count_U=batch.count_S,
            token_U=batch.target_S,
            log_prob_U=dense.gather(1, batch.target_S[:, None])[:, 0],
            ids_UK=ids,
            log_probs_UK=log_probs,
            log_tail_U=beside.log(),
        )
        return batch

    return tell


@pytest.fixture
def nothing_supervised(pair):
    """A pair of which this process has no supervised token."""
    found = pair()
    found.batch = Batches(found.student, found.teacher).collate(
        [[piece._replace(fresh=piece.stop) for piece in found.pieces[:1]]], 1.0, 1.0
    )
    return found
