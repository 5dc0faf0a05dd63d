import itertools
import math
from collections import defaultdict

import numpy as np
import pytest

from bld.documents.document import make_document
from bld.evaluation.information import byte_entropies, information, token_entropies
from bld.evaluation.measures import entropy
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer
from bld.tokenization.vocabulary import Vocabulary
from oracle import all_covers


def render(renderer, documents):
    return [renderer.render(d.segments, d.id) for d in documents]


def measure(model, scorer, documents, kind):
    _, renderer, reader = model(kind)
    rendered = render(renderer, documents)
    tokens = token_entropies(rendered, reader)
    return information(rendered, tokens, byte_entropies(scorer(kind).distributions(documents)))


def test_nothing_is_lost_where_every_token_is_one_byte(model, scorer, documents):
    found = measure(model, scorer, documents, "bytes")
    assert found["byte_bits"] == pytest.approx(found["token_bits"], rel=1e-5)
    assert found["tokens"] == found["bytes"] == sum(len(d.supervised) for d in documents)
    (row,) = found["by_position"]
    assert row["known"] == found["ratio"] == pytest.approx(1, rel=1e-5)
    assert found["beyond_heads"] == {"tokens": 0, "bytes": 0, "byte_bits": 0}


def test_the_rows_by_position_add_up_to_what_all_bytes_have(model, scorer, documents):
    found = measure(model, scorer, documents, "subwords")
    positions, lengths = found["by_position"], found["by_length"]
    assert found["tokens"] < found["bytes"] == sum(row["tokens"] for row in positions)
    in_bytes = sum(row["tokens"] * row["byte_bits"] for row in positions)
    assert in_bytes == pytest.approx(found["tokens"] * found["byte_bits"])
    assert in_bytes == pytest.approx(sum(row["tokens"] * row["byte_bits"] for row in lengths))
    in_tokens = sum(row["tokens"] * row["token_bits"] for row in lengths)
    assert in_tokens == pytest.approx(found["tokens"] * found["token_bits"])
    assert positions[-1]["known"] == found["ratio"] == pytest.approx(in_bytes / in_tokens)


LONG = "internationalisation"
LONG_RENDERER = Renderer(train_tokenizer([LONG] * 60, "byte_level_bpe", 320, "chatml"))
LONG_DOCUMENTS = [make_document("long", "text", [("text", f"{LONG}xyz")])]


def test_positions_after_the_tenth_share_a_row_and_are_what_ten_heads_do_not_see():
    rendered = render(LONG_RENDERER, LONG_DOCUMENTS)
    lengths = [len(LONG), 1, 1, 1]
    assert rendered[0].count_T[rendered[0].count_T > 0][:4].tolist() == lengths
    # Two bits for every token, one for every byte.
    tokens = [np.full(len(one), 2 * math.log(2)) for one in rendered]
    of_bytes = [np.full(len(one.symbols_N), math.log(2)) for one in rendered]
    found = information(rendered, tokens, of_bytes)
    seen = [sum(min(length, j) for length in lengths) for j in range(1, 11)] + [sum(lengths)]
    assert [row["known"] for row in found["by_position"]] == pytest.approx([n / 8 for n in seen])
    assert [row["tokens"] for row in found["by_position"]] == [4] + [1] * 10
    assert {row["byte_bits"] for row in found["by_position"]} == {1}
    assert [(row["length"], row["tokens"], row["byte_bits"]) for row in found["by_length"]] == [
        (1, 3, 1),
        (11, 1, len(LONG)),
    ]
    beyond = (len(LONG) - 10) / sum(lengths)
    assert found["beyond_heads"] == pytest.approx(
        {"tokens": 0.25, "bytes": beyond, "byte_bits": beyond}
    )


def test_a_uniform_model_has_the_entropy_of_its_outcomes(model, documents):
    _, renderer, reader = model("subwords", scale=0.0)
    vocabulary = renderer.vocabulary
    ends, specials = len(vocabulary.end), len(vocabulary.special - vocabulary.end)
    text = sum(spelt is not None for spelt in vocabulary.token_bytes)
    all_of_them = text + ends + specials
    outcomes = [1] * text + [ends, specials]
    expected = -sum(n / all_of_them * math.log(n / all_of_them) for n in outcomes)
    for entropies in token_entropies(render(renderer, documents), reader):
        assert entropies == pytest.approx(expected, rel=1e-5)


def test_what_users_say_is_not_counted(model, scorer):
    chat = [make_document("c", "c", [("user", "Which index?"), ("assistant", "key")])]
    found = measure(model, scorer, chat, "subwords")
    assert found["bytes"] == len("key")


def test_documents_without_a_supervised_token_are_refused(model, scorer):
    silent = [make_document("silent", "c", [("user", "Nobody answers.")])]
    with pytest.raises(ValueError, match="no supervised token"):
        measure(model, scorer, silent, "subwords")


@pytest.mark.parametrize("seed", range(3))
def test_over_a_models_own_texts_tokens_tell_more_than_bytes_by_their_segmentation(seed):
    """The equality of the module's docstring, by enumeration of all that a tiny model can write."""
    vocabulary = Vocabulary((b"a", b"b", b"ab", b"ba", None), frozenset({4}), frozenset({4}))
    most_tokens = 3

    def next_log_probs(tokens):
        if len(tokens) >= most_tokens:
            return np.array([-np.inf] * 4 + [0.0])
        logits = 2 * np.random.default_rng([seed, *tokens]).standard_normal(5)
        return logits - np.logaddexp.reduce(logits)

    in_tokens, by_text = 0.0, defaultdict(list)
    for length in range(most_tokens + 1):
        for tokens in itertools.product(range(4), repeat=length):
            before = [next_log_probs(tokens[:n]) for n in range(length + 1)]
            log_prob = sum(row[t] for row, t in zip(before, (*tokens, 4), strict=True))
            in_tokens += math.exp(log_prob) * sum(entropy(np.stack(before)))
            text = b"".join(vocabulary.token_bytes[t] for t in tokens)
            by_text[text].append(math.exp(log_prob))
    in_bytes = sum(
        sum(probs) * entropy(all_covers(next_log_probs, vocabulary, text)).sum()
        for text, probs in by_text.items()
    )
    segmentation = -sum(p * math.log(p / sum(probs)) for probs in by_text.values() for p in probs)
    assert segmentation > 0
    assert in_tokens - in_bytes == pytest.approx(segmentation, rel=1e-9)
