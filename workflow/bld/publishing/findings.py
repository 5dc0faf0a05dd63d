"""What somebody who looked at a crate has to say: sentences for people."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

SHOWN = 5


@dataclass
class Findings:
    """Sentences: what is wrong, what was checked and found right, what no check looks at, and what could not
    be decided here."""

    problems: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)

    def conclude(
        self, problems: Collection[str], otherwise: str, doubts: Collection[str] = ()
    ) -> None:
        """The end of one check: its problems, or what holds where there are none.

        `doubts` are reasons why the check may see problems where there are none: then nothing is
        decided.
        """
        if not problems:
            self.checked.append(otherwise)
        elif doubts:
            self.undecided.append(
                f"whether something is wrong there ({' and '.join(doubts)}): {some(problems, '; ')}"
            )
        else:
            self.problems += problems


def some(names: Collection[str], between: str = ", ") -> str:
    """The first of many names."""
    shown = between.join(sorted(names)[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"


def count(number: int, what: str) -> str:
    """A number of things: 1 file, 2 files."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")
