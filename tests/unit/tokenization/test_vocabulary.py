import json

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode as gpt2_table

from bld.tokenization.families import bytes_to_unicode
from bld.tokenization.rendering import Renderer
from bld.tokenization.vocabulary import read_vocabulary

BYTE_FALLBACK = {"SentencePiece BPE", "Unigram", "Llama 2 style", "Gemma 2 style"}


def test_the_table_of_byte_characters_is_gpt_2s():
    assert bytes_to_unicode() == gpt2_table()


def test_entries_that_are_text_spell_what_the_library_decodes(renderer):
    backend, token_bytes = renderer.content.backend, renderer.vocabulary.token_bytes
    anchor = renderer.ids_by_bytes[b"a"]
    for token_id, spelt in enumerate(token_bytes):
        decoded = backend.decode([anchor, token_id], skip_special_tokens=False)
        if spelt is not None and "\ufffd" not in decoded:
            assert decoded == "a" + spelt.decode()


def test_every_byte_is_spelt_by_some_entry(renderer):
    assert renderer.ids_by_bytes.keys() >= {bytes([byte]) for byte in range(256)}


def test_with_byte_fallback_a_byte_piece_spells_its_byte(kind, tokenizer, renderer):
    for byte in range(256):
        token_id = tokenizer.get_vocab().get(f"<0x{byte:02X}>")
        assert (token_id is not None) == (kind in BYTE_FALLBACK)
        if token_id is not None:
            assert renderer.vocabulary.token_bytes[token_id] == bytes([byte])


def test_without_byte_fallback_a_byte_piece_is_text(t5_style):
    token_id = t5_style.get_vocab()["<0x41>"]
    assert Renderer(t5_style).vocabulary.token_bytes[token_id] == b"<0x41>"


def test_exactly_the_special_tokens_and_the_unused_ids_spell_nothing(tokenizer, renderer):
    vocabulary = renderer.vocabulary
    special = {i for i, added in tokenizer.added_tokens_decoder.items() if added.special}
    used = set(tokenizer.get_vocab().values())
    silent = {i for i, spelt in enumerate(vocabulary.token_bytes) if spelt is None}
    assert vocabulary.special == special
    assert silent == special | (set(range(len(vocabulary))) - used)
    assert len(vocabulary) == max(used) + 1 == renderer.vocabulary_size


def test_unused_ids_are_neither_special_nor_spelt(tokenizers):
    vocabulary = Renderer(tokenizers["unused ids"]).vocabulary
    unused = range(0, len(vocabulary), 2)
    assert all(vocabulary.token_bytes[i] is None for i in unused)
    assert vocabulary.special.isdisjoint(unused)


def test_user_defined_symbols_spell_spaces_where_the_model_writes_space_marks(tokenizers):
    tokenizer = tokenizers["Gemma 2 style"]
    renderer = Renderer(tokenizer)
    ids = tokenizer.get_vocab()
    spelt = renderer.vocabulary.token_bytes
    assert spelt[ids["\u2581" * 4]] == b"    "
    assert spelt[ids["\n\n"]] == b"\n\n"
    assert spelt[ids["<unused0>"]] == b"<unused0>"
    assert ids["\u2581" * 4] in renderer.content.encode("x    y", "the text")


def test_a_space_mark_in_a_byte_level_added_token_is_itself(
    tokenizers, change, specification, added
):
    tokenizer = tokenizers["byte-level BPE"]
    tokens = [*specification(tokenizer)["added_tokens"], added(len(tokenizer), "<a\u2581b>")]
    renderer = Renderer(change(tokenizer, added_tokens=tokens))
    assert renderer.vocabulary.token_bytes[-1] == "<a\u2581b>".encode()
    assert renderer.content.encode("<a\u2581b>", "the text") == [len(tokenizer)]


@pytest.mark.parametrize("kind", ["Unigram", "SentencePiece BPE"])
def test_an_unknown_token_outside_the_added_tokens_is_special(
    tokenizers, change, specification, kind
):
    tokenizer = tokenizers[kind]
    tokens = specification(tokenizer)["added_tokens"]
    known = [token for token in tokens if token["content"] != "<unk>"]
    renderer = Renderer(change(tokenizer, added_tokens=known))
    unknown = tokenizer.get_vocab()["<unk>"]
    assert unknown in renderer.vocabulary.special
    assert renderer.vocabulary.token_bytes[unknown] is None
    ids = renderer.content.encode("a<unk>", "the text")
    assert renderer.content.backend.decode(ids, skip_special_tokens=False) == "a<unk>"


def test_word_pieces_are_refused():
    backend = Tokenizer(models.WordPiece({"[UNK]": 0, "the": 1, "##s": 2}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.normalizer = normalizers.NFC()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="[SEP]")
    message = r"WordPiece tokenizer made of \(NFC, BertPreTokenizer\) is of no known family"
    with pytest.raises(ValueError, match=message):
        Renderer(tokenizer)


def test_clips_word_ends_are_refused(tokenizers, specification):
    changed = specification(tokenizers["byte-level BPE"])
    changed["model"]["end_of_word_suffix"] = "</w>"
    with pytest.raises(ValueError, match=r"a BPE tokenizer made of .* is of no known family"):
        read_vocabulary(json.loads(json.dumps(changed)))


def test_a_byte_level_entry_that_stands_for_no_bytes_is_named(tokenizers, specification):
    changed = specification(tokenizers["byte-level BPE"])
    changed["model"]["vocab"]["\u65e5x"] = 9999
    with pytest.raises(
        ValueError, match=r"entry '\u65e5x', whose character '\u65e5' stands for no"
    ):
        read_vocabulary(changed)
