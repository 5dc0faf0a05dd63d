"""Writes what is generated from the settings: `config/schema.json` and the tables of
`config/README.md`.

Run `PYTHONPATH=workflow python -m bld.config.reference` after a change to `bld.config.settings`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from bld.config.phrases import shown
from bld.config.settings import Section
from bld.config.words import Node, entry_of, in_words, schema, section_of

CONFIG = Path(__file__).resolve().parents[3] / "config"
MARK = (
    "<!-- All below is generated from workflow/bld/config/ by "
    "`PYTHONPATH=workflow python -m bld.config.reference`. -->\n"
)


class Place(NamedTuple):
    """Where a section stands in the configuration, such as `models.NAME.scratch`, and its node."""

    key: str
    section: Node


def main() -> None:
    """Write both files."""
    readme = CONFIG / "README.md"
    (CONFIG / "schema.json").write_text(schema_text())
    readme.write_text(readme_text(readme.read_text()))


def schema_text() -> str:
    """The JSON schema, which editors complete and check the configuration with."""
    return json.dumps(schema(), indent=2, sort_keys=True) + "\n"


def readme_text(current: str) -> str:
    """The README with its opening as it is and its tables made anew."""
    opening, mark, _ = current.partition(MARK)
    assert mark, f"config/README.md has lost the line {MARK!r}"
    places = all_sections()
    return f"{opening}{MARK}\n" + "\n".join(
        _section_text(place, places) for place in places.values()
    )


def all_sections() -> dict[str, Place]:
    """Every section by its title: in the order of the configuration, each followed by those inside.

    A section that can stand in several places is listed at the outermost.
    """
    top = Place("", schema())
    outermost = {inner.section["title"] for inner in _sections_inside(top)}
    found = {top.section["title"]: top}

    def collect(place: Place) -> None:
        for inner in _sections_inside(place):
            title = inner.section["title"]
            if title not in found and (place is top or title not in outermost):
                found[title] = inner
                collect(inner)

    collect(top)
    return found


def _sections_inside(place: Place) -> Iterator[Place]:
    for name, node in place.section["properties"].items():
        key = f"{place.key}.{name}".removeprefix(".")
        for branch in node.get("oneOf", [node]):
            places = {f"{key}.NAME": entry_of(branch), f"{key}[]": branch.get("items"), key: branch}
            inner = {where: section_of(found) for where, found in places.items() if found}
            yield from (Place(where, x) for where, x in inner.items() if "properties" in x)


def _section_text(place: Place, places: Mapping[str, Place]) -> str:
    section = place.section
    reruns = REASONS[section["title"]]
    lines = [
        f"## {_heading(place)}\n",
        f"{section['description']}" + f" A change reruns {reruns}." * bool(reruns) + "\n",
        "| key | value | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, node in section["properties"].items():
        default = "required" if name in section.get("required", []) else _default(node)
        meaning = node.get("description") or section_of(node)["description"]
        value = " or ".join(_values(node, places))
        lines.append(f"| `{name}` | {value} | {default} | {' '.join(meaning.split())} |")
    return "\n".join([*lines, ""])


def _heading(place: Place) -> str:
    kind = place.section["properties"].get("kind", {}).get("const")
    return f"`{place.key}`" * bool(place.key) + f" with `kind: {kind}`" * bool(kind) or "Top level"


def _values(node: Node, places: Mapping[str, Place]) -> Iterator[str]:
    """What a key holds: links to sections, words for all else."""
    for branch in node.get("oneOf", [node]):
        inner = section_of(entry_of(branch) or branch.get("items") or branch)
        if "properties" not in inner:
            yield in_words(branch)
            continue
        heading = _heading(places[inner["title"]])
        anchor = re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
        several = "a list of " * ("items" in branch)
        yield f"{several}[{heading}](#{anchor})" + ", or null" * ("anyOf" in branch)


def _default(node: Node) -> str:
    default = node.get("default")
    return "`{}`" if isinstance(default, dict) else f"`{shown(default)}`"


def _subclasses(section: type[Section]) -> Iterator[type[Section]]:
    for child in section.__subclasses__():
        yield child
        yield from _subclasses(child)


# Other packages derive sections of their own, some of the same name.
REASONS = {
    section.__name__: section.reruns
    for section in _subclasses(Section)
    if section.__module__.startswith("bld.config.")
}


if __name__ == "__main__":
    main()
