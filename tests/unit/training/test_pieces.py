"""Documents that are longer than a row, one token at a time."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from bld.config.settings import Training
from bld.documents.document import make_document
from bld.training.batches import Batches, sizes
from bld.training.loop import train
from bld.training.objectives.sft import Sft
from bld.training.packing import epoch_rows, supervised_positions
from bld.training.pieces import evaluated_pieces, pieces_of, pieces_to_train
from bld.training.trainee import Trainee
from bld.windows import windows

ROW_LENGTH = st.integers(2, 25)
OVERLAP = st.floats(0, 0.99)


class Text:
    """A document of which nothing but its supervised tokens is known; the first has nothing before
    it and never is one."""

    name = "document x"

    def __init__(self, is_supervised) -> None:
        self.symbol_T = np.where([False, *is_supervised], 0, -1)

    def __len__(self) -> int:
        return len(self.symbol_T)

    @property
    def supervised(self) -> list[int]:
        return np.flatnonzero(self.symbol_T >= 0).tolist()

    @property
    def answers(self) -> list[list[int]]:
        """Supervised tokens without a gap."""
        found = []
        for token in self.supervised:
            if found and found[-1][-1] == token - 1:
                found[-1].append(token)
            else:
                found.append([token])
        return found


DOCUMENTS = st.lists(st.builds(Text, st.lists(st.booleans(), max_size=60)), min_size=1, max_size=6)


def predicted(documents, pieces) -> dict[tuple[int, int], list]:
    """The pieces in which each supervised token is predicted."""
    found = {}
    for piece in pieces:
        for token in supervised_positions(documents[piece.document], piece):
            found.setdefault((piece.document, int(token)), []).append(piece)
    return found


def context(row_length, overlap):
    return max(1, int(row_length * overlap))


@given(DOCUMENTS, ROW_LENGTH, OVERLAP)
@examples(deadline=None, max_examples=200)
def test_every_supervised_token_is_predicted_once_behind_the_overlap_or_all_there_is(
    documents, row_length, overlap
):
    found = predicted(documents, pieces_of(documents, row_length, overlap))
    assert found.keys() == {(n, t) for n, one in enumerate(documents) for t in one.supervised}
    for (_, token), [piece] in found.items():
        assert token - piece.start >= min(token, context(row_length, overlap))


@given(DOCUMENTS, ROW_LENGTH, OVERLAP)
@examples(deadline=None, max_examples=200)
def test_a_piece_fits_into_a_row_lies_in_its_document_and_has_something_to_predict(
    documents, row_length, overlap
):
    for piece in pieces_of(documents, row_length, overlap):
        assert 0 <= piece.start < piece.fresh < piece.stop <= len(documents[piece.document])
        assert piece.width == piece.stop - piece.start <= row_length
        assert len(supervised_positions(documents[piece.document], piece))


@given(DOCUMENTS, ROW_LENGTH, OVERLAP)
@examples(deadline=None, max_examples=200)
def test_an_answer_that_fits_behind_the_overlap_is_whole_and_sees_as_much_as_the_row_holds(
    documents, row_length, overlap
):
    found = predicted(documents, pieces_of(documents, row_length, overlap))
    for number, document in enumerate(documents):
        for answer in document.answers:
            [first], [last] = found[number, answer[0]], found[number, answer[-1]]
            before = min(answer[0], context(row_length, overlap))
            if before + len(answer) <= row_length:
                assert first == last
                if first.fresh == answer[0]:  # else it stands behind the end of one before it
                    assert first.start == 0 or first.width == row_length


@given(DOCUMENTS, OVERLAP)
@examples(deadline=None)
def test_a_document_that_fits_into_a_row_is_never_cut(documents, overlap):
    found = [piece[:3] for piece in pieces_of(documents, 61, overlap)]
    assert found == [(n, 0, len(one)) for n, one in enumerate(documents) if one.supervised]


@given(st.integers(1, 60), ROW_LENGTH, OVERLAP)
def test_a_text_is_cut_into_windows_that_overlap(length, row_length, overlap):
    one = Text([True] * length)
    found = [(p.start, p.stop, p.fresh) for p in pieces_of([one], row_length, overlap)]
    first, *others = windows(length + 1, row_length, context(row_length, overlap))
    assert found == [(0, first.stop, 1), *others]


@given(DOCUMENTS, st.integers(1, 25))
@examples(deadline=None, max_examples=200)
def test_an_evaluation_on_the_way_predicts_from_what_the_evaluation_predicts_from(
    documents, window
):
    expected = {
        (number, token + 1): (start, token + 1)
        for number, one in enumerate(documents)
        for start, stop, fresh in windows(len(one), window, window // 2)
        for token in range(fresh, stop)
        if token + 1 in one.supervised
    }
    pieces = evaluated_pieces(documents, window)
    found = predicted(documents, pieces)
    assert found.keys() == expected.keys()
    for (number, token), [piece] in found.items():
        assert (piece.start, token) == expected[number, token]
        assert token <= piece.start + piece.width  # the token before it stands in the row
    assert all(piece.width <= window for piece in pieces)


@given(DOCUMENTS, ROW_LENGTH, OVERLAP, st.sampled_from(["cut", "drop"]))
@examples(deadline=None, max_examples=200)
def test_what_is_told_of_long_documents_is_what_is_read(documents, row_length, overlap, how):
    settings = Training(sequence_length=row_length, overlap=overlap, long_documents=how)
    pieces, told = pieces_to_train(documents, settings)
    taught = [n for n, one in enumerate(documents) if one.supervised]
    long = {n for n in taught if len(documents[n]) > row_length}
    read = Counter((p.document, token) for p in pieces for token in range(p.start, p.stop))
    assert (told.documents, told.long) == (len(taught), len(long))
    assert told.dropped == (len(long) if how == "drop" else 0)
    assert told.pieces == sum(p.document in long for p in pieces)
    assert told.tokens == sum(read.values())
    assert told.repeated == sum(read.values()) - len(read)
    kept = long if how == "cut" else set()
    assert told.unread == sum(
        (n, token) not in read for n in kept for token in range(max(documents[n].supervised))
    )
    found = predicted(documents, pieces)
    begun = [found[n, answer[0]][0] for n in kept for answer in documents[n].answers]
    assert told.answers == sum(piece.start > 0 for piece in begun)
    assert told.context == context(row_length, overlap)


@pytest.mark.parametrize("overlap", [0, 0.5, 0.9])
@pytest.mark.parametrize("row_length", [4, 9, 24])
@pytest.mark.parametrize("name", ["Llama", "GPT-2"])
def test_a_cut_document_costs_what_its_tokens_cost_alone_behind_the_same_text(
    name, row_length, overlap, rendered, tiny_model
):
    lm = tiny_model(name).double()
    pieces = pieces_of(rendered, row_length, overlap)
    rows = epoch_rows(pieces, row_length, 3, 0)
    tokens, _ = sizes(rendered, rows)
    assert tokens == sum(int((one.symbol_T >= 0).sum()) for one in rendered)
    costs = []
    with torch.no_grad():
        found = Trainee(lm, None, Sft())(Batches(rendered).collate(rows, tokens, 1.0))["loss"]
        for (number, token), [piece] in predicted(rendered, pieces).items():
            ids = torch.from_numpy(rendered[number].ids_T.astype(np.int64))
            log_probs = lm(ids[None, piece.start : token]).logits[0, -1].log_softmax(-1)
            costs.append(-log_probs[ids[token]])
    # The sum over the batch is taken in float32.
    assert float(found) == pytest.approx(float(torch.stack(costs).mean()), rel=1e-6)


SETTINGS = Training(
    steps=1, sequence_length=16, batch_size=1, micro_batch_size=1, learning_rate=1e-3
)


def test_a_long_prompt_loses_its_beginning_and_the_answer_nothing(renderer):
    question, answer = " ".join(f"{n} legs" for n in range(40)), "in the key"
    segments = make_document("x", "c", [("user", question), ("assistant", answer)]).segments
    document = renderer.render(segments, "document x")
    settings = SETTINGS.model_copy(update={"sequence_length": 40})
    [piece], told = pieces_to_train([document], settings)
    [turn] = document.turns
    assert (piece.fresh, piece.stop, piece.width) == (turn.first, turn.last + 1, 40)
    assert (told.answers, told.unread) == (1, piece.start)
    assert f"{piece.start} tokens are not read" in str(told)


def test_long_documents_are_left_out_or_an_error_where_that_is_asked_for(
    rendered, tiny_model, capsys
):
    def run(how, documents=rendered):
        settings = SETTINGS.model_copy(update={"long_documents": how})
        trainee = Trainee(tiny_model(), None, Sft())
        train(trainee, Batches(documents), settings, 0, "test")
        return trainee.long_documents

    long = [one for one in rendered if len(one) > 16]
    assert 0 < len(long) < len(rendered)
    told = run("drop")
    assert (told.dropped, told.pieces, told.repeated) == (len(long), 0, 0)
    assert f"{len(long)} of them are left out" in capsys.readouterr().out
    with pytest.raises(
        ValueError, match=rf"{len(long)} of {len(rendered)} documents.*chat the longest with 82"
    ):
        run("stop")
    assert run("stop", [one for one in rendered if len(one) <= 16]).long == 0
    with pytest.raises(ValueError, match=f"but in {len(long)} that are longer than a row"):
        run("drop", long)
