import json
import math
from collections import defaultdict

import numpy as np
import pytest

from bld.config.settings import Histories
from bld.documents.document import make_document
from bld.evaluation.bits_per_byte import bits_per_byte
from bld.evaluation.byte_divergence import byte_divergence
from bld.evaluation.measures import AT_END, end_nats, positions
from bld.evaluation.measures import bits_per_byte as bits_of_table
from bld.files import write_json
from bld.symbols import END, supervised_symbols
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer

KINDS = ["subwords", "bytes", "SentencePiece BPE", "Unigram"]


def kl_by_hand(p, q):
    return sum(a * math.log(a / b) if b else math.inf for a, b in zip(p, q, strict=True) if a)


def jsd_by_hand(p, q):
    middle = (p + q) / 2
    return (kl_by_hand(p, middle) + kl_by_hand(q, middle)) / 2


def places_by_hand(renderer, document):
    """The place of every supervised symbol in its token, from what the tokens spell; None for
    END."""
    rendered, places = renderer.render(document.segments, document.id), []
    for turn in rendered.turns:
        for token in rendered.ids_T[turn.first : turn.last]:
            places += range(1, 1 + len(renderer.vocabulary.token_bytes[token]))
        places.append(None)
    return places


def symbols_by_hand(documents, teacher, student):
    """One dictionary for every supervised symbol."""
    rows = []
    streams = (model.distributions(documents) for model in (teacher, student))
    for document, *both in zip(documents, *streams, strict=True):
        p_NS, q_NS = (np.exp(one.log_probs_NS.astype(np.float64)) for one in both)
        true, places = (
            supervised_symbols(document.segments),
            places_by_hand(student.renderer, document),
        )
        for p, q, symbol, place in zip(p_NS, q_NS, true, places, strict=True):
            assert (symbol == END) == (place is None)
            rows.append(
                {
                    "document": document.id,
                    "kind": document.kind,
                    "position": "end" if place is None else min(place, 11),
                    "jsd": jsd_by_hand(p, q),
                    "kl": kl_by_hand(p, q),
                    "teacher": (-math.log(p[symbol]), p.max(), p.argmax() == symbol),
                    "student": (-math.log(q[symbol]), q.max(), q.argmax() == symbol),
                }
            )
    return rows


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def assert_figures(found, rows):
    """Counts, divergences and bits of some symbols."""
    of_bytes = [row for row in rows if row["position"] != "end"]
    assert (found["symbols"], found["bytes"]) == (len(rows), len(of_bytes))
    for measure in ("jsd", "kl"):
        assert found[measure] == pytest.approx(mean(row[measure] for row in rows), rel=1e-4)
    for model, bits in found.get("bits_per_byte", {}).items():
        if of_bytes:
            by_hand = mean(row[model][0] for row in of_bytes) / math.log(2)
            assert bits == pytest.approx(by_hand, rel=1e-4)
        else:
            assert bits is None


@pytest.fixture(scope="session")
def measured(scorer, documents):
    """(teacher, student) -> what is found, and every symbol by hand."""

    def measure(teacher, student):
        models = scorer(teacher, seed=1), scorer(student, seed=2)
        return byte_divergence(documents, *models), symbols_by_hand(documents, *models)

    return measure


@pytest.mark.parametrize("student", KINDS)
def test_all_figures_are_the_sums_that_they_are_said_to_be(measured, documents, student):
    found, rows = measured("subwords", student)
    assert found["documents"] == len(documents)
    assert_figures(found, rows)
    assert found["by_kind"].keys() == {"text", "conversation"}
    for kind, figures in found["by_kind"].items():
        assert_figures(figures, [row for row in rows if row["kind"] == kind])
    for figures in found["by_position"]:
        of_position = [row for row in rows if row["position"] == figures["position"]]
        assert_figures(figures, of_position)
    for model, figures in found["models"].items():
        of_bytes, of_ends = (
            [row[model][0] for row in rows if (row["position"] == "end") == is_end]
            for is_end in (False, True)
        )
        assert figures["bits_per_byte"] == pytest.approx(mean(of_bytes) / math.log(2), rel=1e-4)
        assert figures["end_nats"] == pytest.approx(mean(of_ends), rel=1e-4)
        bins = defaultdict(list)
        for row in rows:
            bins[min(9, int(10 * row[model][1]))].append(row[model])
        assert [b["symbols"] for b in figures["calibration"]] == [
            len(bins[n]) for n in sorted(bins)
        ]
        error = sum(abs(sum(c - r for _, c, r in some)) for some in bins.values()) / len(rows)
        assert figures["calibration_error"] == pytest.approx(error, abs=1e-5)
    for document, figures in zip(documents, found["per_document"], strict=True):
        own = [row for row in rows if row["document"] == document.id]
        assert (figures["id"], figures["kind"]) == (document.id, document.kind)
        assert (figures["symbols"], figures["bytes"]) == (len(own), len(document.supervised))
        for measure in ("jsd", "kl"):
            assert figures[measure] == pytest.approx(sum(row[measure] for row in own), rel=1e-4)
        for model, nats in figures["nats"].items():
            by_hand = sum(row[model][0] for row in own if row["position"] != "end")
            assert nats == pytest.approx(by_hand, rel=1e-4)


@pytest.mark.parametrize("student", KINDS)
def test_the_whole_is_made_of_its_kinds_of_its_positions_and_of_its_documents(measured, student):
    found, _ = measured("bytes", student)
    for parts in (list(found["by_kind"].values()), found["by_position"]):
        assert sum(part["bytes"] for part in parts) == found["bytes"]
        assert sum(part["symbols"] for part in parts) == found["symbols"]
        for measure in ("jsd", "kl"):
            of_parts = sum(part["symbols"] * part[measure] for part in parts)
            assert of_parts / found["symbols"] == pytest.approx(found[measure], rel=1e-12)
        for model, figures in found["models"].items():
            of_parts = sum(p["bytes"] * p["bits_per_byte"][model] for p in parts if p["bytes"])
            assert of_parts / found["bytes"] == pytest.approx(figures["bits_per_byte"], rel=1e-12)
    for measure in ("jsd", "kl"):
        of_documents = sum(one[measure] for one in found["per_document"])
        assert of_documents / found["symbols"] == pytest.approx(found[measure], rel=1e-12)
    for model, figures in found["models"].items():
        nats = sum(one["nats"][model] for one in found["per_document"])
        bits = nats / found["bytes"] / math.log(2)
        assert bits == pytest.approx(figures["bits_per_byte"], rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_does_not_diverge_from_itself_anywhere(scorer, documents, kind):
    found = byte_divergence(documents, scorer(kind), scorer(kind))
    everywhere = [found, *found["by_kind"].values(), *found["by_position"], *found["per_document"]]
    for figures in everywhere:
        assert figures["kl"] == pytest.approx(0, abs=1e-5)
        assert figures["jsd"] == pytest.approx(0, abs=1e-5)
    assert found["models"]["teacher"] == found["models"]["student"]
    assert found["symbols"] == sum(len(supervised_symbols(d.segments)) for d in documents)
    assert found["bytes"] == sum(len(d.supervised) for d in documents)
    assert found["head"] is None


def test_the_way_back_is_as_far_by_jsd_but_not_by_kl(scorer, documents):
    teacher, student = scorer("subwords", seed=1), scorer("subwords", seed=2)
    there, back = (
        byte_divergence(documents, *pair) for pair in ((teacher, student), (student, teacher))
    )
    assert 0 < there["jsd"] < math.log(2)
    assert back["jsd"] == pytest.approx(there["jsd"]) and back["kl"] != pytest.approx(there["kl"])
    assert back["models"] == {
        "teacher": there["models"]["student"],
        "student": there["models"]["teacher"],
    }


def test_what_is_infinite_is_left_out(scorer, documents, tmp_path):
    # Inside a token of the student its trunk has one way on; byte by byte everything is possible.
    trunk = Histories(histories="trunk")
    found = byte_divergence(documents, scorer("bytes"), scorer("subwords", policy=trunk))
    assert found["kl"] is None and 0 < found["jsd"] < math.log(2)
    at = {row["position"]: row for row in found["by_position"]}
    assert at[1]["kl"] is not None and at[2]["kl"] is None
    write_json(tmp_path / "evaluation.json", found)
    assert json.loads((tmp_path / "evaluation.json").read_text())["kl"] is None


def test_a_true_byte_without_probability_costs_infinitely_much():
    table = {"position": np.array([1, 2, AT_END]), "m_nats": np.array([1.0, np.inf, 2.0])}
    assert bits_of_table(table, "m") is None and end_nats(table, "m") == 2
    table["m_nats"] = np.array([1.0, 3.0, np.inf])
    assert bits_of_table(table, "m") == pytest.approx(2 / math.log(2))
    assert end_nats(table, "m") is None


def test_what_users_say_is_not_counted_and_a_silent_document_has_no_symbols(scorer):
    chat = make_document("c", "c", [("user", "Which index?"), ("assistant", "key")])
    silent = make_document("s", "silent", [("user", "Nobody answers.")])
    found = byte_divergence([silent, chat], scorer("subwords"), scorer("bytes"))
    assert (found["bytes"], found["symbols"], found["documents"]) == (3, 4, 2)
    assert found["by_kind"].keys() == {"c"}
    none = {"teacher": 0, "student": 0}
    assert found["per_document"][0] == {
        "id": "s",
        "kind": "silent",
        "group": silent.group,
        "symbols": 0,
        "bytes": 0,
        "jsd": 0,
        "kl": 0,
        "nats": none,
    }


def test_documents_without_a_supervised_byte_are_refused(scorer):
    silent = make_document("s", "silent", [("user", "Nobody answers.")])
    for none in ([silent], []):
        with pytest.raises(ValueError, match="no supervised byte"):
            byte_divergence(none, scorer("subwords"), scorer("bytes"))


def test_bytes_after_the_tenth_of_a_token_share_a_position_and_end_has_its_own():
    long = "internationalisation"
    renderer = Renderer(train_tokenizer([long] * 60, "byte_level_bpe", 320, "chatml"))
    document = make_document("long", "text", [("text", f"{long}x\U0001f600")])
    rendered = renderer.render(document.segments, "long")
    assert rendered.count_T[rendered.count_T > 0].tolist() == [len(long), 1, 1, 1, 1, 1, 1]
    expected = [*range(1, 11), *[11] * (len(long) - 10), *[1] * 5, AT_END]
    assert positions(rendered).tolist() == expected


POLICIES = [
    Histories(histories="prefix", eps=0.0),
    Histories(histories="prefix", eps=0.05),
    Histories(histories="trunk"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_a_text_never_costs_more_than_its_tokens(scorer, model, documents, kind, policy):
    by_covers = scorer(kind, policy=policy)
    found = byte_divergence(documents, by_covers, by_covers)["per_document"]
    by_tokens = bits_per_byte(documents, *model(kind)[1:])["per_document"]
    for covers, tokens in zip(found, by_tokens, strict=True):
        assert covers["nats"]["student"] <= tokens["nats"] + 1e-3
        if kind == "bytes":
            assert covers["nats"]["student"] == pytest.approx(tokens["nats"], rel=1e-5)
