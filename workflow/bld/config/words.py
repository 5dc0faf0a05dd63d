"""The configuration in words: error messages and the reference page describe a setting alike.

Everything is read off the JSON schema of `config.Settings`; a `node` is a part of that schema.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic_core import ErrorDetails

from bld.config.phrases import did_you_mean, either, listed, nearest, shown
from bld.config.settings import Settings

Node = dict[str, Any]

PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9_.-]*$": "a name of letters, digits, `_`, `.` and `-`",
    r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$": "a repository, as owner/name",
    r"^[A-Za-z0-9][A-Za-z0-9_./-]*$": "a commit of 40 hexadecimal digits, a branch or a tag",
    r"^\d{4}-\d{4}-\d{4}-\d{3}[0-9X]$": "an ORCID of four times four digits",
    r"^[A-Za-z0-9.+-]+$": "the SPDX identifier of a licence, such as `CC-BY-4.0`",
}
BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}
KEYS_SHOWN = 8


@cache
def schema() -> Node:
    """The JSON schema of the whole configuration."""
    return Settings.model_json_schema()


def section_of(node: Node) -> Node:
    """The section that a node refers to, null aside; a node that refers to none is itself."""
    for choice in node.get("anyOf", [node]):
        if "$ref" in choice:
            section: Node = schema()["$defs"][choice["$ref"].rsplit("/", 1)[-1]]
            return section
    return node


def entry_of(node: Node) -> Node | None:
    """What stands under each name, for a node that holds entries by name."""
    return next(iter(node.get("patternProperties", {}).values()), None)


def in_words(node: Node) -> str:
    """What a node allows, such as "a whole number, at least 1, or null"."""
    if "anyOf" in node:
        return ", or ".join(in_words(choice) for choice in node["anyOf"])
    if "properties" in section_of(node):
        keys = list(section_of(node)["properties"])
        return f"a section with {listed(keys[:KEYS_SHOWN])}" + ", ..." * (len(keys) > KEYS_SHOWN)
    if "oneOf" in node:
        return f"a section whose `kind` is {either(_literals(node))}"
    if literals := _literals(node):
        return either(literals)
    match node["type"]:
        case "array" if "prefixItems" in node:
            items = node["prefixItems"]
            return f"a list of {len(items)} values, each {in_words(items[0])}"
        case "array":
            return f"a list of {in_words(node['items'])}{_fewest(node, 'minItems')}"
        case "object":
            entry = entry_of(node)
            each = f", each {in_words(entry)}" if entry and "type" in entry else ""
            return f"entries by name{_fewest(node, 'minProperties')}{each}"
        case "boolean":
            return "true or false"
        case "string":
            return PATTERNS[node["pattern"]] if "pattern" in node else "text"
        case "integer" | "number" as kind:
            bounds = [f"{words} {node[bound]}" for bound, words in BOUNDS.items() if bound in node]
            whole = "whole " * (kind == "integer")
            return f"a {whole}number" + ", " * bool(bounds) + " and ".join(bounds)
    return str(node["type"])


def problem_in_words(error: ErrorDetails) -> str:
    """What pydantic found wrong, as a sentence that begins with the key."""
    location = tuple(part for part in error["loc"] if part != "[key]")
    key, node = _locate(location)
    if error["type"] == "extra_forbidden":
        keys = section_of(_locate(location[:-1])[1])["properties"]
        return f"{key}: there is no such setting{did_you_mean(location[-1], keys)}"
    found, expected = error["input"], in_words(node)
    match error["type"]:
        case "missing":
            return f"{key}: missing, expected {expected}"
        case "union_tag_not_found":
            return f"{key}.kind: missing, expected {either(_literals(node))}"
        case "union_tag_invalid":
            key, found, expected = f"{key}.kind", error["ctx"]["tag"], either(_literals(node))
    if error["loc"][-1] == "[key]":
        expected = next(iter(PATTERNS.values()))
    quotes = "; put it in quotes" if error["type"] == "string_type" and found is not None else ""
    return f"{key}: found {shown(found)}, expected {expected}{quotes}{_nearest(found, node)}"


def _locate(location: Sequence[int | str]) -> tuple[str, Node]:
    """The key of a place in the configuration, and its node.

    Pydantic also names the branches of unions, which are no keys: a branch of sections is followed,
    others are left out.
    """
    key, node = "", schema()
    for part in location:
        node = section_of(node)
        branches: Mapping[str, str] = node.get("discriminator", {}).get("mapping", {})
        if part in branches:
            node = {"$ref": branches[str(part)]}
        elif "properties" in node:
            key, node = f"{key}.{part}", node["properties"].get(part, {})
        elif entry := entry_of(node):
            key, node = f"{key}.{part}", entry
        elif node.get("type") == "array" and isinstance(part, int):
            key, node = f"{key}[{part}]", node.get("items") or node["prefixItems"][part]
    return key.removeprefix("."), node


def _literals(node: Node) -> list[str]:
    branches = node.get("discriminator", {}).get("mapping", {})
    values = node.get("enum") or ([node["const"]] if "const" in node else branches)
    return [f"`{value}`" for value in values]


def _fewest(node: Node, bound: str) -> str:
    fewest = node.get(bound, 0)
    return f", at least {fewest}" if fewest > 1 else ", not empty" * fewest


def _nearest(found: Any, node: Node) -> str:
    choices = [
        word.strip("`") for choice in node.get("anyOf", [node]) for word in _literals(choice)
    ]
    return nearest(found, choices)
