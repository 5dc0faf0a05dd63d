"""The scorer against plain forwards over the path of every history, window by window."""

from copy import deepcopy
from functools import cache

import numpy as np
import pytest
import torch

from bld.config.settings import Histories
from bld.documents.conversation import make_conversation
from bld.documents.document import make_document
from bld.scoring.prefixes import PrefixEncoder
from bld.scoring.scorer import ByteScorer
from bld.symbols import END, SPECIAL, supervised_symbols
from bld.windows import windows
from oracle import all_covers, covers_of_histories

PREFIX = Histories(histories="prefix", eps=0)
TRUNK = Histories(histories="trunk")
POLICIES = [
    TRUNK,
    PREFIX,
    Histories(histories="prefix", eps=0.01),
    Histories(histories="beam", eps=0.01, beam_width=4),
]
POLICY = pytest.mark.parametrize("policy", POLICIES, ids=str)


def score(documents, renderer, lm, policy=PREFIX, window=256, batch_tokens=10_000):
    return list(ByteScorer(renderer, lm, policy, window, batch_tokens).distributions(documents))


@pytest.fixture(scope="session")
def next_log_probs(lm, renderer):
    """Token ids -> log-distribution of the next one, those that do not exist left out."""
    spelt, special = renderer.vocabulary.token_bytes, renderer.vocabulary.special
    known = torch.tensor([entry is not None or i in special for i, entry in enumerate(spelt)])

    @cache
    def next_log_probs(path):
        with torch.no_grad():
            logits = lm(torch.tensor([path])).logits[0, -1, : len(known)].double()
        return logits.masked_fill(~known, -torch.inf).log_softmax(-1).numpy()

    return next_log_probs


@pytest.fixture(scope="session")
def by_window(renderer, next_log_probs):
    """(document, window) -> its distributions, history by history: the sum over the encodings of
    all prefixes, each read from the start of the window that owns the byte."""
    vocabulary = renderer.vocabulary

    def symbols_of(token):
        if token in vocabulary.end:
            return (END,)
        if token in vocabulary.special:
            return (SPECIAL,)
        return tuple(vocabulary.token_bytes[token] or ())

    def histories(turn, rendered):
        """(how many tokens of the trunk, tokens off it, where it ends) of every history."""
        trunk = rendered.ids_T[turn.first : turn.last].tolist()
        tree = PrefixEncoder(renderer.content).tree(turn.text, trunk)
        for node, start in enumerate(tree.start_R):
            tokens = []
            while node > len(trunk):
                tokens.insert(0, int(tree.token_R[node]))
                node = tree.parent_R[node]
            yield node, tuple(tokens), int(start)

    def add_window(mass, turn, found, ids, window):
        ends = [start for _, off, start in found if not off]
        states = [turn.first - 1 + sum(end <= n for end in ends[1:]) for n in range(ends[-1] + 1)]
        owned = [n for n, state in enumerate(states) if window.fresh <= state < window.stop]
        seen = [h for h in found if window.start <= turn.first - 1 + h[0] < window.stop]
        for on, off, start in seen:
            path = (*ids[window.start : turn.first + on], *off)
            origin = turn.first - window.start + seen[0][0]
            weight = sum(next_log_probs(path[:i])[path[i]] for i in range(origin, len(path)))
            for token, log_p in enumerate(next_log_probs(path)):
                spelt = symbols_of(token)
                for n in set(owned) & set(range(start, start + len(spelt))):
                    if spelt[: n - start] == tuple(turn.text[start:n]):
                        mass[turn.symbol + n, spelt[n - start]] += np.exp(weight + log_p)

    def by_window(document, window):
        rendered = renderer.render(document.segments, document.id)
        mass = np.zeros((len(rendered.symbols_N), 258))
        for turn in rendered.turns:
            found = list(histories(turn, rendered))
            for w in windows(len(rendered), window, window // 2):
                add_window(mass, turn, found, rendered.ids_T.tolist(), w)
        with np.errstate(divide="ignore"):
            return np.log(mass / mass.sum(axis=1, keepdims=True))

    return by_window


@POLICY
def test_every_supervised_symbol_has_one_normalised_row_and_documents_keep_their_order(
    documents, renderer, lm, policy
):
    scored = score(documents, renderer, lm, policy)
    assert [one.document for one in scored] == documents
    for document, log_probs, lost, pieces, tokens, _ in scored:
        assert tokens is None
        symbols = supervised_symbols(document.segments)
        assert log_probs.shape == (len(symbols), 258) and lost.shape == (len(symbols),)
        assert log_probs.dtype == lost.dtype == np.float32 and pieces == 1
        np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1, rtol=1e-5)
        assert np.isfinite(log_probs[np.arange(len(symbols)), symbols]).all()
        assert ((lost >= 0) & (lost <= 1)).all()


@pytest.mark.parametrize("window", [256, 24, 9])
def test_it_is_the_sum_over_the_encodings_of_all_prefixes_window_by_window(
    documents, renderer, lm, by_window, window
):
    word = make_document("word", "text", [("text", "returnthekeyofthefirstindexoftheindex" * 2)])
    documents = [*documents, word]
    for document, log_probs, lost, pieces, *_ in score(documents, renderer, lm, window=window):
        length = len(renderer.render(document.segments, ""))
        assert pieces == len(list(windows(length, window, window // 2)))
        expected = by_window(document, window)
        np.testing.assert_allclose(np.exp(log_probs), np.exp(expected), rtol=1e-3, atol=1e-6)
        assert (lost == 0).all()


@pytest.mark.parametrize(
    "policy",
    [Histories(histories="trunk"), Histories(histories="beam", eps=0, beam_width=1 << 30)],
    ids=str,
)
def test_trunk_and_beam_are_brute_force_over_their_histories(renderer, lm, next_log_probs, policy):
    document = make_document("x", "c", [("user", "u"), ("assistant", "thei")])
    rendered = renderer.render(document.segments, "x")
    (turn,) = rendered.turns
    context, trunk = (
        tuple(rendered.ids_T[first:last].tolist())
        for first, last in [(0, turn.first), (turn.first, turn.last)]
    )
    assert 1 < len(trunk) < 4
    (found,) = score([document], renderer, lm, policy)

    def after(tokens):
        return next_log_probs(context + tokens)

    if policy.histories == "trunk":
        histories = {trunk[:i] for i in range(len(trunk) + 1)}
        expected = covers_of_histories(after, renderer.vocabulary, b"thei", histories)
        assert found.lost_N[0] == 0 < found.lost_N.max() < 1
    else:
        expected = all_covers(after, renderer.vocabulary, b"thei")
        assert (found.lost_N == 0).all()
    np.testing.assert_allclose(np.exp(found.log_probs_NS), np.exp(expected), rtol=1e-3, atol=1e-6)


@POLICY
@pytest.mark.parametrize("batch_tokens", [1, 60, 200])
def test_how_many_documents_share_a_forward_pass_changes_nothing(
    documents, renderer, lm, policy, batch_tokens
):
    together = score(documents, renderer, lm, policy)
    apart = score(documents, renderer, lm, policy, batch_tokens=batch_tokens)
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_allclose(
            np.exp(one.log_probs_NS), np.exp(other.log_probs_NS), rtol=0, atol=1e-5
        )
        np.testing.assert_allclose(one.lost_N, other.lost_N, rtol=0, atol=1e-5)


def test_only_documents_that_are_longer_than_the_window_are_cut(documents, renderer, lm):
    lengths = [len(renderer.render(d.segments, d.id)) for d in documents]
    whole = score(documents, renderer, lm)
    for window in max(lengths), max(lengths) - 8:
        scored = score(documents, renderer, lm, window=window)
        assert [one.windows for one in scored] == [1 + (n > window) for n in lengths]
        for one, other in zip(whole, scored, strict=True):
            gap = np.exp(one.log_probs_NS) - np.exp(other.log_probs_NS)
            assert np.abs(gap[:1]).sum() < 1e-5
            assert (np.abs(gap).sum() > 1e-3) == (other.windows > 1)


def test_a_window_is_never_longer_than_the_models_context(documents, renderer, lm):
    short = deepcopy(lm)
    short.config.max_position_embeddings = 16
    *_, long = documents
    ((found,), (cut,)) = (score([long], renderer, short, window=window) for window in (999, 16))
    assert found.windows == cut.windows > 2
    np.testing.assert_array_equal(found.log_probs_NS, cut.log_probs_NS)


def test_turns_without_text_and_documents_without_turns_have_the_rows_that_they_need(
    renderer, lm, by_window
):
    documents = [
        make_document("empty", "c", [("user", "u"), ("assistant", ""), ("assistant", "key")]),
        make_document("silent", "c", [("user", "u")]),
        make_document("nothing", "text", [("text", "")]),
    ]
    found = score(documents, renderer, lm)
    assert [len(one.lost_N) for one in found] == [1 + 4, 0, 1]
    for document, one in zip(documents, found, strict=True):
        expected = np.exp(by_window(document, 256))
        np.testing.assert_allclose(np.exp(one.log_probs_NS), expected, rtol=1e-3, atol=1e-6)
    assert [len(one.lost_N) for one in score(documents[1:2], renderer, lm)] == [0]
    assert score([], renderer, lm) == []


def test_documents_are_taken_in_and_given_out_as_a_stream(documents, renderer, lm):
    taken = []
    stream = (taken.append(document.id) or document for document in documents)
    found = ByteScorer(renderer, lm, PREFIX, 256, 10_000).distributions(stream, at_once=2)
    assert next(found).document.id == "first" and taken == ["first", "chat"]
    rest = list(found)
    assert [one.document.id for one in rest] == ["chat", "short", "silent", "long"]
    for one, other in zip(rest, score(documents, renderer, lm)[1:], strict=True):
        np.testing.assert_allclose(one.log_probs_NS, other.log_probs_NS, atol=1e-5)


@pytest.mark.parametrize("window", [256, 16])
def test_every_position_of_every_window_is_run_once(documents, renderer, lm, window):
    *_, long = documents
    scorer = ByteScorer(renderer, lm, TRUNK, window, 100)
    list(scorer.distributions([long]))
    rendered = renderer.render(long.segments, "long")
    (turn,) = rendered.turns
    pieces = windows(len(rendered), window, window // 2)
    # the last window may hold nothing but what follows the end
    expected = sum(w.stop - w.start for w in pieces if w.fresh < turn.last)
    assert scorer.evaluated == (expected, 0)


def test_histories_beside_the_trunk_are_counted_by_themselves(documents, renderer, lm):
    scorer = ByteScorer(renderer, lm, PREFIX, 256, 10_000)
    *_, long = documents
    list(scorer.distributions([long]))
    rendered = renderer.render(long.segments, "long")
    (turn,) = rendered.turns
    trunk = rendered.ids_T[turn.first : turn.last].tolist()
    histories = len(PrefixEncoder(renderer.content).tree(turn.text, trunk).token_R)
    assert scorer.evaluated == (len(rendered), histories - len(trunk) - 1)


def test_what_float32_cannot_hold_is_summed_in_float64(renderer, lm):
    sharp = deepcopy(lm)
    with torch.no_grad():
        sharp.get_output_embeddings().weight.mul_(200)
    text = b"Return the key of the index"
    document = make_document("x", "text", [("text", text.decode())])
    scorer = ByteScorer(renderer, sharp, TRUNK, 256, 1000)
    (found,) = scorer.distributions([document])
    rendered = renderer.render(document.segments, "x")
    assert scorer.evaluated.trunk == 2 * len(rendered)

    # the same in logarithms: what every history of the trunk gives to every byte after it
    ids_1T = torch.from_numpy(rendered.ids_T.astype(np.int64))[None]
    (turn,), vocabulary = rendered.turns, renderer.vocabulary
    with torch.no_grad():
        log_p = sharp(ids_1T).logits[0, :, : len(vocabulary)].double().log_softmax(-1).numpy()
    terms = [[] for _ in range(len(text) + 1)]
    weight, start = 0.0, 0
    for position in range(turn.first - 1, turn.last):
        for token, entry in enumerate(vocabulary.token_bytes):
            spelt = entry or ((END,) if token in vocabulary.end else (SPECIAL,))
            for n, symbol in enumerate(spelt, start):
                if n <= len(text) and tuple(spelt[: n - start]) == tuple(text[start:n]):
                    terms[n].append((symbol, weight + log_p[position, token]))
        if position + 1 < turn.last:
            token = rendered.ids_T[position + 1]
            weight += log_p[position, token]
            start += len(vocabulary.token_bytes[token])
    expected = np.full((len(terms), 258), -np.inf)
    for row, some in zip(expected, terms, strict=True):
        for symbol, value in some:
            row[symbol] = np.logaddexp(row[symbol], value)
        row -= np.logaddexp.reduce(row)
    np.testing.assert_allclose(found.log_probs_NS, expected, rtol=1e-3, atol=0.02)


def test_a_document_is_scored_as_the_template_writes_it(renderer, lm):
    thinks = {"role": "assistant", "content": "the key", "reasoning_content": "Which one?"}
    whole = make_conversation("a", [{"role": "user", "content": "key?"}, thinks])
    # This template shows no reasoning.
    bare = make_document("a", "conversation", [("user", "key?"), ("assistant", "the key")])
    (scored,), (expected,) = score([whole], renderer, lm), score([bare], renderer, lm)
    assert scored.document.segments == bare.segments
    np.testing.assert_array_equal(scored.log_probs_NS, expected.log_probs_NS)
