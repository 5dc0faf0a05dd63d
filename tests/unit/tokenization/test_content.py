import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from bld.symbols import Segment
from bld.tokenization.rendering import Renderer

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
AWKWARD = st.sampled_from(
    ["  ", "\n", "\n\n", "\t", "\r\n", "a", "\u2581", "<", "0x41>", "<0x", "e\u0301", "</s>", "é"]
)
ASCII_WORDS = [
    "Return",
    "value",
    "find",
    "(items)",
    ":",
    ".",
    " ",
    "  ",
    "\n",
    "\t",
    "2024",
    "don't",
]
FOREIGN_WORDS = ["caf\u00e9", "e\u0301", "\u212b", "\u65e5\u672c", "\U0001f600"]
WORDS = st.sampled_from(ASCII_WORDS + FOREIGN_WORDS)
HURTFUL = {
    "empty": "",
    "emoji": "\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3ff",
    "decomposed": "e\u0301 \u212b \uff21 \u1e0d\u0307",
    "forty spaces": " " * 40,
    "spaces": " a  b   c     d ",
    "leading spaces": "  a",
    "leading newline": "\n\na\n",
    "tabs": "\t\tif x:\n\t\t\treturn\t",
    "CRLF": "one\r\ntwo\r\n\r\nthree\r",
    "right to left": "\u202e\u05e9\u05dc\u05d5\u05dd (abc) \u0645\u0631\u062d\u0628\u0627",
    "NUL": "a\x00b\x00",
    "long word": "x" * 20_000,
    "long foreign word": "\u6f22" * 6_000,
    "space marks": "\u2581\u2581 a\u2581b \u2581",
    "byte pieces": "<0x41> <0x0A><0xE2> <0x4> x<0xff>",
    "other models' special tokens": "<s></s><unk><|im_end|>[user]<unused0><|reserved_3|>",
    "noncharacters": "\ufdd0 a\ufdd1content-0\ufdd1 \uffff\U0010ffff",
    "byte order mark": "\ufeffa",
}


def check(renderer, text):
    """What holds for the tokens of any text, by the library's own decoder."""
    content = text.encode()
    rendered = renderer.render([Segment("text", content, True)], "the text")
    tokens = [
        (i, int(start), int(stop))
        for i, (start, stop) in zip(rendered.ids_T.tolist(), rendered.span_T2, strict=True)
        if start >= 0
    ]
    ids, starts, stops = zip(*tokens, strict=True) if tokens else ((), (), ())
    assert (*starts, len(content)) == (0, *stops)
    assert [renderer.vocabulary.token_bytes[i] for i in ids] == [
        content[start:stop] for start, stop in zip(starts, stops, strict=True)
    ]
    assert renderer.vocabulary.special.isdisjoint(ids)
    assert renderer.content.backend.decode(ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("text", HURTFUL.values(), ids=HURTFUL.keys())
def test_hurtful_text_comes_back(renderer, text):
    check(renderer, text)


@given(ANY_TEXT)
@settings(deadline=None, max_examples=60)
def test_any_text_comes_back(renderer, text):
    check(renderer, text)


@given(st.lists(st.one_of(AWKWARD, WORDS), max_size=12))
@settings(deadline=None, max_examples=60)
def test_any_mixture_of_awkward_pieces_comes_back(renderer, pieces):
    check(renderer, "".join(pieces))


def test_the_names_of_special_tokens_are_text(tokenizer, renderer):
    names = [added.content for added in tokenizer.added_tokens_decoder.values() if added.special]
    assert names
    for name in names:
        for text in (name, name + name, f"a{name}b", f" {name} ", f"{name[:-1]}{name}\n"):
            check(renderer, text)


@given(st.lists(WORDS, max_size=20).map("".join))
@settings(deadline=None, max_examples=60)
def test_ordinary_text_gets_the_ids_of_the_plain_library(renderer, plain, text):
    ids = renderer.content.encode(text, "the text")
    assert ids == plain.encode(text, add_special_tokens=False).ids


@given(st.lists(st.sampled_from(ASCII_WORDS), max_size=20))
@settings(deadline=None, max_examples=60)
def test_in_ascii_the_spans_are_the_offsets_of_the_plain_library(renderer, plain, words):
    text = "".join(words)
    rendered = renderer.render([Segment("text", text.encode(), True)], "the text")
    spans = [tuple(span) for span in rendered.span_T2.tolist() if span[0] >= 0]
    assert spans == plain.encode(text, add_special_tokens=False).offsets


@pytest.mark.parametrize(
    "normalizer",
    [
        {"type": "NFKD"},
        {"type": "Nmt"},
        {"type": "Strip", "strip_left": True, "strip_right": True},
        {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
    ],
    ids=lambda normalizer: normalizer["type"],
)
def test_other_normalizers_are_left_out_and_named(tokenizers, change, normalizer):
    renderer = Renderer(change(tokenizers["byte-level BPE"], normalizer=normalizer))
    assert [n for n in renderer.notes if f"normalizer {normalizer['type']} is left out" in n]
    check(renderer, " \ufb01 \u212b e\u0301\u00a0\u200b ")


def test_what_is_undone_is_noted(renderer, kind):
    expected = {
        "Unigram": ["space put in front"],
        "Llama 2 style": ["'\u2581' put in front"],
        "Qwen 2 style": ["NFC is left out"],
        "RoBERTa style": ["space put in front"],
        "GPT-NeoX style": ["NFC is left out"],
    }.get(kind, [])
    assert len(renderer.notes) == len(expected)
    assert all(part in note for part, note in zip(expected, renderer.notes, strict=True))


def test_a_normalizer_that_joins_spaces_is_not_taken_for_the_one_that_marks_them(t5_style):
    renderer = Renderer(t5_style)
    assert [n.split()[2] for n in renderer.notes[:3]] == ["NFKC", "Strip", "Replace"]
    assert "space put in front" in renderer.notes[3]
    for text in ("the  first   value", " is not ", "index"):
        check(renderer, text)


def test_an_added_token_that_swallows_spaces_no_longer_does(
    tokenizers, change, specification, added
):
    tokenizer = tokenizers["byte-level BPE"]
    hole = added(len(tokenizer), "<hole>", lstrip=True, rstrip=True)
    tokens = [*specification(tokenizer)["added_tokens"], hole]
    renderer = Renderer(change(tokenizer, added_tokens=tokens))
    assert any("'<hole>' no longer swallows" in note for note in renderer.notes)
    check(renderer, "a  <hole> \n b")
    assert len(tokenizer) in renderer.content.encode("a  <hole> \n b", "the text")


def test_dropout_is_switched_off(tokenizers, change, specification):
    tokenizer = tokenizers["byte-level BPE"]
    model = specification(tokenizer)["model"] | {"dropout": 0.5}
    renderer = Renderer(change(tokenizer, model=model))
    assert any("dropout" in note for note in renderer.notes)
    turns = [Segment("user", b"the value", False), Segment("assistant", b"is not present", True)]
    expected = Renderer(tokenizer).render(turns, "the text")
    for _ in range(5):
        assert renderer.render(turns, "the text").ids_T.tolist() == expected.ids_T.tolist()


def test_truncation_and_padding_set_on_the_tokenizer_change_nothing(tokenizers):
    tokenizer = tokenizers["Llama 3 style"]
    cut = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    cut.enable_truncation(2)
    cut.enable_padding(length=16, direction="left")
    changed = type(tokenizer)(
        tokenizer_object=cut,
        bos_token=tokenizer.bos_token,
        eos_token=tokenizer.eos_token,
        chat_template=tokenizer.chat_template,
    )
    for role in ("text", "assistant"):
        document = [Segment(role, b"Return the first index of value", True)]
        expected = Renderer(tokenizer).render(document, "the text").ids_T.tolist()
        assert Renderer(changed).render(document, "the text").ids_T.tolist() == expected


def test_words_looked_up_whole_are_not_special_tokens(tokenizers, change, specification, added):
    tokenizer = tokenizers["Llama 3 style"]
    model = specification(tokenizer)["model"]
    model["vocab"]["pad"] = len(tokenizer)
    tokens = [*specification(tokenizer)["added_tokens"], added(len(tokenizer), "pad", special=True)]
    renderer = Renderer(change(tokenizer, model=model, added_tokens=tokens))
    assert len(tokenizer) in renderer.vocabulary.special
    check(renderer, "pad the pad")


@pytest.mark.parametrize("kind", ["Unigram", "BPE"])
def test_text_that_the_vocabulary_cannot_spell_is_refused_with_the_place(
    tokenizers, change, specification, t5_style, kind
):
    tokenizer = t5_style
    if kind == "BPE":
        tokenizer = tokenizers["SentencePiece BPE"]
        model = specification(tokenizer)["model"] | {"byte_fallback": False}
        tokenizer = change(tokenizer, model=model)
    renderer = Renderer(tokenizer)
    with pytest.raises(ValueError) as caught:
        renderer.render([Segment("text", "the value \U0001f680!".encode(), True)], "document 7")
    for part in ("document 7:", "At byte 10", repr("\U0001f680!".encode()), "<unk>", "byte-level"):
        assert part in str(caught.value)


def test_the_segment_of_an_unspellable_text_is_named(t5_style):
    turns = [Segment("user", b"the", False), Segment("assistant", "\U0001f680".encode(), True)]
    with pytest.raises(ValueError, match=r"document 7, segment 1 \(assistant\): the tokens do not"):
        Renderer(t5_style).render(turns, "document 7")


def test_a_pre_tokenizer_that_drops_spaces_is_refused_by_the_text(tokenizers, change):
    parts = [{"type": "WhitespaceSplit"}, {"type": "ByteLevel", "add_prefix_space": False}]
    parts[1] |= {"trim_offsets": True, "use_regex": False}
    dropping = {"type": "Sequence", "pretokenizers": parts}
    renderer = Renderer(change(tokenizers["byte-level BPE"], pre_tokenizer=dropping))
    with pytest.raises(ValueError, match=r"At byte 3 the text has b' value', but token \d+ \('"):
        renderer.content.encode("the value", "the text")


@pytest.mark.parametrize(
    "normalizer",
    [
        {"type": "Lowercase"},
        {"type": "StripAccents"},
        {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True}
        | {"strip_accents": None, "lowercase": True},
    ],
    ids=lambda normalizer: normalizer["type"],
)
def test_what_the_model_never_saw_cannot_be_undone(tokenizers, change, normalizer):
    sequence = {"type": "Sequence", "normalizers": [{"type": "NFD"}, normalizer]}
    changed = change(tokenizers["byte-level BPE"], normalizer=sequence)
    message = rf"normalizer {normalizer['type']} cannot be undone.*use a model whose tokenizer"
    with pytest.raises(ValueError, match=message):
        Renderer(changed)
