"""What the report calls runs of one kind: their method, and the settings by which runs of that
method differ.

A series reads `method[ + one_to_one][ plain][ on-policy][, setting value]...`: the method with the
head of `bld` or the loss of `x_token`; plain is without token cross-entropy. Settings are the
method's own; and, where runs of one student differ in them, how they are trained, on what, and by
which teacher.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bld.config.registry import METHODS
from bld.reporting.words import BASELINE

Settings = Mapping[str, Any]
MIXED, PLAIN, ON_POLICY = " + one_to_one", " plain", " on-policy"
LABELS = {series.name: series.label for method in METHODS.values() for series in method.series}
SUFFIXES = {ON_POLICY: ", on-policy", PLAIN: ", plain", MIXED: " and one-to-one"}


def series_of(runs: Mapping[str, Settings]) -> dict[str, str]:
    """The series of every run, by its name: runs of one kind differ in what the series says, and in
    it stands nothing that all of them share."""
    kinds: dict[str, dict[str, Settings]] = {}
    for name, settings in runs.items():
        kinds.setdefault(kind(settings), {})[name] = settings
    return {
        name: ", ".join([base, *_details(settings, list(alike.values()))])
        for base, alike in kinds.items()
        for name, settings in alike.items()
    }


def kind(settings: Settings) -> str:
    """The series of a run by itself."""
    method: str = settings["method"]
    own = settings.get(method, {})
    if method == "bld":
        core = f"bld {own['head']}" + MIXED * bool(own.get("shared_weight"))
    elif method == "x_token":
        core = f"x_token {own['loss'].replace('_', '-')}"
    else:
        core = method
    is_plain = own.get("token_weight") == 0
    return f"{core}{PLAIN * is_plain}{ON_POLICY * is_on_policy(settings)}"


def is_on_policy(settings: Settings) -> bool:
    """Whether the student writes part of its own training documents."""
    fraction: float = settings.get("sampling", {}).get("on_policy", 0)
    return fraction > 0


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


def _details(settings: Settings, alike: Sequence[Settings]) -> Iterator[str]:
    """The settings in which runs of its kind differ. SFT is the baseline, however it is trained."""
    yield from _differing(_own(settings), [_own(other) for other in alike])
    if settings["method"] != BASELINE:
        setting = settings["student"], settings["corpus"]
        beside = [other for other in alike if (other["student"], other["corpus"]) == setting]
        yield from _differing(_training(settings), [_training(other) for other in beside])


def _differing(settings: Settings, every: Sequence[Settings]) -> Iterator[str]:
    for key, value in settings.items():
        if any(other.get(key) != value for other in every):
            yield f"{key.replace('_', ' ')} {_text(value)}"


def _own(settings: Settings) -> Settings:
    sampling = {"sampling": settings["sampling"]} if is_on_policy(settings) else {}
    return dict(flat(settings.get(settings["method"], {}) | sampling))


def _training(settings: Settings) -> Settings:
    warmup = {"head_warmup": settings["head_warmup"]} if settings.get("head_warmup") else {}
    named = {key: settings[key] for key in ("train_split", "teacher") if key in settings}
    return dict(flat(settings.get("training", {}) | warmup | named))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
