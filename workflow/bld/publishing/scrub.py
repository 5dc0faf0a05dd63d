"""Takes out of texts what concerns nobody else: tokens and passwords, and who ran the workflow and where.

A secret is known by its shape or from the environment, a place by `bld.privacy`, a person by the name of the
account, as it is and as a word. Not looked for: the account in other letters or as a part of a word, other people,
names of hosts, and what is written in any code but that of addresses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping
from urllib.parse import quote

from bld.privacy import USER, account, anonymised

GONE = "REDACTED"
PLACE = "a path of the machine"
# Of an address; ASCII alone, since random bytes of weights would look like one too often.
USER_PART = r"[A-Za-z0-9._~!$&()*+,;=%#?|^-]"
SHAPES = {
    "a token of Hugging Face": r"\bhf_[A-Za-z0-9]{20,}",
    "a token of GitHub": r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})",
    "a token of GitLab": r"\bglpat-[\w-]{20,}",
    "a token of Slack": r"\bxox[abprs]-[\w-]{10,}",
    "a key of an API": r"\bsk-[A-Za-z0-9_-]{20,}",
    "a key of AWS": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "a key of Google": r"\bAIza[\w-]{30,}",
    "a web token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:.|\n)*?-----END [A-Z ]*PRIVATE KEY-----",
    "a header with a token": r"(?i:(?<=bearer )|(?<=authorization: basic ))[\w.~+/=-]{12,}",
    "a password in an address": rf"(?<=://){USER_PART}*:{USER_PART}+(?=@)",
}
SIGNS = {
    "a token of Hugging Face": ["hf_"],
    "a token of GitHub": ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
    "a token of GitLab": ["glpat-"],
    "a token of Slack": ["xox"],
    "a key of an API": ["sk-"],
    "a key of AWS": ["akia", "asia"],
    "a key of Google": ["aiza"],
    "a web token": ["eyj"],
    "a private key": ["private key"],
    "a header with a token": ["bearer", "authorization"],
    "a password in an address": ["://"],
}
"""What a text has in small letters if it has such a secret. Most have none, and looking for these is a hundred times faster."""
PASSWORDS = re.compile(r"PASSWORD|PASSWD|PASSPHRASE|SECRET", re.IGNORECASE)
"""In the name of a variable whose value is a secret whatever it looks like."""
KEYS = re.compile(r"(?!GIT_CONFIG_)(?:.*_)?(?:TOKEN|(?:API)?KEY)S?(?:_.*)?", re.IGNORECASE)
"""Names of variables whose values are secrets unless they may be words, as of a key to sort by."""
SHORTEST_SECRET, LONGEST_WORD = 8, 15


class Scrubber:
    """Knows the secrets of this environment; the account's name stays where it is one of `words`, since those are
    the workflow's own."""

    def __init__(self, environment: Mapping[str, str], words: Container[str] = ()) -> None:
        self._shapes = {what: re.compile(shape) for what, shape in SHAPES.items()}
        self._signs = dict(SIGNS)
        if secrets := _secrets(environment):
            what = "a secret of the environment"
            self._shapes[what] = re.compile("|".join(map(re.escape, secrets)))
            self._signs[what] = [secret.lower() for secret in secrets]
        self._account, name = None, account()
        if name and name not in words:
            self._account = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")

    def secrets(self, data: bytes) -> list[str]:
        """What secrets are in bytes of any kind, in words."""
        text = data.decode("utf-8", errors="replace")
        return [what for what in self._suspected(text) if self._shapes[what].search(text)]

    def leaks(self, data: bytes) -> list[str]:
        """What secrets and what places of a person are in bytes of any kind, in words."""
        text = data.decode("utf-8", errors="replace")
        return self.secrets(data) + [PLACE] * (anonymised(text) != text)

    def clean(self, text: str) -> tuple[str, list[str]]:
        """The text without secrets and without a person, and in words what was taken out."""
        found = []
        for what in self._suspected(text):
            text, count = self._shapes[what].subn(GONE, text)
            found += [what] * bool(count)
        without = anonymised(text)
        found += [PLACE] * (without != text)
        if self._account:
            without, count = self._account.subn(USER, without)
            found += ["the name of an account"] * bool(count)
        return without, found

    def _suspected(self, text: str) -> list[str]:
        small = text.lower()
        return [what for what, signs in self._signs.items() if any(sign in small for sign in signs)]


def _secrets(environment: Mapping[str, str]) -> list[str]:
    """Values of variables that are named like secrets, as they are, as in JSON and as in addresses; longest first."""
    values = {
        value
        for name, value in environment.items()
        if len(value) >= SHORTEST_SECRET
        and (PASSWORDS.search(name) or (KEYS.fullmatch(name) and not _may_be_a_word(value)))
    }
    written = {form for v in values for form in (v, json.dumps(v)[1:-1], quote(v, safe=""))}
    return sorted(written, key=lambda form: (-len(form), form))


def _may_be_a_word(value: str) -> bool:
    return value.isalpha() and len(value) <= LONGEST_WORD
