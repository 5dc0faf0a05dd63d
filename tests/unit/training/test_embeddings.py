"""Gradients of embeddings in bf16 are sums of as many tokens as there are."""

import pytest
import torch
from torch import nn
from transformers.models.gemma3.modeling_gemma3 import Gemma3TextScaledWordEmbedding

from bld.config.settings import Training
from bld.training.batches import Batches
from bld.training.embeddings import exact_embedding_sums
from bld.training.loop import train

TOKENS, ENTRIES, WIDTH, PADDING = 8192, 500, 32, 9


def embedding(kind):
    """A table as it is, one without a gradient for padding, and one that scales what it gives."""
    torch.manual_seed(0)
    if kind == "scaled":
        return Gemma3TextScaledWordEmbedding(ENTRIES, WIDTH, padding_idx=PADDING, embed_scale=4.0)
    return nn.Embedding(ENTRIES, WIDTH, padding_idx=PADDING if kind == "padding" else None)


def gradient(table, ids_BT, factor_BTH):
    table.weight.grad = None
    (table(ids_BT) * factor_BTH.to(table.weight.dtype)).sum().backward()
    return table.weight.grad.double()


@pytest.mark.parametrize("kind", ["plain", "padding", "scaled"])
def test_the_gradient_of_a_bf16_table_is_that_of_float64_at_8192_tokens(kind):
    # Words have the frequencies of words: the most frequent id is every tenth token or so.
    frequency = 1 / torch.arange(1, ENTRIES + 1)
    ids_BT = torch.multinomial(frequency, TOKENS, replacement=True).view(4, -1)
    factor_BTH = (torch.randn(4, TOKENS // 4, WIDTH) + 0.5).bfloat16()
    expected = gradient(embedding(kind).double(), ids_BT, factor_BTH)
    table = embedding(kind).bfloat16()
    with exact_embedding_sums():
        found = gradient(table, ids_BT, factor_BTH)
    off = (found - expected).norm() / expected.norm()
    assert off < 2**-8  # half a digit of bf16, for every row
    by_torch = (gradient(table, ids_BT, factor_BTH) - expected).norm() / expected.norm()
    assert by_torch > 0.05


def test_other_precisions_are_left_to_torch():
    table, ids_T = embedding("plain"), torch.arange(40) % 7
    factor_TH = torch.randn(40, WIDTH)
    expected = gradient(table, ids_T, factor_TH)
    with exact_embedding_sums():
        assert torch.equal(gradient(table, ids_T, factor_TH), expected)
        assert table(ids_T).grad_fn.name() == "EmbeddingBackward0"


class Asked(Batches):
    """Remembers how an embedding that is read during the training is differentiated."""

    def step(self, *arguments):
        table = nn.Embedding(3, 2).bfloat16()
        self.found = table(torch.tensor([1])).grad_fn.name()
        return super().step(*arguments)


def test_a_training_sums_so(toy):
    data = Asked(toy.documents(8, 0))
    settings = Training(
        steps=1, sequence_length=32, batch_size=2, micro_batch_size=2, precision="bf16"
    )
    train(toy.new_trainee(), data, settings, 0, "toy")
    assert data.found == "_RowsBackward"
