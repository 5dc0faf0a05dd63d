import math

import numpy as np
import pytest
import torch

from bld.documents.document import make_document
from bld.evaluation.bits_per_byte import bits_per_byte
from bld.symbols import END
from bld.tokenization.vocabulary import Vocabulary
from oracle import all_covers, covers_of_histories, spellings

KINDS = ["subwords", "bytes"]


def costs(lm, renderer, document):
    """Nats of the supervised content and of each supervised end, from the model's own logits."""
    rendered = renderer.render(document.segments, document.id)
    ids = torch.from_numpy(rendered.ids_T.astype(np.int64))
    with torch.no_grad():
        log_probs = lm(ids[None]).logits[0].double().log_softmax(-1)
    content, ends = 0.0, []
    for t in np.flatnonzero(rendered.count_T):
        cost = -log_probs[t - 1, ids[t]].item()
        if renderer.vocabulary.token_bytes[ids[t]] is None:
            ends.append(cost)
        else:
            content += cost
    return content, ends


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_what_the_models_own_logits_charge_for_the_supervised_bytes(kind, model, documents):
    lm, renderer, reader = model(kind)
    found = bits_per_byte(documents, renderer, reader)
    nats, ends = zip(*(costs(lm, renderer, d) for d in documents), strict=True)
    size = [len(d.supervised) for d in documents]
    assert size == [30, len("the firstReturn \U0001f600".encode()), 3, 1]
    assert found["bytes"] == sum(size) and found["documents"] == 4
    assert found["bits_per_byte"] == pytest.approx(sum(nats) / sum(size) / math.log(2), rel=1e-5)
    all_ends = [cost for of_one in ends for cost in of_one]
    assert len(all_ends) == 5
    assert found["end_nats"] == pytest.approx(sum(all_ends) / 5, rel=1e-5)
    rows = found["per_document"]
    assert [(row["id"], row["group"]) for row in rows] == [(d.id, d.group) for d in documents]
    assert [row["bytes"] for row in rows] == size
    assert [row["nats"] for row in rows] == pytest.approx(nats, rel=1e-5)
    text = found["by_kind"]["text"]
    assert (text["bytes"], text["documents"]) == (33, 2)
    assert text["bits_per_byte"] == pytest.approx((nats[0] + nats[2]) / 33 / math.log(2), rel=1e-5)


def test_a_uniform_byte_model_pays_the_logarithm_of_its_vocabulary(model, documents):
    lm, renderer, reader = model("bytes", scale=0.0)
    found = bits_per_byte(documents, renderer, reader)
    assert found["bits_per_byte"] == pytest.approx(math.log2(lm.config.vocab_size))
    assert found["end_nats"] == pytest.approx(math.log(lm.config.vocab_size))


@pytest.mark.parametrize("batch_tokens", [1, 50])
def test_how_many_documents_share_a_forward_pass_changes_nothing(model, documents, batch_tokens):
    together, apart = (
        bits_per_byte(documents, *model("subwords", batch_tokens=tokens)[1:])
        for tokens in (10_000, batch_tokens)
    )
    assert apart["bits_per_byte"] == pytest.approx(together["bits_per_byte"], rel=1e-6)
    assert [row["nats"] for row in apart["per_document"]] == pytest.approx(
        [row["nats"] for row in together["per_document"]], rel=1e-5
    )


def test_a_users_words_are_context_that_costs_nothing(model):
    _, renderer, reader = model("subwords")
    answer = make_document("a", "c", [("user", "Which index?"), ("assistant", "the first")])
    found = bits_per_byte([answer], renderer, reader)
    assert found["bytes"] == len("the first")
    silent = make_document("b", "c", [("user", "Which index of the first key?")])
    assert bits_per_byte([answer, silent], renderer, reader)["per_document"][1]["nats"] == 0


def test_documents_without_a_supervised_byte_are_refused(model):
    silent = make_document("silent", "c", [("user", "Nobody answers.")])
    with pytest.raises(ValueError, match="no supervised byte"):
        bits_per_byte([silent], *model("subwords")[1:])


@pytest.mark.parametrize("seed", range(6))
def test_over_covers_a_text_costs_no_more_than_any_of_its_spellings_whatever_else_is_summed(seed):
    """What the module's docstring says, by enumeration on a tiny vocabulary."""
    entries = (b"a", b"b", b"ab", b"ba", b"aab", None)
    vocabulary, text = Vocabulary(entries, frozenset({5}), frozenset({5})), b"aabab"
    random = np.random.default_rng(seed)

    def next_log_probs(tokens):
        logits = 2 * np.random.default_rng([seed, *tokens]).standard_normal(len(entries))
        return logits - np.logaddexp.reduce(logits)

    def costs_of(log_probs_NS):
        """Of all bytes; of all bytes and the end."""
        cost = -log_probs_NS[np.arange(len(text) + 1), [*text, END]]
        return cost[:-1].sum(), cost.sum()

    others = sorted({h for n in range(len(text) + 1) for h in spellings(vocabulary, text[:n])})
    for spelling in spellings(vocabulary, text):
        in_tokens = [-next_log_probs(spelling[:i])[t] for i, t in enumerate((*spelling, 5))]
        trunk = {spelling[:i] for i in range(len(spelling) + 1)}
        some = {h[:i] for h in others if random.random() < 0.3 for i in range(len(h) + 1)}
        for log_probs_NS in (
            all_covers(next_log_probs, vocabulary, text),
            covers_of_histories(next_log_probs, vocabulary, text, trunk),
            covers_of_histories(next_log_probs, vocabulary, text, trunk | some),
        ):
            of_bytes, with_end = costs_of(log_probs_NS)
            assert of_bytes <= sum(in_tokens[:-1]) + 1e-9
            assert with_end <= sum(in_tokens) + 1e-9
