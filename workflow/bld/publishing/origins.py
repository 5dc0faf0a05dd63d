"""What a crate's metadata say of what came from elsewhere: people, licences, models, data, packages and papers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from rocrate.model.entity import Entity

from bld.publishing.chain import Action
from bld.publishing.contents import Content
from bld.publishing.graph import Graph

CITATION = "CITATION.cff"


def author(graph: Graph, about: Mapping[str, Any]) -> Entity:
    """Somebody who answers for the archive."""
    told = {"name": about["name"]}
    if name := about["affiliation"]:
        told["affiliation"] = graph.entity(
            f"#organisation/{quote(name)}", "Organization", name=name
        )
    orcid = f"https://orcid.org/{about['orcid']}" if about["orcid"] else None
    return graph.entity(orcid or f"#author/{quote(about['name'])}", "Person", **told)


def operator(graph: Graph) -> Entity:
    """Whoever ran the workflow, if nobody is named."""
    return graph.entity("#operator", "Person", name="Whoever ran the workflow; not named")


def spdx_licence(graph: Graph, identifier: str) -> Entity:
    """A licence that SPDX knows."""
    url = f"https://spdx.org/licenses/{identifier}"
    return graph.entity(url, "CreativeWork", name=identifier, identifier=url, url=url)


def add_sources(graph: Graph, actions: Iterable[Action]) -> None:
    """Put to the manifests of models and data where these came from, and under which licences."""
    sources = {path: told for one in actions for path, told in one.record["sources"].items()}
    for path, told in sorted(sources.items()):
        [manifest] = graph.refer([path])
        if source := told.get("source"):
            manifest["isBasedOn"] = _source(graph, path, source)
        if licence := told.get("licence"):
            manifest["license"] = _licence(graph, path, licence)


def packages(graph: Graph, actions: Iterable[Action]) -> list[Entity]:
    """Python and the packages that these actions ran with."""
    environments = [action.record["environment"] for action in actions]
    pythons = sorted({environment["python"] for environment in environments})
    versions = sorted({pair for one in environments for pair in one["packages"].items()})
    return [
        _software(graph, "Python", x, f"https://docs.python.org/release/{x}/") for x in pythons
    ] + [
        _software(graph, name, x, f"https://pypi.org/project/{name}/{quote(x)}/")
        for name, x in versions
    ]


def citations(graph: Graph, contents: Mapping[str, Content]) -> list[Entity]:
    """What CITATION.cff asks to be cited: itself, and the papers that it refers to by arXiv number or DOI."""
    if CITATION not in contents:
        return []
    told = yaml.safe_load(contents[CITATION].open())
    return graph.refer([CITATION]) + [
        graph.entity(
            _address(str(identifier["value"])),
            "ScholarlyArticle",
            name=reference["title"],
            author=", ".join(map(_name, reference["authors"])),
        )
        for reference in told.get("references", [])
        for identifier in reference.get("identifiers", [])
    ]


def _source(graph: Graph, manifest: str, source: Mapping[str, Any]) -> Entity:
    name = source.get("hub") or source.get("path") or source.get("kind") or Path(manifest).parent
    told = {"name": str(name), "description": json.dumps(source, sort_keys=True)}
    if source.get("revision"):
        told["version"] = source["revision"]
    return graph.entity(f"#source/{quote(str(Path(manifest).parent))}", "CreativeWork", **told)


def _licence(graph: Graph, manifest: str, licence: Mapping[str, Any]) -> Entity:
    """What a model or data set says of its licence, and the text of it where that is in the crate."""
    folder = Path(manifest).parent
    name = licence.get("license_name") or licence.get("license") or "not named"
    told: dict[str, Any] = {"name": str(name), "description": json.dumps(licence, sort_keys=True)}
    if link := licence.get("license_link"):
        told["url"] = link
    if texts := graph.refer(f"{folder}/{name}" for name in licence.get("files", [])):
        told["subjectOf"] = texts
    return graph.entity(f"#licence/{quote(str(folder))}", "CreativeWork", **told)


def _software(graph: Graph, name: str, version: str, url: str) -> Entity:
    return graph.entity(url, "SoftwareApplication", name=name, softwareVersion=version, url=url)


def _address(identifier: str) -> str:
    if identifier.startswith("arXiv:"):
        return f"https://arxiv.org/abs/{identifier.removeprefix('arXiv:')}"
    return f"https://doi.org/{identifier}"


def _name(person: Mapping[str, str]) -> str:
    parts = ("given-names", "family-names", "name")
    return " ".join(person[part] for part in parts if part in person)
