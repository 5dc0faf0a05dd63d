"""What was measured of the teachers' byte distributions: the audit of each cache, and what bytes
tell of tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bld.reporting.wording import number, percent

ROWS = {"strict": "stricter policy", "policy": "policy of the cache", "stored": "cache, as stored"}
"""The distributions of an audit, from the reference to what students learn from."""

INFORMATION_COLUMNS = [
    "teacher", "corpus", "split", "by", "bytes", "tokens", "token_bits", "byte_bits", "known",
]  # fmt: skip


@dataclass(frozen=True)
class CacheInputs:
    """A byte cache that runs learn from, and the files of its audit and of its information."""

    teacher: str
    corpus: str
    split: str
    audit: Path
    information: Path


@dataclass(frozen=True)
class TeacherBytes:
    """A cache's measures as read."""

    teacher: str
    corpus: str
    split: str
    audit: dict[str, Any]
    information: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.teacher} on {self.corpus}, {self.split}"

    @property
    def audit_rows(self) -> list[dict[str, Any]]:
        """One row per distribution; the stricter policy has no distance to itself."""
        return [
            {
                "distribution": title,
                **_distance("jsd", self.audit["jsd"].get(name)),
                **_distance("total_variation", self.audit["total_variation"].get(name)),
                "bits_per_byte": self.audit["bits_per_byte"][name],
                "true_byte_lost": self.audit["true_byte_lost"][name],
            }
            for name, title in ROWS.items()
        ]

    def audit_sentences(self) -> list[str]:
        """What the cache holds and what the audit says of it, in plain words."""
        return [_contents(self.audit), _costs(self.audit), _lost(self.audit), _storage(self.audit)]

    def information_sentences(self) -> list[str]:
        """What bytes tell of tokens, in plain words."""
        found = self.information
        first, beyond = found["by_position"][0]["known"], found["beyond_heads"]
        return [
            f"Before a token, the teacher\u2019s token distribution has {number(found['token_bits'], 2)} "
            f"bits of entropy on average; its byte distributions along the token have "
            f"{number(found['byte_bits'], 2)} together, {percent(found['ratio'])} of that. The first "
            f"byte alone has {percent(first)}.",
            f"Ten byte heads do not see {percent(beyond['bytes'])} of the bytes, which hold "
            f"{percent(beyond['byte_bits'])} of the bytes\u2019 entropy.",
        ]


def read_teacher_bytes(inputs: CacheInputs) -> TeacherBytes:
    """Read the measures of one cache."""
    audit, information = (
        json.loads(path.read_text(encoding="utf-8")) for path in (inputs.audit, inputs.information)
    )
    return TeacherBytes(inputs.teacher, inputs.corpus, inputs.split, audit, information)


def audit_table(caches: Sequence[TeacherBytes]) -> pd.DataFrame:
    """The audits of all caches, a row per distribution: the contents of audit.csv."""
    return pd.DataFrame([_identity(one) | row for one in caches for row in one.audit_rows])


def information_table(caches: Sequence[TeacherBytes]) -> pd.DataFrame:
    """All rows by position and by length: the contents of information.csv. `bytes` is the position
    or the length; 11 stands for all from there on."""
    rows = [
        _identity(one) | {"by": by, "bytes": row[by]} | row
        for one in caches
        for by in ("position", "length")
        for row in one.information[f"by_{by}"]
    ]
    return pd.DataFrame(rows, columns=INFORMATION_COLUMNS)


def _identity(one: TeacherBytes) -> dict[str, str]:
    return {"teacher": one.teacher, "corpus": one.corpus, "split": one.split}


def _distance(measure: str, figures: Mapping[str, float] | None) -> dict[str, float | None]:
    return {
        f"{measure}_{which}": None if figures is None else figures[which]
        for which in ("mean", "p99", "max")
    }


def _contents(audit: Mapping[str, Any]) -> str:
    disk = audit["bytes_on_disk"] / audit["supervised_bytes"]
    return (
        f"The cache sums {_policy(audit['settings']['own'])}. It takes {number(disk, 1)} bytes on disk "
        "for a byte of text."
    )


def _costs(audit: Mapping[str, Any]) -> str:
    bits, lost = audit["bits_per_byte"], audit["true_byte_lost"]
    own, strict = audit["settings"]["own"], audit["settings"]["strict"]
    again = (
        "without dropping any"
        if strict == {**own, "eps": 0} and own["name"] == "prefix"
        else f"over {_policy(strict)}"
    )
    nowhere = "No true byte is lost in the cache."
    if lost["stored"]:
        nowhere = (
            f"{number(lost['stored'], 0)} true bytes are lost in the cache, {number(lost['strict'], 0)} "
            "under the stricter policy."
        )
    return (
        f"For the audit, {number(audit['documents'], 0)} documents ({number(audit['bytes'], 0)} bytes) "
        f"were summed again {again}. The text then costs "
        f"{number(bits['strict'])} bits per byte; under the policy of the cache it costs "
        f"{number(bits['policy'])}, as stored {number(bits['stored'])}. {nowhere}"
    )


def _lost(audit: Mapping[str, Any]) -> str:
    lost, moved = audit["lost_mass"], audit["total_variation"]["policy"]["mean"]
    bound = (
        "nowhere more than the cache says"
        if not lost["exceeded"]
        else f"at {percent(lost['exceeded'], 2)} of the bytes more than the cache says"
    )
    return (
        f"The cache says that the dropped histories held at most {percent(lost['mean'])} of the mass at "
        f"a byte on average, and {percent(lost['max'])} at the worst byte. Dropping "
        f"them moved {percent(moved, 2)} on average, {bound}."
    )


def _storage(audit: Mapping[str, Any]) -> str:
    storage = audit["storage"]
    if storage["kl"] is None:
        return (
            "The cache gives no probability to symbols that its own policy holds possible: it is "
            "not what was computed, and has to be scored again."
        )
    return (
        f"Storage loses {number(storage['kl'], 4)} nats a byte, "
        f"{percent(storage['share_of_entropy'])} of the distributions\u2019 entropy."
    )


def _policy(policy: Mapping[str, Any]) -> str:
    name = {
        "trunk": "the tokens of the whole text alone (trunk)",
        "prefix": "the tokens of the text up to each byte, beside those of the whole text (prefix)",
        "beam": f"the ways to spell the text that a beam of {policy.get('width')} finds (beam)",
    }[policy["name"]]
    eps = policy.get("eps")
    if eps is None:
        return name
    return f"{name}, " + (
        f"less those with at most {percent(eps)} of the mass" if eps else "none dropped"
    )
