import numpy as np
import pytest
import torch

from bld.models import output_logits
from bld.symbols import END, SPECIAL
from bld.tokenization.vocabulary import Vocabulary
from bld.training.batches import Batch
from bld.training.heads import CausalHeads, LinearHeads, OutputHead, load_head, save_head

KINDS = {"linear": LinearHeads, "causal": CausalHeads}
WORDS = [b"the", b"x", b"a token of 19 bytes", b"0123456789"]


@pytest.fixture
def hidden():
    return torch.randn(5, 16, generator=torch.Generator().manual_seed(0))


def batch_of(words, sources=None, targets=None) -> Batch:
    """Tokens that spell these words, the last word first, predicted by these states."""
    size = len(words)
    counts = torch.tensor([len(word) for word in words], dtype=torch.long)
    last_first = list(range(size))[::-1]
    symbols = [byte for number in last_first for byte in words[number]]
    behind = counts.flip(0).cumsum(0).flip(0)
    nothing = torch.zeros(len(symbols), 0)
    return Batch(
        ids_BT=torch.zeros(1, 5, dtype=torch.long),
        positions_BT=torch.arange(5)[None],
        piece_BT=torch.zeros(1, 5, dtype=torch.long),
        source_S=torch.tensor(range(size) if sources is None else sources, dtype=torch.long),
        target_S=torch.tensor(range(size) if targets is None else targets, dtype=torch.long),
        symbol_S=behind - counts,
        count_S=counts,
        symbols_N=torch.tensor(symbols, dtype=torch.long),
        blank_N=torch.zeros(len(symbols), dtype=torch.bool),
        teacher_symbols_NK=nothing.long(),
        teacher_log_probs_NK=nothing,
        teacher_log_tail_N=nothing.sum(1),
        token_normaliser=1.0,
        byte_normaliser=1.0,
    )


def by_place(predictions, batch):
    """(token, number of the byte in it) -> log-probabilities, each predicted once."""
    found = {}
    for symbol, row in zip(predictions.symbol_M.tolist(), predictions.log_probs_MS, strict=True):
        [token] = ((batch.symbol_S <= symbol) & (symbol < batch.symbol_S + batch.count_S)).nonzero()
        place = int(token), symbol - int(batch.symbol_S[token])
        assert place not in found
        found[place] = row
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_ten_bytes_of_every_token_are_predicted(kind, hidden):
    batch = batch_of(WORDS)
    found = by_place(KINDS[kind](16, seed=1)(None, hidden, batch), batch)
    assert found.keys() == {(t, j) for t, word in enumerate(WORDS) for j in range(len(word[:10]))}
    for row in found.values():
        assert row.shape == (260,) and row.exp().sum().item() == pytest.approx(1, rel=1e-5)


def test_head_j_reads_its_own_projection_of_the_state_that_predicts_the_token(hidden):
    heads = LinearHeads(16, seed=1)
    batch = batch_of(WORDS, sources=[3, 0, 4, 3])
    for (token, j), row in by_place(heads(None, hidden, batch), batch).items():
        weight = heads.weight[260 * j : 260 * (j + 1)]
        logits = weight @ hidden[batch.source_S[token]] + heads.bias[260 * j : 260 * (j + 1)]
        torch.testing.assert_close(row, logits.log_softmax(-1), atol=1e-6, rtol=1e-5)


def test_a_loss_on_byte_j_moves_the_projection_of_head_j_alone(hidden):
    heads, batch = LinearHeads(16, seed=1), batch_of(WORDS)
    by_place(heads(None, hidden, batch), batch)[2, 3][65].backward()
    moved = heads.weight.grad.abs().sum(1).nonzero()[:, 0]
    assert (moved.min(), moved.max()) == (3 * 260, 4 * 260 - 1)


def test_causal_heads_add_what_was_spelt_to_what_they_read(hidden):
    heads, batch = CausalHeads(16, seed=1), batch_of(WORDS, sources=[3, 0, 4, 3])
    spelt = heads.spelt.weight.view(9, 260, -1)
    for (token, j), row in by_place(heads(None, hidden, batch), batch).items():
        inner = heads.enter(hidden[batch.source_S[token]]) + heads.place.weight[j]
        for i, byte in enumerate(WORDS[token][:j]):
            inner = inner + spelt[i, byte]
        expected = heads.leave(torch.nn.functional.gelu(inner)).log_softmax(-1)
        torch.testing.assert_close(row, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("changed", range(10))
def test_a_causal_head_sees_the_bytes_before_its_own_and_no_later_one(changed, hidden):
    heads, found = CausalHeads(16, seed=1), []
    for byte in b"pq":
        word = bytearray(b"0123456789")
        word[changed] = byte
        batch = batch_of([b"an", bytes(word), b"other"])
        found.append(by_place(heads(None, hidden, batch), batch))
    for (token, j), row in found[0].items():
        sees = token == 1 and j > changed
        assert torch.equal(row, found[1][token, j]) != sees


@pytest.mark.parametrize("kind", KINDS)
def test_heads_come_back_as_they_were_saved(kind, tmp_path, hidden):
    heads, batch = KINDS[kind](16, seed=1), batch_of(WORDS)
    save_head(heads.state_dict(), tmp_path)
    loaded = load_head(kind, 16, tmp_path)
    for before, after in zip(heads(None, hidden, batch), loaded(None, hidden, batch), strict=True):
        assert before is after is None or torch.equal(before, after)


@pytest.mark.parametrize("kind", KINDS)
def test_heads_trained_in_bf16_are_saved_in_float32(kind, tmp_path):
    save_head(KINDS[kind](16, seed=1).bfloat16().state_dict(), tmp_path)
    loaded = load_head(kind, 16, tmp_path)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}


@pytest.mark.parametrize("kind", KINDS)
def test_heads_depend_on_the_seed_alone(kind):
    one, two, other = (
        torch.nn.utils.parameters_to_vector(KINDS[kind](16, s).parameters()) for s in (1, 1, 2)
    )
    assert torch.equal(one, two) and not torch.equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_bf16_heads_give_log_probabilities_in_float32(kind, hidden):
    batch, heads = batch_of(WORDS), KINDS[kind](16, seed=1)
    exact = heads(None, hidden, batch).log_probs_MS
    found = heads.bfloat16()(None, hidden.bfloat16(), batch).log_probs_MS
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.exp(), exact.exp(), atol=1e-3, rtol=0.05)


def test_the_output_head_sums_the_probabilities_of_the_tokens_of_each_symbol(
    tokenizer_of, model_for, hidden
):
    tokenizer, renderer = tokenizer_of("bytes")
    lm = model_for(tokenizer, padding=4)
    sources, targets = [4, 0, 0], [97, 256, 98]
    batch = batch_of([b"a", b"b", b"c"], sources, targets)
    found = OutputHead(lm, renderer.vocabulary)(lm, hidden, batch)
    expected = np.zeros((5, 260))
    probs = output_logits(lm, hidden).softmax(-1).detach().numpy()
    for i in range(len(tokenizer) + 4):
        if i < 256:
            expected[:, i] += probs[:, i]
        else:
            is_end = i < len(tokenizer) and tokenizer.convert_ids_to_tokens(i) == "<|im_end|>"
            expected[:, END if is_end else SPECIAL] += probs[:, i]
    assert torch.equal(found.symbol_M, batch.symbol_S)
    np.testing.assert_allclose(
        found.log_probs_MS.exp().detach(), expected[sources], rtol=1e-5, atol=1e-12
    )
    np.testing.assert_allclose(
        found.token_log_probs_S.exp().detach(), probs[sources, targets], rtol=1e-5
    )


def test_two_tokens_for_one_byte_are_one_symbol(tokenizer_of, model_for, hidden):
    lm = model_for(tokenizer_of("bytes")[0])
    entries = (b"a", b"a", b"b", *[None] * (lm.config.vocab_size - 3))
    head = OutputHead(lm, Vocabulary(entries, frozenset(), frozenset()))
    found = head(lm, hidden, batch_of([b"a"] * 5)).log_probs_MS.exp()
    probs = output_logits(lm, hidden).softmax(-1)
    torch.testing.assert_close(found[:, 97], probs[:, 0] + probs[:, 1])


def test_the_output_head_trains_the_model_and_has_no_weights_of_its_own(
    tokenizer_of, model_for, hidden
):
    tokenizer, renderer = tokenizer_of("bytes")
    lm = model_for(tokenizer)
    head = OutputHead(lm, renderer.vocabulary)
    assert not list(head.parameters()) and not head.state_dict()
    head(lm, hidden, batch_of([b"a"])).log_probs_MS[0, 65].backward()
    assert lm.get_output_embeddings().weight.grad.abs().sum() > 0


def test_an_impossible_symbol_costs_much_but_not_everything(tokenizer_of, model_for, hidden):
    tokenizer, renderer = tokenizer_of("bytes")
    lm = model_for(tokenizer)
    states = (1e6 * hidden).requires_grad_()
    found = OutputHead(lm, renderer.vocabulary)(lm, states, batch_of([b"a"] * 5)).log_probs_MS
    assert torch.isfinite(found).all() and found.min() < -80
    found.sum().backward()
    assert torch.isfinite(states.grad).all()


def test_a_vocabulary_with_longer_tokens_is_refused(tokenizer_of, model_for):
    tokenizer, renderer = tokenizer_of("byte-level BPE")
    with pytest.raises(ValueError, match=r"spells 2 bytes \(.*not a byte student.*head: linear"):
        OutputHead(model_for(tokenizer), renderer.vocabulary)
