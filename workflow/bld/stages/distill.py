"""Train a student under its run's objective and export it without the byte head."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from bld.cache.live import LiveTeacher
from bld.cache.reading import ByteCache, CachedSignals
from bld.documents.numbered import NumberedDocuments
from bld.documents.renderings import open_rendering
from bld.documents.shards import read_split
from bld.files import read_manifest
from bld.folders import new_folder
from bld.models import check_context, load_language_model
from bld.pipeline.step import File, Files, Folder, OptionalFile, OptionalFolder, Step, stage
from bld.pipeline.step_settings import Distill
from bld.tokenization.rendering import load_renderer
from bld.training.batches import Batches, Signals
from bld.training.checkpoints import Checkpoints, with_checkpoints
from bld.training.development import Development
from bld.training.engine import stop_distributed
from bld.training.export import save_model, trained_weights
from bld.training.export_check import check_exported
from bld.training.heads import TRAINED_HEADS, save_head
from bld.training.loop import train
from bld.training.lora import add_lora, merged_weights
from bld.training.objective import ObjectiveContext, ObjectiveParts
from bld.training.on_policy import OnPolicy, OnPolicySampler
from bld.training.records import join_phases, save_records
from bld.training.tracker import Tracking, add_tracker_arguments
from bld.training.trainee import Trainee


class Inputs(Files):
    """`documents` and `development` are manifests of splits, `cache` and `development_cache` of
    their byte caches, `rendered` and `development_rendered` the same documents as the student reads
    them; `teacher`: the folders of its models; `warmup`: that of the byte head; `map`: from one
    vocabulary to the other."""

    documents: File
    student: Folder
    rendered: Folder
    cache: OptionalFile
    teacher: list[Folder]
    warmup: OptionalFolder
    map: OptionalFile
    development: OptionalFile
    development_rendered: OptionalFolder
    development_cache: OptionalFile


class Outputs(Files):
    """`head`: the manifest of the trained byte head."""

    manifest: File
    metrics: File
    training: File
    head: File


def main() -> None:
    """Write the trained model into the folder of the manifest, its metrics beside that folder, and
    its byte head, for looking at, into a folder of its own."""
    with stage(Distill, Inputs, Outputs, add_tracker_arguments) as step:
        with_checkpoints(step, _distill)


def _distill(step: Step[Distill, Inputs, Outputs], checkpoints: Checkpoints) -> None:
    settings, inputs, outputs = step.settings, step.inputs, step.outputs
    training, taught = settings.training, settings.taught
    renderer = load_renderer(inputs.student, **dict(settings.rendering))
    trained_body = inputs.warmup and inputs.warmup / "body"
    body = trained_body if trained_body and trained_body.exists() else inputs.student
    lm = load_language_model(body, trust_remote_code=settings.rendering.trust_remote_code)
    vocabulary = None
    if settings.teacher_rendering:
        (folder,) = inputs.teacher
        vocabulary = load_renderer(folder, **dict(settings.teacher_rendering)).vocabulary
    context = ObjectiveContext(lm, renderer, vocabulary, inputs.warmup, inputs.map)
    of_method = taught.model_dump() if taught else {}
    module = import_module(f"bld.training.objectives.{settings.method}")
    parts: ObjectiveParts = module.build(of_method, context)
    objective, head, histories = parts
    if histories:
        check_context(lm, training.sequence_length + histories.extra_positions)
    if training.lora:
        add_lora(lm, training.lora, settings.seed)

    teacher = LiveTeacher(inputs.teacher, settings.teacher) if settings.teacher else None
    for note in teacher.notes if teacher else ():
        print(f"teacher: {note}")

    def batches(
        manifest: Path, rendered: Path, cache: Path | None, at_most: int | None = None
    ) -> Batches:
        split = manifest.parent
        documents = open_rendering(rendered, split, inputs.student, settings.rendering, at_most)
        symbols = documents.sizes("symbols")
        signals: Signals | None = None
        if teacher:
            signals = teacher.signals(split, symbols)
        elif cache:
            signals = CachedSignals(ByteCache(cache.parent, split), documents.ids, symbols)
        return Batches(documents, signals, histories, has_unspelt=documents.has_unspelt)

    development = None
    if inputs.development and inputs.development_rendered:
        held_out = batches(
            inputs.development,
            inputs.development_rendered,
            inputs.development_cache,
            training.evaluate_documents,
        )
        assert settings.development_window, "it is set where there are development documents"
        development = Development(held_out, training.evaluate_every, settings.development_window)
    corpus = batches(inputs.documents, inputs.rendered, inputs.cache)
    data: Batches | OnPolicy = corpus
    if settings.sampling:
        assert teacher, "the configuration is refused without a live teacher"
        sampler = OnPolicySampler(lm, renderer, settings.sampling, settings.seed)
        texts = NumberedDocuments(inputs.documents.parent)
        data = OnPolicy(corpus, texts, sampler, teacher)
    engine, metrics = train(
        Trainee(lm, head, objective),
        data,
        training,
        settings.seed,
        "distill",
        development=development,
        checkpoints=checkpoints,
        tracking=Tracking(step.options.tracker, step.options.events),
    )
    weights = trained_weights(engine, "lm")
    kind = of_method.get("head") if of_method.get("head") in TRAINED_HEADS else None
    head_weights = trained_weights(engine, "head") if kind else {}
    if engine.global_rank == 0:
        if training.lora:
            weights = merged_weights(lm, weights)
        phases = join_phases(inputs.warmup, metrics)
        save_records(engine, phases, outputs.metrics, outputs.training, _teacher_window(step))
        with new_folder(outputs.manifest.parent, {"settings": settings.dump()}) as folder:
            save_model(lm, weights, inputs.student, folder, renderer.vocabulary.end)
            originals = read_split(inputs.documents.parent)
            check_exported(
                folder, weights, renderer, settings.rendering, originals, corpus.documents
            )
        with new_folder(outputs.head.parent, {"head": kind}) as folder:
            if kind:
                save_head(head_weights, folder)
    stop_distributed()


def _teacher_window(step: Step[Distill, Inputs, Outputs]) -> int | None:
    """The tokens that its teacher reads at once."""
    if step.settings.teacher:
        return step.settings.teacher.scoring.window
    if step.inputs.cache:
        return int(read_manifest(step.inputs.cache)["settings"]["scoring"]["window"])
    return None


if __name__ == "__main__":
    main()
