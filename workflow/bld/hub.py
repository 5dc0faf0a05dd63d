"""Repositories of the Hugging Face hub as plain folders: fetched at one commit, checked against
the digests that the hub states, and with the licence that they name.

The hub's own client does the work; a mirror is used as it does, through HF_ENDPOINT.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, errors, metadata_load, snapshot_download

# That of the client which the hub's library uses, whichever it is.
HTTPError: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]
CARD = "README.md"
LICENCE_FILES = ["LICENSE*", "LICENCE*", "COPYING*", "NOTICE*", "USE_POLICY*"]
LICENCE_KEYS = ["license", "license_name", "license_link"]
LOG_IN = "log in with `hf auth login` (or set HF_TOKEN)"
UNKNOWN_REVISION = "0" * 40
NAME_REVISION = (
    "write `main`, another branch or a tag, which `snakemake fetch` looks up once, or a commit, "
    "from the repository's page under 'Files and versions', then 'History'"
)


def commit_of(name: str, revision: str, kind: str) -> str:
    """The commit that a branch or a tag of a repository stands for now.

    Raises ValueError if the hub cannot be reached or refuses, or does not know either.
    """
    try:
        found = HfApi().repo_info(name, repo_type=kind, revision=revision).sha
    except (HTTPError, OSError) as error:
        raise ValueError(f"{name}: {_explanation(error, revision)}") from error
    assert found, "asked for without fields, the hub says all of them"
    return found


def fetch(name: str, revision: str, kind: str, patterns: Sequence[str], folder: Path) -> None:
    """Fill the empty `folder` with those files of a repository ("model", "dataset" or "space") that
    match, its card and its licence.

    Raises ValueError if the revision is a placeholder, if the hub cannot be reached or refuses, if
    it does not know the repository or the commit, if no file matches, and if a file is not the one
    that the hub states by size and digest.
    """
    if revision == UNKNOWN_REVISION:
        raise ValueError(
            f"{name}: the revision in the configuration is a placeholder (40 zeros); "
            f"{NAME_REVISION}"
        )
    try:
        snapshot_download(
            name,
            repo_type=kind,
            revision=revision,
            allow_patterns=[*patterns, CARD, *LICENCE_FILES],
            local_dir=folder,
        )
        found = HfApi().verify_repo_checksums(
            name, repo_type=kind, revision=revision, local_dir=folder
        )
    except (HTTPError, OSError) as error:
        raise ValueError(f"{name}: {_explanation(error, revision)}") from error
    # The client's notes hold times, and the same commit must give the same manifest.
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    if found.mismatches:
        raise ValueError(
            f"{name}: what came is not what the hub states, in "
            + ", ".join(
                f"{wrong['path']} (expected {wrong['algorithm']} {wrong['expected']}, found "
                f"{wrong['actual']})"
                for wrong in found.mismatches
            )
            + "; run this again, and if it stays so, ask who keeps the mirror"
        )
    fetched = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    if not any(fnmatch(file, pattern) for file in fetched for pattern in patterns):
        raise ValueError(
            f"{name}: no file matches {', '.join(patterns)}; it has "
            f"{', '.join(sorted([*fetched, *found.missing_paths])) or 'none at all'}"
        )


def _explanation(error: BaseException, revision: str) -> str:
    """What went wrong with a repository and what to do about it."""
    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__:
        error = error.__cause__
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    if isinstance(error, errors.RevisionNotFoundError):
        return f"there is no revision {revision} in it; {NAME_REVISION}"
    if isinstance(error, errors.GatedRepoError) or status == 403:
        return (
            "it is gated, and you have not been let in; accept its licence on its page, then "
            f"{LOG_IN}"
        )
    if isinstance(error, errors.RepositoryNotFoundError) or status == 401:
        return f"there is no such repository, or it is not public; check the name, or {LOG_IN}"
    if status:
        return f"the hub answers with status {status}; try again later"
    if isinstance(error, HTTPError):
        return (
            f"the hub cannot be reached from this machine ({type(error).__name__}); fetch where "
            "there is internet, which is a login node as a rule, name a mirror in HF_ENDPOINT, or "
            "copy the files to disk and write `path:` for `hub:`"
        )
    return f"{error}; run this again"


def licence_of(folder: Path) -> dict[str, Any]:
    """What the files of a repository say of its licence: the card's words, and which files hold its
    text."""
    card = folder / CARD
    words = (metadata_load(card) if card.is_file() else None) or {}
    return {key: words[key] for key in LICENCE_KEYS if key in words} | {
        "files": sorted(
            path.name
            for path in folder.iterdir()
            if any(fnmatch(path.name.upper(), pattern) for pattern in LICENCE_FILES)
        )
    }
