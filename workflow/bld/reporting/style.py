"""The house style of every figure: one ink, one rule, one colour for a method wherever it appears.

The SVG files stand on a card of their own, so they read on any page. Inside our page the same drawing
takes the page's colours, light or dark: `themed` puts CSS variables where ink, rules and card were.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from io import StringIO
from typing import Any
from xml.sax.saxutils import quoteattr

import seaborn as sns
from matplotlib.figure import Figure

INK = "#24272c"
MUTED = "#62686f"
RULE = "#d9dbdd"
CARD = "#fdfcfa"

PALETTE = ("#2a78c2", "#cf5c12", "#0b8f6a", "#b9629a", "#9a7300", "#7f63c9", "#1c8ca8")
"""After Okabe and Ito (2008), with lightness levelled: each is at least 3:1 against both cards."""

FIXED = {
    "sft": PALETTE[0],
    "bld linear": PALETTE[1],
    "bld marginal": PALETTE[2],
    "bld causal": PALETTE[3],
    "bld output": PALETTE[4],
    "teacher": INK,
    "untrained student": MUTED,
}
LABELS = {
    "sft": "SFT",
    "bld linear": "BLD with linear heads",
    "bld causal": "BLD with causal heads",
    "bld marginal": "BLD without a head",
    "bld output": "BLD on the output head",
}

WIDTH = 5.4
"""Inches; text stays readable where the page scales a drawing to a phone, and to its text column."""

THEME = {INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)", CARD: "var(--page)"}


def label(series: str) -> str:
    """How a method, or another series of a figure, is written for people."""
    return LABELS.get(series, series)


def colours(series: Iterable[str]) -> dict[str, str]:
    """A colour for each series: fixed ones first, then the rest of the palette in sorted order."""
    names = sorted(set(series))
    taken = {FIXED[name] for name in names if name in FIXED}
    free = [colour for colour in reversed(PALETTE) if colour not in taken]
    others = [name for name in names if name not in FIXED]
    return {name: FIXED[name] for name in names if name in FIXED} | {
        name: free[index % len(free)] for index, name in enumerate(others)
    }


def settings() -> dict[Any, Any]:
    """Matplotlib's settings, to draw and to save under."""
    return (
        sns.axes_style("white")
        | sns.plotting_context("paper")
        | {
            "figure.facecolor": CARD,
            "figure.constrained_layout.use": True,
            "figure.constrained_layout.h_pad": 0.08,
            "figure.constrained_layout.w_pad": 0.08,
            "axes.facecolor": "none",
            "axes.edgecolor": RULE,
            "axes.linewidth": 0.8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.labelcolor": MUTED,
            "axes.labelsize": 9,
            "axes.titlecolor": INK,
            "axes.titlelocation": "left",
            "axes.titlesize": 9.5,
            "axes.titleweight": "bold",
            "axes.titlepad": 8,
            "grid.color": RULE,
            "grid.linewidth": 0.6,
            "font.family": "sans-serif",
            "font.size": 9.5,
            "text.color": INK,
            "text.parse_math": False,
            "xtick.color": MUTED,
            "ytick.color": MUTED,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "legend.frameon": False,
            "legend.fontsize": 9,
            "lines.solid_capstyle": "round",
            "path.simplify_threshold": 0.5,
            "savefig.facecolor": CARD,
            "svg.fonttype": "none",
            "svg.hashsalt": "bld",
        }
    )


def to_svg(figure: Figure, name: str, description: str) -> str:
    """The figure as SVG text, the same bytes every time; `name` keeps ids apart within one page."""
    buffer = StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", buffer.getvalue(), flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label={quoteattr(description)} ', 1)


def themed(svg: str, theme: Mapping[str, str] = THEME) -> str:
    """The drawing for inside a page: no prologue, and the page's colours."""
    svg = svg[svg.index("<svg ") :]
    for colour, variable in theme.items():
        svg = svg.replace(colour, variable)
    return svg
