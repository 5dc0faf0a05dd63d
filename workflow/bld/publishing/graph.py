"""The graph of a crate's metadata while it is made, and the terms by which it calls things."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from rocrate.model.contextentity import ContextEntity
from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

METADATA = "ro-crate-metadata.json"
CONFIGURATION = "configuration.yaml"
BUNDLE = "code.bundle"
SNAKEFILE = "Snakefile"
RUN_CRATE = "https://w3id.org/ro/wfrun"
PROFILES = {
    f"{RUN_CRATE}/process/0.5": "Process Run Crate",
    f"{RUN_CRATE}/workflow/0.5": "Workflow Run Crate",
    f"{RUN_CRATE}/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
RUN_TERMS = "https://w3id.org/ro/terms/workflow-run/context"
COMPLETED = "http://schema.org/CompletedActionStatus"
WORKFLOW = ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
ABOUT = {
    CONFIGURATION: "The configuration as it was resolved; snakemake --configfile takes it.",
    BUNDLE: "The history of the code; git clone and git fetch take it.",
}
MEDIA_TYPES = {
    ".bundle": "application/x-git-bundle",
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".py": "text/x-python",
    ".rst": "text/x-rst",
    ".safetensors": "application/vnd.safetensors",
    ".svg": "image/svg+xml",
    ".yaml": "application/yaml",
}


class Described(NamedTuple):
    """A file by its digest and its size, if that is known; `manifest` stands for it if one does."""

    sha256: str
    size: int | None
    manifest: str | None = None


class Graph:
    """An RO-Crate 1.1 of which nothing but the metadata is written. `files` are its files by path,
    those among them that are described and not included."""

    def __init__(self) -> None:
        self._crate = ROCrate(version="1.1")
        self._crate.metadata.extra_contexts.append(RUN_TERMS)
        self.root: Entity = self._crate.root_dataset
        self.files: dict[str, Entity] = {}

    def entity(self, identifier: str, kind: str, /, **properties: Any) -> Entity:
        """The entity of this id; made, if there is none yet."""
        # Asked for what it does not have, the library goes through all that it has.
        if identifier in self._crate:
            return self._crate.get(identifier)
        about = {"@type": kind, **properties}
        return self._crate.add(ContextEntity(self._crate, identifier, properties=about))

    def add_file(self, path: str, about: Described) -> None:
        """A file of the crate."""
        properties = _properties(path, about)
        if path in ABOUT:
            properties["description"] = ABOUT[path]
        if path == SNAKEFILE:
            properties["@type"] = WORKFLOW
            self.files[path] = self._crate.add_workflow(
                dest_path=path, main=True, lang="snakemake", properties=properties
            )
        else:
            self.files[path] = self._crate.add_file(dest_path=path, properties=properties)

    def add_described(self, path: str, about: Described) -> None:
        """A file that is known by its digest."""
        properties = _properties(path, about)
        properties["description"] = "Not in the crate: known by its digest."
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


def _properties(path: str, about: Described) -> dict[str, Any]:
    suffix = Path(path).suffix
    kind = MEDIA_TYPES.get(suffix) or mimetypes.types_map.get(suffix, "text/plain")
    size = {} if about.size is None else {"contentSize": str(about.size)}
    return {"name": path, "sha256": about.sha256, "encodingFormat": kind, **size}
