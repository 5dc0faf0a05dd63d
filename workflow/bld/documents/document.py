"""A document: the unit that is split, sharded, scored and trained on.

It holds content only: segments of bytes with a role. Chat templates belong to models and are put
around the content when a document is rendered for one of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bld.arrays import around_difference
from bld.documents.intake import RowError
from bld.symbols import REASONING, TOOL_CALLS, TOOLS, Segment

SUPERVISED_ROLES = frozenset({"assistant", "text"})


@dataclass(frozen=True)
class Document:
    """Content with roles. Raises RowError, naming document and offset, for content that is not
    valid UTF-8.

    `kind` is for reporting: "source", "docstring", "topic", "conversation" or "text". Documents of
    one `group` (of one module, say, or with identical texts) are not independent: they never fall
    into different splits, and intervals draw them together.
    """

    id: str
    kind: str
    group: str
    segments: list[Segment]

    def __post_init__(self) -> None:
        encode(self.id, f"document id {self.id!a}")
        if not self.segments:
            raise ValueError(f"document {self.id!r} has no segments; leave it out")
        start = 0
        for segment in self.segments:
            try:
                segment.text.decode()
            except UnicodeDecodeError as error:
                raise RowError(
                    "not valid UTF-8",
                    f"document {self.id!r}",
                    f"not valid UTF-8 at byte offset {start + error.start} of the content "
                    f"({error.reason}); convert the source to UTF-8",
                ) from error
            start += len(segment.text)

    @property
    def has_fields(self) -> bool:
        """Whether something stands beside the contents that templates write in their own way."""
        return any(segment.role in (REASONING, TOOL_CALLS, TOOLS) for segment in self.segments)

    @property
    def content(self) -> bytes:
        """The bytes of all segments, joined; offsets count in these."""
        return b"".join(segment.text for segment in self.segments)

    @property
    def supervised(self) -> bytes:
        """The bytes of the supervised segments, joined."""
        return b"".join(segment.text for segment in self.segments if segment.supervised)


def id_digest(id: str) -> bytes:
    """8 bytes that stand for an id where very many are remembered."""
    return hashlib.blake2b(id.encode(errors="surrogatepass"), digest_size=8).digest()


def check_same_text(id: str, texts: Sequence[bytes]) -> None:
    """Raises ValueError, telling two texts, if what is trained on of a document is not the same as
    the templates of several models write it."""
    first = texts[0]
    for other in texts:
        if first != other:
            ours, theirs = around_difference(first, other, 20)
            raise ValueError(
                f"document {id!r}: the template of one model writes {ours!r} where that of another "
                f"writes {theirs!r}, so their bytes cannot be compared; give teacher and student "
                "the same chat template, or set `reasoning` and `tools` of both to `context` or "
                "`drop`"
            )


def make_document(
    id: str, kind: str, turns: Iterable[tuple[str, str]], group: str | None = None
) -> Document:
    """A document of (role, text) turns; roles "text" and "assistant" are supervised.

    `group` is by default the digest of the content, so that exact duplicates stay together. Raises
    RowError for a text with a lone surrogate, which has no UTF-8.
    """
    segments = [
        Segment(role, encode(text, f"document {id!a}, {role} segment"), role in SUPERVISED_ROLES)
        for role, text in turns
    ]
    if group is None:
        group = hashlib.sha256(b"".join(segment.text for segment in segments)).hexdigest()
    return Document(id, kind, group, segments)


def encode(text: str, where: str) -> bytes:
    """UTF-8 of `text`; raises RowError naming `where` and the character if there is none."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        offset = len(text[: error.start].encode())
        raise RowError(
            "a lone surrogate",
            where,
            f"the lone surrogate U+{ord(text[error.start]):04X} at character {error.start} (byte "
            f"offset {offset}) cannot be encoded as UTF-8; repair or remove it in the source",
        ) from error
