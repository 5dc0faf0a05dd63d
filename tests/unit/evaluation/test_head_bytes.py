import math

import numpy as np
import pytest
import torch

from bld.config.settings import Architecture, Histories
from bld.documents.document import make_document
from bld.evaluation.byte_divergence import HeadReader, byte_divergence, open_head
from bld.scoring.scorer import ByteScorer
from bld.symbols import END
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer
from bld.training.heads import CausalHeads, LinearHeads, save_head
from bld.training.scratch import new_model

HEADS = {"linear": LinearHeads, "causal": CausalHeads}
KINDS = ["subwords", "bytes", "SentencePiece BPE", "Unigram"]


def row_by_hand(head, hidden, spelt):
    """The head's distribution [260] of the byte after `spelt` in the token that `hidden`
    predicts."""
    j = len(spelt)
    if isinstance(head, LinearHeads):
        place = slice(260 * j, 260 * (j + 1))
        return (head.weight[place] @ hidden + head.bias[place]).softmax(-1)
    inner = head.enter(hidden) + head.place.weight[j]
    for i, byte in enumerate(spelt):
        inner = inner + head.spelt.weight[260 * i + byte]
    return head.leave(torch.nn.functional.gelu(inner)).softmax(-1)


@torch.no_grad()
def predicted_by_hand(head, lm, renderer, document):
    """supervised symbol -> (its place in the token, true symbol, distribution), token by token."""
    rendered = renderer.render(document.segments, document.id)
    ids = torch.from_numpy(rendered.ids_T.astype(np.int64))
    hidden_TH = lm.base_model(ids[None]).last_hidden_state[0]
    found = {}
    for turn in rendered.turns:
        symbol = turn.symbol
        for t in range(turn.first, turn.last):
            spelt = renderer.vocabulary.token_bytes[ids[t]]
            for j, byte in enumerate(spelt[:10]):
                row = row_by_hand(head, hidden_TH[t - 1], spelt[:j])
                found[symbol + j] = (j + 1, byte, row.double().numpy())
            symbol += len(spelt)
        row = row_by_hand(head, hidden_TH[turn.last - 1], b"")
        found[symbol] = ("end", END, row.double().numpy())
    return found


def kl_by_hand(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a)


def mean(values):
    values = list(values)
    return sum(values) / len(values)


@pytest.mark.parametrize("head_kind", HEADS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_figures_of_a_head_are_those_of_its_own_distributions(
    scorer, model, documents, head_kind, kind
):
    lm, renderer, _ = model(kind, seed=2)
    head = HEADS[head_kind](16, seed=3)
    teacher, student = scorer("subwords", seed=1), scorer(kind, seed=2)
    result = byte_divergence(documents, teacher, student, HeadReader(head, lm, 256))
    rows = []
    scored = (model.distributions(documents) for model in (teacher, student))
    for document, of_teacher, of_student in zip(documents, *scored, strict=True):
        p_NS = np.exp(of_teacher.log_probs_NS.astype(np.float64))
        for n, (place, true, q) in predicted_by_hand(head, lm, renderer, document).items():
            p = np.append(p_NS[n], [0, 0])
            middle = (p + q) / 2
            rows.append(
                {
                    "position": place,
                    "jsd": (kl_by_hand(p, middle) + kl_by_hand(q, middle)) / 2,
                    "kl": kl_by_hand(p, q),
                    "bits": -math.log2(q[true]),
                    "student_bits": -of_student.log_probs_NS[n, true] / math.log(2),
                }
            )
    found, of_bytes = result["head"], [row for row in rows if row["position"] != "end"]
    assert (found["symbols"], found["bytes"]) == (len(rows), len(of_bytes))
    assert found["share"] == 1 and found["bytes"] == result["bytes"]
    assert found["bits_per_byte"] == pytest.approx(mean(r["bits"] for r in of_bytes), rel=1e-4)
    same = mean(row["student_bits"] for row in of_bytes)
    assert found["student_same"]["bits_per_byte"] == pytest.approx(same, rel=1e-4)
    assert same == pytest.approx(result["models"]["student"]["bits_per_byte"], rel=1e-4)
    for measure in ("jsd", "kl"):
        assert found[measure] == pytest.approx(mean(row[measure] for row in rows), rel=1e-4)
        for figures in found["by_position"]:
            of_position = [r[measure] for r in rows if r["position"] == figures["position"]]
            assert figures["symbols"] == len(of_position)
            assert figures[measure] == pytest.approx(mean(of_position), rel=1e-4)
    assert sum(b["symbols"] for b in found["calibration"]) == len(rows)


LONG = "internationalisation"


@pytest.fixture
def long_words():
    """Documents of words of more than ten bytes that are one token each, and a model for them."""
    tokenizer = train_tokenizer([LONG] * 60, "byte_level_bpe", 320, "chatml")
    shape = Architecture(hidden=16, layers=2, heads=2, intermediate=24, positions=256)
    renderer = Renderer(tokenizer)
    document = make_document("long", "text", [("text", f"{LONG}{LONG}x")])
    return new_model(shape, tokenizer, 1).eval(), renderer, document


def test_a_head_sees_the_first_ten_bytes_of_a_token_and_its_end(long_words):
    lm, renderer, document = long_words
    rendered = renderer.render(document.segments, "long")
    symbol_M, log_probs_MS = HeadReader(LinearHeads(16, 0), lm, 256).read(rendered)
    second = len(LONG)
    expected = [*range(10), *range(second, second + 10), 2 * second, 2 * second + 1]
    assert sorted(symbol_M) == expected
    np.testing.assert_allclose(np.exp(log_probs_MS).sum(1), 1, rtol=1e-5)


def test_the_share_is_that_of_the_bytes_that_a_head_sees(long_words, scorer):
    lm, renderer, document = long_words
    student = ByteScorer(renderer, lm, Histories(histories="prefix", eps=0.0), 256, 10_000)
    head = HeadReader(LinearHeads(16, 0), lm, 256)
    found = byte_divergence([document], scorer("bytes"), student, head)
    assert found["head"]["bytes"] == 21 and found["head"]["share"] == 21 / (2 * len(LONG) + 1)
    whole, seen = (
        {row["position"]: row["symbols"] for row in rows}
        for rows in (found["by_position"], found["head"]["by_position"])
    )
    assert whole == {1: 3, **dict.fromkeys(range(2, 11), 2), 11: 2 * (len(LONG) - 10), "end": 1}
    assert seen == {place: count for place, count in whole.items() if place != 11}


def test_of_a_document_in_windows_every_symbol_is_predicted_once_from_half_a_window_or_more(model):
    lm, renderer, _ = model("subwords")
    head = LinearHeads(16, 0)
    document = make_document("long", "text", [("text", "Return the index of the first key " * 9)])
    rendered = renderer.render(document.segments, "long")
    window = 16
    assert len(rendered) > 3 * window
    symbol_M, log_probs_MS = HeadReader(head, lm, window).read(rendered)
    assert sorted(symbol_M) == list(range(len(document.supervised) + 1))
    found = dict(zip(symbol_M.tolist(), log_probs_MS, strict=True))
    ids = torch.from_numpy(rendered.ids_T.astype(np.int64))
    for t in range(1, len(ids) - 1):
        # Windows begin every half window; a state stands in the first that holds it.
        start = max(0, -(-(t - window) // (window // 2))) * (window // 2)
        with torch.no_grad():
            hidden = lm.base_model(ids[None, start:t]).last_hidden_state[0, -1]
            row = row_by_hand(head, hidden, b"").log()
        np.testing.assert_allclose(found[int(rendered.symbol_T[t])], row, rtol=1e-3, atol=1e-4)


def test_a_document_without_an_answer_has_nothing_to_predict(model):
    lm, renderer, _ = model("subwords")
    silent = make_document("s", "c", [("user", "Nobody answers.")])
    for head in (LinearHeads(16, 0), CausalHeads(16, 0)):
        rendered = renderer.render(silent.segments, "s")
        symbol_M, log_probs_MS = HeadReader(head, lm, 256).read(rendered)
        assert symbol_M.shape == (0,) and log_probs_MS.shape == (0, 260)


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_is_opened_from_where_it_was_kept(kind, model, documents, tmp_path):
    lm, renderer, _ = model("subwords")
    head = HEADS[kind](16, seed=4)
    save_head(head.state_dict(), tmp_path)
    rendered = renderer.render(documents[0].segments, "first")
    kept = open_head(kind, tmp_path, lm, 256).read(rendered)
    for found, expected in zip(kept, HeadReader(head, lm, 256).read(rendered), strict=True):
        np.testing.assert_array_equal(found, expected)
