from collections import Counter

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bld.cache.top_k import Signal
from bld.documents.document import make_document
from bld.models import hidden_states, output_logits
from bld.scoring.token_scores import TokenScores
from bld.symbols import END
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer
from bld.training.batches import Batches
from bld.training.packing import Piece, epoch_rows
from bld.training.pieces import pieces_of

ROW_LENGTHS = [7, 24, 64]  # documents cut often, sometimes, never


class NumberedTeacher:
    """Says of every symbol which document it belongs to and which symbol of that it is."""

    def __init__(self, documents):
        self._documents = documents

    def read(self, documents):
        return [self._of(document) for document in documents]

    def _of(self, document):
        number = np.arange(len(self._documents[document].symbols_N))
        log_probs = np.stack([np.full(len(number), float(document)), number], axis=1)
        symbols = np.stack([number % 256, number % 7], axis=1)
        return Signal(symbols, log_probs, 1000.0 * document + number)


class SpellingTeacher(NumberedTeacher):
    """Has tokens of its own; token u of a document says u."""

    def __init__(self, documents, own, vocabulary):
        super().__init__(documents)
        self._own, self.vocabulary = own, vocabulary

    def _of(self, document):
        return super()._of(document)._replace(tokens=self.rows(document))

    def rows(self, document):
        own = self._own[document]
        position = np.flatnonzero(own.symbol_T >= 0)
        number = np.arange(len(position), dtype=np.float32)
        return TokenScores(
            own.symbol_T[position],
            own.count_T[position],
            own.ids_T[position],
            -number,
            np.stack([own.ids_T[position], own.ids_T[position] + 1], axis=1),
            np.stack([-number, -number - 1], axis=1),
            -number - 2,
        )


@pytest.fixture(scope="session")
def spelling(rendered, documents):
    """A teacher whose tokens are other ones than the student's, and most of them longer."""
    sample = [segment.text.decode() for d in documents for segment in d.segments] * 9
    renderer = Renderer(train_tokenizer(sample, "byte_level_bpe", 400, "turns"))
    own = [renderer.render(d.segments, d.id) for d in documents]
    return SpellingTeacher(rendered, own, renderer.vocabulary)


@pytest.fixture(params=ROW_LENGTHS)
def rows(request, rendered):
    return epoch_rows(pieces_of(rendered, request.param, 0.5), request.param, 5, 0)


def one_batch(documents, rows, signals=None):
    return Batches(documents, signals).collate(rows, 1.0, 1.0)


def whole(documents, *numbers):
    """These documents in one row."""
    pieces = pieces_of(documents, 10_000, 0.5)
    return [[pieces[number] for number in numbers]]


def supervised_tokens(rendered, rows):
    """(document, token) of what is trained on, in the order in which it stands in the rows."""
    return [
        (piece.document, token)
        for row in rows
        for piece in row
        for token in range(piece.fresh, piece.stop)
        if rendered[piece.document].symbol_T[token] >= 0
    ]


def run(lm, batch):
    return hidden_states(lm, batch.ids_BT, batch.masks(lm), batch.positions_BT)


@pytest.mark.parametrize("family", ["Llama", "GPT-NeoX", "Qwen2", "GPT-2"])
def test_a_document_packed_with_others_is_read_as_if_alone(family, rendered, tiny_model):
    lm = tiny_model(family)
    short = [document for document in rendered if len(document) < 40]
    (row,) = whole(short, *range(len(short)))
    with torch.no_grad():
        packed = run(lm, one_batch(short, [row, row[:1]]))[0]
        ids = [
            torch.from_numpy(short[piece.document].ids_T.astype(np.int64))[None] for piece in row
        ]
        alone = torch.cat([hidden_states(lm, one)[0] for one in ids])
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-5)


def test_padding_gives_finite_states(rendered, tiny_model):
    batch = one_batch(rendered, whole(rendered, 0) + whole(rendered, 2))
    assert (batch.piece_BT[1, len(rendered[2]) :] == -1).all()
    assert torch.isfinite(run(tiny_model(), batch)).all()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_documents_loss_and_gradient_do_not_know_its_neighbours(
    place, rendered, renderer, tiny_model
):
    other = make_document("x", "text", [("text", "Something else.")])
    neighbour = renderer.render(other.segments, "x")
    found = []
    for documents in (rendered, [neighbour if i == place else d for i, d in enumerate(rendered)]):
        lm = tiny_model()
        batch = one_batch(documents, whole(documents, 0, 1, 2))
        owner = batch.piece_BT.flatten()[batch.source_S]
        kept = owner != place
        logits = output_logits(lm, run(lm, batch).flatten(0, 1)[batch.source_S[kept]])
        loss = F.cross_entropy(logits, batch.target_S[kept], reduction="sum")
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in lm.parameters())])
    for before, after in zip(*found, strict=True):
        torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-4)


def test_a_targets_source_is_the_position_before_it_in_its_own_piece(rendered, rows):
    batch = one_batch(rendered, rows)
    ids, pieces = batch.ids_BT.flatten(), batch.piece_BT.flatten()
    torch.testing.assert_close(ids[batch.source_S + 1], batch.target_S)
    assert (pieces[batch.source_S] == pieces[batch.source_S + 1]).all()
    assert (pieces[batch.source_S] >= 0).all()


def test_the_state_at_a_source_gives_the_models_own_probability_of_the_target(
    rendered, rows, tiny_model
):
    lm = tiny_model()
    batch = one_batch(rendered, rows)
    with torch.no_grad():
        logits = output_logits(lm, run(lm, batch).flatten(0, 1)[batch.source_S])
        found = logits.log_softmax(-1).gather(1, batch.target_S[:, None])[:, 0]
        expected = []
        for row in rows:
            for piece in row:
                ids = rendered[piece.document].ids_T[piece.start : piece.stop].astype(np.int64)
                log_probs = lm(torch.from_numpy(ids)[None]).logits[0].log_softmax(-1)
                supervised = rendered[piece.document].symbol_T[piece.start : piece.stop] >= 0
                expected += [
                    log_probs[t - 1, ids[t]]
                    for t in range(piece.fresh - piece.start, len(ids))
                    if supervised[t]
                ]
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-5, rtol=1e-5)


def test_over_an_epoch_the_targets_are_the_supervised_tokens_each_once(rendered, rows):
    batch = one_batch(rendered, rows)
    tokens = supervised_tokens(rendered, rows)
    assert batch.target_S.tolist() == [rendered[d].ids_T[t] for d, t in tokens]
    assert Counter(tokens) == {
        (d, t): 1 for d, document in enumerate(rendered) for t in np.flatnonzero(document.count_T)
    }


def test_the_targets_spell_the_supervised_bytes_and_the_ends_and_nothing_else(renderer, rendered):
    chat = rendered[1]
    batch = one_batch(rendered, whole(rendered, 1))
    spelt = [renderer.vocabulary.token_bytes[i] or b"<end>" for i in batch.target_S.tolist()]
    assert b"".join(spelt) == "In the index \U0001f600.<end>Not in items<end>".encode()
    assert len(chat.turns) == 2


def test_a_token_spells_its_own_symbols(renderer, rendered, rows):
    batch = one_batch(rendered, rows)
    for target, first, count in zip(
        batch.target_S.tolist(), batch.symbol_S.tolist(), batch.count_S.tolist(), strict=True
    ):
        spelt = renderer.vocabulary.token_bytes[target]
        expected = [END] if spelt is None else list(spelt)
        assert batch.symbols_N[first : first + count].tolist() == expected
        assert spelt is not None or target in renderer.vocabulary.end


def test_the_symbols_of_whitespace_alone_are_those_of_tokens_that_spell_nothing_else(
    renderer, rendered, rows
):
    batch, blank = one_batch(rendered, rows), 0
    for target, first, count in zip(
        batch.target_S.tolist(), batch.symbol_S.tolist(), batch.count_S.tolist(), strict=True
    ):
        spelt = renderer.vocabulary.token_bytes[target]
        expected = spelt is not None and not spelt.strip()
        assert batch.blank_N[first : first + count].tolist() == [expected] * count
        blank += expected
    assert 0 < blank < len(batch.target_S)


def test_the_teachers_rows_stand_beside_the_symbols_that_they_are_about(rendered, rows):
    batch = one_batch(rendered, rows, NumberedTeacher(rendered))
    tokens = supervised_tokens(rendered, rows)
    for (document, token), first, count in zip(
        tokens, batch.symbol_S.tolist(), batch.count_S.tolist(), strict=True
    ):
        number = rendered[document].symbol_T[token] + np.arange(count)
        here = slice(first, first + count)
        assert batch.teacher_log_probs_NK[here].tolist() == [[document, n] for n in number]
        assert batch.teacher_symbols_NK[here].tolist() == [[n % 256, n % 7] for n in number]
        assert batch.teacher_log_tail_N[here].tolist() == (1000 * document + number).tolist()


def test_a_teachers_token_stands_in_the_batch_if_its_symbols_are_all_trained_on_in_one_piece(
    rendered, rows, spelling
):
    batch = one_batch(rendered, rows, spelling)
    expected, symbols = [], 0  # (symbol, count, token, what is said) of every teacher token
    for piece in (piece for row in rows for piece in row):
        trained = [
            int(rendered[piece.document].symbol_T[t]) + k
            for t in range(piece.fresh, piece.stop)
            for k in range(rendered[piece.document].count_T[t])
        ]
        for u, (first, count, token, *_) in enumerate(
            zip(*spelling.rows(piece.document), strict=True)
        ):
            if set(range(first, first + count)) <= set(trained):
                expected.append((symbols + first - trained[0], count, token, -u))
        symbols += trained[-1] + 1 - trained[0] if trained else 0
    found = batch.teacher_tokens
    columns = found.symbol_U, found.count_U, found.token_U, found.log_prob_U
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected
    assert len(expected) > 20
    said = found.log_prob_U[:, None] - torch.arange(3)
    assert torch.equal(torch.cat([found.log_probs_UK, found.log_tail_U[:, None]], 1), said)
    assert torch.equal(found.ids_UK, found.token_U[:, None] + torch.arange(2))


def test_a_teachers_token_spells_the_symbols_of_the_batch_that_it_points_at(
    rendered, rows, spelling
):
    batch = one_batch(rendered, rows, spelling)
    found = batch.teacher_tokens
    for symbol, count, token in zip(
        found.symbol_U.tolist(), found.count_U.tolist(), found.token_U.tolist(), strict=True
    ):
        spelt = spelling.vocabulary.token_bytes[token]
        expected = [END] if spelt is None else list(spelt)
        assert batch.symbols_N[symbol : symbol + count].tolist() == expected


def test_a_teachers_token_that_a_cut_divides_stands_in_neither_piece(rendered, spelling):
    rows = [[piece] for piece in pieces_of(rendered, 7, 0.5)]
    found = one_batch(rendered, rows, spelling).teacher_tokens
    assert len(found.token_U) < sum(len(spelling.rows(d).token_U) for d in range(len(rendered)))


def test_uncut_documents_have_all_their_teachers_tokens(rendered, spelling):
    batch = one_batch(rendered, whole(rendered, 2, 0, 1), spelling)
    sizes = [len(spelling.rows(number).token_U) for number in (2, 0, 1)]
    assert len(batch.teacher_tokens.token_U) == sum(sizes)


def test_tokens_are_none_where_the_signals_have_none_and_empty_where_no_piece_has_any(
    rendered, spelling, renderer
):
    assert one_batch(rendered, whole(rendered, 0)).teacher_tokens is None
    numbered = NumberedTeacher(rendered)
    assert one_batch(rendered, whole(rendered, 0), numbered).teacher_tokens is None
    asked = renderer.render(make_document("x", "c", [("user", "hello")]).segments, "x")
    silent = SpellingTeacher([asked], [asked], renderer.vocabulary)
    found = one_batch([asked], [[Piece(0, 0, len(asked), 1)]], silent).teacher_tokens
    assert found.token_U.shape == (0,) and found.ids_UK.shape == (0, 2)
    assert found.token_U.dtype == found.ids_UK.dtype == torch.int64
    assert found.log_prob_U.dtype == found.log_probs_UK.dtype == torch.float32


def test_a_batch_takes_the_teachers_tokens_along_to_another_device(rendered, spelling):
    batch = one_batch(rendered, whole(rendered, 0), spelling).to(torch.device("meta"))
    assert batch.target_S.device.type == batch.teacher_tokens.log_probs_UK.device.type == "meta"


def test_what_a_user_says_is_context_and_never_a_target():
    renderer = Renderer(train_tokenizer([], "bytes", 0, "chatml"))
    documents = [
        renderer.render(make_document("x", "c", [("user", u), ("assistant", "yes")]).segments, "x")
        for u in ("one question", "two answers?")
    ]
    one, two = (one_batch(documents, whole(documents, number)) for number in (0, 1))
    assert (one.ids_BT != two.ids_BT).sum() > 5
    for name in ("source_S", "target_S", "symbol_S", "count_S", "symbols_N"):
        assert torch.equal(getattr(one, name), getattr(two, name))
    assert bytes(one.target_S[:-1].tolist()) == b"yes"


def test_rows_without_a_supervised_token_make_a_batch_without_targets(renderer):
    segments = make_document("x", "c", [("user", "hello")]).segments
    batch = one_batch([renderer.render(segments, "x")], [[Piece(0, 0, 5, 1)]])
    assert len(batch.source_S) == len(batch.symbols_N) == len(batch.teacher_symbols_NK) == 0


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("micro_batch_size", [1, 2])
def test_processes_share_out_the_rows_of_a_step(rendered, micro_batch_size, world_size):
    rows = [[piece] for piece in pieces_of(rendered, 20, 0.5)[:8]]
    found = Counter()
    for rank in range(world_size):
        batches = list(Batches(rendered).step(rows, micro_batch_size, rank, world_size))
        assert len(batches) == len(rows) / micro_batch_size / world_size
        found += Counter(tuple(row) for batch in batches for row in batch.ids_BT.tolist())
    expected = one_batch(rendered, rows).ids_BT
    width = expected.shape[1]
    padded = Counter({(*row, *[0] * (width - len(row))): n for row, n in found.items()})
    assert padded == Counter(map(tuple, expected.tolist()))
