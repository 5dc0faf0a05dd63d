"""Numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence

NO_VALUE = "\u2013"
GIBIBYTE = 2**30


def number(value: float | None, digits: int = 3) -> str:
    """A number with thin spaces between thousands; a dash where there is none."""
    if value is None or math.isnan(value):
        return NO_VALUE
    # What rounds to zero has no sign.
    rounded = round(value, digits) + 0.0
    return f"{rounded:,.{digits}f}".replace(",", "\u2009").replace("-", "\u2212")


def signed(value: float | None, digits: int = 3) -> str:
    """A change: always with its sign."""
    sign = "+" if value is not None and round(value, digits) > 0 else ""
    return sign + number(value, digits)


def percent(share: float | None, digits: int = 1) -> str:
    """A share of one, in per cent."""
    return NO_VALUE if share is None else f"{number(100 * share, digits)}\u00a0%"


def precision(*values: float) -> int:
    """Decimals that keep the smallest of the values apart from zero, and all from each other: three
    to six."""
    sizes = [abs(value) for value in values if value and not math.isnan(value)]
    tenth = (max(values) - min(values)) / 10
    if tenth > 1e-6:
        sizes.append(tenth)
    return min(6, max(3, -math.floor(math.log10(min(sizes, default=1)))))


def listed(items: Sequence[object]) -> str:
    """a, b and c."""
    texts = [str(item) for item in items]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
