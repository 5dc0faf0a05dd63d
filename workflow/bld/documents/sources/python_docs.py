"""The embedded corpus: documents made from the running Python's own standard library.

Source, docstrings, the language reference that pydoc carries, and questions with answers about
documented functions. It needs no network, and files are parsed, never imported. The same Python
version gives the same documents in the same order.
"""

from __future__ import annotations

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from bld.config.sources.python_docs import PythonDocsSource
from bld.documents.cutting import lines, pack, paragraphs
from bld.documents.document import Document, make_document
from bld.documents.intake import Intake
from bld.documents.questions import Entry, conversations

MIN_BYTES = 200
EXCLUDED_FOLDERS = {"test", "tests", "idle_test", "__pycache__"}
EXCLUDED_MODULES = {
    # tables of characters and names
    *("encodings", "html.entities", "locale", "stringprep"),
    # many near-copies of one file
    *("lib2to3", "turtledemo"),
    # jokes in cipher
    *("antigravity", "this"),
    # read as topics
    "pydoc_data",
}
MIN_SHARED_CHARACTERS = 80
"""Topics that have a paragraph of this length in common are excerpts of one text."""

TWINS = {
    "aifc": "wave",
    "asynchat": "asyncore",
    "bz2": "compression",
    "cProfile": "profile",
    "chunk": "wave",
    "genericpath": "posixpath",
    "gzip": "compression",
    "lzma": "compression",
    "ntpath": "posixpath",
    "osx_support": "distutils",
    "pickletools": "pickle",
    "pstats": "profile",
    "sunau": "wave",
    "sysconfig": "distutils",
}
"""Modules that share stretches of text with another one, and the group they join it in."""


def read(source: PythonDocsSource, datasets: Path, intake: Intake) -> Iterator[Document]:
    """The documents of these settings."""
    for document in python_docs(source.max_bytes):
        intake.read()
        yield document


def inputs(source: PythonDocsSource, datasets: Path) -> list[Path]:
    """None but Python itself."""
    return []


def python_docs(max_bytes: int) -> Iterator[Document]:
    """Yield documents of at most `max_bytes` bytes, no two with the same supervised text.

    They come in the order of a hash of their ids, so that a beginning of the stream is a uniform
    sample. Raises ValueError if `max_bytes` is under 200 or a file of the library cannot be parsed.
    """
    if max_bytes < MIN_BYTES:
        raise ValueError(
            f"documents of at most {max_bytes} bytes hold nothing useful; use {MIN_BYTES} or more"
        )
    seen: set[bytes] = set()
    kept = []
    for document in _all_documents(Path(sysconfig.get_path("stdlib")), max_bytes):
        digest = hashlib.sha256(document.supervised).digest()
        if digest not in seen:
            seen.add(digest)
            kept.append(document)
    kept.sort(key=lambda document: hashlib.sha256(document.id.encode()).digest())
    yield from kept


def _all_documents(library: Path, max_bytes: int) -> Iterator[Document]:
    for module, path in stdlib_modules(library):
        source, tree = _parse(path)
        group = group_of(module)
        entries = list(_entries(tree, module))
        texts = {
            "source": _source_pieces(source, tree, max_bytes),
            "docstring": _docstring_pieces(entries, max_bytes),
        }
        for kind, pieces in texts.items():
            for i, piece in enumerate(pieces):
                yield make_document(f"{module}/{kind}/{i}", kind, [("text", piece)], group)
        for i, turns in enumerate(conversations(entries, max_bytes)):
            yield make_document(f"{module}/conversation/{i}", "conversation", turns, group)
    yield from _topic_documents(library / "pydoc_data" / "topics.py", max_bytes)


def stdlib_modules(library: Path) -> list[tuple[str, Path]]:
    """The modules that the corpus is made from, sorted: (dotted name, file)."""
    modules = {}
    for path in library.rglob("*.py"):
        *folders, stem = path.relative_to(library).with_suffix("").parts
        parts = folders if stem == "__init__" else [*folders, stem]
        prefixes = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
        if parts[0] not in sys.stdlib_module_names:
            continue
        if not EXCLUDED_FOLDERS & set(folders) and not EXCLUDED_MODULES & prefixes:
            modules[".".join(parts)] = path
    return sorted(modules.items())


def group_of(module: str) -> str:
    """The top-level package of a module, shared with its twins.

    `_pydecimal` joins decimal, `_collections_abc` joins collections, `ntpath` joins posixpath.
    """
    top = module.partition(".")[0]
    name = top.lstrip("_")
    if name != top:
        name = name.removeprefix("py").lstrip("_")
        first = name.partition("_")[0]
        name = first if first in sys.stdlib_module_names else name
    return TWINS.get(name, name)


def _parse(path: Path) -> tuple[str, ast.Module]:
    try:
        source = path.read_bytes().decode()
        return source, ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise ValueError(
            f"{path}: this file of the standard library cannot be parsed ({error}); "
            "repair the Python installation"
        ) from error


def _pieces(units: Iterable[str], max_bytes: int) -> Iterator[str]:
    stripped = (piece.strip("\n") for piece in pack(units, max_bytes))
    return (piece for piece in stripped if piece)


def _source_pieces(source: str, tree: ast.Module, max_bytes: int) -> Iterator[str]:
    for piece in _pieces(definitions(source, tree), max_bytes):
        if not is_table(piece):
            yield piece


def definitions(source: str, tree: ast.Module) -> list[str]:
    """A module's source, cut before each top-level definition with the comment above it."""
    source_lines = lines(source)
    starts = {0, len(source_lines)}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            start = min(part.lineno for part in (node, *node.decorator_list)) - 1
            while start and source_lines[start - 1].startswith("#"):
                start -= 1
            starts.add(start)
    return ["".join(source_lines[start:end]) for start, end in pairwise(sorted(starts))]


def is_table(text: str) -> bool:
    """Whether a piece of source is mostly digits and escapes: no language to learn from."""
    letters = sum(character.isalpha() for character in text)
    return letters <= sum(character.isdigit() or character == "\\" for character in text)


def _entries(tree: ast.Module, module: str) -> Iterator[Entry]:
    doc = ast.get_docstring(tree)
    if doc:
        yield Entry(module, "", "module", f"module {module}", doc.strip())
    yield from _members(tree, module, "")


def _members(parent: ast.AST, module: str, owner: str) -> Iterator[Entry]:
    """The documented definitions of a module or class in order, also inside `if` and `try`."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{owner}.{node.name}" if owner else node.name
            doc = (ast.get_docstring(node) or "").strip()
            if doc:
                noun, signature = _describe(node, f"{module}.{name}", bool(owner))
                yield Entry(module, name, noun, signature, doc)
            if isinstance(node, ast.ClassDef):
                yield from _members(node, module, name)
        elif isinstance(node, ast.If | ast.Try | ast.ExceptHandler):
            yield from _members(node, module, owner)


def _describe(
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, full: str, is_member: bool
) -> tuple[str, str]:
    """The noun and the heading of a definition: "class", "class queue.LifoQueue(Queue)"."""
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        return "class", f"class {full}({bases})" if bases else f"class {full}"
    if any(ast.unparse(decorator).endswith("property") for decorator in node.decorator_list):
        return "property", f"property {full}"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    start = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    signature = f"{start}{full}({ast.unparse(node.args)}){returns}"
    return "method" if is_member else "function", signature


def _docstring_pieces(entries: Iterable[Entry], max_bytes: int) -> Iterator[str]:
    for entry in entries:
        yield from _pieces([f"{entry.signature}\n\n{entry.doc}"], max_bytes)


def _topic_documents(path: Path, max_bytes: int) -> Iterator[Document]:
    tree = _parse(path)[1]
    (topics,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "topics"
    )
    groups = topic_groups(topics)
    pieces = (
        (groups[name], piece)
        for name, text in sorted(topics.items())
        for piece in _pieces([text], max_bytes)
    )
    for i, (group, piece) in enumerate(pieces):
        yield make_document(f"pydoc_data.topics/topic/{i}", "topic", [("text", piece)], group)


def topic_groups(topics: dict[str, str]) -> dict[str, str]:
    """The group of each topic: those that share a paragraph, if only through others, are one.

    Many topics are excerpts of larger ones (`if` of `compound`), so they may not be split by name.
    """
    groups = {name: {name} for name in topics}
    first_with: dict[str, str] = {}
    for name, text in topics.items():
        for paragraph in paragraphs(text):
            if len(paragraph) < MIN_SHARED_CHARACTERS:
                continue
            other = first_with.setdefault(paragraph.strip(), name)
            if groups[other] is not groups[name]:
                groups[other] |= groups[name]
                for member in groups[name]:
                    groups[member] = groups[other]
    return {name: f"pydoc_data.topics/{min(members)}" for name, members in groups.items()}
