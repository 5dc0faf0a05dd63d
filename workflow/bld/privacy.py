"""What a record or an archive says of places on a disk, without saying whose disk it was.

What lies in the working folder is named from there, what lies in the home folder from `~`, and of all
other places a folder that is named like the user becomes USER; also where a path is quoted as in
addresses. The web is public, and names in the working folder are what the configuration calls things:
both stay. Not looked for: the user's name in other letters or as a part of another, and names of hosts.
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
# Where a name begins and ends, so that /home/al is not found in /home/zyxuser or in old/home/al.
BEGINS, ENDS = r"(?<![\w.~-])", r"(?![\w-]|\.\w)"
WEB = r"https?://\S+"
# A path from outside: from the root, from a home folder, or up and out.
OUTSIDE = r"""(?<![\w.~/-])(?:/|~[\w.-]*/|(?:\.\./)+)[^\s"'`,;:<>|()\[\]{}]*"""
QUOTED = r"(?i)(?<![\w.~+%-])[\w.~+%-]*%2F[\w.~+%-]*"


def without_person(text: str) -> str:
    """`text` with no path to the working folder or the home folder, and the user's name in no path
    from outside."""
    return re.sub(QUOTED, _quoted_without_person, _plain_without_person(text))


def account() -> str | None:
    """The name of the user's account; none for a number without a name, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None


def _quoted_without_person(found: re.Match[str]) -> str:
    path = unquote(found[0])
    without = _plain_without_person(path)
    return found[0] if without == path else quote(without, safe="")


def _plain_without_person(text: str) -> str:
    for folder in _working_folders():
        text = re.sub(rf"{BEGINS}{re.escape(folder)}/(?=[\w.])", "", text)
        text = re.sub(f"{BEGINS}{re.escape(folder)}{ENDS}", ".", text)
    for folder in _homes():
        text = re.sub(f"{BEGINS}{re.escape(folder)}{ENDS}", "~", text)
    if not (user := account()):
        return text
    name = re.compile(rf"(?<=/){re.escape(user)}{ENDS}")
    return re.sub(f"{WEB}|{OUTSIDE}", lambda found: _without_user(found[0], name), text)


def told(path: Path) -> str:
    """A path from the working folder if it lies there, else without a person's name."""
    whole = Path(os.path.abspath(path))
    if whole.is_relative_to(Path.cwd()):
        return str(whole.relative_to(Path.cwd()))
    return without_person(str(whole))


def told_all(value: Any) -> Any:
    """What JSON can hold, with no person in any of its texts."""
    if isinstance(value, str):
        return without_person(value)
    if isinstance(value, dict):
        return {without_person(key): told_all(item) for key, item in value.items()}
    return [told_all(item) for item in value] if isinstance(value, list) else value


def _without_user(path: str, name: re.Pattern[str]) -> str:
    return path if re.match(WEB, path) else name.sub(USER, path)


def _working_folders() -> Iterator[str]:
    """Its name, and the one that it goes by if the shell came through a link."""
    yield from _folders(os.getcwd(), os.environ.get("PWD", ""))


def _homes() -> Iterator[str]:
    home = os.path.expanduser("~")
    yield from _folders(home, os.path.realpath(home))


def _folders(folder: str, other: str) -> Iterator[str]:
    if len(folder) > 1:
        yield folder
    if len(other) > 1 and other != folder and _is_same(folder, other):
        yield other


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
