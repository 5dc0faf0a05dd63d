import json

import pytest
from transformers import AutoTokenizer

from bld.tokenization.rendering import load_renderer
from bld.tokenization.scratch import TEMPLATES, train_tokenizer

TEXTS = ["The value of the index.\n", "def value(index):\n\treturn 1234\n", "na\u00efve"] * 30
TEXT = "def value(x):\n    return x + 1234  # na\u00efve e\u0301 \u65e5\u672c \U0001f600 <s>"
TRAINED = ["byte_level_bpe", "sentencepiece_bpe", "unigram"]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", [*TRAINED, "bytes"])
def test_a_saved_tokenizer_comes_back_as_it_was(tmp_path, kind, template):
    tokenizer = train_tokenizer(TEXTS, kind, 400, template)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert loaded(TEXT).input_ids == tokenizer(TEXT).input_ids
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded.special_tokens_map == tokenizer.special_tokens_map
    messages = [{"role": "user", "content": TEXT}, {"role": "assistant", "content": TEXT}]
    ids = [t.apply_chat_template(messages)["input_ids"] for t in (tokenizer, loaded)]
    assert ids[0] == ids[1]


@pytest.mark.parametrize("kind", TRAINED)
def test_words_of_the_texts_become_entries_and_the_size_is_kept(kind):
    tokenizer = train_tokenizer(TEXTS, kind, 320, "chatml")
    assert len(tokenizer) <= 320
    assert len(tokenizer("index", add_special_tokens=False).input_ids) <= 2
    assert len(tokenizer("xedni", add_special_tokens=False).input_ids) > 2


@pytest.mark.parametrize("kind", [*TRAINED, "bytes"])
def test_training_twice_gives_the_same(kind):
    once, *again = (train_tokenizer(TEXTS, kind, 320, "turns") for _ in range(4))
    expected = once.backend_tokenizer.to_str()
    assert [tokenizer.backend_tokenizer.to_str() for tokenizer in again] == [expected] * 3


def test_a_bytes_tokenizer_reads_no_texts():
    tokenizer = train_tokenizer(iter(()), "bytes", 0, "chatml")
    assert tokenizer("\u00e9\x00").input_ids == [0xC3, 0xA9, 0]


@pytest.mark.parametrize("model_type", ["llama", "gemma2", "gpt_neox"])
@pytest.mark.parametrize("kind", TRAINED)
def test_the_configuration_of_a_model_beside_it_changes_nothing(tmp_path, kind, model_type):
    tokenizer = train_tokenizer(TEXTS, kind, 400, "turns")
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    loaded = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert loaded(TEXT).input_ids == tokenizer(TEXT).input_ids
    load_renderer(tmp_path)


@pytest.mark.parametrize("kind", TRAINED)
def test_a_tokenizer_that_transformers_makes_anew_is_read_as_its_file_says_and_told_of(
    tmp_path, kind
):
    tokenizer = train_tokenizer(TEXTS, kind, 400, "turns")
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    assert AutoTokenizer.from_pretrained(tmp_path)(TEXT).input_ids != tokenizer(TEXT).input_ids
    renderer = load_renderer(tmp_path)
    assert renderer.content.backend.encode(TEXT).ids == tokenizer(TEXT).input_ids
    assert any("makes a Qwen2Tokenizer" in note for note in renderer.notes)
