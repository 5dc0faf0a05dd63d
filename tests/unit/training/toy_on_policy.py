"""A small training on the student's own text under a live teacher with another tokenizer, for tests
that run it on several processes; run as a script."""

import argparse

from bld.cache.live import LiveSignals
from bld.config.settings import Architecture, Histories, Sampling, Training
from bld.documents.document import make_document
from bld.scoring.scorer import ByteScorer
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer
from bld.training.batches import Batches
from bld.training.engine import stop_distributed
from bld.training.heads import OutputHead
from bld.training.loop import train
from bld.training.objectives.bld import Bld
from bld.training.on_policy import OnPolicy, OnPolicySampler
from bld.training.scratch import new_model
from bld.training.trainee import Trainee

SHAPE = Architecture(hidden=16, layers=2, heads=2, intermediate=24, positions=64)
TEXTS = ["the key of it", "an index, then a value", "raise an error", "return the items of a list"]
DOCUMENTS = [make_document(f"{n}", "text", [("text", f"{n} {TEXTS[n % 4]}")]) for n in range(12)]
SETTINGS = Sampling(on_policy=0.6, prompt_bytes=5, completion_tokens=12)


class Live:
    """As `bld.cache.live.LiveTeacher`, of a model that lies in no folder."""

    def __init__(self):
        tokenizer = train_tokenizer(TEXTS * 5, "byte_level_bpe", 290, "turns")
        lm = new_model(SHAPE, tokenizer, 1).eval()
        policy = Histories(histories="prefix", eps=1e-3)
        self._scorer = ByteScorer(Renderer(tokenizer), lm, policy, window=64, batch_tokens=999)

    def of(self, documents):
        return LiveSignals(documents, self._scorer, 0.999, 16)


def run(micro_batch_size):
    """The metrics of four steps."""
    tokenizer = train_tokenizer([], "bytes", 0, "turns")
    renderer, lm = Renderer(tokenizer), new_model(SHAPE, tokenizer, 0)
    rendered = [renderer.render(d.segments, d.id) for d in DOCUMENTS]
    live, sampler = Live(), OnPolicySampler(lm, renderer, SETTINGS, 0)
    data = OnPolicy(Batches(rendered, live.of(DOCUMENTS)), DOCUMENTS, sampler, live)
    training = Training(
        steps=4,
        sequence_length=40,
        batch_size=4,
        micro_batch_size=micro_batch_size,
        learning_rate=1e-2,
    )
    trainee = Trainee(lm, OutputHead(lm, renderer.vocabulary), Bld(kl_weight=1.0))
    return train(trainee, data, training, 0, "toy")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out")
    arguments = parser.parse_args()
    engine, metrics = run(1)
    if engine.global_rank == 0:
        metrics.to_parquet(arguments.out)
    stop_distributed()


if __name__ == "__main__":
    main()
