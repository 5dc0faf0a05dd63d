"""Train a student under its run's objective and export it without the byte head."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from transformers import PreTrainedModel

from bld.config import Bld as BldSettings
from bld.config import RunTraining
from bld.folders import new_folder, whole_folder
from bld.models import check_context, load_language_model
from bld.provenance.step import StepParser
from bld.students.export import save_model, trained_weights
from bld.students.heads import (
    TRAINED_HEADS,
    ByteHead,
    MarginalHead,
    OutputHead,
    load_head,
    save_head,
)
from bld.students.lora import add_lora, merged_weights
from bld.teacher.cache import ByteCache, CachedSignals
from bld.teacher.live import LiveTeacher
from bld.tokenization.rendering import Renderer, load_renderer
from bld.training.batches import Batches, Signals
from bld.training.checkpoints import Checkpoints, add_checkpoint_arguments, with_checkpoints
from bld.training.development import Development
from bld.training.engine import stop_distributed
from bld.training.histories import Histories
from bld.training.loop import train
from bld.training.objectives.bld import Bld
from bld.training.objectives.sft import Sft
from bld.training.records import join_phases, save_records
from bld.training.rendered import render_split
from bld.training.trainee import Objective, Trainee


def main() -> None:
    """Write the trained model into the folder of the manifest, its metrics beside that folder, and its
    byte head, for looking at, into a folder of its own."""
    parser = StepParser(__doc__)
    parser.reads("--documents", help="manifest of a split")
    parser.reads("--student", type=whole_folder)
    parser.reads("--cache", nargs="?", help="manifest of its byte cache")
    parser.reads("--teacher", type=whole_folder, nargs="?", help="a live teacher's folder")
    parser.reads("--warmup", type=whole_folder, nargs="?", help="folder of the byte head")
    parser.reads("--development", nargs="?", help="manifest of a split")
    parser.reads("--development-cache", nargs="?", help="its byte cache")
    parser.writes("--manifest")
    parser.writes("--metrics")
    parser.writes("--training")
    parser.writes("--head", help="manifest of the trained head")
    add_checkpoint_arguments(parser)
    with parser.recorded() as arguments:
        with_checkpoints(arguments, _distill)


def _distill(arguments: Namespace, checkpoints: Checkpoints) -> None:
    settings = arguments.step.settings
    training = RunTraining.model_validate(settings["training"])
    renderer = load_renderer(arguments.student, **settings["reading"])
    trained_body = arguments.warmup and arguments.warmup / "body"
    body = trained_body if trained_body and trained_body.exists() else arguments.student
    lm = load_language_model(body, trust_remote_code=settings["reading"]["trust_remote_code"])
    head: ByteHead | None = None
    objective: Objective = Sft()
    histories = None
    bld: BldSettings | None = None
    if settings["method"] == "bld":
        bld = BldSettings.model_validate(settings["bld"])
        objective = Bld(**bld.model_dump(exclude={"head", "histories"}))
        head = _head(bld.head, lm, renderer, arguments.warmup)
        if bld.head == "marginal":
            logits = len(lm.get_output_embeddings().weight)
            histories = Histories(renderer, logits, bld.histories)
            check_context(lm, training.sequence_length + histories.extra_positions)
    if training.lora:
        add_lora(lm, training.lora, settings["seed"])

    teacher = LiveTeacher(arguments.teacher, settings["teacher"]) if arguments.teacher else None

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
    engine, metrics = train(
        Trainee(lm, head, objective),
        batches(arguments.documents, arguments.cache),
        training,
        settings["seed"],
        "distill",
        development=development,
        checkpoints=checkpoints,
    )
    weights = trained_weights(engine, "lm")
    kept = bld.head if bld and bld.head in TRAINED_HEADS else None
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


def _head(kind: str, lm: PreTrainedModel, renderer: Renderer, warmup: Path | None) -> ByteHead:
    if kind == "marginal":
        return MarginalHead()
    if kind == "output":
        return OutputHead(lm, renderer.vocabulary)
    assert warmup is not None, "the rule gives a warmed-up head to every run that has one"
    return load_head(kind, lm.config.get_text_config().hidden_size, warmup)


if __name__ == "__main__":
    main()
