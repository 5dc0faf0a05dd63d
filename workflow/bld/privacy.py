"""Names places on a disk without saying whose disk it was: used where records, manifests and crates
are written.

What lies in the working folder is named from there, what lies in the home folder from `~`, and in
all other absolute paths a folder that is named like the user becomes USER; also where a path is
quoted as in addresses. Web addresses and names inside the working folder stay as they are.
"""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

USER = "USER"
# Where a name begins and ends, so that /home/al is not found in /home/alice or in old/home/al.
BEGINS, ENDS = r"(?<![\w.~-])", r"(?![\w-]|\.\w)"
WEB = r"https?://\S+"
# From the root, from a home folder, or up and out of the working folder.
OUTSIDE = r"""(?<![\w.~/-])(?:/|~[\w.-]*/|(?:\.\./)+)[^\s"'`,;:<>|()\[\]{}]*"""
QUOTED = r"(?i)(?<![\w.~+%-])[\w.~+%-]*%2F[\w.~+%-]*"


def anonymised(value: Any) -> Any:
    """What JSON can hold, its texts without a path to the working folder or the home folder and
    without the user's name in a path from outside."""
    if isinstance(value, str):
        return re.sub(QUOTED, _anonymised_quoted, _anonymised_plain(value))
    if isinstance(value, dict):
        return {anonymised(key): anonymised(item) for key, item in value.items()}
    return [anonymised(item) for item in value] if isinstance(value, list) else value


def portable_path(path: Path) -> str:
    """A path from the working folder if it lies there, else anonymised."""
    absolute = Path(os.path.abspath(path))
    if absolute.is_relative_to(Path.cwd()):
        return str(absolute.relative_to(Path.cwd()))
    return str(anonymised(str(absolute)))


def account() -> str | None:
    """The name of the user's account; none for a number without a name, as in some containers, and
    for `root` and others that are called like a folder of every machine."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        return None
    return None if os.path.isdir(f"/{name}") else name


def _anonymised_quoted(match: re.Match[str]) -> str:
    path = unquote(match[0])
    clean = _anonymised_plain(path)
    return match[0] if clean == path else quote(clean, safe="")


def _anonymised_plain(text: str) -> str:
    for folder in _names_of(os.getcwd(), os.environ.get("PWD", "")):
        text = re.sub(rf"{BEGINS}{re.escape(folder)}/(?=[\w.])", "", text)
        text = re.sub(f"{BEGINS}{re.escape(folder)}{ENDS}", ".", text)
    home = os.path.expanduser("~")
    for folder in _names_of(home, os.path.realpath(home)):
        text = re.sub(f"{BEGINS}{re.escape(folder)}{ENDS}", "~", text)
    if not (user := account()):
        return text
    name = re.compile(rf"(?<=/){re.escape(user)}{ENDS}")

    def without_user(match: re.Match[str]) -> str:
        return match[0] if re.match(WEB, match[0]) else name.sub(USER, match[0])

    return re.sub(f"{WEB}|{OUTSIDE}", without_user, text)


def _names_of(folder: str, alias: str) -> Iterator[str]:
    """The name of a folder, and the alias if it leads there by a link; none for the root."""
    if len(folder) > 1:
        yield folder
    is_link = len(alias) > 1 and alias != folder and os.path.exists(alias)
    if is_link and os.path.exists(folder) and os.path.samefile(folder, alias):
        yield alias
