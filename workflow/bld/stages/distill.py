"""Train a student under its run's objective and export it without the byte head."""

from __future__ import annotations

from pathlib import Path

from bld.config import Bld as BldSettings
from bld.config import Training
from bld.folders import new_folder, whole_folder
from bld.models import load_language_model
from bld.provenance.step import step_parser
from bld.students.export import save_model, trained_weights
from bld.students.heads import ByteHead, LinearHeads, OutputHead
from bld.teacher.cache import ByteCache, CachedSignals
from bld.tokenization.rendering import load_renderer
from bld.training.loop import train
from bld.training.objectives.bld import Bld
from bld.training.objectives.sft import Sft
from bld.training.records import join_phases, save_records
from bld.training.rendered import render_split
from bld.training.trainee import Objective, Trainee


def main() -> None:
    """Write the trained model into the folder of the manifest, and its metrics beside that
    folder."""
    parser = step_parser(__doc__)
    parser.add_argument("--documents", type=Path, required=True, help="manifest of a split")
    parser.add_argument("--student", type=whole_folder, required=True)
    parser.add_argument(
        "--cache", type=Path, nargs="?", help="manifest of the teacher's byte cache"
    )
    parser.add_argument("--warmup", type=whole_folder, nargs="?", help="folder of the byte head")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--metrics", type=Path, required=True)
    parser.add_argument("--training", type=Path, required=True)
    arguments = parser.parse_args()
    settings = arguments.step.settings
    training = Training.model_validate(settings["training"])
    renderer = load_renderer(arguments.student, **settings["reading"])
    ids, documents = render_split(arguments.documents, renderer)
    trained_body = arguments.warmup and arguments.warmup / "body"
    body = trained_body if trained_body and trained_body.exists() else arguments.student
    lm = load_language_model(body, trust_remote_code=settings["reading"]["trust_remote_code"])
    head: ByteHead | None = None
    objective: Objective = Sft()
    signals = None
    if settings["method"] == "bld":
        bld = BldSettings.model_validate(settings["bld"])
        cache = ByteCache(arguments.cache.parent, arguments.documents.parent)
        signals = CachedSignals(cache, ids, [len(d.symbols_N) for d in documents])
        objective = Bld(bld.byte_weight, bld.kl_weight, bld.reduction)
        head = (
            LinearHeads.load(arguments.warmup)
            if arguments.warmup
            else OutputHead(lm, renderer.vocabulary)
        )
    engine, metrics = train(
        Trainee(lm, head, objective), documents, signals, training, settings["seed"], "distill"
    )
    weights = trained_weights(engine, "lm")
    if engine.global_rank == 0:
        phases = join_phases(arguments.warmup, metrics)
        save_records(engine, phases, arguments.metrics, arguments.training)
        with new_folder(arguments.manifest.parent, {"settings": settings}) as folder:
            save_model(lm, weights, arguments.student, folder)


if __name__ == "__main__":
    main()
