import numpy as np
import pytest
import torch

from bld.config.settings import Histories as HistorySettings
from bld.documents.document import make_document
from bld.models import hidden_states
from bld.scoring.scorer import ByteScorer
from bld.symbols import END
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer
from bld.training.batches import Batches
from bld.training.heads import MarginalHead
from bld.training.histories import Histories
from bld.training.packing import Piece, epoch_rows
from bld.training.pieces import pieces_of
from bld.training.reading import read_in_own_rows, read_packed, reading_of

MODELS = {
    "Llama": {},
    "GPT-2": {},
    "Qwen2": {},
    "GPT-NeoX": {},
    "Gemma 2": {},
    "LFM 2": {},
    "Mamba 2": {},
    "Llama, padded": {"padding": 7},
    "Qwen2, padded, output head with bias": {"padding": 5, "biased": True},
}
KINDS = ["trunk", "prefix"]


@pytest.fixture
def model(tiny_model):
    return lambda name: tiny_model(name.split(",")[0], **MODELS[name])


def batch_of(rows, documents, renderer, lm, kind):
    logits = len(lm.get_output_embeddings().weight)
    histories = Histories(renderer, logits, kind)
    return Batches(documents, histories=histories).collate(rows, 1.0, 1.0)


def run(lm, batch):
    reading, _ = reading_of(lm, 60)
    return reading(lm, batch)


@torch.no_grad()
def predictions(lm, batch):
    """Log-probabilities [N, 260] of the batch's symbols, each predicted once, and the tokens'."""
    symbol_M, log_probs_MS, tokens = MarginalHead()(lm, run(lm, batch), batch)
    found = torch.full((len(batch.symbols_N), 260), torch.nan)
    assert len(set(symbol_M.tolist())) == len(symbol_M)
    found[symbol_M] = log_probs_MS
    return found, tokens


def whole(documents):
    return [[piece] for piece in pieces_of(documents, 1000, 0.5)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MODELS)
def test_a_students_bytes_are_those_that_the_same_model_has_as_a_teacher(
    name, kind, model, renderer, documents
):
    lm = model(name)
    rendered = [renderer.render(d.segments, d.id) for d in documents]
    found, _ = predictions(lm, batch_of(whole(rendered), rendered, renderer, lm, kind))
    scorer = ByteScorer(renderer, lm, HistorySettings(histories=kind, eps=0), 128, 1024)
    expected = np.concatenate([one.log_probs_NS for one in scorer.distributions(documents)])
    np.testing.assert_allclose(found[:, :258].exp(), np.exp(expected), rtol=2e-4, atol=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_the_tokens_probabilities_are_the_models_own(name, model, renderer, rendered):
    lm = model(name)
    batch = batch_of(whole(rendered), rendered, renderer, lm, "prefix")
    _, found = predictions(lm, batch)
    expected = []
    for document in rendered:
        ids = torch.from_numpy(document.ids_T.astype(np.int64))
        with torch.no_grad():
            log_probs = lm(ids[None]).logits[0].log_softmax(-1)
        expected += [log_probs[t - 1, ids[t]] for t in np.flatnonzero(document.symbol_T >= 0)]
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-4, rtol=1e-4)


def path_of(batch, document, piece, node):
    """The tokens before a history of a batch of one piece, itself included."""
    histories, beside = batch.histories.sums.histories, []
    while node >= histories.trunk:
        beside.insert(0, int(histories.token_R[node]))
        node = histories.parent_R[node]
    last = piece.start + int(histories.column_R[node])
    return document.ids_T[piece.start : last + 1].tolist() + beside


@pytest.mark.parametrize("name", MODELS)
def test_a_history_beside_the_text_is_read_as_if_alone(name, model, renderer, rendered):
    lm, beside = model(name), 0
    for document, [piece] in zip(rendered, whole(rendered), strict=True):
        batch = batch_of([[piece]], rendered, renderer, lm, "prefix")
        histories = batch.histories.sums.histories
        beside += len(histories) - histories.trunk
        with torch.no_grad():
            found = run(lm, batch)[batch.histories.position_R]
            for node in range(histories.trunk, len(histories)):
                path = torch.tensor([path_of(batch, document, piece, node)])
                alone = hidden_states(lm, path)[0, -1]
                torch.testing.assert_close(found[node], alone, atol=2e-5, rtol=1e-4)
    assert beside > 50


def test_rows_of_one_history_have_the_states_of_packed_rows(model, renderer, rendered):
    lm, rows = model("Llama"), epoch_rows(pieces_of(rendered, 64, 0.5), 64, 1, 0)
    batch = batch_of(rows, rendered, renderer, lm, "prefix")
    with torch.no_grad():
        packed, apart = (how(lm, batch) for how in (read_packed, read_in_own_rows))
    holds = batch.piece_BT.flatten() >= 0
    torch.testing.assert_close(apart[holds], packed[holds], atol=1e-5, rtol=1e-4)
    assert (apart[~holds] == 0).all()


@pytest.mark.parametrize("name", MODELS)
def test_the_text_does_not_see_the_histories_beside_it(name, model, renderer, rendered):
    lm, rows = model(name), epoch_rows(pieces_of(rendered, 64, 0.5), 64, 1, 0)
    plain = Batches(rendered).collate(rows, 1.0, 1.0)
    batch = batch_of(rows, rendered, renderer, lm, "prefix")
    width = plain.ids_BT.shape[1]
    assert batch.ids_BT.shape[1] > width
    with torch.no_grad():
        expected = run(lm, plain).view(len(rows), width, -1)
        found = run(lm, batch).view(len(rows), batch.ids_BT.shape[1], -1)[:, :width]
    text = plain.piece_BT >= 0
    torch.testing.assert_close(found[text], expected[text], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row_length", [2, 3, 5, 8, 13, 40])
@pytest.mark.parametrize("packed", [False, True])
def test_pieces_of_any_length_say_what_their_histories_say_one_by_one(
    packed, row_length, kind, renderer, rendered, tiny_model, plain_sums
):
    lm, some = tiny_model(), rendered[1:4]
    plain = plain_sums(tiny_model().double(), renderer, kind)
    pieces = pieces_of(some, row_length, 0.5)
    for rows in [[pieces]] if packed else [[[piece]] for piece in pieces]:
        batch = batch_of(rows, some, renderer, lm, kind)
        found, _ = predictions(lm, batch)
        expected = expected_rows(plain, some, rows)
        assert torch.isfinite(found).all() and len(expected) == len(batch.symbols_N)
        if len(expected):
            expected = torch.stack(expected)
            torch.testing.assert_close(found.exp().double(), expected, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_document_may_be_cut_anywhere(kind, renderer, rendered, tiny_model, plain_sums):
    lm, chat = tiny_model(), rendered[1]
    plain = plain_sums(tiny_model().double(), renderer, kind)
    for cut in range(2, len(chat)):
        rows = [[Piece(0, 0, cut, 1)], [Piece(0, cut - 1, len(chat), cut)]]
        found, _ = predictions(lm, batch_of(rows, [chat], renderer, lm, kind))
        expected = torch.stack(expected_rows(plain, [chat], rows))
        assert len(found) == len(chat.symbols_N)
        torch.testing.assert_close(found.exp().double(), expected, atol=1e-6, rtol=1e-3)


def expected_rows(plain, documents, rows):
    """Of every symbol that the rows are trained on, in order."""
    expected = []
    for piece in (piece for row in rows for piece in row):
        document = documents[piece.document]
        with torch.no_grad():
            said = plain.rows(document, piece)
        for token in range(piece.fresh, piece.stop):
            first = document.symbol_T[token]
            expected += [said[n] for n in range(first, first + document.count_T[token])]
    return expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_said_of_a_document_does_not_know_its_neighbours(
    place, kind, renderer, rendered, tiny_model
):
    lm = tiny_model()
    other = make_document("x", "text", [("text", "Something else entirely.")])
    neighbour = renderer.render(other.segments, "x")
    found = []
    for documents in (rendered, [neighbour if i == place else d for i, d in enumerate(rendered)]):
        pieces = pieces_of(documents, 1000, 0.5)
        batch = batch_of([pieces[:3], pieces[3:]], documents, renderer, lm, kind)
        counts = [len(document.symbols_N) for document in documents]
        parts = predictions(lm, batch)[0].split(counts)
        found.append(torch.cat([part for i, part in enumerate(parts) if i != place]))
    torch.testing.assert_close(*(one.exp() for one in found), atol=1e-6, rtol=1e-4)


def test_nothing_is_learned_of_the_end_of_a_turn_that_the_template_does_not_end(tiny_model):
    tokenizer = train_tokenizer(["Return the key"] * 9, "byte_level_bpe", 290, "chatml")
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['role'] + ':' + message['content'] + '\n' }}"
        "{% endfor %}"
    )
    renderer, lm = Renderer(tokenizer), tiny_model()
    segments = make_document("x", "c", [("user", "key?"), ("assistant", "the key")]).segments
    document = renderer.render(segments, "x")
    assert not document.turns[0].ends and document.symbols_N[-1] == END
    for kind in KINDS:
        batch = batch_of(whole([document]), [document], renderer, lm, kind)
        symbol_M, _, _ = MarginalHead()(lm, run(lm, batch), batch)
        assert bytes(batch.symbols_N[symbol_M].tolist()) == b"the key"


@pytest.mark.parametrize("kind", KINDS)
def test_a_piece_without_supervised_tokens_has_no_histories(kind, renderer, tiny_model):
    lm = tiny_model()
    segments = make_document("x", "c", [("user", "hello"), ("assistant", "yes")]).segments
    document = renderer.render(segments, "x")
    before = [[Piece(0, 0, document.turns[0].first, 1)]]
    assert batch_of(before, [document], renderer, lm, kind).histories is None


def test_prefix_histories_stand_at_most_the_said_positions_deeper_than_the_text(renderer, rendered):
    histories = Histories(renderer, 300, "prefix")
    batch = Batches(rendered, histories=histories).collate(whole(rendered), 1.0, 1.0)
    deepest = max(map(len, rendered)) + histories.extra_positions
    assert batch.positions_BT.max() < deepest
    assert Histories(renderer, 300, "trunk").extra_positions == 0
