"""What a crate says of its files: a Provenance Run Crate
(https://w3id.org/ro/wfrun/provenance/0.5), which programs that know nothing of this workflow can
read.

Every record is an action from its inputs to its outputs. Rules are the workflow's steps, stages the
tools that they use.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import yaml
from rocrate.model.entity import Entity

from bld.config.settings import Archive, Author
from bld.files import RECORD
from bld.publishing.chain import Action
from bld.publishing.graph import COMPLETED, CONFIGURATION, PROFILES, SNAKEFILE, Described, Graph

SNAKEMAKE = "https://snakemake.github.io"
TOOL = "https://w3id.org/ro/terms/byte-level-distillation#tool/"
"""How the ids of stages as tools begin: absolute, as the profile wants it of software."""
CITATION = "CITATION.cff"


class Subject(NamedTuple):
    """What the crate is about: the settings of the archive, the version of Snakemake, the path of
    the report's record, the commit of the code, and what else a reader should know."""

    archive: Archive
    snakemake: str
    report: str
    commit: str | None
    remarks: Sequence[str]


def metadata(
    subject: Subject,
    actions: Sequence[Action],
    texts: Mapping[str, str],
    included: Mapping[str, Described],
    described: Mapping[str, Described],
) -> str:
    """The text of `ro-crate-metadata.json`; `included` are the other files of the crate, of which
    `texts` has those of the code, and `described` are those outside it."""
    graph = Graph()
    for path in sorted(included):
        graph.add_file(path, included[path])
    for path in sorted(described.keys() - included.keys()):
        graph.add_described(path, described[path])
    _add_sources(graph, actions)
    agents = [_author(graph, about) for about in subject.archive.authors]
    nobody = "Whoever ran the workflow; not named"
    agent = agents or graph.entity("#operator", "Person", name=nobody)
    doing = {"actionStatus": COMPLETED, "agent": agent}
    _add_workflow(graph, actions, texts, subject.commit)
    done = _add_actions(graph, actions, doing)
    done += _add_run(graph, actions, subject, doing)
    _add_root(graph, subject, done)
    if agents:
        graph.root["author"] = agents
    if cited := _citations(graph, texts):
        graph.root["citation"] = cited
    return graph.text()


def _add_workflow(
    graph: Graph, actions: Sequence[Action], texts: Mapping[str, str], commit: str | None
) -> None:
    """The Snakefile: its rules in the order in which they first ran, and their stages."""
    version = commit or "not committed"
    rules: dict[str, str] = {}
    by_stage: dict[str, list[Action]] = {}
    for action in sorted(actions, key=lambda one: (one.record.started, one.path)):
        rules.setdefault(_rule(action), action.record.stage)
        by_stage.setdefault(action.record.stage, []).append(action)
    workflow = graph.files[SNAKEFILE]
    workflow["name"] = "Byte-level distillation"
    workflow["version"] = version
    environments = [path for path in graph.files if path.startswith("envs/")]
    workflow["softwareRequirements"] = graph.refer(environments)
    workflow["hasPart"] = [
        graph.entity(
            TOOL + stage,
            "SoftwareApplication",
            name=f"python -m bld.stages.{stage}",
            description=_purpose(texts.get(f"workflow/bld/stages/{stage}.py")),
            softwareVersion=version,
            url={"@id": f"workflow/bld/stages/{stage}.py"},
            softwareRequirements=_packages(graph, by_stage[stage]),
        )
        for stage in sorted(by_stage)
    ]
    workflow["step"] = [
        graph.entity(
            f"#step/{rule}",
            "HowToStep",
            name=rule,
            position=str(position),
            workExample={"@id": TOOL + stage},
        )
        for position, (rule, stage) in enumerate(rules.items())
    ]


def _add_actions(graph: Graph, actions: Sequence[Action], doing: Mapping[str, Any]) -> list[Entity]:
    """What was done, an action for every record; also what Snakemake did to set it off."""
    done = []
    for action in actions:
        record, name = action.record, action.path.removesuffix(RECORD)
        about = graph.refer([action.path, record.log, record.benchmark])
        entity = graph.entity(
            f"#action/{quote(action.path)}",
            "CreateAction",
            name=f"{_rule(action)}: {name}",
            description=f"The command of {action.path}, in {record.seconds:.0f} seconds.",
            instrument={"@id": TOOL + record.stage},
            object=graph.refer(record.inputs),
            result=graph.refer(record.outputs),
            subjectOf=about,
            **_times([action]),
            **doing,
        )
        for file in about:
            file.append_to("about", entity)  # several shards may share a job, and so its log
        graph.entity(
            f"#control/{quote(action.path)}",
            "ControlAction",
            name=f"Snakemake ran {_rule(action)}: {name}",
            instrument={"@id": f"#step/{_rule(action)}"},
            object=entity,
            actionStatus=COMPLETED,
        )
        done.append(entity)
    return done


def _add_run(
    graph: Graph, actions: Sequence[Action], subject: Subject, doing: Mapping[str, Any]
) -> list[Entity]:
    """The run of the workflow as a whole, and Snakemake's part in it."""
    [report] = [action.record for action in actions if action.path == subject.report]
    given = sorted({path for action in actions for path in action.given})
    run = graph.entity(
        "#run",
        "CreateAction",
        name=f"Run of the workflow: {subject.archive.title}",
        description="From what was given to the report; every step of it is an action of its own.",
        instrument=graph.files[SNAKEFILE],
        object=graph.refer([CONFIGURATION, *given]),
        result=graph.refer(report.outputs),
        **_times(actions),
        **doing,
    )
    engine = graph.entity(
        SNAKEMAKE,
        "SoftwareApplication",
        name="Snakemake",
        softwareVersion=subject.snakemake,
        url=SNAKEMAKE,
    )
    organised = graph.entity(
        "#organize",
        "OrganizeAction",
        name=f"Snakemake {subject.snakemake} ran the workflow",
        description="The order of the steps follows from their inputs and outputs.",
        instrument=engine,
        object=[{"@id": f"#control/{quote(action.path)}"} for action in actions],
        result=run,
        **_times(actions),
        **doing,
    )
    return [run, organised]


def _add_root(graph: Graph, subject: Subject, done: Sequence[Entity]) -> None:
    root, archive = graph.root, subject.archive
    root["name"] = archive.title
    root["description"] = " ".join([archive.description, *subject.remarks])
    licence = f"https://spdx.org/licenses/{archive.licence}"
    root["license"] = graph.entity(
        licence, "CreativeWork", name=archive.licence, identifier=licence, url=licence
    )
    root["mentions"] = done
    root["conformsTo"] = [
        graph.entity(profile, "CreativeWork", name=name, version=profile.rsplit("/", 1)[1])
        for profile, name in PROFILES.items()
    ]
    # When the last step ended, not when it was archived: the same results are the same crate.
    root["datePublished"] = max(one["endTime"] for one in done)
    for readme in graph.refer(["README.md"]):
        readme["about"] = root


def _add_sources(graph: Graph, actions: Iterable[Action]) -> None:
    """Say of the manifests of models and data where these came from, and under which licences."""
    sources = {path: about for one in actions for path, about in one.record.sources.items()}
    for path, about in sorted(sources.items()):
        [manifest] = graph.refer([path])
        folder = Path(path).parent
        if source := about.source:
            names = (source.get(key) for key in ("hub", "path", "kind"))
            told = {"name": str(next(filter(None, names), folder)), "description": _json(source)}
            if source.get("revision"):
                told["version"] = source["revision"]
            manifest["isBasedOn"] = graph.entity(
                f"#source/{quote(str(folder))}", "CreativeWork", **told
            )
        if licence := about.licence:
            manifest["license"] = _licence(graph, folder, licence)


def _licence(graph: Graph, folder: Path, licence: Mapping[str, Any]) -> Entity:
    """What a model or data set says of its licence, and the text of it where that is in the
    crate."""
    name = licence.get("license_name") or licence.get("license") or "not named"
    told: dict[str, Any] = {"name": str(name), "description": _json(licence)}
    if link := licence.get("license_link"):
        told["url"] = link
    if texts := graph.refer(f"{folder}/{name}" for name in licence.get("files", [])):
        told["subjectOf"] = texts
    return graph.entity(f"#licence/{quote(str(folder))}", "CreativeWork", **told)


def _author(graph: Graph, author: Author) -> Entity:
    """Somebody who answers for the archive."""
    told = {"name": author.name}
    if name := author.affiliation:
        told["affiliation"] = graph.entity(
            f"#organisation/{quote(name)}", "Organization", name=name
        )
    orcid = f"https://orcid.org/{author.orcid}" if author.orcid else None
    return graph.entity(orcid or f"#author/{quote(author.name)}", "Person", **told)


def _citations(graph: Graph, texts: Mapping[str, str]) -> list[Entity]:
    """What CITATION.cff asks to be cited: itself, and its references by arXiv number or DOI."""
    if CITATION not in texts:
        return []
    references = yaml.safe_load(texts[CITATION]).get("references", [])
    return graph.refer([CITATION]) + [
        graph.entity(
            _address(str(identifier["value"])),
            "ScholarlyArticle",
            name=reference["title"],
            author=", ".join(map(_name, reference["authors"])),
        )
        for reference in references
        for identifier in reference.get("identifiers", [])
    ]


def _address(identifier: str) -> str:
    if identifier.startswith("arXiv:"):
        return f"https://arxiv.org/abs/{identifier.removeprefix('arXiv:')}"
    return f"https://doi.org/{identifier}"


def _name(person: Mapping[str, str]) -> str:
    parts = ("given-names", "family-names", "name")
    return " ".join(person[part] for part in parts if part in person)


def _packages(graph: Graph, actions: Iterable[Action]) -> list[Entity]:
    """Python and the packages that these actions ran with."""
    environments = [action.record.environment for action in actions]
    versions = sorted({("Python", one.python) for one in environments})
    versions += sorted({pair for one in environments for pair in one.packages.items()})
    found = []
    for name, version in versions:
        url = f"https://pypi.org/project/{name}/{quote(version)}/"
        if name == "Python":
            url = f"https://docs.python.org/release/{version}/"
        about = {"name": name, "softwareVersion": version, "url": url}
        found.append(graph.entity(url, "SoftwareApplication", **about))
    return found


def _purpose(module: str | None) -> str:
    """What a module says that it is for."""
    if module is None:
        return "Its code is not in the crate."
    text = ast.get_docstring(ast.parse(module)) or "It does not say what it is for."
    return " ".join(text.split())


def _rule(action: Action) -> str:
    return action.record.rule or action.record.stage


def _times(actions: Sequence[Action]) -> dict[str, str]:
    """From the first start to the last end; with the offset in numbers, as the profile wants it."""
    return {
        "startTime": min(action.record.started for action in actions).isoformat(),
        "endTime": max(action.record.ended for action in actions).isoformat(),
    }


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
