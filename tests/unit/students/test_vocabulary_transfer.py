from types import SimpleNamespace

import pytest
import torch
from transformers import PhiConfig, PhiForCausalLM

from bld.students.transfer import spell, transfer_vocabulary
from bld.tokenization.byte_tokenizer import byte_tokenizer_like
from bld.tokenization.rendering import Renderer

KINDS = ["byte-level BPE", "another byte-level BPE", "SentencePiece BPE", "bytes"]


def tables(lm):
    modules = lm.get_input_embeddings(), lm.get_output_embeddings()
    return [module.weight.detach().clone() for module in modules]


def transferred(lm, old, new):
    """The two tables before and after."""
    before = tables(lm)
    transfer_vocabulary(lm, old, new)
    return zip(before, tables(lm), strict=True)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_tokenizer_changes_no_row(reading, tiny_model, kind, tied):
    lm = tiny_model(reading(kind)[0], tied)
    for before, after in transferred(lm, reading(kind), reading(kind)):
        assert torch.equal(before, after)


def test_logits_that_no_entry_has_are_cut_off(reading, tiny_model):
    tokenizer, renderer = reading("byte-level BPE")
    lm = tiny_model(tokenizer, padding=7)
    for before, after in transferred(lm, (tokenizer, renderer), (tokenizer, renderer)):
        assert torch.equal(before[: len(tokenizer)], after)
    assert lm.config.vocab_size == len(tokenizer)


@pytest.mark.parametrize("tied", [True, False])
def test_a_new_token_is_the_mean_of_the_old_tokens_that_spell_it(reading, tiny_model, tied):
    old, new = reading("byte-level BPE"), reading("another byte-level BPE")
    lengths = set()
    for before, after in transferred(tiny_model(old[0], tied), old, new):
        for token_id, spelt in enumerate(new[1].vocabulary.token_bytes):
            if spelt is None:
                continue
            try:
                ids = old[0].encode(spelt.decode(), add_special_tokens=False)
            except UnicodeDecodeError:
                ids = [old[1].vocabulary.token_bytes.index(bytes([byte])) for byte in spelt]
            lengths.add(len(ids))
            torch.testing.assert_close(after[token_id], before[ids].mean(0))
    assert len(lengths) > 2


@pytest.mark.parametrize("kind", KINDS[:3])
def test_from_bytes_a_token_is_the_mean_of_its_bytes(reading, tiny_model, kind):
    old, new = reading("bytes"), reading(kind)
    for before, after in transferred(tiny_model(old[0]), old, new):
        for token_id, spelt in enumerate(new[1].vocabulary.token_bytes):
            if spelt is not None:
                torch.testing.assert_close(after[token_id], before[list(spelt)].mean(0))


def test_special_tokens_start_from_the_one_of_the_same_name_else_of_the_same_role(
    reading, tiny_model
):
    old, new = reading("byte-level BPE"), reading("another byte-level BPE")
    partners = {"<pad>": "<pad>", "<unk>": "<unk>", "<s>": "<|endoftext|>", "</s>": "<|im_end|>"}
    for before, after in transferred(tiny_model(old[0]), old, new):
        for name, partner in partners.items():
            new_id, old_id = (
                tokenizer.convert_tokens_to_ids(entry)
                for tokenizer, entry in ((new[0], name), (old[0], partner))
            )
            assert torch.equal(after[new_id], before[old_id])
        spelt = old[0].encode("[user]", add_special_tokens=False)
        user = new[0].convert_tokens_to_ids("[user]")
        torch.testing.assert_close(after[user], before[spelt].mean(0))


def test_the_bias_of_an_output_head_goes_with_its_rows(reading):
    old, new = reading("bytes"), reading("byte-level BPE")
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    lm = PhiForCausalLM(PhiConfig(vocab_size=len(old[0]), intermediate_size=24, **shape))
    torch.nn.init.normal_(lm.lm_head.bias)
    before = lm.lm_head.bias.detach().clone()
    transfer_vocabulary(lm, old, new)
    assert len(lm.lm_head.bias) == len(new[0])
    for token_id, spelt in enumerate(new[1].vocabulary.token_bytes):
        if spelt is not None:
            torch.testing.assert_close(lm.lm_head.bias[token_id], before[list(spelt)].mean())


def test_the_models_configuration_names_the_new_special_tokens(reading, tiny_model):
    old, new = reading("byte-level BPE"), reading("another byte-level BPE")
    lm = tiny_model(old[0])
    transfer_vocabulary(lm, old, new)
    ids = {name: new[0].convert_tokens_to_ids(name) for name in ("<s>", "</s>", "<pad>")}
    for configuration in (lm.config, lm.generation_config):
        assert configuration.bos_token_id == ids["<s>"]
        assert configuration.pad_token_id == ids["<pad>"]
    assert lm.config.eos_token_id == ids["</s>"]
    assert lm.generation_config.eos_token_id == [ids["</s>"]]


@pytest.mark.parametrize("tied", [True, False])
def test_a_byte_student_generates_bytes(reading, tiny_model, tied, tmp_path):
    old = reading("byte-level BPE")
    tokenizer = byte_tokenizer_like(old[0])
    lm = tiny_model(old[0], tied)
    transfer_vocabulary(lm, old, (tokenizer, Renderer(tokenizer)))
    ids = tokenizer("na\u00efve", return_tensors="pt").input_ids
    assert ids.tolist() == [list("na\u00efve".encode())]
    assert lm(ids).logits.shape == (1, 6, len(tokenizer)) == (1, 6, 256 + 5)
    grown = lm.generate(ids, max_new_tokens=4, do_sample=False)
    assert grown[0, :6].tolist() == ids[0].tolist() and len(grown[0]) > 6
    assert lm.generation_config.eos_token_id == [tokenizer.convert_tokens_to_ids("<|im_end|>")]


def test_every_end_token_of_the_old_model_that_the_new_tokenizer_has_still_ends(
    reading, tiny_model
):
    tokenizer, _ = reading("byte-level BPE")
    start = tokenizer.convert_tokens_to_ids("<|im_start|>")
    old = (tokenizer, Renderer(tokenizer, model_end_ids=[start]))
    student = byte_tokenizer_like(tokenizer)
    lm = tiny_model(tokenizer)
    transfer_vocabulary(lm, old, (student, Renderer(student)))
    ends = [student.convert_tokens_to_ids(name) for name in ("<|im_end|>", "<|im_start|>")]
    assert lm.generation_config.eos_token_id == sorted(ends)


def renderer_of(ids_by_bytes):
    return SimpleNamespace(ids_by_bytes=ids_by_bytes, content=SimpleNamespace(encode=None))


def test_bytes_that_are_no_text_are_spelt_by_the_longest_entries_from_the_left():
    renderer = renderer_of({b"\xff": 0, b"\xff\xfe": 1, b"a": 2, b"\xfea": 3})
    assert spell(b"\xff\xfea\xff", renderer) == [1, 2, 0]


def test_a_byte_that_the_old_tokenizer_lacks_is_named():
    with pytest.raises(ValueError, match=r"no entry for byte b'\\xfe'.*or has byte fallback"):
        spell(b"\xff\xfe", renderer_of({b"\xff": 0}))
