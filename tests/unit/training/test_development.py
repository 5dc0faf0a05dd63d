"""A development evaluation gives the losses of documents that are not trained on, and disturbs
nothing."""

import pytest
import torch

from bld.config.settings import Training
from bld.evaluation.bits_per_byte import bits_per_byte
from bld.evaluation.reader import Reader
from bld.symbols import Segment
from bld.training.batches import Batches
from bld.training.checkpoints import Checkpoints
from bld.training.deadline import Deadline
from bld.training.development import Development, evaluate, held_out_rows
from bld.training.engine import build_engine, start_distributed
from bld.training.export import trained_weights
from bld.training.heads import LinearHeads
from bld.training.loop import train
from bld.training.objectives.bld import Bld
from bld.training.objectives.sft import Sft
from bld.training.packing import epoch_rows
from bld.training.pieces import evaluated_pieces
from bld.training.reading import read_packed
from bld.training.trainee import Trainee

SETTINGS = Training(
    steps=5, sequence_length=48, batch_size=2, micro_batch_size=2, learning_rate=1e-2
)


@pytest.fixture
def evaluated(tiny_model):
    """What `evaluate` says of some data."""

    def run(data, objective, micro_batch_size=2, window=128, lm=None):
        start_distributed()
        trainee = Trainee(lm or tiny_model("GPT-2"), LinearHeads(16, 0), objective)
        settings = SETTINGS.model_copy(update={"micro_batch_size": micro_batch_size})
        held_out = held_out_rows(Development(data, 1, window), trainee, settings)
        engine = build_engine(trainee, SETTINGS, 1)
        engine.train()
        found = evaluate(engine, data, held_out)
        assert trainee.training and trainee.reading is read_packed
        return found

    return run


# Rows have 48 tokens, documents up to 82, and the models no more than 128 positions.
@pytest.mark.parametrize("window", [1, 2, 7, 24, 47, 48, 49, 128, 4096])
@pytest.mark.parametrize("name", ["GPT-2", "Llama"])
def test_bits_per_byte_are_those_of_the_evaluation_also_of_documents_that_are_cut(
    name, window, evaluated, documents, rendered, renderer, tiny_model
):
    lm = tiny_model(name)
    reader = Reader(lm, renderer.vocabulary, window, 512)
    reader._absent_V[:] = False  # the objective's softmax is over all logits of the model
    expected = bits_per_byte(documents, renderer, reader)["bits_per_byte"]
    found = evaluated(Batches(rendered), Sft(), window=window, lm=lm)
    assert max(map(len, rendered)) > SETTINGS.sequence_length
    assert found["dev_bits_per_byte"] == pytest.approx(expected, rel=1e-5)
    assert found.keys() == {"dev_bits_per_byte", "dev_token_loss"}


@pytest.mark.parametrize("reduction", ["token", "byte"])
@pytest.mark.parametrize("micro_batch_size", [1, 3])
def test_the_losses_are_those_of_one_step_over_all_rows_without_dropout(
    evaluated, rendered, teacher, tiny_model, reduction, micro_batch_size
):
    objective, data = Bld(reduction=reduction, kl_weight=0.5), Batches(rendered, teacher)
    found = evaluated(data, objective, micro_batch_size, window=48)
    rows = epoch_rows(evaluated_pieces(rendered, 48), 48, 0, 0)
    [whole] = data.step(rows, len(rows), 0, 1)
    with torch.no_grad():
        losses = Trainee(tiny_model("GPT-2"), LinearHeads(16, 0), objective)(whole)
    for part in ("token_loss", "byte_loss", "kl_loss"):
        assert found[f"dev_{part}"] == pytest.approx(float(losses[part]), rel=1e-5)


def test_an_evaluation_changes_nothing_and_happens_when_it_is_asked_for(rendered, tiny_model):
    def run(development):
        trainee = Trainee(tiny_model("GPT-2"), None, Sft())  # GPT-2 has dropout
        engine, metrics = train(
            trainee, Batches(rendered), SETTINGS, 0, "test", development=development
        )
        return trained_weights(engine, "lm"), metrics

    plain, without = run(None)
    evaluated, metrics = run(Development(Batches(rendered[:2]), 2, 48))
    assert all(torch.equal(evaluated[name], plain[name]) for name in plain)
    seen = metrics["dev_bits_per_byte"].notna()
    # Steps count from 0, and the model is evaluated after the last.
    assert metrics["step"][seen].tolist() == [1, 3, 4]
    assert without["dev_bits_per_byte"].isna().all()
    assert metrics["loss"].tolist() == without["loss"].tolist()


def test_the_warm_up_ends_when_the_byte_loss_has_stopped_falling():
    def rows(*losses):
        return [{"dev_byte_loss": loss} for loss in losses]

    development = Development(Batches([]), 1, 48, patience=2)
    nothing = float("nan")
    assert not development.has_stopped_falling([])
    assert not development.has_stopped_falling(rows(3.0, 4.0))
    assert development.has_stopped_falling(rows(3.0, nothing, 3.0, nothing, 4.0))
    assert not development.has_stopped_falling(rows(3.0, 4.0, 2.9))
    assert not Development(Batches([]), 1, 48).has_stopped_falling(rows(1.0, 2.0, 3.0, 4.0))


def test_a_training_that_learns_nothing_stops_after_its_patience(rendered, tiny_model):
    trainee = Trainee(tiny_model(), LinearHeads(16, 0), Bld(kl_weight=0.0, token_weight=0.0))
    trainee.freeze_body()
    settings = SETTINGS.model_copy(update={"steps": 20, "learning_rate": 1e-30})
    development = Development(Batches(rendered), 1, 48, patience=3)
    _, metrics = train(trainee, Batches(rendered), settings, 0, "warmup", development=development)
    assert len(metrics) == 4


def test_development_documents_without_a_supervised_token_are_refused(
    renderer, rendered, tiny_model
):
    silent = Batches([renderer.render([Segment("user", b"Hello?", False)], "silent")])
    with pytest.raises(ValueError, match="the development documents hold no supervised token"):
        train(
            Trainee(tiny_model(), None, Sft()),
            Batches(rendered),
            SETTINGS,
            0,
            "test",
            development=Development(silent, 1, 48),
        )


class Doubled(Sft):
    """An objective with a loss that no other has."""

    def losses(self, *arguments):
        losses = super().losses(*arguments)
        return losses | {"double_loss": 2 * losses["loss"]}


def test_every_loss_that_an_objective_returns_is_measured(rendered, tiny_model, tmp_path):
    data = Batches(rendered)
    checkpoints = Checkpoints(tmp_path, Deadline(0, 0))
    trainee = Trainee(tiny_model("GPT-2"), None, Doubled())
    development = Development(data, 2, 48)
    _, metrics = train(
        trainee, data, SETTINGS, 0, "test", development=development, checkpoints=checkpoints
    )
    assert metrics["double_loss"].tolist() == pytest.approx((2 * metrics["loss"]).tolist())
    seen = metrics["dev_double_loss"].dropna()
    assert seen.index.tolist() == [1, 3, 4] and (seen > 0).all()
    assert metrics.dtypes["dev_double_loss"] == "float64"
    assert metrics["byte_loss"].isna().all()
