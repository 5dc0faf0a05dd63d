from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertLMHeadModel,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

import zoo
from bld.evaluation.reader import Reader
from bld.models import check_halves, device, load_language_model, memory_explained, output_logits
from bld.tokenization.vocabulary import Vocabulary
from bld.windows import batches_of_like_length, windows

SHAPE = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
}
GEMMA = Gemma2Config(**SHAPE, head_dim=8, num_key_value_heads=1, final_logit_softcapping=1.0)
FAMILIES = {
    "Llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    "GPT-NeoX": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SHAPE)),
    "Qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SHAPE, num_key_value_heads=1)),
    "GPT-2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_positions=64)
    ),
    "Gemma 2": lambda: Gemma2ForCausalLM(GEMMA),
}
ALL_KNOWN = Vocabulary(tuple(bytes([i]) for i in range(40)), frozenset(), frozenset())


def tiny(build):
    torch.manual_seed(0)
    lm = build().eval()
    with torch.no_grad():
        for table in lm.parameters():
            if table.ndim > 1:
                table.mul_(5)
    return lm


@pytest.fixture
def lm():
    return tiny(FAMILIES["Llama"])


def documents_of(*lengths):
    random = np.random.default_rng(0)
    return [random.integers(0, 40, length).astype(np.int32) for length in lengths]


def plain_log_probs(lm, ids):
    with torch.no_grad():
        return lm(torch.from_numpy(ids.astype(np.int64))[None]).logits[0].log_softmax(-1)


@given(st.integers(0, 200), st.integers(1, 40), st.data())
@settings(deadline=None)
def test_windows_read_every_position_once_after_the_overlap_asked_for(length, window, data):
    overlap = data.draw(st.integers(0, window - 1))
    cut = list(windows(length, window, overlap))
    assert [p for w in cut for p in range(w.fresh, w.stop)] == list(range(length))
    assert all(w.stop - w.start <= window for w in cut)
    assert all(w.start == max(0, w.fresh - overlap) for w in cut[1:])
    assert cut[0].start == cut[0].fresh == 0


@given(
    st.lists(st.integers(0, 60), max_size=40),
    st.integers(1, 300),
    st.sampled_from([0, 0.1, 0.5, 1]),
)
@settings(deadline=None)
def test_batches_hold_every_element_once_within_the_limits_of_size_and_padding(
    lengths, batch_tokens, padding
):
    batches = list(batches_of_like_length(lengths, batch_tokens, padding))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        used = [lengths[index] for index in batch]
        size = len(batch) * max(used)
        assert size <= batch_tokens or len(batch) == 1
        assert size - sum(used) <= padding * size + 1e-9
    longest = [max(lengths[index] for index in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 300))
@settings(deadline=None)
def test_a_batch_ends_only_where_one_more_element_would_break_a_limit(lengths, batch_tokens):
    batches = list(batches_of_like_length(np.array(lengths, int), batch_tokens))
    for batch, after in pairwise(batches):
        used = [lengths[index] for index in (*batch, after[0])]
        size = len(used) * max(used)
        assert size > batch_tokens or sum(used) < 0.9 * size


@pytest.mark.parametrize("family", FAMILIES)
def test_body_and_output_head_are_the_whole_model(family):
    check_halves(tiny(FAMILIES[family]))


def test_the_soft_cap_is_part_of_the_output_head():
    lm = tiny(FAMILIES["Gemma 2"])
    hidden = 50 * torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    capped = output_logits(lm, hidden)
    torch.testing.assert_close(capped, torch.tanh(lm.lm_head(hidden)))
    assert lm.lm_head(hidden).abs().max() > 5 > 1 >= capped.abs().max()


class Halved(LlamaForCausalLM):
    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output.logits = output.logits / 2
        return output


@pytest.mark.parametrize(
    "build",
    [
        lambda: Halved(LlamaConfig(**SHAPE)),
        lambda: BertLMHeadModel(BertConfig(**SHAPE, is_decoder=True)),
    ],
)
def test_a_model_that_does_something_after_its_output_head_is_refused(build):
    lm = tiny(build)
    with pytest.raises(ValueError, match=f"{type(lm).__name__} changes .*not supported"):
        check_halves(lm)


def test_a_saved_model_is_loaded_in_evaluation_mode_and_in_the_precision_asked_for(lm, tmp_path):
    lm.save_pretrained(tmp_path)
    loaded = load_language_model(tmp_path)
    assert not loaded.training and loaded.dtype == torch.float32
    (ids,) = documents_of(9)
    torch.testing.assert_close(plain_log_probs(loaded.cpu(), ids), plain_log_probs(lm, ids))
    assert load_language_model(tmp_path, "bf16").dtype == torch.bfloat16


def test_a_folder_that_lacks_weights_is_refused(lm, tmp_path):
    lm.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"no weights for 1 tables .*model\.norm\.weight"):
        load_language_model(tmp_path)


def test_a_process_loads_its_model_onto_its_own_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert device() == torch.device("cuda", 3)
    monkeypatch.delenv("LOCAL_RANK")
    assert device() == torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device() == torch.device("cpu")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("batch_tokens", [1, 30, 1000])
def test_documents_read_together_are_each_read_as_if_alone(family, batch_tokens):
    lm = tiny(FAMILIES[family])
    documents = documents_of(3, 12, 1, 7, 12, 20)
    found = dict(Reader(lm, ALL_KNOWN, 64, batch_tokens).log_probs(documents))
    assert found.keys() == set(range(6))
    for index, ids in enumerate(documents):
        torch.testing.assert_close(found[index], plain_log_probs(lm, ids), atol=1e-5, rtol=1e-5)


def test_a_document_is_read_as_if_alone_beside_one_beyond_the_switch_of_its_positions():
    lm = zoo.KINDS["Phi 3.5 and 4 mini (LongRoPE)"].model()
    documents = documents_of(20, zoo.SWITCH, zoo.SWITCH + 2)
    found = dict(Reader(lm, ALL_KNOWN, 64, 1000).log_probs(documents))
    for index, ids in enumerate(documents):
        with torch.no_grad():
            logits = lm(torch.from_numpy(ids.astype(np.int64))[None], use_cache=False).logits[0]
        expected = logits[:, : len(ALL_KNOWN)].log_softmax(-1)
        torch.testing.assert_close(found[index], expected, atol=1e-5, rtol=1e-5)


def test_no_forward_pass_has_more_tokens_than_allowed_unless_one_document_has(lm, monkeypatch):
    shapes = []
    forward = lm.model.forward

    def watched(input_ids, **others):
        shapes.append(tuple(input_ids.shape))
        return forward(input_ids=input_ids, **others)

    monkeypatch.setattr(lm.model, "forward", watched)
    list(Reader(lm, ALL_KNOWN, 64, 24).log_probs(documents_of(3, 12, 1, 7, 12, 30)))
    assert all(rows * width <= 24 or rows == 1 for rows, width in shapes)
    assert sorted(shapes) == [(1, 1), (1, 3), (1, 7), (1, 30), (2, 12)]


@pytest.mark.parametrize(("window", "overlap"), [(8, 4), (9, 4), (1, 0)])
def test_a_long_document_is_read_in_windows_that_overlap_by_half(lm, window, overlap):
    (ids,) = documents_of(30)
    ((_, found),) = Reader(lm, ALL_KNOWN, window, 1000).log_probs([ids])
    for t in range(30):
        later = (t - window) // (window - overlap) + 1
        start = 0 if t < window else (window - overlap) * later
        expected = plain_log_probs(lm, ids[start : t + 1])[-1]
        torch.testing.assert_close(found[t], expected, atol=1e-5, rtol=1e-5)


def test_a_window_is_never_longer_than_the_models_positions():
    lm = tiny(FAMILIES["GPT-2"])
    ((_, found),) = Reader(lm, ALL_KNOWN, 1000, 1000).log_probs(documents_of(100))
    assert found.shape == (100, 40)


def test_ids_that_the_tokenizer_lacks_get_no_probability(lm):
    # the model has 40 logits, the tokenizer ids 0 to 5, of which 1 and 4 stand for nothing
    entries = (b"a", None, b"b", None, None, b"")
    vocabulary = Vocabulary(entries, special=frozenset([3]), end=frozenset([3]))
    ids = np.array([0, 2, 3], np.int32)
    ((_, found),) = Reader(lm, vocabulary, 64, 1000).log_probs([ids])
    assert found.shape == (3, 6) and found.dtype == torch.float32
    assert (found[:, [1, 4]] == -torch.inf).all()
    known = [0, 2, 3, 5]
    expected = plain_log_probs(lm, ids)[:, known].log_softmax(-1)
    torch.testing.assert_close(found[:, known], expected, atol=1e-5, rtol=1e-5)


def test_a_tokenizer_with_more_entries_than_the_model_has_logits_is_refused(lm):
    vocabulary = Vocabulary((b"a",) * 41, frozenset(), frozenset())
    with pytest.raises(ValueError, match="has 41 entries but the model has only 40 logits"):
        Reader(lm, vocabulary, 64, 1000)


def test_special_entries_that_a_model_has_no_logits_for_are_entries_that_it_cannot_give(lm):
    # as Gemma 3 has one, which stands for an image
    entries = (b"a",) * 39 + (None,) * 3
    vocabulary = Vocabulary(entries, special=frozenset([39, 40, 41]), end=frozenset([39]))
    assert vocabulary.of_model(40) == Vocabulary(entries[:40], frozenset([39]), frozenset([39]))
    assert vocabulary.of_model(64) == vocabulary
    ((_, found),) = Reader(lm, vocabulary, 64, 1000).log_probs([np.array([0, 2, 3], np.int32)])
    assert found.shape == (3, 40)
    with pytest.raises(ValueError, match="3 of those beyond, 39 first, stand in texts"):
        replace(vocabulary, end=frozenset([39, 40, 41])).of_model(39)


def test_a_full_gpu_is_told_of_with_what_to_change():
    @memory_explained("lower `batch_tokens`")
    def ask_for_too_much():
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ..."
        )

    message = r"the GPU's memory is full \(CUDA out of memory\).*: lower `batch_tokens`"
    with pytest.raises(MemoryError, match=message):
        ask_for_too_much()
