"""Limits of tokens for a student whose tokens are not those of the model it was made from: they
hold the same text."""

import json

import pytest
import torch
from lm_eval.api.instance import Instance
from transformers import LlamaConfig, LlamaForCausalLM

from bld.documents.document import make_document
from bld.evaluation.benchmarks.harness import run_benchmark
from bld.evaluation.benchmarks.limits import LimitedAsSource
from bld.evaluation.benchmarks.local import write_benchmark
from bld.pipeline.step_settings import EvaluateBenchmark
from bld.tokenization.loading import load_tokenizer

WORD = "Return"
"""One token of the source, of letters that are all different."""
KINDS = ["next_line", "next_word", "bits_per_byte"]


@pytest.fixture(scope="module")
def folder(model, tokenizers, tmp_path_factory):
    """(kind of tokenizer) -> a model folder."""
    folders = {}
    for kind in ("subwords", "bytes"):
        folders[kind] = tmp_path_factory.mktemp(kind)
        model(kind)[0].save_pretrained(folders[kind])
        tokenizers[kind].save_pretrained(folders[kind])
    return folders


@pytest.fixture(scope="module")
def repeater(tokenizers):
    """A byte model that goes on with the letters of a word, over and over."""
    size = len(tokenizers["bytes"])
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=size + size % 2,
        intermediate_size=4,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizers["bytes"].eos_token_id,
    )
    lm = LlamaForCausalLM(config).eval()
    letters = WORD.encode()
    with torch.no_grad():
        for layer in lm.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        lm.model.embed_tokens.weight.copy_(torch.eye(*lm.model.embed_tokens.weight.shape))
        lm.lm_head.weight.zero_()
        for letter, following in zip(letters, letters[1:] + letters[:1], strict=True):
            lm.lm_head.weight[following, letter] = 1.0
    return lm


@pytest.fixture
def limited(folder, repeater):
    """(window in tokens of the source, positions) -> the harness's model."""

    def build(window, positions=4096):
        return LimitedAsSource(
            source=load_tokenizer(folder["subwords"]),
            positions=positions,
            pretrained=repeater,
            tokenizer=load_tokenizer(folder["bytes"]),
            batch_size=2,
            max_length=window,
        )

    return build


def asked(prompts, tokens):
    """Requests of the harness for answers."""
    how = {"until": ["\n"], "max_gen_toks": tokens, "do_sample": False}
    return [Instance("generate_until", {}, (prompt, how), i) for i, prompt in enumerate(prompts)]


def test_an_answer_has_as_many_tokens_of_the_source_as_the_task_allows(limited):
    lm = limited(200)
    source = lm._source
    assert len(source(WORD).input_ids) == 1 and len(lm.tokenizer(WORD).input_ids) == len(WORD)
    begun = len(source("eturn").input_ids)
    answers = lm.generate_until(asked(["the key R", "R"], 40), disable_tqdm=True)
    assert answers == 2 * ["eturn" + (40 - begun) * WORD] and lm.cut == 0
    assert len(source(answers[0]).input_ids) == 40


def test_a_model_without_so_many_positions_writes_as_far_as_it_has_them(limited):
    [answer] = limited(200, positions=100).generate_until(asked(["the key R"], 40))
    assert len("the key R" + answer) == 100


def test_of_a_long_prompt_the_last_tokens_of_the_source_are_read(limited):
    lm = limited(60)
    words = [f" key {number}" for number in range(60)]
    text = "".join(words)
    ids, mask = lm.tok_batch_encode([text, "key"], left_truncate_len=20)
    offsets = lm._source(text, return_offsets_mapping=True).offset_mapping
    read = text[offsets[-20][0] :]
    assert lm.tokenizer.decode(ids[0]) == read and mask[1].sum() == len("key")
    assert len(lm._source(read).input_ids) == 20 and lm.cut == 1


def test_a_candidate_is_read_behind_what_the_source_reads_before_it(limited):
    lm = limited(20)
    context, continuation = "Return the index of the first key " * 4, " Return the key"
    before, behind = lm._encode_pair(context.rstrip(), continuation)
    assert bytes(behind).decode() == continuation and lm.cut == 1
    assert len(lm._source(bytes(before + behind).decode()).input_ids) == 21


def test_windows_of_a_text_hold_what_the_fullest_of_the_source_does(limited):
    lm = limited(16)
    text = "Return the index of the first key 0123456789 " * 3
    pieces = lm._pieces(text)
    assert "".join(pieces) == text
    assert all(len(lm._source(piece).input_ids) == 16 for piece in pieces[:-1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("window", [100, 256])
def test_where_the_source_has_the_same_tokens_the_limits_are_those_of_the_harness(
    kind, window, folder, tmp_path
):
    line = "the_key = first(the_key, items[{}]) or the_index_{} of the_key"
    documents = [
        make_document(
            f"m{i}", "source", [("text", "\n".join(line.format(n, i) for n in range(12)))], f"g{i}"
        )
        for i in range(6)
    ]
    write_benchmark(kind, documents, 5, 0, tmp_path)
    settings = EvaluateBenchmark(
        name="mine",
        task=None,
        few_shot=None,
        chat_template=False,
        limit=None,
        metric=None,
        batch_size=4,
        max_length=window,
        precision="fp32",
        unsafe_code=False,
        rendering={"template": "auto"},
    )
    plain = run_benchmark(tmp_path, folder["subwords"], settings)
    same = run_benchmark(tmp_path, folder["subwords"], settings, source=folder["subwords"])
    assert json.dumps(same) == json.dumps(plain)
    assert (plain["cut_prompts"] > 0) == (kind != "bits_per_byte")
