"""Pretrain a model from scratch on a split and leave it as an ordinary model folder."""

from __future__ import annotations

from argparse import Namespace

from bld.config.settings import Scratch
from bld.folders import new_folder, whole_folder
from bld.pipeline.step import StepParser
from bld.tokenization.loading import load_tokenizer
from bld.tokenization.rendering import load_renderer
from bld.training.batches import Batches
from bld.training.checkpoints import Checkpoints, add_checkpoint_arguments, with_checkpoints
from bld.training.engine import stop_distributed
from bld.training.export import save_model, trained_weights
from bld.training.loop import train
from bld.training.objectives.sft import Sft
from bld.training.packing import render_split
from bld.training.records import save_records
from bld.training.scratch import new_model
from bld.training.tracker import Tracking, add_tracker_arguments
from bld.training.trainee import Trainee


def main() -> None:
    """Write the model into the folder of the manifest, with the metrics of its training."""
    parser = StepParser(__doc__)
    parser.reads("--documents", help="manifest of a split")
    parser.reads("--tokenizer", type=whole_folder)
    parser.writes("--manifest")
    add_checkpoint_arguments(parser)
    add_tracker_arguments(parser)
    with parser.recorded() as arguments:
        with_checkpoints(arguments, _pretrain)


def _pretrain(arguments: Namespace, checkpoints: Checkpoints) -> None:
    scratch = Scratch.model_validate(arguments.step.settings["scratch"])
    renderer = load_renderer(arguments.tokenizer, **arguments.step.settings["reading"])
    _, documents = render_split(arguments.documents, renderer, scratch.documents)
    tokenizer = load_tokenizer(arguments.tokenizer)
    assert scratch.architecture and scratch.training, "checked with the configuration"
    lm = new_model(scratch.architecture, tokenizer, scratch.seed)
    engine, metrics = train(
        Trainee(lm, None, Sft()),
        Batches(documents),
        scratch.training,
        scratch.seed,
        "pretrain",
        checkpoints=checkpoints,
        tracking=Tracking(arguments.tracker, arguments.events),
    )
    weights = trained_weights(engine, "lm")
    if engine.global_rank == 0:
        with new_folder(arguments.manifest.parent, {"scratch": scratch.model_dump()}) as folder:
            save_model(lm, weights, arguments.tokenizer, folder)
            save_records(engine, metrics, folder / "metrics.parquet", folder / "training.json")
    stop_distributed()


if __name__ == "__main__":
    main()
