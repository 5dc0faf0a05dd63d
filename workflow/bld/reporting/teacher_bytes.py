"""What was measured of the teachers' byte distributions: the audit of each cache, and what bytes
tell of tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from bld.reporting.numbers import number, percent
from bld.reporting.source import Source

DISTRIBUTIONS = {
    "strict": "stricter policy",
    "policy": "policy of the cache",
    "stored": "cache, as stored",
}
"""The distributions of an audit, from the reference to what students learn from."""

COLUMNS = {
    "caches": (
        "cache documents bytes disk_per_byte lost_mean lost_max lost_exceeded moved storage_kl storage_share strict policy "
        "stored strict_lost stored_lost token_bits byte_bits known first_byte beyond_bytes beyond_bits"
    ),
    "audit": (
        "cache distribution jsd_mean jsd_p99 jsd_max total_variation_mean total_variation_p99 total_variation_max "
        "bits_per_byte true_byte_lost"
    ),
    "audit_worst": "cache id kind jsd worst_jsd before symbol",
    "information": "cache by bytes tokens token_bits byte_bits known",
}


@dataclass(frozen=True)
class CacheInputs:
    """A byte cache that runs learn from, and its files: `audit`, and `information` where the teacher has
    tokens of its own."""

    teacher: str
    corpus: str
    split: str
    files: Mapping[str, Path]

    @property
    def missing(self) -> list[Path]:
        return [path for path in self.files.values() if not path.exists()]


@dataclass(frozen=True)
class TeacherBytes:
    """A cache's measures as read; no `information` of a teacher without tokens of its own."""

    name: str
    audit: dict[str, Any]
    information: dict[str, Any] | None


def read_teacher_bytes(inputs: CacheInputs) -> TeacherBytes:
    """Read the measures of one cache."""
    found = {
        what: json.loads(path.read_text(encoding="utf-8")) for what, path in inputs.files.items()
    }
    name = f"{inputs.teacher} on {inputs.corpus}, {inputs.split}"
    return TeacherBytes(name, found["audit"], found.get("information"))


def cache_tables(caches: Sequence[TeacherBytes]) -> dict[str, pd.DataFrame]:
    """All frames on caches by name. In `information`, `bytes` is a position in the token or its
    length, as `by` says; 11 stands for all from there on."""
    rows = {
        "caches": [_cache_row(one) for one in caches],
        "audit": [row for one in caches for row in _audit_rows(one)],
        "audit_worst": [{"cache": one.name} | row for one in caches for row in one.audit["worst"]],
        "information": [
            {"cache": one.name, "by": by, "bytes": row[by]} | row
            for one in caches
            if one.information
            for by in ("position", "length")
            for row in one.information[f"by_{by}"]
        ],
    }
    return {
        name: pd.DataFrame(found, columns=COLUMNS[name].split()) for name, found in rows.items()
    }


def _cache_row(one: TeacherBytes) -> dict[str, Any]:
    audit = one.audit
    lost, storage = audit["lost_mass"], audit["storage"]
    return {
        "cache": one.name,
        "documents": audit["documents"],
        "bytes": audit["bytes"],
        "disk_per_byte": audit["bytes_on_disk"] / audit["supervised_bytes"],
        "lost_mean": lost["mean"],
        "lost_max": lost["max"],
        "lost_exceeded": lost["exceeded"],
        "moved": audit["total_variation"]["policy"]["mean"],
        "storage_kl": storage["kl"],
        "storage_share": storage["share_of_entropy"],
        **audit["bits_per_byte"],
        "strict_lost": audit["true_byte_lost"]["strict"],
        "stored_lost": audit["true_byte_lost"]["stored"],
        **(_known(one.information) if one.information else {}),
    }


def _known(information: Mapping[str, Any]) -> dict[str, float]:
    beyond = information["beyond_heads"]
    return {
        "token_bits": information["token_bits"],
        "byte_bits": information["byte_bits"],
        "known": information["ratio"],
        "first_byte": information["by_position"][0]["known"],
        "beyond_bytes": beyond["bytes"],
        "beyond_bits": beyond["byte_bits"],
    }


def _audit_rows(one: TeacherBytes) -> list[dict[str, Any]]:
    """One row per distribution; the stricter policy has no distance to itself."""
    audit = one.audit
    return [
        {
            "cache": one.name,
            "distribution": name,
            **_distance("jsd", audit["jsd"].get(name)),
            **_distance("total_variation", audit["total_variation"].get(name)),
            "bits_per_byte": audit["bits_per_byte"][name],
            "true_byte_lost": audit["true_byte_lost"][name],
        }
        for name in DISTRIBUTIONS
    ]


def _distance(measure: str, figures: Mapping[str, float] | None) -> dict[str, float | None]:
    return {
        f"{measure}_{which}": None if figures is None else figures[which]
        for which in ("mean", "p99", "max")
    }


class Told:
    """A cache's measures in plain sentences; `row` is its place in the frame of caches."""

    def __init__(self, one: TeacherBytes, row: int, source: Source) -> None:
        self.name = one.name
        self._one, self._row, self._source = one, row, source

    def audit(self) -> list[Markup]:
        """What the cache holds and what the audit says of it."""
        return [self._contents(), self._costs(), self._lost(), self._storage()]

    def information(self) -> list[Markup]:
        """What bytes tell of tokens, where there are some."""
        if not self._one.information:
            return []
        return [
            self._say(
                "Before a token, the teacher\u2019s token distribution has {} bits of entropy on average; its byte "
                "distributions along the token have {} together, {} of that. The first byte alone has {}.",
                token_bits=_two,
                byte_bits=_two,
                known=percent,
                first_byte=percent,
            ),
            self._say(
                "Ten byte heads do not see {} of the bytes, which hold {} of the bytes\u2019 entropy.",
                beyond_bytes=percent,
                beyond_bits=percent,
            ),
        ]

    def _say(self, text: str, **numbers: Any) -> Markup:
        cells = [self._source("caches", self._row, name, show) for name, show in numbers.items()]
        return Markup(text).format(*cells)

    def _contents(self) -> Markup:
        own = _policy(self._one.audit["settings"]["own"])
        text = f"The cache sums {own}. It takes {{}} bytes on disk for a byte of text."
        return self._say(text, disk_per_byte=lambda x: number(x, 1))

    def _costs(self) -> Markup:
        lost, settings = self._one.audit["true_byte_lost"], self._one.audit["settings"]
        own, strict = settings["own"], settings["strict"]
        is_own_in_full = strict == {**own, "eps": 0} and own["histories"] == "prefix"
        again = "without dropping any" if is_own_in_full else f"over {_policy(strict)}"
        told = self._say(
            f"For the audit, {{}} documents ({{}} bytes) were summed again {again}. The text then costs {{}} bits per "
            "byte; under the policy of the cache it costs {}, as stored {}.",
            documents=_whole,
            bytes=_whole,
            strict=number,
            policy=number,
            stored=number,
        )
        if not lost["stored"]:
            return told + Markup(" No true byte is lost in the cache.")
        return told + self._say(
            " {} true bytes are lost in the cache, {} under the stricter policy.",
            stored_lost=_whole,
            strict_lost=_whole,
        )

    def _lost(self) -> Markup:
        told = self._say(
            "The cache says that the dropped histories held at most {} of the mass at a byte on average, and {} at the "
            "worst byte. Dropping them moved {} on average, ",
            lost_mean=percent,
            lost_max=percent,
            moved=_percent_2,
        )
        if not self._one.audit["lost_mass"]["exceeded"]:
            return told + Markup("nowhere more than the cache says.")
        return told + self._say(
            "at {} of the bytes more than the cache says.", lost_exceeded=_percent_2
        )

    def _storage(self) -> Markup:
        if self._one.audit["storage"]["kl"] is None:
            return Markup(
                "The cache gives no probability to symbols that its own policy holds possible: it is "
                "not what was computed, and has to be scored again."
            )
        return self._say(
            "Storage loses {} nats a byte, {} of the distributions\u2019 entropy.",
            storage_kl=lambda x: number(x, 4),
            storage_share=percent,
        )


def _policy(policy: Mapping[str, Any]) -> str:
    name = {
        "trunk": "the tokens of the whole text alone (trunk)",
        "prefix": "the tokens of the text up to each byte, beside those of the whole text (prefix)",
        "beam": f"the ways to spell the text that a beam of {policy.get('beam_width')} finds (beam)",
    }[policy["histories"]]
    eps = policy.get("eps")
    if eps is None:
        return name
    return f"{name}, " + (
        f"less those with at most {percent(eps)} of the mass" if eps else "none dropped"
    )


def _whole(value: float) -> str:
    return number(value, 0)


def _two(value: float) -> str:
    return number(value, 2)


def _percent_2(value: float) -> str:
    return percent(value, 2)
