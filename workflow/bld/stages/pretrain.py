"""Pretrain a model from scratch on a split and leave it as an ordinary model folder."""

from __future__ import annotations

from bld.documents.renderings import open_rendering
from bld.documents.shards import read_split
from bld.folders import new_folder
from bld.pipeline.step import File, Files, Folder, Step, stage
from bld.pipeline.step_settings import Pretrain
from bld.tokenization.loading import load_tokenizer
from bld.tokenization.rendering import load_renderer
from bld.training.batches import Batches
from bld.training.checkpoints import Checkpoints, with_checkpoints
from bld.training.engine import stop_distributed
from bld.training.export import save_model, trained_weights
from bld.training.export_check import check_exported
from bld.training.loop import train
from bld.training.objectives.sft import Sft
from bld.training.records import save_records
from bld.training.scratch import new_model
from bld.training.tracker import Tracking, add_tracker_arguments
from bld.training.trainee import Trainee


class Inputs(Files):
    documents: File
    tokenizer: Folder
    rendered: Folder


class Outputs(Files):
    manifest: File


def main() -> None:
    """Write the model into the folder of the manifest, with the metrics of its training."""
    with stage(Pretrain, Inputs, Outputs, add_tracker_arguments) as step:
        with_checkpoints(step, _pretrain)


def _pretrain(step: Step[Pretrain, Inputs, Outputs], checkpoints: Checkpoints) -> None:
    scratch, folder = step.settings.scratch, step.inputs.tokenizer
    rendering, split = step.settings.rendering, step.inputs.documents.parent
    documents = open_rendering(step.inputs.rendered, split, folder, rendering, scratch.documents)
    renderer = load_renderer(folder, **dict(rendering))
    tokenizer = load_tokenizer(folder)
    assert scratch.architecture and scratch.training, "checked with the configuration"
    lm = new_model(scratch.architecture, tokenizer, scratch.seed)
    engine, metrics = train(
        Trainee(lm, None, Sft()),
        Batches(documents, has_unspelt=documents.has_unspelt),
        scratch.training,
        scratch.seed,
        "pretrain",
        checkpoints=checkpoints,
        tracking=Tracking(step.options.tracker, step.options.events),
    )
    weights = trained_weights(engine, "lm")
    if engine.global_rank == 0:
        about = {"scratch": scratch.model_dump()}
        with new_folder(step.outputs.manifest.parent, about) as made:
            save_model(lm, weights, folder, made, renderer.vocabulary.end)
            texts = read_split(split)
            check_exported(made, weights, renderer, rendering, texts, documents)
            save_records(engine, metrics, made / "metrics.parquet", made / "training.json")
    stop_distributed()


if __name__ == "__main__":
    main()
