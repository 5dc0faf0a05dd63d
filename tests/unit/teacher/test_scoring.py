import numpy as np
import pytest
import torch

from bld.covers.brute_force import covers_of_histories
from bld.covers.trie import Trie
from bld.covers.trunk import trunk_distributions
from bld.documents.document import make_document
from bld.models import Reader
from bld.teacher.scoring import byte_distributions
from bld.tokenization.symbols import supervised_symbols


def score(documents, renderer, lm, window=256, batch_tokens=10_000):
    reader = Reader(lm, renderer.vocabulary, window, batch_tokens)
    return list(byte_distributions(documents, renderer, reader))


def test_every_supervised_symbol_has_one_normalised_row_and_documents_keep_their_order(
    documents, renderer, lm
):
    scored = score(documents, renderer, lm)
    assert [document.id for document, _, _ in scored] == [d.id for d in documents]
    for document, log_probs, lost in scored:
        symbols = supervised_symbols(document.segments)
        assert log_probs.shape == (len(symbols), 258) and lost.shape == (len(symbols),)
        np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1, rtol=1e-5)
        assert np.isfinite(log_probs[np.arange(len(symbols)), symbols]).all()
        assert ((lost >= 0) & (lost <= 1)).all()


@pytest.mark.parametrize("batch_tokens", [1, 60, 200])
def test_how_many_documents_share_a_forward_pass_changes_nothing(
    documents, renderer, lm, batch_tokens
):
    together = score(documents, renderer, lm)
    apart = score(documents, renderer, lm, batch_tokens=batch_tokens)
    for (_, log_probs, lost), (_, log_probs_apart, lost_apart) in zip(together, apart, strict=True):
        np.testing.assert_allclose(log_probs_apart, log_probs, atol=1e-4)
        np.testing.assert_allclose(lost_apart, lost, atol=1e-4)


def test_it_is_the_brute_force_sum_over_the_trunk_of_the_model_itself(renderer, lm):
    document = make_document("x", "c", [("user", "u"), ("assistant", "thei")])
    rendered = renderer.render(document.segments, "x")
    (turn,) = rendered.turns
    context = rendered.ids_T[: turn.first].tolist()
    trunk = rendered.ids_T[turn.first : turn.last].tolist()
    assert 1 < len(trunk) < 4
    spelt, special = renderer.vocabulary.token_bytes, renderer.vocabulary.special
    known = [entry is not None or i in special for i, entry in enumerate(spelt)]

    def next_log_probs(tokens):
        with torch.no_grad():
            logits = lm(torch.tensor([context + list(tokens)])).logits[0, -1, : len(known)].double()
        return logits.masked_fill(~torch.tensor(known), -torch.inf).log_softmax(-1).numpy()

    histories = {tuple(trunk[:i]) for i in range(len(trunk) + 1)}
    expected = covers_of_histories(next_log_probs, renderer.vocabulary, b"thei", histories)
    ((_, log_probs, _),) = score([document], renderer, lm)
    np.testing.assert_allclose(np.exp(log_probs), np.exp(expected), rtol=1e-4, atol=1e-7)


def test_a_document_longer_than_the_window_is_scored_from_its_windows(documents, renderer, lm):
    long = documents[-1]
    rendered = renderer.render(long.segments, "long")
    window, length = 16, len(rendered)
    assert length > 3 * window
    ids = torch.from_numpy(rendered.ids_T.astype(np.int64))
    rows = []
    for t in range(length):
        # The first window ends before 16; each later one adds eight tokens after eight old ones.
        start = 0 if t < window else 8 * ((t - window) // 8 + 1)
        with torch.no_grad():
            logits = lm(ids[None, start : t + 1]).logits[0, -1, : len(renderer.vocabulary)]
        rows.append(logits.log_softmax(-1))
    (turn,) = rendered.turns
    expected, _ = trunk_distributions(
        Trie(renderer.vocabulary),
        torch.stack(rows[turn.first - 1 : turn.last]),
        rendered.ids_T[turn.first : turn.last],
        long.supervised,
    )
    ((_, found, _),) = score([long], renderer, lm, window=window)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_window_as_long_as_the_document_is_the_plain_forward(documents, renderer, lm):
    long = documents[-1]
    length = len(renderer.render(long.segments, "long"))
    ((_, whole, _),) = score([long], renderer, lm)
    ((_, exact, _),) = score([long], renderer, lm, window=length)
    ((_, shorter, _),) = score([long], renderer, lm, window=length - 8)
    np.testing.assert_allclose(exact, whole, atol=1e-5)
    assert abs(np.exp(shorter) - np.exp(whole))[-1].max() > 1e-3
