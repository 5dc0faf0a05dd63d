import re
from itertools import combinations
from pathlib import Path

import pytest

from bld.reporting import page, style


def luminance(colour):
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4
        for value in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first, second):
    """WCAG 2.2, relative luminance and contrast ratio."""
    darker, lighter = sorted((luminance(first), luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def themes():
    css = (Path(page.__file__).parent / "page.css").read_text(encoding="utf-8")
    light, dark = css.split("prefers-color-scheme: dark")
    return [dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", part)) for part in (light, dark)]


@pytest.mark.parametrize("theme", themes(), ids=["light", "dark"])
@pytest.mark.parametrize("text", ["ink", "muted", "link"])
def test_text_of_the_page_has_a_contrast_of_at_least_4_5(theme, text):
    assert contrast(theme[text], theme["page"]) >= 4.5


@pytest.mark.parametrize("theme", themes(), ids=["light", "dark"])
@pytest.mark.parametrize("colour", style.PALETTE)
def test_lines_and_dots_have_a_contrast_of_at_least_3_in_both_themes(theme, colour):
    assert contrast(colour, theme["page"]) >= 3


def test_a_drawing_in_the_page_takes_the_colours_of_the_page():
    light, _ = themes()
    by_variable = {variable: colour for colour, variable in style.THEME.items()}
    assert by_variable == {
        f"var(--{name})": light[name] for name in ("ink", "muted", "rule", "page")
    }


def test_methods_keep_their_colour_whatever_else_is_drawn():
    alone, together = style.colours(["bld linear"]), style.colours(["sft", "alm", "bld linear"])
    assert alone["bld linear"] == together["bld linear"]


def test_methods_do_not_share_a_colour():
    found = style.colours(
        ["sft", "bld linear", "bld marginal", "alm", "uld", "teacher", "untrained student"]
    )
    assert all(found[one] != found[other] for one, other in combinations(found, 2))
