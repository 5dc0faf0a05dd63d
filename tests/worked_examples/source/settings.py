"""Mail: one document per message of a mailbox in the mbox format.

This file goes to `workflow/bld/config/sources/mailbox.py`: with it a corpus may say `kind:
mailbox`, and the schema, the reference, the rules, the plan and model cards know of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from bld.config.source import Source


class MailboxSource(Source):
    """Documents from the messages of a mailbox (mbox)."""

    kind: Literal["mailbox"]
    """Chooses this kind of source."""
    path: str
    """The mailbox."""

    @property
    def own_files(self) -> list[str]:
        """The mailbox is the user's own."""
        return [self.path]

    def description(self, python: str | None) -> str:
        """For the model card."""
        return "messages of a mailbox of whoever made this model"

    def problems(self) -> Iterator[tuple[str, str]]:
        """A mailbox that does not exist."""
        if not Path(self.path).is_file():
            yield "path", f"found {self.path}, expected a file that exists"
