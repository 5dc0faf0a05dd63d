"""The graph of a crate's metadata while it is made: entities by their ids, and the files that they refer to by path."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import quote

from rocrate.model.contextentity import ContextEntity
from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from bld.publishing.contents import Content
from bld.publishing.terms import ORIGINAL, OUR_TERMS, RUN_TERMS, SNAKEFILE, kind_of

ABOUT = {
    "configuration.yaml": "The configuration as it was resolved; snakemake --configfile takes it.",
    "code.bundle": "The history of the code; git clone and git fetch take it.",
}
WORKFLOW = ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]


class Described(NamedTuple):
    """A file that is not in the crate: its digest, its size if known, the manifest that stands for it if one does."""

    sha256: str
    size: int | None
    manifest: str | None = None


class Graph:
    """An RO-Crate 1.1 of which nothing but the metadata is written. `files` are its files by path, the described among them."""

    def __init__(self) -> None:
        self._crate = ROCrate(version="1.1")
        self._crate.metadata.extra_contexts.append(RUN_TERMS)
        self.root: Entity = self._crate.root_dataset
        self.files: dict[str, Entity] = {}

    def entity(self, identifier: str, kind: str, /, **properties: Any) -> Entity:
        """The entity of this id; made, if there is none yet."""
        # Asked for what it does not have, the library looks at all that it has.
        if identifier in self._crate:
            return self._crate.get(identifier)
        about = {"@type": kind, **properties}
        return self._crate.add(ContextEntity(self._crate, identifier, properties=about))

    def add_file(self, content: Content) -> None:
        """A file of the crate, with what was taken out of it."""
        properties: dict[str, Any] = {
            "name": content.path,
            "contentSize": str(content.size),
            "sha256": content.sha256,
            "encodingFormat": kind_of(content.path),
        }
        if about := ABOUT.get(content.path):
            properties["description"] = about
        if content.original:
            self._crate.metadata.extra_terms[ORIGINAL] = OUR_TERMS + ORIGINAL
            properties[ORIGINAL] = content.original
            properties["description"] = f"redacted: it held {' and '.join(content.redacted)}"
        if content.path == SNAKEFILE:
            properties["@type"] = WORKFLOW
            self.files[SNAKEFILE] = self._crate.add_workflow(
                dest_path=SNAKEFILE, main=True, lang="snakemake", properties=properties
            )
        else:
            self.files[content.path] = self._crate.add_file(
                dest_path=content.path, properties=properties
            )

    def add_described(self, path: str, about: Described) -> None:
        """A file that is known by its digest."""
        properties: dict[str, Any] = {
            "name": path,
            "sha256": about.sha256,
            "description": "Not in the crate: known by its digest.",
            "encodingFormat": kind_of(path),
        }
        if about.size is not None:
            properties["contentSize"] = str(about.size)
        if about.manifest:
            properties["subjectOf"] = self.files[about.manifest]
        self.files[path] = self.entity(f"#{quote(path)}", "CreativeWork", **properties)

    def refer(self, paths: Iterable[str | None]) -> list[Entity]:
        """Those files that the crate has or describes."""
        return [self.files[path] for path in paths if path in self.files]

    def text(self) -> str:
        """The JSON-LD, with a list of one as that one."""
        graph = self._crate.metadata.generate()
        for entity in graph["@graph"]:
            lists = {key: value for key, value in entity.items() if isinstance(value, list)}
            entity.update({key: value[0] for key, value in lists.items() if len(value) == 1})
        return json.dumps(graph, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
