"""Finds what must not be published: secrets, and who ran the workflow and where.

Secrets are known by their shape (detect-secrets) or as values of variables of this environment,
places by `bld.privacy`, the account and the machine by their names.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, cast
from urllib.parse import quote

from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from detect_secrets.plugins.base import BasePlugin, RegexBasedDetector

from bld.privacy import account, anonymised

PASSWORDS = re.compile(r"PASSWORD|PASSWD|PASSPHRASE|SECRET", re.IGNORECASE)
"""In the name of a variable whose value is a secret whatever it looks like."""
KEYS = re.compile(r"(?!GIT_CONFIG_)(?:.*_)?(?:TOKEN|(?:API)?KEY)S?(?:_.*)?", re.IGNORECASE)
"""Names of variables whose values are secrets unless they may be words, as of a key to sort by."""
MIN_SECRET, MAX_WORD = 8, 15
NO_SECRETS = "IPPublicDetector"
"""The one plugin of detect-secrets by shape that detects something else, addresses of
machines."""


class TokenDetector(RegexBasedDetector):
    """Tokens that detect-secrets has no plugin for: Hugging Face, Google, other APIs, and
    headers."""

    secret_type = "Access Token"
    denylist = (
        re.compile(r"\bhf_[A-Za-z0-9]{20,}"),
        re.compile(r"\bAIza[\w-]{30,}"),
        re.compile(r"\bsk-[A-Za-z0-9_-]{20,}"),
        re.compile(r"(?i:\bbearer |\bauthorization: basic )(?=[\w.~+/=-]*\d)[\w.~+/=-]{12,}"),
    )


class Leak(NamedTuple):
    """What should not be in a text: the first `line` with it, and of which `kind` it is; never
    itself."""

    line: int
    kind: str
    is_secret: bool

    def refusal(self, path: str) -> str:
        """Why no crate is written, and what to do."""
        remedy = "take it out, revoke it" if self.is_secret else "name it relative to this folder"
        return (
            f"{path}, line {self.line}: holds {self.kind}, so no crate is written; {remedy}, and "
            "if a step wrote it, take it out of the settings or files that the step reads and run "
            "that again"
        )


class Detector:
    """Looks for the secrets of any environment and of this one, for paths of this machine, and for
    the names of account and machine unless they are among the `public` words."""

    def __init__(self, environment: Mapping[str, str], public: Collection[str] = ()) -> None:
        known = cast(Iterable[type[BasePlugin]], get_mapping_from_secret_type_to_class().values())
        shapes = [one for one in known if issubclass(one, RegexBasedDetector)]
        self._plugins: list[BasePlugin] = [TokenDetector()]
        self._plugins += [one() for one in shapes if one.__name__ != NO_SECRETS]
        self._values = _any_of(_secrets(environment))
        names = {account(), socket.gethostname()} - {None, "", "localhost", *public}
        self._names = _any_of(sorted(map(str, names)), r"(?<!\w)", r"(?!\w)")

    def leak(self, text: str, names: bool = True) -> Leak | None:
        """The first leak of a text; without `names` that of account and machine may stand in it."""
        if not (found := self._kind(text, names)):
            return None
        for number, line in enumerate(text.split("\n"), 1):
            if in_line := self._kind(line, names):
                return Leak(number, *in_line)
        return Leak(1, *found)

    def _kind(self, text: str, names: bool) -> tuple[str, bool] | None:
        for plugin in self._plugins:
            if next(plugin.analyze_string(text), None) is not None:
                return f"a secret ({plugin.secret_type})", True
        if self._values and self._values.search(text):
            return "a secret of the environment", True
        if anonymised(text) != text:
            return "a path of this machine", False
        if names and self._names and self._names.search(text):
            return "the name of the account or of the machine", False
        return None


def _any_of(texts: Collection[str], before: str = "", after: str = "") -> re.Pattern[str] | None:
    choices = "|".join(map(re.escape, texts))
    return re.compile(f"{before}(?:{choices}){after}") if choices else None


def _secrets(environment: Mapping[str, str]) -> list[str]:
    """Values of variables that are named like secrets: as they are, as in JSON and as in
    addresses."""
    values = {
        value
        for name, value in environment.items()
        if len(value) >= MIN_SECRET
        and (PASSWORDS.search(name) or (KEYS.fullmatch(name) and not _may_be_a_word(value)))
    }
    return sorted({form for v in values for form in (v, json.dumps(v)[1:-1], quote(v, safe=""))})


def _may_be_a_word(value: str) -> bool:
    return value.isalpha() and len(value) <= MAX_WORD
