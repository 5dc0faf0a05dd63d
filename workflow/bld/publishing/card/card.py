"""The model card of a trained student: what it was made from, how, how well it does, and how to
make it again.

A card is a README.md with a block of metadata for the hub's machines and a text for people. The
block is made by the hub's own classes. Every word of the text that comes from outside is escaped,
so it can neither break a table nor bring markup.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData, get_local_safetensors_metadata
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bld.config.registry import METHODS
from bld.config.settings import Run
from bld.files import MANIFEST, read_manifest, sha256_of, write_text
from bld.pipeline.step_settings import WriteCard
from bld.publishing.card.parts import BASE, DOCUMENTS, Manifests, Part, card_licence, parts
from bld.publishing.card.results import Results, read_results, shown
from bld.reporting.words import GIBIBYTE, listed, number

PACKAGES = ("transformers", "torch", "deepspeed")
HEADS = {
    "linear": "ten linear heads beside the output head",
    "causal": "ten heads that also read the bytes spelt so far in the token",
    "marginal": "no head: its own token distributions, summed to bytes",
    "output": "its own output head, since its tokens are bytes",
}
HISTORIES = {
    "trunk": "how the whole text is tokenised",
    "prefix": "how each beginning of the text is tokenised",
    "beam": "a search over ways to tokenise the text",
}
INITIALISATION = {
    "fvt": "means of the old tokens that spell the new one",
    "mean": "the mean of all old rows",
    "random": "noise like the old rows",
}


@dataclass(frozen=True)
class CardInputs:
    """What a card is made from.

    `model` is the manifest of the student's folder; `record` is that of its training; `manifests`
    are of all that it was made from, of which `Manifests` names the paths; `report` is a folder;
    `crate` is none where no archive has the run.
    """

    settings: WriteCard
    model: Path
    training: Path
    record: Path
    manifests: Sequence[Path]
    report: Path
    crate: Path | None


def write_card(inputs: CardInputs, card: Path) -> None:
    """Write the card; it appears by rename. Raises ValueError if the report does not have the
    run."""
    write_text(card, str(make_card(inputs)))


def make_card(inputs: CardInputs) -> ModelCard:
    """The card as the hub's tools hold it."""
    settings, run = inputs.settings, inputs.settings.run
    manifests = {path.parts[-4:-1]: read_manifest(path) for path in inputs.manifests}
    made_from = parts(settings, manifests)
    results = read_results(inputs.report, settings.name)
    metadata = _metadata(settings, made_from, results)
    text = _template().render(
        name=settings.name,
        run=run,
        method=run.taught or METHODS[run.method](),
        student=settings.student,
        teacher=settings.teacher,
        is_demonstration=settings.student.model in settings.scratch,
        remote_code=settings.trust_remote_code,
        parts=made_from,
        splits=_splits(run, manifests),
        metadata=metadata,
        results=results,
        evaluated_on=_evaluated_on(run, results),
        training=_json(inputs.training),
        record=_json(inputs.record),
        parameters=parameter_count(inputs.model.parent),
        files=read_manifest(inputs.model)["files"],
        manifest=f"results/runs/{settings.name}/model/{MANIFEST}",
        crate=inputs.crate and inputs.crate.name,
        digest=inputs.crate and sha256_of(inputs.crate),
    )
    return ModelCard(f"---\n{metadata.to_yaml()}\n---\n\n{text}")


def parameter_count(folder: Path) -> int:
    """How many numbers are in the weights of a model folder, as the hub counts them."""
    return sum(get_local_safetensors_metadata(folder).parameter_count.values())


def _metadata(settings: WriteCard, made_from: Sequence[Part], results: Results) -> ModelCardData:
    base = next(part for part in made_from if part.role == BASE)
    data = [part.hub for part in made_from if part.role == DOCUMENTS and part.hub]
    evaluations = _evaluations(settings.run, made_from, results)
    method = METHODS[settings.run.method]
    return ModelCardData(
        **card_licence([part.licence for part in made_from if part.licence]),
        base_model=base.hub,
        base_model_relation="finetune" if base.hub else None,
        datasets=data or None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["distillation", *method.tags, f"arxiv:{method.paper}"] if method.paper else None,
        model_name=settings.name if evaluations else None,
        eval_results=evaluations or None,
    )


def _evaluations(run: Run, made_from: Sequence[Part], results: Results) -> list[EvalResult]:
    """Every number that was measured, with all its digits; how sure it is stands in the metric's
    name."""
    task: dict[str, Any] = {"task_type": "text-generation", "task_name": "Text generation"}
    documents = next(part for part in made_from if part.role == DOCUMENTS)
    held_out = task | {
        "dataset_name": f"{run.corpus}, held-out documents",
        "dataset_type": documents.hub or run.corpus,
        "dataset_split": run.validation_split,
        "dataset_revision": documents.revision,
    }
    own = results.run.model
    found = []
    if own["bits_per_byte"]:
        found.append(("bits_per_byte", f"Bits per byte (95 % interval {results.run.interval})"))
    if own["byte_jsd"]:
        found.append(("byte_jsd", "Jensen-Shannon divergence from the teacher's bytes, in nats"))
    return [
        *(
            EvalResult(
                **held_out, metric_type=name, metric_name=words, metric_value=float(own[name])
            )
            for name, words in found
        ),
        *(
            EvalResult(
                **task,
                dataset_name=name,
                dataset_type=name,
                metric_type=row["metric"],
                metric_name=f"{row['metric']} (standard error {shown(row['stderr'])})",
                metric_value=float(row["value"]),
            )
            for name, row in results.benchmarks.items()
        ),
    ]


def _splits(run: Run, manifests: Manifests) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Name, use and manifest of every split of the run's corpus that the run meets."""
    uses = {run.train_split: "trained on", run.validation_split: "evaluated on"}
    if run.development_split:
        uses.setdefault(run.development_split, "development evaluations during training")
    return [(split, use, manifests["corpora", run.corpus, split]) for split, use in uses.items()]


def _evaluated_on(run: Run, results: Results) -> list[str]:
    documents = [f"held-out documents of {run.corpus}"] if results.documents else []
    return [*documents, *results.benchmarks]


def _template() -> Any:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        finalize=plain,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "code": code,
        "verbatim": Markdown,
        "number": number,
        "shown": shown,
        "listed": listed,
        "machine": _machine,
    }
    environment.globals |= {
        "heads": HEADS,
        "packages": PACKAGES,
        "histories": HISTORIES,
        "initialisation": INITIALISATION,
        "gibibyte": GIBIBYTE,
    }
    return environment.get_template("card.md.j2")


class Markdown(str):
    """Text that is Markdown already."""


def plain(value: object) -> str:
    """Any value as Markdown that shows its text, in one line; Markdown stays as it is."""
    if isinstance(value, Markdown):
        return value
    return re.sub(r"([\\`*\[\]<>|~#&$]|(?<!\w)_|_(?!\w))", r"\\\1", _in_one_line(str(value)))


def code(value: object) -> Markdown:
    """A name or digest in a code span, in a table too."""
    return Markdown(f"`{_in_one_line(re.sub(r'[`|]', ' ', str(value)))}`")


def _in_one_line(text: str) -> str:
    """Without line breaks; the thin spaces inside numbers stay."""
    return re.sub(r"[ \t-\r\x85\u2028\u2029]+", " ", text).strip()


def _machine(hardware: Mapping[str, Any]) -> str:
    """The class of machine that a record names."""
    if hardware["gpus"]:
        gpus = Counter(hardware["gpus"])
        return listed([f"{count} \u00d7 {name}" for name, count in gpus.items()])
    return f"{hardware['cores']} cores of {hardware['cpu']}, no GPU"


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
