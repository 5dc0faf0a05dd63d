"""How the tokens of a student and its teacher fit, which says what each kind of method can learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from bld.reporting.inputs import Run
from bld.reporting.numbers import number, percent
from bld.reporting.source import Source


def alignment_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row for every student, teacher and corpus of which it was measured."""
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for run in runs:
        if run.alignment:
            student, corpus = run.setting
            identity = {"student": student, "teacher": run.settings["teacher"], "corpus": corpus}
            rows.setdefault(tuple(identity.values()), identity | _figures(run.alignment))
    return list(rows.values())


def _figures(found: Mapping[str, Any]) -> dict[str, Any]:
    entries, tokens, of_bytes = (found[what] for what in ("vocabulary", "tokens", "bytes"))
    total, shared = of_bytes["total"], of_bytes["shared_boundary"]
    aligned = _share(tokens["aligned"], tokens["student"])
    return {
        "documents": found["documents"],
        **{f"{whose}_entries": entries[whose] for whose in ("student", "teacher", "shared")},
        "shared_of_student": _share(entries["shared"], entries["student"]),
        "shared_of_teacher": _share(entries["shared"], entries["teacher"]),
        **{f"{whose}_tokens": tokens[whose] for whose in ("student", "teacher", "aligned")},
        "aligned_of_student": aligned,
        "aligned_of_teacher": _share(tokens["aligned"], tokens["teacher"]),
        "left_over": None if aligned is None else 1 - aligned,
        "bytes": total,
        "shared_boundaries": shared,
        "boundary_share": _share(shared, total),
        "bytes_per_chunk": _share(total, shared),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def told_alignments(source: Source) -> list[tuple[str, list[Markup]]]:
    """A heading and sentences for each pair of tokenizers."""
    return [
        (f"{row.student} and {row.teacher} on {row.corpus}", _sentences(source, row.Index))
        for row in source.frames["alignment"].itertuples()
    ]


def _sentences(source: Source, row: int) -> list[Markup]:
    def say(text: str, **numbers: Any) -> Markup:
        cells = (source("alignment", row, name, show) for name, show in numbers.items())
        return Markup(text).format(*cells)

    return [
        say(
            "On {} held-out documents, {} of the student\u2019s tokens spell exactly the bytes of one of the teacher\u2019s "
            "tokens there. One-to-one learns from these alone: {} are left over for methods that compare bytes, chunks of "
            "several tokens, or mapped vocabularies.",
            documents=_whole,
            aligned_of_student=percent,
            left_over=percent,
        ),
        say(
            "Both models end a token at {} of the bytes. From one such place to the next reaches a chunk, the least that "
            "methods of chunks compare: {} bytes on average.",
            boundary_share=percent,
            bytes_per_chunk=_one,
        ),
        say(
            "The vocabularies have {} entries in common, {} of the student\u2019s and {} of the teacher\u2019s. What the "
            "teacher says of its other entries reaches no method that needs the same entry on both sides.",
            shared_entries=_whole,
            shared_of_student=percent,
            shared_of_teacher=percent,
        ),
    ]


def _whole(value: float) -> str:
    return number(value, 0)


def _one(value: float) -> str:
    return number(value, 1)
