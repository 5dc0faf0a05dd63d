"""The messages of a mailbox as documents. This file goes to
`workflow/bld/documents/sources/mailbox.py`."""

from __future__ import annotations

import mailbox
from collections.abc import Iterator
from pathlib import Path

from bld.config.sources.mailbox import MailboxSource

from bld.documents.document import Document, make_document
from bld.documents.intake import Intake


def read(source: MailboxSource, datasets: Path, intake: Intake) -> Iterator[Document]:
    """Yield a document per message: its subject and its text, both supervised."""
    for number, message in enumerate(mailbox.mbox(source.path, create=False), 1):
        payload = message.get_payload(decode=True) or b""
        text = f"{message['subject']}\n\n{bytes(payload).decode()}"
        intake.read()
        yield make_document(f"message:{number}", "mail", [("text", text)])


def inputs(source: MailboxSource, datasets: Path) -> list[Path]:
    """The files that are read."""
    return [Path(source.path)]
