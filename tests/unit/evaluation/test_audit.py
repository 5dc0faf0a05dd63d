import json
import math

import numpy as np
import pytest

from bld.config.settings import Histories
from bld.documents.document import make_document
from bld.evaluation.audit import Stored, audit, audit_table
from bld.files import write_json
from bld.scoring.scorer import Scored
from bld.symbols import END, TRIE_SYMBOLS

A, B = b"ab"


def rows(*distributions):
    """Log-probabilities [N, S] of distributions that are given as {symbol: probability}."""
    probs = np.zeros((len(distributions), TRIE_SYMBOLS), np.float32)
    for row, distribution in zip(probs, distributions, strict=True):
        row[list(distribution)] = list(distribution.values())
    with np.errstate(divide="ignore"):
        return np.log(probs)


def text(content, name="d"):
    return make_document(name, "text", [("text", content)])


def audit_one(document, stored, policy, strict, lost=0.0, rounding=1e-4):
    lost_N = np.broadcast_to(np.float32(lost), len(stored))
    one, other = (Scored(document, log_probs, lost_N, 1) for log_probs in (policy, strict))
    return audit([Stored(stored, lost_N)], [one], [other], rounding)


HALF, SURE = {A: 0.5, B: 0.5}, {A: 1.0}
ENDS = {END: 1.0}


def test_all_figures_of_one_byte_are_those_worked_out_by_hand():
    half, sure = rows(HALF, ENDS), rows(SURE, ENDS)
    found = audit_one(text("a"), half, half, sure)
    # H(3/4, 1/4) less the mean of H(1/2, 1/2) and 0, in nats, over the byte and END
    jsd = (3 / 4 * math.log(4 / 3) + 1 / 4 * math.log(4) - math.log(2) / 2) / 2
    assert found["jsd"]["policy"]["mean"] == pytest.approx(jsd, rel=1e-6)
    assert found["jsd"]["stored"]["max"] == pytest.approx(2 * jsd, rel=1e-6)
    assert found["total_variation"]["policy"]["mean"] == pytest.approx(0.25)
    assert found["bits_per_byte"] == pytest.approx({"stored": 1, "policy": 1, "strict": 0})
    assert found["storage"] == {
        "kl": 0,
        "entropy": pytest.approx(math.log(2) / 2),
        "share_of_entropy": 0,
    }
    assert (found["documents"], found["symbols"], found["bytes"]) == (1, 2, 1)


def test_storage_is_what_is_lost_from_the_policy_to_the_cache():
    found = audit_one(text("a"), rows({A: 0.75, B: 0.25}, ENDS), rows(HALF, ENDS), rows(HALF, ENDS))
    kl = (0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)) / 2
    assert found["storage"]["kl"] == pytest.approx(kl, rel=1e-6)
    assert found["storage"]["share_of_entropy"] == pytest.approx(kl / (math.log(2) / 2), rel=1e-6)
    assert found["jsd"]["policy"]["mean"] == 0 < found["jsd"]["stored"]["mean"]


@pytest.mark.parametrize("lost, share", [(0.5, 0), (0.4999, 0), (0.499, 0.25), (0.1, 0.25)])
def test_an_error_beyond_the_lost_mass_is_counted(lost, share):
    policy, strict = rows(HALF, SURE, SURE, ENDS), rows(SURE, SURE, SURE, ENDS)
    found = audit_one(text("aaa"), policy, policy, strict, lost=lost)
    assert found["lost_mass"]["exceeded"] == share
    assert found["lost_mass"]["max"] == pytest.approx(lost)


def test_a_true_byte_without_probability_is_counted_and_its_infinite_figures_left_out(tmp_path):
    policy = rows(HALF, SURE, ENDS)
    found = audit_one(text("ba"), rows(SURE, SURE, ENDS), policy, policy)
    assert found["true_byte_lost"] == {"stored": 1, "policy": 0, "strict": 0}
    assert found["storage"]["kl"] is found["bits_per_byte"]["stored"] is None
    write_json(tmp_path / "audit.json", found)
    assert json.loads((tmp_path / "audit.json").read_text()) == found
    assert "storage KL - nats" in audit_table(found)


def test_an_honest_cache_has_the_error_of_its_policy_and_one_that_hides_it_is_found(
    scorer, documents
):
    policy = list(
        scorer("subwords", policy=Histories(histories="prefix", eps=0.1)).distributions(documents)
    )
    strict = list(
        scorer("subwords", policy=Histories(histories="prefix", eps=0.0)).distributions(documents)
    )
    honest, hiding = (
        audit([Stored(one.log_probs_NS, told * one.lost_N) for one in policy], policy, strict, 1e-4)
        for told in (1, 0)
    )
    assert honest["jsd"]["stored"] == honest["jsd"]["policy"]
    assert honest["total_variation"]["policy"]["max"] > 0.01
    assert honest["storage"]["kl"] == honest["lost_mass"]["exceeded"] == 0
    assert hiding["lost_mass"]["exceeded"] > 0


def test_a_cache_that_is_off_by_one_byte_or_of_another_model_is_found(scorer, documents):
    policy = list(scorer("subwords").distributions(documents))
    other = list(scorer("subwords", seed=2).distributions(documents))
    honest = audit([Stored(one.log_probs_NS, one.lost_N) for one in policy], policy, policy, 1e-4)
    for wrong in (
        [Stored(np.roll(one.log_probs_NS, 1, axis=0), one.lost_N) for one in policy],
        [Stored(one.log_probs_NS, one.lost_N) for one in other],
    ):
        found = audit(wrong, policy, policy, 1e-4)
        assert found["storage"]["share_of_entropy"] > 0.01 > honest["storage"]["share_of_entropy"]
        assert found["jsd"]["stored"]["mean"] > 1e-3 > honest["jsd"]["stored"]["mean"]


def test_the_farthest_documents_come_first_each_with_its_worst_place():
    good, bad = text("ab", "good"), text("a\nb", "bad")
    strict = {"good": rows(SURE, {B: 1}, ENDS), "bad": rows(SURE, {10: 1}, {B: 1}, ENDS)}
    stored = {"good": rows(SURE, HALF, ENDS), "bad": rows(SURE, {10: 1}, SURE, ENDS)}
    lost = np.zeros(4, np.float32)
    found = audit(
        [Stored(stored[d.id], lost[: len(stored[d.id])]) for d in (good, bad)],
        *2 * [[Scored(d, strict[d.id], lost, 1) for d in (good, bad)]],
        rounding=1e-4,
    )
    first, second = found["worst"]
    assert (first["id"], first["before"], first["symbol"]) == ("bad", r"a\n", "b")
    assert first["worst_symbol"] == 2 and first["worst_jsd"] == pytest.approx(math.log(2))
    assert (second["id"], second["before"], second["symbol"]) == ("good", "a", "b")


def test_the_place_of_an_error_is_told_with_the_text_of_its_own_turn():
    chat = make_document("c", "c", [("assistant", "a"), ("user", "?"), ("assistant", "\u00e9")])
    strict = rows(SURE, ENDS, {0xC3: 1}, {0xA9: 1}, ENDS)
    stored = rows(SURE, ENDS, {0xC3: 1}, {0xA9: 1}, {A: 1})
    place = audit_one(chat, stored, strict, strict)["worst"][0]
    assert (place["before"], place["symbol"]) == ("\u00e9", "END")
    half_a_character = rows(SURE, ENDS, {0xC3: 1}, {A: 1}, ENDS)
    place = audit_one(chat, half_a_character, strict, strict)["worst"][0]
    assert (place["before"], place["symbol"]) == (r"\xc3", r"\xa9")


def test_a_cache_with_other_symbols_is_refused_with_the_document():
    policy = rows(SURE, ENDS)
    with pytest.raises(ValueError, match=r"'d' has 2 supervised symbols but 1 in the byte cache"):
        audit_one(text("a"), policy[:1], policy, policy)


def test_the_table_holds_every_distribution():
    half, sure = rows(HALF, ENDS), rows(SURE, ENDS)
    lines = audit_table(audit_one(text("a"), half, half, sure)).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["stored", "policy", "strict"]
    jsd = 3 / 4 * math.log(4 / 3) + 1 / 4 * math.log(4) - math.log(2) / 2
    cells = [f"{value:.5f}" for value in (jsd / 2, 0.99 * jsd, 0.25, 0.99 * 0.5, 1)]
    assert lines[1].split()[1:] == [*cells, "0"]
