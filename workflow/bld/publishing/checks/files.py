"""Is everything in the crate that it describes, nothing else, and as described?"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from bld.publishing.contents import NO_TEXTS
from bld.publishing.findings import Findings, count, some
from bld.publishing.reading import METADATA, Crate


def check_files(crate: Crate, findings: Findings) -> None:
    """Every file is described and every described file there, with its size and digest."""
    missing = sorted(crate.files.keys() - set(crate.names))
    extra = sorted(set(crate.names) - crate.files.keys() - {METADATA})
    problems = [
        *(f"{name}: described in the metadata, but not in the crate" for name in missing),
        *(f"{name}: in the crate, but not described in the metadata" for name in extra),
    ]
    for name in sorted(crate.files.keys() & set(crate.names)):
        problems += _differences(crate, name)
    redacted = [name for name in crate.files if crate.is_redacted(name)]
    problems += [
        f"{name}: something was taken out of it according to the metadata, which is done to texts alone"
        for name in redacted
        if PurePosixPath(name).suffix in NO_TEXTS
    ]
    size = sum(crate.size(name) for name in crate.names)
    findings.conclude(
        problems,
        f"all {count(len(crate.files), 'file')} of the crate ({size:,} bytes) are described and have their size and SHA-256",
    )
    if redacted:
        findings.not_checked.append(
            f"that what was taken out of {count(len(redacted), 'file')} was personal ({some(redacted)}): "
            "the digest of the original is known, the original is not"
        )
    if crate.described:
        listed = (str(one.get("contentSize")) for one in crate.described.values())
        size = sum(int(one) for one in listed if one.isdecimal())
        findings.not_checked.append(
            f"{count(len(crate.described), 'file')} ({size:,} bytes) that the crate knows by digest alone, such as weights and "
            f"documents ({some(crate.described)}): compare `sha256sum` where you have them"
        )


def _differences(crate: Crate, name: str) -> list[str]:
    entity = crate.files[name]
    found: list[tuple[str, Any, Any]] = [
        ("bytes", entity.get("contentSize"), crate.size(name)),
    ]
    try:
        found.append(("SHA-256", entity.get("sha256"), crate.sha256(name)))
    except ValueError as error:
        return [str(error)]
    return [
        f"{name}: the metadata says {what} {expected}, found {here}"
        for what, expected, here in found
        if str(expected) != str(here)
    ]
