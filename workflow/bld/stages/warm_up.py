"""Warm up a student's byte head before distillation."""

from __future__ import annotations

from pathlib import Path

from bld.documents.renderings import open_rendering
from bld.folders import new_folder
from bld.models import load_language_model
from bld.pipeline.step import File, Files, Folder, OptionalFile, OptionalFolder, Step, stage
from bld.pipeline.step_settings import WarmUp
from bld.training.batches import Batches
from bld.training.checkpoints import Checkpoints, with_checkpoints
from bld.training.development import Development
from bld.training.engine import stop_distributed
from bld.training.export import save_model, trained_weights
from bld.training.heads import TRAINED_HEADS, save_head
from bld.training.loop import train
from bld.training.objectives.bld import Bld
from bld.training.records import save_records
from bld.training.tracker import Tracking, add_tracker_arguments
from bld.training.trainee import Trainee


class Inputs(Files):
    documents: File
    student: Folder
    rendered: Folder
    development: OptionalFile
    development_rendered: OptionalFolder


class Outputs(Files):
    manifest: File


def main() -> None:
    """Write the head (and the body, if it was trained too) into the folder of the manifest."""
    with stage(WarmUp, Inputs, Outputs, add_tracker_arguments) as step:
        with_checkpoints(step, _warm_up)


def _warm_up(step: Step[WarmUp, Inputs, Outputs], checkpoints: Checkpoints) -> None:
    settings, inputs = step.settings, step.inputs
    warmup, weights = settings.head_warmup, settings.bld
    common, seed = settings.training, settings.seed

    def batches(documents: Path, rendered: Path, at_most: int | None = None) -> Batches:
        made_of = documents.parent, inputs.student, settings.rendering
        found = open_rendering(rendered, *made_of, at_most)
        return Batches(found, has_unspelt=found.has_unspelt)

    data = batches(inputs.documents, inputs.rendered)
    is_trusted = settings.rendering.trust_remote_code
    lm = load_language_model(inputs.student, trust_remote_code=is_trusted)
    head = TRAINED_HEADS[weights.head](lm.config.get_text_config().hidden_size, seed)
    objective = Bld(
        byte_weight=weights.byte_weight or 1.0,  # without it the head would learn nothing here
        kl_weight=0.0,
        reduction=weights.reduction,
        token_weight=float(warmup.train_body),
        mask_end=weights.mask_end,
        mask_whitespace=weights.mask_whitespace,
    )
    trainee = Trainee(lm, head, objective)
    if not warmup.train_body:
        trainee.freeze_body()
    training = common.model_copy(
        update={
            "steps": warmup.steps,
            "learning_rate": warmup.learning_rate,
            "warmup_steps": min(common.warmup_steps, warmup.steps // 10),
        }
    )
    development = None
    if inputs.development and inputs.development_rendered:
        held_out = batches(
            inputs.development, inputs.development_rendered, common.evaluate_documents
        )
        assert settings.development_window, "it is set where there are development documents"
        development = Development(
            held_out, common.evaluate_every, settings.development_window, warmup.patience
        )
    engine, metrics = train(
        trainee,
        data,
        training,
        seed,
        "warmup",
        development=development,
        checkpoints=checkpoints,
        tracking=Tracking(step.options.tracker, step.options.events),
    )
    head_weights = trained_weights(engine, "head")
    body_weights = trained_weights(engine, "lm") if warmup.train_body else {}
    if engine.global_rank == 0:
        with new_folder(step.outputs.manifest.parent, {"warmup": warmup.model_dump()}) as folder:
            save_head(head_weights, folder)
            if warmup.train_body:
                save_model(lm, body_weights, inputs.student, folder / "body")
            save_records(engine, metrics, folder / "metrics.parquet", folder / "training.json")
    stop_distributed()


if __name__ == "__main__":
    main()
