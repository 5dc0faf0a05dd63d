"""The style of every figure: colours, and one marker and colour for a method wherever it appears.

The SVG files stand on a card of their own, so they read on any page. Inside our page the same
drawing takes the page's colours, light or dark: `themed` puts CSS variables where ink, rules and
card were.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from io import StringIO
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.sax.saxutils import quoteattr

from bld.config.method import PALETTE
from bld.config.registry import METHODS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#24272c"
MUTED = "#62686f"
RULE = "#d9dbdd"
CARD = "#fdfcfa"


class SeriesStyle(NamedTuple):
    """How a series is drawn: markers and dashes tell apart those that share a colour."""

    colour: str
    marker: str = "o"

    @property
    def dashes(self) -> Any:
        """Matplotlib's line style of this marker."""
        return SHAPES[self.marker]


SHAPES: Mapping[str, Any] = {
    "o": "solid",
    "s": (0, (4, 1.5)),
    "^": (0, (1, 1.2)),
    "D": (0, (5, 1.5, 1, 1.5)),
    "v": (0, (8, 2)),
}
"""Markers with the dashes of their lines."""

FIXED = {
    **{
        series.name: SeriesStyle(series.colour, series.marker)
        for method in METHODS.values()
        for series in method.series
        if series.colour
    },
    "teacher": SeriesStyle(INK),
    "untrained student": SeriesStyle(MUTED),
}

WIDTH = 5.4
"""Inches; text stays readable where the page scales a drawing to a phone, and to its text
column."""

SETTINGS: dict[Any, Any] = {
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

THEME = {INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)", CARD: "var(--page)"}


def styles_of(series: Iterable[str]) -> dict[str, SeriesStyle]:
    """A style for each series: the fixed one; else one of its own, in the colour of its method
    where there is a marker left."""
    names = sorted(set(series))
    found = {name: FIXED[name] for name in names if name in FIXED}
    for name in names:
        if name not in found:
            candidates = _candidates(name)
            found[name] = next((x for x in candidates if x not in found.values()), candidates[0])
    return {name: found[name] for name in names}


def _candidates(name: str) -> list[SeriesStyle]:
    """First those of the method that it is a variant of; then those that no method has by
    itself."""
    relatives = [series for series in FIXED if name.startswith((f"{series} ", f"{series},"))]
    related = [SeriesStyle(FIXED[x].colour, marker) for x in relatives[-1:] for marker in SHAPES]
    every = [SeriesStyle(colour, marker) for marker in SHAPES for colour in reversed(PALETTE)]
    return [*related, *(style for style in every if style not in FIXED.values())]


def settings() -> dict[Any, Any]:
    """Matplotlib's settings, to draw and to save under."""
    import seaborn as sns

    styles: dict[Any, Any] = sns.axes_style("white") | sns.plotting_context("paper")
    return styles | SETTINGS


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
