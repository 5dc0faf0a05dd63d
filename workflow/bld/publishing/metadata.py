"""What a crate says of its files: a Provenance Run Crate (https://w3id.org/ro/wfrun/provenance/0.5), which programs that know
nothing of this workflow can read.

Every record is an action from its inputs to its outputs. Rules are the workflow's steps, stages the tools that they use.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from rocrate.model.entity import Entity

from bld.files import RECORD
from bld.publishing.chain import Action
from bld.publishing.contents import Content
from bld.publishing.graph import Described, Graph
from bld.publishing.origins import (
    add_sources,
    author,
    citations,
    operator,
    packages,
    spdx_licence,
)
from bld.publishing.reading import CONFIGURATION
from bld.publishing.terms import COMPLETED, PROFILES, SNAKEFILE, tool_of

SNAKEMAKE = "https://snakemake.github.io"


class Subject(NamedTuple):
    """What the crate is about: the settings of the archive, the version of Snakemake, the path of the report's record, the
    commit of the code, and what else a reader should know."""

    archive: Mapping[str, Any]
    snakemake: str
    report: str
    commit: str | None
    remarks: list[str]


def metadata(
    subject: Subject,
    actions: list[Action],
    contents: Mapping[str, Content],
    described: Mapping[str, Described],
) -> str:
    """The text of `ro-crate-metadata.json`; `contents` are the other files of the crate and `described` those outside it."""
    graph = Graph()
    for path in sorted(contents):
        graph.add_file(contents[path])
    for path in sorted(described.keys() - contents.keys()):
        graph.add_described(path, described[path])
    add_sources(graph, actions)
    agents = [author(graph, one) for one in subject.archive["authors"]]
    doing = {"actionStatus": COMPLETED, "agent": agents or operator(graph)}
    _add_workflow(graph, actions, contents, subject.commit)
    done = _add_actions(graph, actions, doing)
    done += _add_run(graph, actions, subject, doing)
    _add_root(graph, subject, done)
    if agents:
        graph.root["author"] = agents
    if cited := citations(graph, contents):
        graph.root["citation"] = cited
    return graph.text()


def _add_workflow(
    graph: Graph, actions: list[Action], contents: Mapping[str, Content], commit: str | None
) -> None:
    """The Snakefile: its rules in the order in which they first ran, and their stages with what these ran with."""
    version = commit or "not committed"
    rules: dict[str, str] = {}
    by_stage: dict[str, list[Action]] = {}
    for action in sorted(actions, key=lambda one: (one.record["started"], one.path)):
        rules.setdefault(action.record["rule"], action.record["stage"])
        by_stage.setdefault(action.record["stage"], []).append(action)
    workflow = graph.files[SNAKEFILE]
    workflow["name"] = "Byte-level distillation"
    workflow["version"] = version
    workflow["softwareRequirements"] = graph.refer(
        path for path in graph.files if path.startswith("envs/")
    )
    workflow["hasPart"] = [
        graph.entity(
            tool_of(stage),
            "SoftwareApplication",
            name=f"python -m bld.stages.{stage}",
            description=_purpose(contents.get(f"workflow/bld/stages/{stage}.py")),
            softwareVersion=version,
            url={"@id": f"workflow/bld/stages/{stage}.py"},
            softwareRequirements=packages(graph, by_stage[stage]),
        )
        for stage in sorted(by_stage)
    ]
    workflow["step"] = [
        graph.entity(
            f"#step/{rule}",
            "HowToStep",
            name=rule,
            position=str(position),
            workExample={"@id": tool_of(stage)},
        )
        for position, (rule, stage) in enumerate(rules.items())
    ]


def _add_actions(graph: Graph, actions: list[Action], doing: Mapping[str, Any]) -> list[Entity]:
    """What was done, an action for every record; also what Snakemake did to set it off."""
    done = []
    for action in actions:
        record, name = action.record, action.path.removesuffix(RECORD)
        about = graph.refer([action.path, record["log"], record["benchmark"]])
        one = graph.entity(
            f"#action/{quote(action.path)}",
            "CreateAction",
            name=f"{record['rule']}: {name}",
            description=f"The command of {action.path}, in {record['seconds']:.0f} seconds.",
            instrument={"@id": tool_of(record["stage"])},
            object=graph.refer(record["inputs"]),
            result=graph.refer(record["outputs"]),
            subjectOf=about,
            **_times(record["started"], record["ended"]),
            **doing,
        )
        for file in about:
            file["about"] = one
        graph.entity(
            f"#control/{quote(action.path)}",
            "ControlAction",
            name=f"Snakemake ran {record['rule']}: {name}",
            instrument={"@id": f"#step/{record['rule']}"},
            object=one,
            actionStatus=COMPLETED,
        )
        done.append(one)
    return done


def _add_run(
    graph: Graph, actions: list[Action], subject: Subject, doing: Mapping[str, Any]
) -> list[Entity]:
    """The run of the workflow as a whole, and Snakemake's part in it."""
    [report] = [action.record for action in actions if action.path == subject.report]
    given = sorted({path for action in actions for path in action.given})
    times = _times(
        min(action.record["started"] for action in actions),
        max(action.record["ended"] for action in actions),
    )
    run = graph.entity(
        "#run",
        "CreateAction",
        name=f"Run of the workflow: {subject.archive['title']}",
        description="From what was given to the report; every step of it is an action of its own.",
        instrument=graph.files[SNAKEFILE],
        object=graph.refer([CONFIGURATION, *given]),
        result=graph.refer(report["outputs"]),
        **times,
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
        **times,
        **doing,
    )
    return [run, organised]


def _add_root(graph: Graph, subject: Subject, done: list[Entity]) -> None:
    root, archive = graph.root, subject.archive
    root["name"] = archive["title"]
    root["description"] = " ".join([archive["description"], *subject.remarks])
    root["license"] = spdx_licence(graph, archive["licence"])
    root["mentions"] = done
    root["conformsTo"] = [
        graph.entity(profile, "CreativeWork", name=name, version=profile.rsplit("/", 1)[1])
        for profile, name in PROFILES.items()
    ]
    # When the last of it was done, not when it was archived: the same results are the same crate.
    root["datePublished"] = max(one["endTime"] for one in done)
    for readme in graph.refer(["README.md"]):
        readme["about"] = root


def _purpose(module: Content | None) -> str:
    """What a module says that it is for."""
    if module is None:
        return "Its code is not in the crate."
    text = ast.get_docstring(ast.parse(module.open().read())) or "It does not say what it is for."
    return " ".join(text.split())


def _times(started: str, ended: str) -> dict[str, str]:
    """With the offset in numbers, which is how the profile's checks want it."""
    return {
        "startTime": datetime.fromisoformat(started).isoformat(),
        "endTime": datetime.fromisoformat(ended).isoformat(),
    }
