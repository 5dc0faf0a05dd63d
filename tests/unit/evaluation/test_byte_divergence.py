import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.evaluation.divergence import byte_divergence, jensen_shannon, kullback_leibler
from bld.files import write_json
from bld.teacher.scoring import byte_distributions
from bld.tokenization.symbols import supervised_symbols


@st.composite
def pairs(draw):
    """Two distributions over six symbols, some of them impossible."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    p, q = random.dirichlet(np.full(6, 0.5), size=2)
    for distribution in (p, q):
        distribution[random.random(6) < 0.3] = 0
        distribution[random.integers(6)] += 0.1
        distribution /= distribution.sum()
    return p, q


def log(p):
    with np.errstate(divide="ignore"):
        return np.log(p)[None]


def kl_by_hand(p, q):
    return sum(a * math.log(a / b) if b else math.inf for a, b in zip(p, q, strict=True) if a)


@given(pairs())
@settings(deadline=None)
def test_both_divergences_are_their_sums(pair):
    p, q = pair
    middle = (p + q) / 2
    jsd = (kl_by_hand(p, middle) + kl_by_hand(q, middle)) / 2
    assert kullback_leibler(log(p), log(q))[0] == pytest.approx(kl_by_hand(p, q), abs=1e-12)
    assert jensen_shannon(log(p), log(q))[0] == pytest.approx(jsd, abs=1e-12)


@given(pairs())
@settings(deadline=None)
def test_jensen_shannon_is_symmetric_and_between_nothing_and_the_logarithm_of_two(pair):
    p, q = map(log, pair)
    found = jensen_shannon(p, q)[0]
    assert found == pytest.approx(jensen_shannon(q, p)[0])
    assert -1e-12 <= found <= math.log(2) + 1e-12
    assert kullback_leibler(p, p)[0] == 0
    assert jensen_shannon(p, p)[0] == pytest.approx(0, abs=1e-12)


def test_distributions_without_a_common_symbol_are_a_logarithm_of_two_apart():
    p, q = log(np.array([0.3, 0.7, 0, 0])), log(np.array([0, 0, 0.5, 0.5]))
    assert jensen_shannon(p, q)[0] == pytest.approx(math.log(2))
    assert kullback_leibler(p, q)[0] == math.inf


@pytest.mark.parametrize("kind", ["subwords", "bytes"])
def test_a_model_does_not_diverge_from_itself(model, documents, kind):
    _, *read = model(kind)
    found = byte_divergence(documents, read, read)
    assert found["kl"] == 0
    assert found["jsd"] == pytest.approx(0, abs=1e-12)
    assert found["bytes"] == sum(len(supervised_symbols(d.segments)) for d in documents)


def test_it_is_the_mean_over_all_symbols_of_all_documents(model, documents):
    (_, *teacher), (_, *student) = model("subwords", seed=1), model("subwords", seed=2)
    found = byte_divergence(documents, teacher, student)
    p, q = (
        np.exp(np.concatenate([log_p for _, log_p, _ in byte_distributions(documents, *read)]))
        for read in (teacher, student)
    )
    assert found["kl"] == pytest.approx(np.mean(list(map(kl_by_hand, p, q))), rel=1e-5)
    assert 0 < found["jsd"] < math.log(2)
    back = byte_divergence(documents, student, teacher)
    assert back["jsd"] == pytest.approx(found["jsd"]) and back["kl"] != pytest.approx(found["kl"])


def test_an_infinite_divergence_between_other_tokens_is_left_out(model, documents, tmp_path):
    # Inside a token of the student its trunk has one way on; byte by byte everything is possible.
    (_, *teacher), (_, *student) = model("bytes"), model("subwords")
    found = byte_divergence(documents, teacher, student)
    assert found["kl"] is None and 0 < found["jsd"] < math.log(2)
    write_json(tmp_path / "evaluation.json", found)
    assert json.loads((tmp_path / "evaluation.json").read_text())["kl"] is None
