"""What models write, side by side, and a passage in which every character is coloured by how much it surprised a model."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd
from markupsafe import Markup

from bld.reporting.numbers import number
from bld.reporting.series import label
from bld.reporting.source import Source

LEVELS = 8
"""Steps of colour: one for each bit, the last for all that cost more."""


class Completion(NamedTuple):
    """One model's answer; one that did not end by itself was cut."""

    model: str
    series: str
    text: str
    ended: bool


class Passage(NamedTuple):
    """A passage as one model read it: its name, its mean cost and the coloured text."""

    model: str
    series: str
    mean: str
    text: Markup


def completions(source: Source) -> dict[str, list[Completion]]:
    """The answers by prompt, in the order of the models."""
    frame = source.frames["completions"]
    return {
        prompt: [
            Completion(row.model, label(row.series), row.completion, bool(row.ended))
            for row in rows.itertuples()
        ]
        for prompt, rows in frame.groupby("prompt", sort=False)
    }


def passages(source: Source) -> list[Passage]:
    """The passage once for each model; the mean is a dash where a byte has no probability."""
    found = []
    by_model = source.frames["surprise"].groupby(["model", "series", "document"], sort=False)
    for (model, series, _), rows in by_model:
        size = len("".join(rows["text"]).encode())
        mean = number(rows["bits"].astype(float).sum(skipna=False) / size, 2)
        spans = (_span(row.text, row.bits) for row in rows.itertuples())
        found.append(Passage(model, label(series), mean, Markup("").join(spans)))
    return found


def _span(text: str, bits: float | None) -> Markup:
    if bits is None or pd.isna(bits):
        return Markup('<i class="s{}" title="no probability">{}</i>').format(LEVELS, text)
    level = min(LEVELS, int(bits))
    if not level:
        return Markup("{}").format(text)
    return Markup('<i class="s{}" title="{} bits">{}</i>').format(level, number(bits, 1), text)
