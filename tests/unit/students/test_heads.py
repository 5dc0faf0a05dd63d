import numpy as np
import pytest
import torch

from bld.models import output_logits
from bld.students.heads import LinearHeads, OutputHead, save_heads
from bld.tokenization.symbols import END, SPECIAL
from bld.tokenization.vocabulary import Vocabulary


@pytest.fixture
def hidden():
    return torch.randn(5, 16, generator=torch.Generator().manual_seed(0))


def test_head_j_reads_its_own_projection_of_the_state_that_predicts_the_token(hidden):
    heads = LinearHeads(16, seed=1)
    token, byte = torch.tensor([0, 0, 3, 4, 3]), torch.tensor([0, 1, 9, 0, 4])
    found = heads(hidden, token, byte)
    assert found.shape == (5, 260)
    for row, t, j in zip(found, token, byte, strict=True):
        weight = heads.projection.weight[260 * j : 260 * (j + 1)]
        logits = weight @ hidden[t] + heads.projection.bias[260 * j : 260 * (j + 1)]
        torch.testing.assert_close(row, logits.log_softmax(-1), atol=1e-6, rtol=1e-5)


def test_a_loss_on_byte_j_moves_the_projection_of_head_j_alone(hidden):
    heads = LinearHeads(16, seed=1)
    heads(hidden, torch.tensor([2]), torch.tensor([3]))[0, 65].backward()
    moved = heads.projection.weight.grad.abs().sum(1).nonzero()[:, 0]
    assert (moved.min(), moved.max()) == (3 * 260, 4 * 260 - 1)


def test_heads_come_back_as_they_were_saved(tmp_path, hidden):
    heads = LinearHeads(16, seed=1)
    save_heads(heads.state_dict(), tmp_path)
    loaded = LinearHeads.load(tmp_path)
    token, byte = torch.tensor([0, 4]), torch.tensor([0, 9])
    assert torch.equal(loaded(hidden, token, byte), heads(hidden, token, byte))


def test_heads_trained_in_bf16_are_saved_in_float32(tmp_path):
    save_heads(LinearHeads(16, seed=1).bfloat16().state_dict(), tmp_path)
    assert LinearHeads.load(tmp_path).projection.weight.dtype == torch.float32


def test_heads_depend_on_the_seed_alone():
    one, two, other = (LinearHeads(16, seed).projection.weight for seed in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_the_output_head_sums_the_probabilities_of_the_tokens_of_each_symbol(
    reading, tiny_model, hidden
):
    tokenizer, renderer = reading("bytes")
    lm = tiny_model(tokenizer, padding=4)
    vocabulary = renderer.vocabulary
    token = torch.tensor([4, 0, 0])
    found = OutputHead(lm, vocabulary)(hidden, token, torch.zeros(3, dtype=torch.long))
    expected = np.zeros((5, 260))
    probs = output_logits(lm, hidden).softmax(-1).detach().numpy()
    for i in range(len(tokenizer) + 4):
        if i < 256:
            expected[:, i] += probs[:, i]
        else:
            is_end = i < len(tokenizer) and tokenizer.convert_ids_to_tokens(i) == "<|im_end|>"
            expected[:, END if is_end else SPECIAL] += probs[:, i]
    np.testing.assert_allclose(found.exp().detach(), expected[token], rtol=1e-5, atol=1e-12)


def test_two_tokens_for_one_byte_are_one_symbol(reading, tiny_model, hidden):
    lm = tiny_model(reading("bytes")[0])
    entries = (b"a", b"a", b"b", *[None] * (lm.config.vocab_size - 3))
    head = OutputHead(lm, Vocabulary(entries, frozenset(), frozenset()))
    found = head(hidden, torch.arange(5), torch.zeros(5, dtype=torch.long)).exp()
    probs = output_logits(lm, hidden).softmax(-1)
    torch.testing.assert_close(found[:, 97], probs[:, 0] + probs[:, 1])


def test_the_output_head_trains_the_model_and_has_no_weights_of_its_own(
    reading, tiny_model, hidden
):
    tokenizer, renderer = reading("bytes")
    lm = tiny_model(tokenizer)
    head = OutputHead(lm, renderer.vocabulary)
    assert not list(head.parameters()) and not head.state_dict()
    head(hidden, torch.tensor([0]), torch.tensor([0]))[0, 65].backward()
    assert lm.get_output_embeddings().weight.grad.abs().sum() > 0


def test_an_impossible_symbol_costs_much_but_not_everything(reading, tiny_model, hidden):
    tokenizer, renderer = reading("bytes")
    found = OutputHead(tiny_model(tokenizer), renderer.vocabulary)(
        1e6 * hidden, torch.arange(5), torch.zeros(5, dtype=torch.long)
    )
    assert torch.isfinite(found).all() and found.min() < -80


def test_a_vocabulary_with_longer_tokens_is_refused(reading, tiny_model):
    tokenizer, renderer = reading("byte-level BPE")
    with pytest.raises(ValueError, match=r"spells 2 bytes \(.*not a byte student.*head: linear"):
        OutputHead(tiny_model(tokenizer), renderer.vocabulary)
