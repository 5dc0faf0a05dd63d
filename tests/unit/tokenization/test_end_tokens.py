import json

import pytest

from bld.symbols import END, Segment
from bld.tokenization.rendering import Renderer, load_renderer

ANSWER = [Segment("user", b"Return", False), Segment("assistant", b"the value", True)]


@pytest.fixture
def with_added(tokenizers, change, specification, added):
    """A tokenizer with one more added token, <|eot|>, special or not."""

    def build(special, kind="Llama 3 style"):
        tokenizer = tokenizers[kind]
        new = added(len(tokenizer), "<|eot|>", special=special)
        return change(tokenizer, added_tokens=[*specification(tokenizer)["added_tokens"], new])

    return build


def ids_of(tokenizer, *names):
    return set(tokenizer.convert_tokens_to_ids(list(names)))


def test_the_end_of_sequence_and_the_token_after_an_answer_are_ends(with_added):
    tokenizer = with_added(special=True)
    tokenizer.eos_token = "<|eot|>"
    renderer = Renderer(tokenizer)
    assert renderer.vocabulary.end == ids_of(tokenizer, "<|im_end|>", "<|eot|>")
    assert Renderer(tokenizer, template="plain").vocabulary.end == ids_of(tokenizer, "<|eot|>")
    text = renderer.render([Segment("text", b"", True)], "the document")
    assert text.ids_T[-1] == tokenizer.eos_token_id


@pytest.mark.parametrize("found", ["end_tokens", "generation configuration", "eos_token"])
@pytest.mark.parametrize("special", [True, False])
def test_an_end_token_spells_nothing_even_if_the_tokenizer_calls_it_text(
    with_added, special, found
):
    tokenizer = with_added(special)
    (token_id,) = ids_of(tokenizer, "<|eot|>")
    if found == "eos_token":
        tokenizer.eos_token = "<|eot|>"
    renderer = Renderer(
        tokenizer,
        end_tokens=["<|eot|>"] * (found == "end_tokens"),
        model_end_ids=[token_id] * (found == "generation configuration"),
    )
    assert token_id in renderer.vocabulary.end <= renderer.vocabulary.special
    assert renderer.vocabulary.token_bytes[token_id] is None
    ids = renderer.content.encode("a<|eot|>b", "the text")
    assert token_id not in ids and tokenizer.decode(ids) == "a<|eot|>b"


def test_an_added_token_that_is_no_end_stays_text(with_added):
    tokenizer = with_added(special=False)
    assert Renderer(tokenizer).vocabulary.token_bytes[len(tokenizer) - 1] == b"<|eot|>"


@pytest.mark.parametrize("name", ["<|nowhere|>", "a"])
def test_end_tokens_must_be_added_tokens(tokenizers, name):
    expected = rf"end_tokens names {name!r}, which is not an added token".replace("|", r"\|")
    with pytest.raises(ValueError, match=expected):
        Renderer(tokenizers["byte-level BPE"], end_tokens=[name])


def test_an_ordinary_id_among_the_model_s_ends_is_noted_and_stays_text(tokenizers):
    tokenizer = tokenizers["byte-level BPE"]
    (newline,) = ids_of(tokenizer, "\u010a")
    renderer = Renderer(tokenizer, model_end_ids=[newline, tokenizer.eos_token_id])
    assert renderer.vocabulary.end == {tokenizer.eos_token_id}
    assert renderer.vocabulary.token_bytes[newline] == b"\n"
    assert [note for note in renderer.notes if f"token {newline}, an end token" in note]


@pytest.mark.parametrize(
    "kind", ["byte-level BPE", "SentencePiece BPE", "Unigram", "bytes", "Gemma 2 style"]
)
def test_without_any_end_token_there_is_nothing_to_learn_from(tokenizers, change, kind):
    tokenizer = change(tokenizers[kind])
    tokenizer.eos_token, tokenizer.chat_template = None, None
    with pytest.raises(
        ValueError, match=r"no end token, so a student .*; name one under end_token"
    ):
        Renderer(tokenizer)


@pytest.mark.parametrize("several", [True, False])
def test_a_folder_s_generation_configuration_tells_its_ends(with_added, tmp_path, several):
    tokenizer = with_added(special=True)
    (token_id,) = ids_of(tokenizer, "<|eot|>")
    tokenizer.save_pretrained(tmp_path)
    eos = [token_id] if several else token_id
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": eos}))
    assert load_renderer(tmp_path).vocabulary.end == {token_id, tokenizer.eos_token_id}


@pytest.mark.parametrize("configuration", [None, {}, {"eos_token_id": None}])
def test_a_folder_without_one_has_the_tokenizer_s_end(tokenizers, tmp_path, configuration):
    tokenizer = tokenizers["SentencePiece BPE"]
    tokenizer.save_pretrained(tmp_path)
    if configuration is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(configuration))
    renderer = load_renderer(tmp_path)
    assert renderer.vocabulary.end == {tokenizer.eos_token_id} and renderer.notes == []


def test_loading_passes_everything_on(with_added, tmp_path):
    tokenizer = with_added(special=True)
    tokenizer.chat_template = (
        "{{ day }}{% for m in messages %}{{ m.content }}<|reserved_0|>{% endfor %}"
    )
    tokenizer.save_pretrained(tmp_path)
    renderer = load_renderer(tmp_path, "auto", {"day": "Monday"}, ["<|eot|>"])
    assert renderer.vocabulary.end == ids_of(tokenizer, "<|im_end|>", "<|eot|>", "<|reserved_0|>")
    rendered = renderer.render(ANSWER, "the document")
    assert tokenizer.decode(rendered.ids_T).startswith("MondayReturn")
    assert rendered.symbols_N[rendered.symbol_T[-1]] == END
    plain = load_renderer(tmp_path, "plain").render(ANSWER, "the document")
    assert tokenizer.decode(plain.ids_T) == "<|endoftext|>Return\n\nthe value<|im_end|>"


def test_a_folder_that_cannot_be_used_is_named(tokenizers, change, tmp_path):
    change(tokenizers["bytes"], normalizer={"type": "Lowercase"}).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=rf"the tokenizer in {tmp_path}: .*normalizer Lowercase"):
        load_renderer(tmp_path)
