"""What was found of a crate, for a terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bld.publishing.findings import Findings, count


def findings_page(crate: Path, findings: Findings) -> RenderableType:
    """Every sentence with its sign, problems last since the eye ends there."""
    lists = [
        ("Checked", findings.checked, "\u2713", "green"),
        ("Not checked", findings.not_checked, "?", "dim"),
        ("Undecided", findings.undecided, "?", "yellow"),
        ("Wrong", findings.problems, "\u2717", "red"),
    ]
    parts: list[RenderableType] = [_listed(*one) for one in lists if one[1]]
    verdict, style = "nothing wrong was found", "bold green"
    if findings.problems:
        verdict, style = f"refused, {count(len(findings.problems), 'problem')}", "bold red"
    elif findings.undecided:
        verdict += f"; {count(len(findings.undecided), 'thing')} could not be checked"
        style = "bold yellow"
    return Group(*parts, Text(f"{crate}: {verdict}", style))


def _listed(heading: str, sentences: list[str], sign: str, style: str) -> Table:
    table = Table.grid(padding=(0, 1))
    table.title, table.title_justify, table.title_style = heading, "left", "bold"
    for sentence in sentences:
        table.add_row(Text(sign, style), Text(_harmless(sentence), overflow="fold"))
    return table


def _harmless(sentence: str) -> str:
    """What a crate's names and texts would do to a terminal is shown and not done."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in sentence)
