"""What the report calls runs of one kind: their method, and the settings by which runs of that
method differ.

A series reads `name[ plain][ on-policy][, setting value]...`: what the method calls runs with its
settings; plain is without token cross-entropy. Settings are the method's own; and, where runs of
one student differ in them, how they are trained, on what, and by which teacher.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bld.config.method import Distillation
from bld.config.registry import METHODS
from bld.config.settings import Run, Section
from bld.reporting.words import BASELINE

Settings = Mapping[str, Any]
PLAIN, ON_POLICY = " plain", " on-policy"
LABELS = {series.name: series.label for method in METHODS.values() for series in method.series}
SUFFIXES = {ON_POLICY: ", on-policy", PLAIN: ", plain"}


def series_of(runs: Mapping[str, Run]) -> dict[str, str]:
    """The series of every run, by its name: runs of one kind differ in what the series says, and in
    it stands nothing that all of them share."""
    kinds: dict[str, dict[str, Run]] = {}
    for name, run in runs.items():
        kinds.setdefault(kind(run), {})[name] = run
    return {
        name: ", ".join([base, *_details(run, list(alike.values()))])
        for base, alike in kinds.items()
        for name, run in alike.items()
    }


def kind(run: Run) -> str:
    """The series of a run by itself."""
    taught = run.taught
    name = taught.series_name if taught else run.method
    is_plain = isinstance(taught, Distillation) and taught.token_weight == 0
    return f"{name}{PLAIN * is_plain}{ON_POLICY * bool(run.sampling.on_policy)}"


def label(series: str) -> str:
    """How a series is written for people; what has no name keeps its own."""
    base, comma, details = series.partition(", ")
    ending = ""
    for suffix, words in SUFFIXES.items():
        if base not in LABELS and base.endswith(suffix):
            base, ending = base.removesuffix(suffix), words + ending
    return LABELS.get(base, base) + ending + comma + details


def flat(settings: Settings, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as (dotted name, value)."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _details(run: Run, alike: Sequence[Run]) -> Iterator[str]:
    """The settings in which runs of its kind differ. SFT is the baseline, however it is trained."""
    yield from _differing(_own(run), [_own(other) for other in alike])
    if run.method != BASELINE:
        setting = run.student, run.corpus
        beside = [other for other in alike if (other.student, other.corpus) == setting]
        yield from _differing(_training(run), [_training(other) for other in beside])


def _differing(settings: Settings, every: Sequence[Settings]) -> Iterator[str]:
    for key, value in settings.items():
        if any(other.get(key) != value for other in every):
            yield f"{key.replace('_', ' ')} {_text(value)}"


def _own(run: Run) -> dict[str, Any]:
    own = _named(run.taught) if run.taught else {}
    return own | (_named(run.sampling, "sampling.") if run.sampling.on_policy else {})


def _training(run: Run) -> dict[str, Any]:
    warmup = _named(run.head_warmup, "head_warmup.")
    return _named(run.training) | warmup | {"train_split": run.train_split, "teacher": run.teacher}


def _named(section: Section, prefix: str = "") -> dict[str, Any]:
    """Its settings by dotted name, sorted, as JSON holds them."""
    return dict(sorted(flat(section.model_dump(mode="json"), prefix)))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
