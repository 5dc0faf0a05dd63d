"""How much of a document is seen at once, where a configuration makes that differ."""

from __future__ import annotations

from collections.abc import Iterator

from bld.pipeline.plan.costs import Plan, size
from bld.pipeline.plan.shapes import Shape
from bld.pipeline.plan.work import bytes_per_token
from bld.training.pieces import context_of_pieces


def contexts(plan: Plan) -> Iterator[str]:
    """Where a student sees less or more of a document than its teacher, and where a model has fewer
    positions than the window that it is to read in."""
    yield from dict.fromkeys(_of_runs(plan))
    for name, teacher in plan.settings.teachers.items():
        for model in teacher.models:
            shape = plan.models.get(model)
            yield from _beyond(f"teachers.{name}.window", teacher.window, model, shape)
    for name, shape in plan.students.items():
        window = plan.settings.evaluation.window
        yield from _beyond("evaluation.window", window, name, shape)


def _of_runs(plan: Plan) -> Iterator[str]:
    settings = plan.settings
    for run in settings.runs.values():
        per_token = bytes_per_token(settings.corpora[run.corpus])
        row = run.training.sequence_length
        of_row = row * (1 if settings.has_bytes_as_tokens(run.student) else per_token)
        window = settings.teachers[str(run.teacher)].window if run.taught else 0
        if window and of_row != window * per_token:
            context = context_of_pieces(row, run.training.overlap)
            yield (
                f"Contexts: rows of the student `{run.student}` hold {row:,} tokens (some "
                f"{size(of_row)} of `{run.corpus}`), and its teacher `{run.teacher}` reads up to "
                f"{window:,} (some {size(window * per_token)}). Of documents that are longer than "
                f"a row, tokens see at least {context:,} before them (`training.overlap`)."
            )


def _beyond(key: str, window: int, name: str, shape: Shape | None) -> Iterator[str]:
    if shape and shape.positions and shape.positions < window:
        yield (
            f"Contexts: `{key}` is {window:,}, and `{name}` has {shape.positions:,} positions: it "
            "reads longer texts in windows of so many, which overlap by half."
        )
