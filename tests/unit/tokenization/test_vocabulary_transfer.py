import json
import math
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PhiConfig,
    PhiForCausalLM,
    PreTrainedTokenizerFast,
)

from bld.evaluation.reader import Reader
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import byte_tokenizer_like
from bld.tokenization.spelling import spell
from bld.tokenization.transfer import transfer_vocabulary

KINDS = ["byte-level BPE", "another byte-level BPE", "SentencePiece BPE", "bytes"]


def tables(lm):
    modules = lm.get_input_embeddings(), lm.get_output_embeddings()
    return [module.weight.detach().clone() for module in modules]


def tables_of(lm):
    """The parameters with a row for every entry, those of a tied head once."""
    modules = lm.get_input_embeddings(), lm.get_output_embeddings()
    return list(dict.fromkeys(table for module in modules for table in module.parameters()))


def transferred(lm, old, new, *how):
    """The two tables before and after."""
    before = tables(lm)
    transfer_vocabulary(lm, old, new, *how)
    return zip(before, tables(lm), strict=True)


def phi(tokenizer):
    """A model whose output head has a bias."""
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    lm = PhiForCausalLM(PhiConfig(vocab_size=len(tokenizer), intermediate_size=24, **shape))
    torch.nn.init.normal_(lm.lm_head.bias)
    return lm.eval()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_tokenizer_changes_no_row(tokenizer_of, model_for, kind, tied):
    lm = model_for(tokenizer_of(kind)[0], tied)
    for before, after in transferred(lm, tokenizer_of(kind), tokenizer_of(kind)):
        assert torch.equal(before, after)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", ["tied", "untied", "with a bias"])
def test_with_one_shared_vocabulary_the_model_computes_what_it_did(
    tokenizer_of, model_for, kind, model
):
    tokenizer, renderer = tokenizer_of(kind)
    lm = phi(tokenizer) if model == "with a bias" else model_for(tokenizer, model == "tied")
    ids = torch.tensor([[*range(0, len(tokenizer), 3)]])
    before = lm(ids).logits
    transfer_vocabulary(lm, (tokenizer, renderer), (tokenizer, Renderer(tokenizer)))
    assert torch.equal(lm(ids).logits, before)
    assert lm.generation_config.suppress_tokens is None


def test_logits_that_no_entry_has_are_cut_off(tokenizer_of, model_for):
    tokenizer, renderer = tokenizer_of("byte-level BPE")
    lm = model_for(tokenizer, padding=7)
    for before, after in transferred(lm, (tokenizer, renderer), (tokenizer, renderer)):
        assert torch.equal(before[: len(tokenizer)], after)
    assert lm.config.vocab_size == len(tokenizer)


@pytest.mark.parametrize("tied", [True, False])
def test_a_new_token_is_the_mean_of_the_old_tokens_that_spell_it(tokenizer_of, model_for, tied):
    old, new = tokenizer_of("byte-level BPE"), tokenizer_of("another byte-level BPE")
    lengths = set()
    for before, after in transferred(model_for(old[0], tied), old, new):
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
def test_from_bytes_a_token_is_the_mean_of_its_bytes(tokenizer_of, model_for, kind):
    old, new = tokenizer_of("bytes"), tokenizer_of(kind)
    for before, after in transferred(model_for(old[0]), old, new):
        for token_id, spelt in enumerate(new[1].vocabulary.token_bytes):
            if spelt is not None:
                torch.testing.assert_close(after[token_id], before[list(spelt)].mean(0))


def test_special_tokens_start_from_the_one_of_the_same_name_else_of_the_same_role(
    tokenizer_of, model_for
):
    old, new = tokenizer_of("byte-level BPE"), tokenizer_of("another byte-level BPE")
    partners = {"<pad>": "<pad>", "<unk>": "<unk>", "<s>": "<|endoftext|>", "</s>": "<|im_end|>"}
    for before, after in transferred(model_for(old[0]), old, new):
        for name, partner in partners.items():
            new_id, old_id = (
                tokenizer.convert_tokens_to_ids(entry)
                for tokenizer, entry in ((new[0], name), (old[0], partner))
            )
            assert torch.equal(after[new_id], before[old_id])
        spelt = old[0].encode("[user]", add_special_tokens=False)
        user = new[0].convert_tokens_to_ids("[user]")
        torch.testing.assert_close(after[user], before[spelt].mean(0))


def test_the_bias_of_an_output_head_goes_with_its_rows(tokenizer_of):
    old, new = tokenizer_of("bytes"), tokenizer_of("byte-level BPE")
    lm = phi(old[0])
    before = lm.lm_head.bias.detach().clone()
    transfer_vocabulary(lm, old, new)
    assert len(lm.lm_head.bias) == len(new[0])
    for token_id, spelt in enumerate(new[1].vocabulary.token_bytes):
        if spelt is not None:
            torch.testing.assert_close(lm.lm_head.bias[token_id], before[list(spelt)].mean())


def ordinary_and_special(renderer):
    spelt = renderer.vocabulary.token_bytes
    return [i for i, entry in enumerate(spelt) if entry], sorted(renderer.vocabulary.special)


@pytest.mark.parametrize("kind", ["byte-level BPE", "another byte-level BPE", "bytes"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_control_mean_gives_every_ordinary_entry_the_mean_of_all_old_rows(
    tokenizer_of, model_for, kind, tied
):
    old, new = tokenizer_of("byte-level BPE"), tokenizer_of(kind)
    ordinary, _ = ordinary_and_special(new[1])
    for before, after in transferred(model_for(old[0], tied, padding=9), old, new, "mean"):
        mean = before[: len(old[0])].mean(0)
        torch.testing.assert_close(after[ordinary], mean.expand(len(ordinary), -1))


def test_the_control_random_is_noise_like_the_old_rows(tokenizer_of, model_for):
    old, new = tokenizer_of("byte-level BPE"), tokenizer_of("another byte-level BPE")
    lm = model_for(old[0], tied=False)
    with torch.no_grad():
        for number, table in enumerate(tables_of(lm)):
            table *= torch.linspace(0.5, 3.0, 16)  # every dimension in its own way
            table += 5.0 * torch.linspace(-1.0, 1.0, 16) * (1 + number)
    ordinary, _ = ordinary_and_special(new[1])
    noises = []
    for before, after in transferred(lm, old, new, "random"):
        deviation, mean = torch.std_mean(before, 0)
        noises.append((after[ordinary] - mean) / deviation)
        count = len(ordinary)
        assert (noises[-1].mean(0).abs() < 5 / math.sqrt(count)).all()
        assert ((noises[-1].std(0) - 1).abs() < 5 / math.sqrt(2 * count)).all()
    # What a token is read as and what it is written as are drawn apart.
    correlation = torch.corrcoef(torch.stack([noise.flatten() for noise in noises]))[0, 1]
    assert correlation.abs() < 5 / math.sqrt(noises[0].numel())


def test_the_seed_draws_the_noise(tokenizer_of, model_for):
    old, new = tokenizer_of("byte-level BPE"), tokenizer_of("another byte-level BPE")
    drawn = []
    for seed in (0, 0, 1):
        lm = model_for(old[0])
        torch.randn(seed + 3)
        transfer_vocabulary(lm, old, new, "random", 1, seed)
        drawn.append(tables(lm)[0])
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("control", ["mean", "random"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_control_differs_in_the_rows_of_ordinary_entries_alone(
    tokenizer_of, model_for, tied, control
):
    old, new = tokenizer_of("byte-level BPE"), tokenizer_of("another byte-level BPE")
    (lm, made), (ordinary, special) = (
        [model_for(old[0], tied) for _ in range(2)],
        ordinary_and_special(new[1]),
    )
    transfer_vocabulary(lm, old, new)
    transfer_vocabulary(made, old, new, control)
    for expected, found in zip(tables(lm), tables(made), strict=True):
        assert torch.equal(found[special], expected[special])
        assert (found[ordinary] != expected[ordinary]).any(1).all()
    body = {name: w for name, w in lm.state_dict().items() if "layers" in name}
    assert body and all(torch.equal(made.state_dict()[name], w) for name, w in body.items())


@pytest.mark.parametrize("pad_to", [1, 64, 128])
@pytest.mark.parametrize("model", ["tied", "untied", "with a bias"])
def test_a_padded_vocabulary_has_rows_up_to_the_multiple_that_nobody_is_credited_for(
    tokenizer_of, model_for, model, pad_to, tmp_path
):
    old, new = tokenizer_of("bytes"), tokenizer_of("byte-level BPE")
    make = phi if model == "with a bias" else lambda t: model_for(t, model == "tied")
    plain, padded = make(old[0]), make(old[0])
    means = [table.mean(0) for table in tables_of(padded)]
    transfer_vocabulary(plain, old, new)
    transfer_vocabulary(padded, old, new, "fvt", pad_to)
    size, entries = padded.config.vocab_size, len(new[0])
    assert size % pad_to == 0 and 0 <= size - entries < pad_to
    for table, unpadded, mean in zip(tables_of(padded), tables_of(plain), means, strict=True):
        assert len(table) == size and torch.equal(table[:entries], unpadded)
        torch.testing.assert_close(table[entries:], mean.expand(size - entries, *mean.shape))

    documents = [torch.arange(40, 60).numpy()]
    readers = [Reader(lm, new[1].vocabulary, 64, 64) for lm in (plain, padded)]
    [(_, expected)], [(_, found)] = (list(reader.log_probs(documents)) for reader in readers)
    torch.testing.assert_close(found, expected)

    with torch.no_grad():
        tables_of(padded)[-1][entries:] += 100.0  # as if they were all that it wants to say
    padded.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, local_files_only=True)
    grown = loaded.generate(torch.tensor([[40, 41]]), max_new_tokens=20, do_sample=False)
    assert (grown < entries).all()


def test_the_models_configuration_names_the_new_special_tokens(tokenizer_of, model_for):
    old, new = tokenizer_of("byte-level BPE"), tokenizer_of("another byte-level BPE")
    lm = model_for(old[0])
    transfer_vocabulary(lm, old, new)
    ids = {name: new[0].convert_tokens_to_ids(name) for name in ("<s>", "</s>", "<pad>")}
    for configuration in (lm.config, lm.generation_config):
        assert configuration.bos_token_id == ids["<s>"]
        assert configuration.pad_token_id == ids["<pad>"]
    assert lm.config.eos_token_id == ids["</s>"]
    assert lm.generation_config.eos_token_id == [ids["</s>"]]


@pytest.mark.parametrize("tied", [True, False])
def test_a_byte_student_generates_text_and_ends_its_turns(tokenizer_of, model_for, tied, tmp_path):
    old = tokenizer_of("byte-level BPE")
    tokenizer = byte_tokenizer_like(old[0])
    lm = model_for(old[0], tied)
    transfer_vocabulary(lm, old, (tokenizer, Renderer(tokenizer)))
    lm.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    lm = AutoModelForCausalLM.from_pretrained(tmp_path, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)

    ids = tokenizer("na\u00efve", return_tensors="pt").input_ids
    assert ids.tolist() == [list("na\u00efve".encode())]
    assert lm(ids).logits.shape == (1, 6, len(tokenizer)) == (1, 6, 256 + 5)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    spoken = [*"caf\u00e9 \U0001f600".encode(), end]
    grown = lm.generate(
        ids, max_new_tokens=50, do_sample=False, logits_processor=[says(spoken, ids.shape[1])]
    )
    assert grown[0, ids.shape[1] :].tolist() == spoken
    assert tokenizer.decode(grown[0], skip_special_tokens=True) == "na\u00efvecaf\u00e9 \U0001f600"


def says(spoken, after):
    """A logits processor that has the model say these tokens, and then the last of them for
    ever."""

    def process(ids, scores):
        said = ids.shape[1] - after
        forced = torch.full_like(scores, -torch.inf)
        forced[:, spoken[min(said, len(spoken) - 1)]] = 0.0
        return forced

    return process


def test_every_end_token_of_the_old_model_that_the_new_tokenizer_has_still_ends(
    tokenizer_of, model_for
):
    tokenizer, _ = tokenizer_of("byte-level BPE")
    start = tokenizer.convert_tokens_to_ids("<|im_start|>")
    old = (tokenizer, Renderer(tokenizer, model_end_ids=[start]))
    student = byte_tokenizer_like(tokenizer)
    lm = model_for(tokenizer)
    transfer_vocabulary(lm, old, (student, Renderer(student)))
    ends = [student.convert_tokens_to_ids(name) for name in ("<|im_end|>", "<|im_start|>")]
    assert lm.generation_config.eos_token_id == sorted(ends)


def renderer_of(ids_by_bytes):
    return SimpleNamespace(ids_by_bytes=ids_by_bytes, content=SimpleNamespace(encode=None))


def test_bytes_that_are_no_text_are_spelt_by_the_longest_entries_from_the_left():
    renderer = renderer_of({b"\xff": 0, b"\xff\xfe": 1, b"a": 2, b"\xfea": 3})
    assert spell(b"\xff\xfea\xff", renderer) == [1, 2, 0]


def test_nothing_spells_a_byte_that_the_old_tokenizer_lacks():
    assert spell(b"\xff\xfe", renderer_of({b"\xff": 0})) == []


@pytest.mark.parametrize("initialisation", ["fvt", "mean", "random"])
def test_an_entry_that_the_old_tokenizer_cannot_spell_starts_as_the_mean_of_all_and_is_told(
    tokenizer_of, model_for, initialisation
):
    tokenizer, _ = tokenizer_of("byte-level BPE")
    specification = json.loads(tokenizer.backend_tokenizer.to_str())
    lost = specification["model"]["vocab"].pop("\u0104")  # byte 0x04
    without = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(specification)),
        eos_token=tokenizer.eos_token,
    )
    lm = model_for(tokenizer)
    old_rows = lm.get_input_embeddings().weight.detach().clone()
    assert Renderer(without).vocabulary.token_bytes[lost] is None
    new = (tokenizer, Renderer(tokenizer))
    unspelt = transfer_vocabulary(lm, (without, Renderer(without)), new, initialisation)
    assert unspelt == ([lost] if initialisation == "fvt" else [])
    if initialisation != "random":
        row = lm.get_input_embeddings().weight[lost]
        assert torch.allclose(row, old_rows[: Renderer(without).vocabulary_size].mean(0))
