"""Is the code in the crate the code that the records tell of, and which commit is it?"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from bld.files import sha256_of
from bld.pipeline.code_digest import PACKAGE, code_modules, loaded_modules
from bld.publishing.bundle import FILES, holds, tracked, unpack
from bld.publishing.checks.records import Record, Records
from bld.publishing.findings import Findings, count, some
from bld.publishing.reading import BUNDLE, CONFIGURATION, RESULTS, Crate

IN_CRATE = "workflow/bld"
FINGERPRINT = "pipeline/code_digest.py"
OWN_CODE = "to be sure, verify the crate with its own code, in a folder that `reproduce` makes"
NO_CODE = {*RESULTS, CONFIGURATION, BUNDLE}


def check_code(crate: Crate, records: Records, findings: Findings) -> None:
    """The modules of the crate's own code have the digests that the records hold."""
    names = [name for name in crate.names if name.startswith(f"{IN_CRATE}/")]
    with TemporaryDirectory() as folder:
        crate.extract(names, Path(folder))
        package = Path(folder) / IN_CRATE
        found = {
            what: _modules(*what, package)
            for what in {_what(one, package) for one in records.values()}
        }
    changed: dict[str, list[str]] = defaultdict(list)
    problems = []
    for name, record in records.items():
        here = found[_what(record, package)]
        if isinstance(here, str):
            problems.append(
                f"{name}: the code of {record.stage} cannot be read in the crate: {here}"
            )
            continue
        there = record.step.code.modules
        for module in sorted(here.keys() | there.keys()):
            if here.get(module) != there.get(module):
                changed[module].append(name)
    problems += [
        f"{module}: the crate holds another version than that which ran, according to {some(names)}"
        for module, names in changed.items()
    ]
    doubts = [f"it takes the digests of code in another way than here ({OWN_CODE})"]
    findings.conclude(
        problems,
        "the code in the crate is that which ran, module by module (comments and docstrings apart)",
        [] if is_ours(crate, FINGERPRINT) else doubts,
    )


def check_commit(crate: Crate, records: Records, findings: Findings) -> None:
    """Whether the commits that the records name are in the bundle, and the crate's files those of its
    commit."""
    commits = {one.version.commit for one in records.values()} - {None}
    if BUNDLE not in crate:
        findings.not_checked.append(
            f"the commit of the code: the crate has no repository ({BUNDLE}), and its records name "
            f"{some({str(one) for one in commits}) or 'none'}"
        )
        return
    with TemporaryDirectory() as folder:
        crate.extract([BUNDLE], Path(folder))
        repository = Path(folder) / "repository"
        try:
            head = unpack(Path(folder) / BUNDLE, repository)
        except ValueError as error:
            findings.problems.append(f"{BUNDLE}: {error}")
            return
        unknown = sorted(str(one) for one in commits if not holds(repository, str(one)))
        committed = {
            name: sha256_of(repository / name)
            for name, mode in tracked(repository).items()
            if mode in FILES
        }
    # Whoever amends a commit after a training is no forger; the code itself is checked module by module.
    findings.not_checked += [
        f"{some([name for name, one in records.items() if one.version.commit == commit])}: ran commit {commit} according to "
        f"the record, which {BUNDLE} does not hold; perhaps it was amended since"
        for commit in unknown
    ]
    if None in {one.version.commit for one in records.values()}:
        findings.not_checked.append("the commit of steps that ran outside of a git repository")
    findings.checked.append(_told(crate, head, committed, records))


def _told(crate: Crate, head: str, committed: Mapping[str, str], records: Records) -> str:
    """Which commit it is, and what is not from it."""
    edited = sum(one.version.uncommitted is not None for one in records.values())
    code = [name for name in crate.files if name.split("/")[0] not in NO_CODE]
    differ = [name for name in code if committed.get(name) != crate.digest(name)]
    by_commit = Counter(str(one.version.commit) for one in records.values() if one.version.commit)
    ran = [f"{count(by_commit[commit], 'step')} ran {commit}" for commit in sorted(by_commit)]
    told = f"{BUNDLE} holds commit {head}, and all that went before it; {some(ran) or 'no step names a commit'}"
    if edited:
        told += f"; {count(edited, 'step')} ran with uncommitted changes"
    if differ:
        told += f"; {count(len(differ), 'file')} of the crate not as committed ({some(differ)})"
    return told


def _what(record: Record, package: Path) -> tuple[str, tuple[str, ...]]:
    """The stage of a record, and the modules that it imported by name."""
    return record.stage, loaded_modules(record.step.settings, package)


def _modules(stage: str, loaded: tuple[str, ...], package: Path) -> dict[str, str] | str:
    """The digests of a stage's modules, or why there are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        try:
            return code_modules(f"bld.stages.{stage}", package, loaded)
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return str(error).replace(str(package), IN_CRATE)


def is_ours(crate: Crate, *modules: str) -> bool:
    """Whether files of the package are in the crate as they are here."""
    names = {module: f"{IN_CRATE}/{module}" for module in modules}
    return all(
        name in crate and crate.read(name) == (PACKAGE / module).read_bytes()
        for module, name in names.items()
    )
