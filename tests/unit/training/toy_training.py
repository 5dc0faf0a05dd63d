"""A small training as a stage runs it, for tests that interrupt it; run as a script."""

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from bld.config.settings import Training
from bld.pipeline.step import File, Files, stage
from bld.pipeline.step_settings import StepSettings
from bld.symbols import END
from bld.tokenization.rendered import Rendered
from bld.training.batches import Batches
from bld.training.checkpoints import with_checkpoints
from bld.training.development import Development
from bld.training.engine import stop_distributed
from bld.training.export import trained_weights
from bld.training.heads import LinearHeads
from bld.training.loop import train
from bld.training.objectives.bld import Bld
from bld.training.trainee import Trainee


def documents(count, seed):
    """Texts of bytes, each a token, that end."""
    random = np.random.default_rng(seed)
    return [_document(random.integers(97, 105, random.integers(5, 30))) for _ in range(count)]


def _document(text):
    size = len(text)
    numbers = np.arange(size + 1, dtype=np.int32)
    return Rendered(
        ids_T=np.r_[0, text, 1].astype(np.int32),
        span_T2=np.zeros((size + 2, 2), np.int32),
        symbol_T=np.r_[-1, numbers].astype(np.int32),
        count_T=np.r_[0, np.ones(size + 1)].astype(np.int32),
        symbols_N=np.r_[text, END].astype(np.uint16),
        turns=(),
    )


def new_trainee(dropout=0.1):
    """With dropout random states matter."""
    torch.manual_seed(0)
    shape = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
    shape |= {f"{place}_pdrop": dropout for place in ("embd", "attn", "resid")}
    lm = GPT2LMHeadModel(GPT2Config(vocab_size=256, **shape, bos_token_id=0, eos_token_id=1))
    return Trainee(lm, LinearHeads(16, 0), Bld(kl_weight=0.0))


class KilledError(BaseException):
    """Nobody catches it, and nothing is saved on its way."""


class Mortal:
    """The data of a training, which it ends when so many steps are taken."""

    def __init__(self, data, steps):
        self.documents, self._data, self._steps = data.documents, data, steps

    def step(self, *arguments):
        if self._steps == 0:
            raise KilledError
        self._steps -= 1
        return self._data.step(*arguments)


class Toy(Training, StepSettings):
    dropout: float = 0.1


class Outputs(Files):
    out: File


def main():
    with stage(Toy, Files, Outputs) as step:
        with_checkpoints(step, run)


def run(step, checkpoints):
    settings = step.settings
    engine, metrics = train(
        new_trainee(settings.dropout),
        Batches(documents(40, 0)),
        settings,
        0,
        "toy",
        development=Development(Batches(documents(9, 1)), 3, 40),
        checkpoints=checkpoints,
    )
    weights = trained_weights(engine, "lm") | trained_weights(engine, "head")
    if engine.global_rank == 0:
        torch.save((weights, metrics.drop(columns="seconds")), step.outputs.out)
    stop_distributed()


if __name__ == "__main__":
    main()
