"""A digest of the code that a step runs: that of its stage and of every module of the package that
it imports, followed through.

Syntax trees are hashed, without docstrings and comments, so that only what can change a result
changes the digest. The definitions of settings are left out: they do nothing, and the values that a
step reads stand beside the digest. Templates and style sheets count as code of the modules
in their folder.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
DEFINITIONS_ONLY = {
    "bld.config",
    "bld.config_documents",
    "bld.config_evaluation",
    "bld.config_models",
}
DATA = {".j2", ".css", ".js", ".yaml"}


@cache
def code_digest(module: str) -> str:
    """SHA-256 over the modules that `module` runs, itself included."""
    digest = hashlib.sha256()
    for name in sorted(import_closure(module)):
        digest.update(f"{name} {_module_digest(name)}\n".encode())
    return digest.hexdigest()


def import_closure(module: str) -> set[str]:
    """`module` and every module of the package that it imports, directly or through another."""
    found, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name not in found and name not in DEFINITIONS_ONLY:
            found.add(name)
            waiting += _imports(name)
    return found


@cache
def _imports(module: str) -> tuple[str, ...]:
    return tuple(name for name in _imported_names(_tree(module)) if _path(name).exists())


def _imported_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("bld."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bld"):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def _module_digest(module: str) -> str:
    tree = _tree(module)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            body[:] = [child for child in body if not _is_text(child)] or [ast.Pass()]
    digest = hashlib.sha256(ast.dump(tree).encode())
    for data in sorted(p for p in _path(module).parent.iterdir() if p.suffix in DATA):
        digest.update(data.read_bytes())
    return digest.hexdigest()


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _tree(module: str) -> ast.Module:
    return ast.parse(_path(module).read_text(encoding="utf-8"))


def _path(module: str) -> Path:
    relative = Path(*module.split(".")[1:])
    folder = PACKAGE / relative
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
