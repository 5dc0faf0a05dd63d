"""The tables of the page on byte caches."""

from __future__ import annotations

from markupsafe import Markup

from bld.reporting.cells import (
    FIVE,
    FOUR,
    INTEGER,
    ONE,
    PERCENT_2,
    TWO,
    Cell,
    Cells,
    PageTable,
    Row,
    text_column,
)
from bld.reporting.rows import DISTRIBUTIONS
from bld.reporting.tables import Tables
from bld.reporting.words import percent
from bld.symbols import HEAD_BYTES


def contents(tables: Tables) -> PageTable:
    """What each cache holds, and what was lost on the way."""
    cells = Cells(tables.frames, "caches")

    def policy(row: Row) -> str:
        """How the cache sums over token histories."""
        own = tables.caches[row.Index].audit["settings"]["own"]
        return ", ".join([own["histories"], *(f"{x} {own[x]}" for x in own if x != "histories")])

    column, also = cells.column, cells.also
    return cells.page_table(
        "teacher-bytes",
        "Contents and losses",
        "By cache, with its policy for token histories: audited documents; bytes on disk per byte "
        "of text; the bound on the mass of dropped histories, mean and maximum over bytes; total "
        "variation by dropping them, and how often it exceeds the bound; nats per byte lost by "
        "storing; entropy of the teacher\u2019s next token in bits, and that of its bytes "
        "together; and the bytes that ten byte heads do not see.",
        {
            "Cache": text_column(lambda row: row.cache, policy),
            "Audited": column("documents", INTEGER, also("bytes", INTEGER, "{} bytes")),
            "Disk": column("disk_per_byte", ONE),
            "Dropped mass": column("lost_mean", percent, also("lost_max", percent, "at most {}")),
            "Moved": column("moved", PERCENT_2, also("lost_exceeded", PERCENT_2, "{} exceed")),
            "Storage": column("storage_kl", FOUR, also("storage_share", percent, "{} of entropy")),
            "Token entropy": column("token_bits", TWO),
            "Byte entropy": column("byte_bits", TWO, also("known", percent, "{} of token\u2019s")),
            "Beyond heads": column(
                "beyond_bytes", percent, also("beyond_bits", percent, "{} of entropy")
            ),
        },
    )


def audit(tables: Tables) -> PageTable:
    """Distances of each cache to a stricter policy."""
    cells = Cells(tables.frames, "audit")
    return cells.page_table(
        "teacher-bytes",
        "Audit",
        "Jensen\u2013Shannon divergence (JSD, in nats) and total variation (0 to 1) are distances "
        "to the stricter policy, mean and 99th percentile over bytes. Lost bytes are true bytes "
        "with a probability below 10\u207b\u2079.",
        {
            "Distribution": text_column(
                lambda row: DISTRIBUTIONS[row.distribution], lambda row: _cache(row, tables)
            ),
            "JSD": cells.column("jsd_mean", FIVE),
            "JSD, 99\u00a0%": cells.column("jsd_p99", FIVE),
            "Total variation": cells.column("total_variation_mean", FIVE),
            "Total variation, 99\u00a0%": cells.column("total_variation_p99", FIVE),
            "Bits per byte": cells.column("bits_per_byte", FOUR),
            "Lost bytes": cells.column("true_byte_lost", INTEGER),
        },
        is_quiet=lambda row: row.distribution == "strict",
    )


def worst(tables: Tables) -> PageTable:
    """The documents on which caches are farthest from the stricter policy."""
    cells = Cells(tables.frames, "audit_worst")

    def context(row: Row) -> Cell:
        text = Markup("<code>{}<mark>{}</mark></code>").format(row.before, row.symbol)
        return Cell(text, row.before, is_number=False)

    return cells.page_table(
        "teacher-bytes",
        "Documents farthest from the stricter policy",
        "Each with the byte at which the cache is farthest off: the text before it and, marked, "
        "the symbol that follows.",
        {
            "Document": text_column(lambda row: row.id, lambda row: _cache(row, tables)),
            "Kind": text_column(lambda row: row.kind),
            "JSD": cells.column("jsd", FOUR),
            "Worst": cells.column("worst_jsd", FOUR),
            "Context": context,
        },
    )


def information(tables: Tables) -> PageTable:
    """How much of the teacher's tokens their bytes determine."""
    cells = Cells(tables.frames, "information")
    return cells.page_table(
        "teacher-bytes",
        "Information by byte of the token",
        "Known is the entropy of all bytes up to this one, summed over all tokens, as a fraction "
        "of the entropy of the tokens.",
        {
            "Byte of the token": text_column(
                lambda row: f"{row.bytes}{'+' * (row.bytes > HEAD_BYTES)}",
                lambda row: _cache(row, tables),
            ),
            "Tokens that reach it": cells.column("tokens", INTEGER),
            "Entropy of the byte, bits": cells.column("byte_bits"),
            "Known": cells.column("known", percent),
        },
        rows=cells.frame[cells.frame["by"] == "position"].itertuples(),
    )


def _cache(row: Row, tables: Tables) -> str:
    """The name of a row's cache, where there are several."""
    return row.cache if len(tables.caches) > 1 else ""
