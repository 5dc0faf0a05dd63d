import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import ByT5Tokenizer, LlamaConfig

from bld.symbols import END, Segment
from bld.tokenization.rendering import Renderer, load_renderer

CONTENT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ROLES = st.sampled_from(["system", "user", "assistant"])
CONVERSATIONS = st.lists(st.tuples(ROLES, CONTENT), min_size=1, max_size=6)
# Text that no token could share with the template around it.
SAFE = [
    ("system", "Return the first index"),
    ("user", "Return the value"),
    ("assistant", "if the value is not present"),
    ("user", "present"),
    ("assistant", "find items key"),
]
DUMMY_SPACES = ("Llama 2 style", "RoBERTa style")


def segments_of(turns):
    return [Segment(role, text.encode(), role in ("assistant", "text")) for role, text in turns]


def messages_of(turns):
    return [{"role": role, "content": text} for role, text in turns]


def check_symbols(renderer, segments):
    """Supervised tokens spell the supervised symbols, each once, in order."""
    rendered = renderer.render(segments, "the document")
    expected = []
    for segment in segments:
        if segment.supervised:
            expected += [*segment.text, END]
    assert rendered.symbols_N.tolist() == expected
    supervised = np.flatnonzero(rendered.symbol_T >= 0)
    assert (rendered.count_T[rendered.symbol_T < 0] == 0).all()
    reached = 0
    for token in supervised.tolist():
        symbol, count = rendered.symbol_T[token], rendered.count_T[token]
        token_id = rendered.ids_T[token]
        assert symbol == reached
        reached += count
        spelt = renderer.vocabulary.token_bytes[token_id]
        if token_id in renderer.vocabulary.end:
            assert expected[symbol:reached] == [END] and spelt is None
            assert rendered.span_T2[token].tolist() == [-1, -1]
        else:
            assert expected[symbol:reached] == list(spelt)
    assert reached == len(expected)
    return rendered


@given(CONVERSATIONS)
@settings(deadline=None, max_examples=50)
def test_supervised_tokens_tile_the_supervised_symbols(renderer, turns):
    check_symbols(renderer, segments_of(turns))


@given(CONVERSATIONS, st.data())
@settings(deadline=None, max_examples=50)
def test_they_do_in_plain_documents_whatever_is_supervised(renderer, turns, data):
    flags = data.draw(st.lists(st.booleans(), min_size=len(turns), max_size=len(turns)))
    roles = data.draw(st.permutations(["text", *(role for role, _ in turns[1:])]))
    segments = [
        Segment(role, text.encode(), flag)
        for role, (_, text), flag in zip(roles, turns, flags, strict=True)
    ]
    check_symbols(renderer, segments)


@given(CONVERSATIONS)
@settings(deadline=None, max_examples=50)
def test_spans_tile_the_content_of_all_segments_and_template_tokens_have_none(renderer, turns):
    segments = segments_of(turns)
    rendered = renderer.render(segments, "the document")
    content = b"".join(segment.text for segment in segments)
    inside = rendered.span_T2[rendered.span_T2[:, 0] >= 0]
    assert b"".join(content[start:stop] for start, stop in inside) == content
    assert [0, *inside[:, 1]] == [*inside[:, 0], len(content)]
    ends = np.cumsum([len(segment.text) for segment in segments])
    assert set(ends.tolist()) <= {0, *inside[:, 1].tolist()}
    assert (rendered.span_T2[rendered.span_T2[:, 0] < 0] == -1).all()


@given(CONVERSATIONS)
@settings(deadline=None, max_examples=50)
def test_turns_are_the_supervised_segments(renderer, turns):
    segments = segments_of(turns)
    rendered = renderer.render(segments, "the document")
    supervised = [segment.text for segment in segments if segment.supervised]
    assert [turn.text for turn in rendered.turns] == supervised
    for turn in rendered.turns:
        ids = rendered.ids_T[turn.first : turn.last]
        assert b"".join(renderer.vocabulary.token_bytes[i] for i in ids) == turn.text
        assert turn.first >= 1, "a token must stand before the turn to predict its first symbol"
        symbols = rendered.symbols_N[turn.symbol :]
        assert symbols[: len(turn.text) + 1].tolist() == [*turn.text, END]
        assert turn.ends and rendered.ids_T[turn.last] in renderer.vocabulary.end
        assert rendered.symbol_T[turn.last] == turn.symbol + len(turn.text)


@given(CONVERSATIONS)
@settings(deadline=None, max_examples=50)
def test_all_tokens_decode_to_the_chat_template_s_own_text(kind, tokenizer, renderer, turns):
    if kind in DUMMY_SPACES:
        return
    ids = renderer.render(segments_of(turns), "the document").ids_T
    text = tokenizer.apply_chat_template(messages_of(turns), tokenize=False)
    assert renderer.content.backend.decode(ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("number", range(1, len(SAFE) + 1))
def test_the_ids_are_the_chat_template_s_where_nothing_meets_at_the_borders(
    tokenizer, renderer, number
):
    expected = tokenizer.apply_chat_template(messages_of(SAFE[:number]), tokenize=True)
    rendered = renderer.render(segments_of(SAFE[:number]), "the document")
    assert rendered.ids_T.tolist() == expected["input_ids"]


def test_arrays_have_the_promised_types(renderer):
    rendered = renderer.render(segments_of(SAFE), "the document")
    types = [rendered.ids_T, rendered.span_T2, rendered.symbol_T, rendered.count_T]
    assert [array.dtype for array in types] == [np.int32] * 4
    assert rendered.symbols_N.dtype == np.uint16
    assert rendered.span_T2.shape == (len(rendered), 2)


def test_a_text_stands_between_the_start_token_and_the_end_token(tokenizer, renderer, plain):
    rendered = renderer.render(segments_of([("text", "Return the value")]), "the document")
    content = plain.encode("Return the value", add_special_tokens=False).ids
    assert rendered.ids_T.tolist() == [tokenizer.bos_token_id, *content, tokenizer.eos_token_id]


def test_what_the_tokenizer_puts_in_front_of_a_text_comes_before_its_start_token(
    tokenizers, change, specification
):
    tokenizer = tokenizers["Llama 3 style"]
    post = specification(tokenizer)["post_processor"]
    name, token_id = "<|reserved_5|>", tokenizer.get_vocab()["<|reserved_5|>"]
    post["single"].insert(0, {"SpecialToken": {"id": name, "type_id": 0}})
    post["special_tokens"][name] = {"id": name, "ids": [token_id], "tokens": [name]}
    changed = change(tokenizer, post_processor=post)
    ids = Renderer(changed).render(segments_of([("text", "a")]), "the document").ids_T
    assert ids[:-2].tolist() == changed("a").input_ids[:-1] == [token_id, tokenizer.bos_token_id]


def test_without_a_start_token_the_end_token_stands_first(tokenizers, change):
    tokenizer = change(tokenizers["byte-level BPE"])
    tokenizer.bos_token = None
    ids = Renderer(tokenizer).render(segments_of([("text", "")]), "the document").ids_T
    assert ids.tolist() == [tokenizer.eos_token_id] * 2


def test_without_a_start_token_what_the_models_configuration_names_stands_first(
    tokenizers, change, tmp_path
):
    # as of Qwen, whose tokenizer has none and whose texts were parted by <|endoftext|>
    tokenizer = change(tokenizers["byte-level BPE"])
    start = tokenizer.bos_token_id
    tokenizer.bos_token = None
    tokenizer.save_pretrained(tmp_path)
    LlamaConfig(bos_token_id=start).save_pretrained(tmp_path)
    ids = load_renderer(tmp_path).render(segments_of([("text", "")]), "the document").ids_T
    assert ids.tolist() == [start, tokenizer.eos_token_id]


@pytest.mark.parametrize("plainly", ["template: plain", "no chat template"])
def test_a_conversation_without_template_is_its_contents_a_break_apart(tokenizers, change, plainly):
    tokenizer = change(tokenizers["byte-level BPE"])
    if plainly == "no chat template":
        tokenizer.chat_template = None
        renderer = Renderer(tokenizer)
    else:
        renderer = Renderer(tokenizer, template="plain")
    rendered = check_symbols(renderer, segments_of(SAFE))
    text = tokenizer.decode(rendered.ids_T)
    start, end = tokenizer.bos_token, tokenizer.eos_token
    bodies = [body + end * (role == "assistant") for role, body in SAFE]
    assert text == start + "\n\n".join(bodies)


def test_a_document_that_mixes_text_with_turns_is_plain(tokenizers):
    turns = [("user", "Return"), ("text", "the value")]
    tokenizer = tokenizers["byte-level BPE"]
    ids = check_symbols(Renderer(tokenizer), segments_of(turns)).ids_T
    assert tokenizer.decode(ids) == "<|endoftext|>Return\n\nthe value<|im_end|>"


def test_empty_contents_still_end(renderer):
    rendered = check_symbols(renderer, segments_of([("user", ""), ("assistant", "")] * 2))
    assert rendered.symbols_N.tolist() == [END, END]
    assert [turn.first == turn.last for turn in rendered.turns] == [True, True]


def test_a_turn_that_the_template_does_not_end_leaves_its_end_unsupervised(tokenizers, change):
    tokenizer = change(tokenizers["byte-level BPE"])
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['role'] + ': ' + message['content'] }}"
        "{% if loop.last %}{{ eos_token }}{% else %}{{ '\n' }}{% endif %}{% endfor %}"
    )
    rendered = Renderer(tokenizer).render(segments_of(SAFE), "the document")
    first, second = rendered.turns
    assert (first.ends, second.ends) == (False, True)
    covered = {
        symbol + k
        for symbol, count in zip(rendered.symbol_T, rendered.count_T, strict=True)
        for k in range(count)
    }
    assert set(range(len(rendered.symbols_N))) - covered == {len(first.text)}


def test_rendering_twice_gives_the_same(renderer):
    once, again = (renderer.render(segments_of(SAFE), "the document") for _ in range(2))
    for name in ("ids_T", "span_T2", "symbol_T", "count_T", "symbols_N"):
        np.testing.assert_array_equal(getattr(once, name), getattr(again, name))


def test_a_slow_tokenizer_is_refused():
    with pytest.raises(ValueError, match=r"ByT5Tokenizer has no fast tokenizer .*; save the model"):
        Renderer(ByT5Tokenizer())
