"""Train a student under its run's objective and export it without the byte head."""

from __future__ import annotations

from argparse import Namespace
from importlib import import_module
from pathlib import Path

from bld.cache.live import LiveTeacher
from bld.cache.reading import ByteCache, CachedSignals
from bld.config.settings import RunTraining, Sampling
from bld.documents.shards import read_split
from bld.folders import new_folder, whole_folder
from bld.models import check_context, load_language_model
from bld.pipeline.step import StepParser
from bld.tokenization.rendering import load_renderer
from bld.training.batches import Batches, Signals
from bld.training.checkpoints import Checkpoints, add_checkpoint_arguments, with_checkpoints
from bld.training.development import Development
from bld.training.engine import stop_distributed
from bld.training.export import save_model, trained_weights
from bld.training.heads import TRAINED_HEADS, save_head
from bld.training.loop import train
from bld.training.lora import add_lora, merged_weights
from bld.training.objective import ObjectiveContext, ObjectiveParts
from bld.training.on_policy import OnPolicy, OnPolicySampler
from bld.training.packing import render_split
from bld.training.records import join_phases, save_records
from bld.training.tracker import Tracking, add_tracker_arguments
from bld.training.trainee import Trainee


def main() -> None:
    """Write the trained model into the folder of the manifest, its metrics beside that folder, and its
    byte head, for looking at, into a folder of its own."""
    parser = StepParser(__doc__)
    parser.reads("--documents", help="manifest of a split")
    parser.reads("--student", type=whole_folder)
    parser.reads("--cache", nargs="?", help="manifest of its byte cache")
    parser.reads("--teacher", type=whole_folder, nargs="*", help="folders of its teacher's models")
    parser.reads("--warmup", type=whole_folder, nargs="?", help="folder of the byte head")
    parser.reads("--map", nargs="?", help="from one vocabulary to the other")
    parser.reads("--development", nargs="?", help="manifest of a split")
    parser.reads("--development-cache", nargs="?", help="its byte cache")
    parser.writes("--manifest")
    parser.writes("--metrics")
    parser.writes("--training")
    parser.writes("--head", help="manifest of the trained head")
    add_checkpoint_arguments(parser)
    add_tracker_arguments(parser)
    with parser.recorded() as arguments:
        with_checkpoints(arguments, _distill)


def _distill(arguments: Namespace, checkpoints: Checkpoints) -> None:
    settings = arguments.step.settings
    training = RunTraining.model_validate(settings["training"])
    renderer = load_renderer(arguments.student, **settings["reading"])
    trained_body = arguments.warmup and arguments.warmup / "body"
    body = trained_body if trained_body and trained_body.exists() else arguments.student
    lm = load_language_model(body, trust_remote_code=settings["reading"]["trust_remote_code"])
    vocabulary = None
    if "teacher_reading" in settings:
        (folder,) = arguments.teacher
        vocabulary = load_renderer(folder, **settings["teacher_reading"]).vocabulary
    method = settings["method"]
    of_method = settings.get(method, {})
    context = ObjectiveContext(lm, renderer, vocabulary, arguments.warmup, arguments.map)
    module = import_module(f"bld.training.objectives.{method}")
    parts: ObjectiveParts = module.build(of_method, context)
    objective, head, histories = parts
    if histories:
        check_context(lm, training.sequence_length + histories.extra_positions)
    if training.lora:
        add_lora(lm, training.lora, settings["seed"])

    teacher = None
    if "teacher" in settings:
        teacher = LiveTeacher(arguments.teacher, settings["teacher"])

    def batches(manifest: Path, cache: Path | None, at_most: int | None = None) -> Batches:
        ids, documents = render_split(manifest, renderer, at_most)
        symbols = [len(document.symbols_N) for document in documents]
        signals: Signals | None = None
        if teacher:
            signals = teacher.signals(manifest.parent, at_most)
        elif cache:
            signals = CachedSignals(ByteCache(cache.parent, manifest.parent), ids, symbols)
        return Batches(documents, signals, histories)

    development = None
    if arguments.development:
        held_out = batches(
            arguments.development, arguments.development_cache, training.evaluate_documents
        )
        development = Development(held_out, training.evaluate_every)
    data: Batches | OnPolicy = batches(arguments.documents, arguments.cache)
    if "sampling" in settings:
        assert teacher, "the configuration is refused without a live teacher"
        sampling = Sampling.model_validate(settings["sampling"])
        sampler = OnPolicySampler(lm, renderer, sampling, settings["seed"])
        texts = list(read_split(arguments.documents.parent))
        corpus = Batches(data.documents, teacher.of(texts), histories)
        data = OnPolicy(corpus, texts, sampler, teacher)
    engine, metrics = train(
        Trainee(lm, head, objective),
        data,
        training,
        settings["seed"],
        "distill",
        development=development,
        checkpoints=checkpoints,
        tracking=Tracking(arguments.tracker, arguments.events),
    )
    weights = trained_weights(engine, "lm")
    kept = of_method.get("head") if of_method.get("head") in TRAINED_HEADS else None
    head_weights = trained_weights(engine, "head") if kept else {}
    if engine.global_rank == 0:
        if training.lora:
            weights = merged_weights(lm, weights)
        phases = join_phases(arguments.warmup, metrics)
        save_records(engine, phases, arguments.metrics, arguments.training)
        with new_folder(arguments.manifest.parent, {"settings": settings}) as folder:
            save_model(lm, weights, arguments.student, folder)
        with new_folder(arguments.head.parent, {"head": kept}) as folder:
            if kept:
                save_head(head_weights, folder)
    stop_distributed()


if __name__ == "__main__":
    main()
