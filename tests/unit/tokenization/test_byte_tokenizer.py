import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from bld.symbols import Segment
from bld.tokenization.rendering import Renderer, load_renderer
from bld.tokenization.scratch import byte_tokenizer_like

TEXT = "na\u00efve\u0301 \u65e5\u672c \U0001f600\r\n\x00 </s> <|im_end|> \u2581"
TURNS = [
    Segment("user", b"\xc3\xa9</s>", False),
    Segment("assistant", "\U0001f600 e\u0301".encode(), True),
]


@pytest.fixture(scope="session")
def byte_tokenizer(tokenizer, tmp_path_factory):
    """Saved, and loaded as users do."""
    folder = tmp_path_factory.mktemp("bytes")
    byte_tokenizer_like(tokenizer).save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def test_the_ids_of_a_text_are_its_bytes(byte_tokenizer):
    renderer = Renderer(byte_tokenizer)
    assert renderer.content.encode(TEXT, "the text") == list(TEXT.encode())
    assert renderer.notes == []
    ordinary = "Return the\tvalue\u00e9\n"
    assert byte_tokenizer(ordinary, add_special_tokens=False).input_ids == list(ordinary.encode())


def test_the_vocabulary_is_the_bytes_and_the_old_special_tokens(tokenizer, byte_tokenizer):
    vocabulary = Renderer(byte_tokenizer).vocabulary
    assert vocabulary.token_bytes[:256] == tuple(bytes([byte]) for byte in range(256))
    old = sorted(i for i, added in tokenizer.added_tokens_decoder.items() if added.special)
    special = range(256, 256 + len(old))
    assert vocabulary.special == set(special) and len(vocabulary) == special.stop
    names = byte_tokenizer.convert_ids_to_tokens(list(special))
    assert names == tokenizer.convert_ids_to_tokens(old)


def test_roles_of_special_tokens_and_the_chat_template_stay(tokenizer, byte_tokenizer):
    for name in ("bos_token", "eos_token", "pad_token", "chat_template"):
        assert getattr(byte_tokenizer, name) == getattr(tokenizer, name)
    names = [
        t.convert_ids_to_tokens(sorted(Renderer(t).vocabulary.end))
        for t in (tokenizer, byte_tokenizer)
    ]
    assert names[0] == names[1]


def test_a_conversation_decodes_to_the_same_text(tokenizer, byte_tokenizer):
    ids = Renderer(byte_tokenizer).render(TURNS, "the document").ids_T
    messages = [{"role": turn.role, "content": turn.text.decode()} for turn in TURNS]
    assert byte_tokenizer.decode(ids) == tokenizer.apply_chat_template(messages, tokenize=False)


def test_it_puts_the_start_token_before_a_text_if_the_old_one_does(tokenizer, byte_tokenizer):
    puts = tokenizer("a").input_ids[0] == tokenizer.bos_token_id
    start = [byte_tokenizer.bos_token_id] if puts else []
    assert byte_tokenizer("a").input_ids == [*start, ord("a")]


def test_at_least_one_of_them_does(tokenizers):
    assert len(byte_tokenizer_like(tokenizers["Llama 3 style"])("a").input_ids) == 2


def test_a_byte_tokenizer_of_a_byte_tokenizer_is_the_same(byte_tokenizer):
    again = byte_tokenizer_like(byte_tokenizer)
    assert again.get_vocab() == byte_tokenizer.get_vocab()


@pytest.mark.parametrize("model_type", ["llama", "gemma2", "qwen2", "gpt2", "gpt_neox", "mistral"])
def test_it_stays_one_beside_the_configuration_of_a_model(tokenizers, tmp_path: Path, model_type):
    byte_tokenizer_like(tokenizers["Qwen 2 style"]).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    assert load_renderer(tmp_path).content.encode(TEXT, "the text") == list(TEXT.encode())


@pytest.mark.parametrize("model_type", ["llama", "gemma2", "qwen2", "gpt2", "gpt_neox", "mistral"])
def test_auto_tokenizer_loads_it_beside_the_configuration_of_a_model(
    tokenizers, tmp_path: Path, model_type
):
    saved = byte_tokenizer_like(tokenizers["Qwen 2 style"])
    saved.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    loaded = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert loaded.is_fast
    assert loaded("a \u00e9\u2581\n", add_special_tokens=False).input_ids == list(
        "a \u00e9\u2581\n".encode()
    )
    assert saved.special_tokens_map.items() <= loaded.special_tokens_map.items()
    assert loaded.chat_template == saved.chat_template
