from collections import Counter

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bld.documents.document import make_document
from bld.models import hidden_states, output_logits
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer
from bld.tokenization.symbols import END
from bld.training.batches import Batches
from bld.training.packing import epoch_rows, pieces_of

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
        return np.stack([number % 256, number % 7], axis=1), log_probs, 1000.0 * document + number


@pytest.fixture(params=ROW_LENGTHS)
def rows(request, rendered):
    return epoch_rows(pieces_of(list(map(len, rendered)), request.param), request.param, 5, 0)


def one_batch(documents, rows, signals=None):
    return Batches(documents, signals).collate(rows, 1.0, 1.0)


def whole(documents, *numbers):
    """These documents in one row."""
    pieces = pieces_of(list(map(len, documents)), 10_000)
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
    return hidden_states(lm, batch.ids_BT, batch.mask_B1TT(lm.dtype), batch.positions_BT)


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
                expected += [log_probs[t - 1, ids[t]] for t in range(1, len(ids)) if supervised[t]]
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
    batch = one_batch([renderer.render(segments, "x")], [pieces_of([5], 64)])
    assert len(batch.source_S) == len(batch.symbols_N) == len(batch.teacher_symbols_NK) == 0


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("micro_batch_size", [1, 2])
def test_processes_share_out_the_rows_of_a_step(rendered, micro_batch_size, world_size):
    rows = [[piece] for piece in pieces_of(list(map(len, rendered)), 24)[:8]]
    found = Counter()
    for rank in range(world_size):
        batches = list(Batches(rendered).step(rows, micro_batch_size, rank, world_size))
        assert len(batches) == len(rows) / micro_batch_size / world_size
        found += Counter(tuple(row) for batch in batches for row in batch.ids_BT.tolist())
    expected = one_batch(rendered, rows).ids_BT
    width = expected.shape[1]
    padded = Counter({(*row, *[0] * (width - len(row))): n for row, n in found.items()})
    assert padded == Counter(map(tuple, expected.tolist()))
