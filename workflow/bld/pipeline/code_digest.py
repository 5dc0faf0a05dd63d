"""A digest of the code that a step runs: that of its stage, of the modules that it imports by a
name in its settings, and of every module of the package that these import, followed through.

Syntax trees are hashed, without docstrings and comments, so that only what can change a result
changes the digest; and in a form of our own, since Python's changes from version to version. The
definitions of settings are left out: they do nothing, and the values that a step reads stand beside
the digest. So is what describes a step without changing what it makes. Templates, style sheets and
tasks count as code of the modules beside them that name them, and all modules of a package as
imported by a module that lists it.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
WITHOUT_EFFECT = {"bld.config", "bld.pipeline"}
LOADED = {
    "method": "bld.training.objectives",
    "kind": "bld.tokenization.maps",
    "corpus.source.kind": "bld.documents.sources",
    "judge": "bld.documents",
}
"""Settings that may name a module which their step imports, and the folder of such modules."""
DATA = {".j2", ".css", ".js", ".yaml"}


@cache
def code_digest(module: str, package: Path = PACKAGE, loaded: tuple[str, ...] = ()) -> str:
    """SHA-256 over the modules that `module` and those `loaded` run, themselves included."""
    return digest_of(code_modules(module, package, loaded))


def loaded_modules(settings: Mapping[str, Any], package: Path = PACKAGE) -> tuple[str, ...]:
    """The modules that a step imports by a name in its settings, see LOADED."""
    names = ((folder, _setting(settings, key)) for key, folder in LOADED.items())
    modules = (f"{folder}.{name}" for folder, name in names if name.isidentifier())
    return tuple(module for module in modules if _path(module, package).exists())


def _setting(settings: Any, key: str) -> str:
    """The value of a dotted key; an empty text where there is none."""
    for part in key.split("."):
        settings = settings.get(part) if isinstance(settings, Mapping) else None
    return settings if isinstance(settings, str) else ""


def digest_of(modules: Mapping[str, str]) -> str:
    """SHA-256 over modules and their digests."""
    lines = (f"{name} {modules[name]}\n" for name in sorted(modules))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@cache
def code_modules(
    module: str, package: Path = PACKAGE, loaded: tuple[str, ...] = ()
) -> dict[str, str]:
    """The modules that `module` and those `loaded` run, themselves included, sorted, with the
    SHA-256 of each.

    `package` is the folder of the package `bld`.
    """
    return {name: _digest(name, package) for name in sorted(_closure([module, *loaded], package))}


def _closure(roots: list[str], package: Path) -> set[str]:
    """`roots` and every module of the package that they import, directly or through another."""
    found, waiting = set(), [*roots]
    while waiting:
        name = waiting.pop()
        if name not in found and not _is_without_effect(name):
            found.add(name)
            waiting += _imports(name, package)
    return found


def _is_without_effect(name: str) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in WITHOUT_EFFECT)


@cache
def _imports(module: str, package: Path) -> tuple[str, ...]:
    names, source = [*_imported_names(_tree(module, package))], _source(module, package)
    for name in [x for x in names if f"iter_modules({x.rpartition('.')[2]}.__path__" in source]:
        folder = package.joinpath(*name.split(".")[1:])
        names += [f"{name}.{path.stem}" for path in folder.glob("*.py")]
    return tuple(name for name in names if _path(name, package).exists())


def _imported_names(tree: ast.AST) -> Iterator[str]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue  # never run
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("bld."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bld"):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def _digest(module: str, package: Path) -> str:
    tree = _tree(module, package)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            body[:] = [child for child in body if not _is_text(child)] or [ast.Pass()]
    digest = hashlib.sha256(repr(plain(tree)).encode())
    for data in _data(tree, _path(module, package).parent):
        digest.update(data.read_bytes())
    return digest.hexdigest()


def _data(tree: ast.AST, folder: Path) -> list[Path]:
    """The data files of a folder that a module names, or that one of them names: by their name, or
    all that end in a text of the module."""
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    files = {path for path in folder.iterdir() if path.suffix in DATA}
    named, waiting = set[Path](), {path for path in files if {path.name, path.suffix} & texts}
    while waiting:
        path = waiting.pop()
        named.add(path)
        text = path.read_text(encoding="utf-8")
        waiting |= {other for other in files - named if other.name in text}
    return sorted(named)


def plain(node: Any) -> Any:
    """A syntax tree as nested tuples; fields without a value are left out, since each version of
    Python adds some."""
    if isinstance(node, ast.AST):
        fields = ((name, plain(value)) for name, value in ast.iter_fields(node))
        return type(node).__name__, *(pair for pair in fields if pair[1] not in (None, ()))
    return tuple(plain(item) for item in node) if isinstance(node, list) else node


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@cache
def _source(module: str, package: Path) -> str:
    return _path(module, package).read_text(encoding="utf-8")


def _tree(module: str, package: Path) -> ast.Module:
    return ast.parse(_source(module, package))


def _path(module: str, package: Path) -> Path:
    relative = Path(*module.split(".")[1:])
    folder = package / relative
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
