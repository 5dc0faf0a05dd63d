import numpy as np
import pytest
import torch

from bld.training.batches import Batches
from bld.training.heads import LinearHeads
from bld.training.objectives.bld import Bld
from bld.training.objectives.sft import Sft
from bld.training.packing import step_rows
from bld.training.pieces import pieces_of
from bld.training.trainee import Trainee


@pytest.fixture
def rows(rendered):
    """Eight rows with uneven numbers of pieces and of supervised tokens."""
    rows = next(step_rows(pieces_of(rendered, 48, 0.5), 48, 1, 8))
    assert {1, 2} <= set(map(len, rows))
    return rows


def step_loss(trainee, batches):
    """What DeepSpeed descends: the mean over accumulated batches and processes."""
    loss = sum(trainee(batch)["loss"] for batch in batches) / len(batches)
    trainee.zero_grad()
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in trainee.named_parameters()}


def all_batches(rendered, rows, teacher, micro_batch_size, world_size):
    return [
        batch
        for rank in range(world_size)
        for batch in Batches(rendered, teacher).step(rows, micro_batch_size, rank, world_size)
    ]


@pytest.mark.parametrize("micro_batch_size", [1, 2, 4, 8])
def test_the_step_loss_is_the_mean_over_its_supervised_tokens(
    rendered, rows, tiny_model, micro_batch_size
):
    lm = tiny_model("GPT-2")  # which counts positions from the start of a document
    batches = all_batches(rendered, rows, None, micro_batch_size, 1)
    found, _ = step_loss(Trainee(lm, None, Sft()), batches)
    costs = []
    for piece in (piece for row in rows for piece in row):
        document = rendered[piece.document]
        ids = torch.from_numpy(document.ids_T[piece.start : piece.stop].astype(np.int64))
        with torch.no_grad():
            log_probs = lm(ids[None]).logits[0].log_softmax(-1)
        for t in range(piece.fresh - piece.start, len(ids)):
            if document.symbol_T[piece.start + t] >= 0:
                costs.append(-log_probs[t - 1, ids[t]])
    torch.testing.assert_close(found, torch.stack(costs).mean(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("reduction", ["token", "byte"])
@pytest.mark.parametrize(
    ("micro_batch_size", "world_size"), [(1, 1), (2, 1), (1, 2), (2, 2), (1, 8)]
)
def test_how_a_step_is_shared_out_changes_neither_loss_nor_gradient(
    rendered, rows, teacher, tiny_model, reduction, micro_batch_size, world_size
):
    trainee = Trainee(tiny_model(), LinearHeads(16, 0), Bld(reduction=reduction, kl_weight=0.5))
    whole, gradient = step_loss(trainee, all_batches(rendered, rows, teacher, 8, 1))
    shared = all_batches(rendered, rows, teacher, micro_batch_size, world_size)
    assert len(shared) == 8 / micro_batch_size
    loss, shared_gradient = step_loss(trainee, shared)
    torch.testing.assert_close(loss, whole, atol=1e-5, rtol=1e-5)
    for name, expected in gradient.items():
        torch.testing.assert_close(shared_gradient[name], expected, atol=1e-5, rtol=1e-4)


def test_the_tokens_of_a_step_are_counted_over_all_processes(rendered, rows):
    supervised = sum(
        (rendered[p.document].symbol_T[p.fresh : p.stop] >= 0).sum() for row in rows for p in row
    )
    spelt = sum(rendered[p.document].count_T[p.fresh : p.stop].sum() for row in rows for p in row)
    for micro_batch_size, world_size in [(1, 1), (4, 2), (1, 4)]:
        batches = all_batches(rendered, rows, None, micro_batch_size, world_size)
        assert sum(batch.token_normaliser for batch in batches) == pytest.approx(supervised)
        assert {batch.step_tokens for batch in batches} == {supervised}
        assert sum(batch.byte_normaliser for batch in batches) == pytest.approx(spelt)
