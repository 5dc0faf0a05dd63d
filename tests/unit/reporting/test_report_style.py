import re
from itertools import combinations
from pathlib import Path

import pytest

from bld.reporting import report_page, style
from bld.reporting.report_page import LEVELS
from bld.reporting.series import label

CSS = (Path(report_page.__file__).parent / "page.css").read_text(encoding="utf-8")


def channels(colour):
    return [int(colour[place : place + 2], 16) for place in (1, 3, 5)]


def luminance(colour):
    red, green, blue = (
        value / 255 / 12.92 if value / 255 <= 0.03928 else ((value / 255 + 0.055) / 1.055) ** 2.4
        for value in colour
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first, second):
    """WCAG 2.2, relative luminance and contrast ratio, of channels from 0 to 255."""
    darker, lighter = sorted((luminance(first), luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def themes():
    light, dark = CSS.split("prefers-color-scheme: dark")
    return [dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", part)) for part in (light, dark)]


def fractions():
    """Fraction of the colour of surprise in the background of each level, mixed in sRGB."""
    found = re.findall(
        r"\.s(\d) \{ background: color-mix\(in srgb, var\(--surprise\) (\d+)%, transparent\)", CSS
    )
    return {int(level): int(share) / 100 for level, share in found}


in_both_themes = pytest.mark.parametrize("theme", themes(), ids=["light", "dark"])


def test_both_themes_name_the_same_colours():
    light, dark = themes()
    assert light.keys() == dark.keys()


@in_both_themes
@pytest.mark.parametrize("text", ["ink", "muted", "link", "alarm"])
def test_text_of_the_page_has_a_contrast_of_at_least_4_5(theme, text):
    assert contrast(channels(theme[text]), channels(theme["page"])) >= 4.5


@in_both_themes
@pytest.mark.parametrize("background", ["raised", "rule"])
def test_text_on_raised_ground_and_on_marks_has_a_contrast_of_at_least_4_5(theme, background):
    assert contrast(channels(theme["ink"]), channels(theme[background])) >= 4.5


def test_there_is_a_colour_for_every_level_of_surprise_and_each_is_stronger():
    found = fractions()
    assert list(found) == list(range(1, LEVELS + 1))
    assert sorted(found.values()) == list(found.values()) and len(set(found.values())) == LEVELS


@in_both_themes
@pytest.mark.parametrize("level", range(1, LEVELS + 1))
@pytest.mark.parametrize("ground", ["raised", "page"])
def test_ink_on_every_level_of_surprise_has_a_contrast_of_at_least_4_5(theme, level, ground):
    share = fractions()[level]
    mixed = [
        share * over + (1 - share) * under
        for over, under in zip(channels(theme["surprise"]), channels(theme[ground]), strict=True)
    ]
    assert contrast(channels(theme["ink"]), mixed) >= 4.5


@in_both_themes
@pytest.mark.parametrize("colour", style.PALETTE)
def test_lines_and_dots_have_a_contrast_of_at_least_3_in_both_themes(theme, colour):
    assert contrast(channels(colour), channels(theme["page"])) >= 3


def test_a_drawing_in_the_page_takes_the_colours_of_the_page():
    light, _ = themes()
    by_variable = {variable: colour for colour, variable in style.THEME.items()}
    assert by_variable == {
        f"var(--{name})": light[name] for name in ("ink", "muted", "rule", "page")
    }


METHODS = [
    *("sft", "bld linear", "bld causal", "bld marginal", "bld output", "bld marginal + one_to_one"),
    *(
        "alm",
        "alm plain",
        "uld",
        "mined",
        "one_to_one",
        "x_token p-kl",
        "x_token h-kl",
        "simct plain",
    ),
]


def test_every_method_has_a_name_for_people_and_a_look_of_its_own():
    assert len({label(one) for one in METHODS} - set(METHODS)) == len(METHODS)
    assert len({style.FIXED[one] for one in METHODS}) == len(METHODS) == 14


def test_methods_keep_their_look_whatever_else_is_drawn():
    alone, together = style.styles_of(["bld linear"]), style.styles_of([*METHODS, "other"])
    assert alone["bld linear"] == together["bld linear"]
    assert style.styles_of(["b", "a", "sft"]) == style.styles_of(["sft", "a", "b"])


def test_methods_do_not_share_a_look():
    variants = [
        "uld on-policy",
        "bld linear, kl weight 1",
        "bld linear, kl weight 4",
        "new",
        "newer",
    ]
    found = style.styles_of([*METHODS, *variants, "teacher", "untrained student"])
    assert len(set(found.values())) == len(found) == 21


def test_a_variant_of_a_method_has_its_colour_and_another_marker():
    found = style.styles_of(
        ["uld", "uld on-policy", "x_token h-kl, keep 4", "x_token h-kl, keep 8"]
    )
    assert found["uld on-policy"].colour == found["uld"].colour
    colours = {found[f"x_token h-kl, keep {keep}"].colour for keep in (4, 8)}
    assert colours == {style.FIXED["x_token h-kl"].colour}


def test_looks_that_share_a_colour_differ_in_marker_and_in_dashes():
    looks = style.FIXED.values()
    for one, other in combinations(looks, 2):
        if one.colour == other.colour:
            assert one.marker != other.marker and one.dashes != other.dashes


def test_more_series_than_there_are_looks_share_them():
    names = [f"method {number}" for number in range(60)]
    assert style.styles_of(names).keys() == set(names)
