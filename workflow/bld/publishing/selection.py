"""What archives and model cards are made of, and what their steps read of the settings."""

from __future__ import annotations

import os
from typing import Any

from bld.config.models import Teacher
from bld.config.settings import Run, Scratch
from bld.pipeline.targets import REPORT, Targets, Wildcards, model_folder, split_manifest
from bld.publishing.card.results import TABLES


class Selection:
    """The crates and cards of a configuration: input functions of their rules, and settings of
    their steps."""

    def __init__(self, targets: Targets, snakemake: str) -> None:
        self._settings, self._snakemake = targets.settings, snakemake
        self.crates = [f"results/archive/{name}.crate.zip" for name in self._settings.archives]
        self.cards = [f"results/runs/{run}/model/README.md" for run in self._settings.runs]

    def runs(self, archive: str) -> list[str]:
        """The runs of an archive, all if it names none."""
        return self._settings.archives[archive].runs or list(self._settings.runs)

    def archive_settings(self, wildcards: Wildcards) -> dict[str, Any]:
        """What is said of an archive, and the whole configuration. The order of splits counts, and
        a step line keeps none of keys."""
        settings = self._settings
        return {
            "archive": settings.archives[wildcards.archive].model_dump(mode="json"),
            "configuration": settings.model_dump(mode="json"),
            "splits": {name: list(corpus.splits) for name, corpus in settings.corpora.items()},
            "snakemake": self._snakemake,
        }

    def card_report(self, wildcards: Wildcards) -> dict[str, str | list[str]]:
        """The tables that tell of the run: those of its archive, or else of the report on all
        runs."""
        archive = self._archive_of(wildcards.run)
        folder = f"results/archive/{archive}/report" if archive else os.path.dirname(REPORT)
        return {
            "summary": f"{folder}/summary.json",
            "tables": [f"{folder}/{table}.csv" for table in TABLES],
        }

    def card_crate(self, wildcards: Wildcards) -> list[str]:
        """The crate of the run, where an archive holds it."""
        archive = self._archive_of(wildcards.run)
        return [f"results/archive/{archive}.crate.zip"] if archive else []

    def card_made_from(self, wildcards: Wildcards) -> list[str]:
        """Manifests of all that a run was made from: fetched models, documents, and the data sets
        that these are from."""
        run = self._settings.runs[wildcards.run]
        scratch = self._scratch(run)
        splits = {run.train_split, run.validation_split}
        if run.has_development:
            splits.add(str(run.development_split))
        documents = {(run.corpus, split) for split in splits}
        documents |= {(one.corpus, one.split) for one in scratch.values()}
        sources = [self._settings.corpora[corpus].source for corpus, _ in documents]
        datasets = {name for source in sources for name in source.datasets}
        return [
            *(model_folder(name) for name in self._models(run) if name not in scratch),
            *(split_manifest(*split) for split in sorted(documents)),
            *(f"resources/datasets/{name}/manifest.json" for name in sorted(datasets)),
        ]

    def card_settings(self, wildcards: Wildcards) -> dict[str, Any]:
        """What the card says of a run's configuration."""
        run = self._settings.runs[wildcards.run]
        student, teacher = self._settings.students[run.student], self._teacher(run)
        read = {"average" if teacher and teacher.average else "model"}
        read |= {"histories", "eps", "mode", "top_k_tokens"}
        return {
            "name": wildcards.run,
            "run": run.own(),
            "student": student.model_dump(include={"model", "tokenizer", "initialisation"}),
            "teacher": teacher and teacher.model_dump(include=read),
            "scratch": {name: one.model_dump() for name, one in self._scratch(run).items()},
            "trust_remote_code": self._settings.models[student.model].trust_remote_code,
        }

    def _archive_of(self, run: str) -> str | None:
        """The first archive that has the run, if one does."""
        return next((name for name in self._settings.archives if run in self.runs(name)), None)

    def _teacher(self, run: Run) -> Teacher | None:
        """The teacher that a run learns from; plain fine-tuning only measures its distance to
        one."""
        return self._settings.teachers[str(run.teacher)] if run.taught else None

    def _models(self, run: Run) -> list[str]:
        """The models that a run was made from: base model, tokenizer, teacher."""
        student, teacher = self._settings.students[run.student], self._teacher(run)
        names = [student.model, student.tokenizer, *(teacher.models if teacher else [])]
        return [name for name in dict.fromkeys(names) if name and name in self._settings.models]

    def _scratch(self, run: Run) -> dict[str, Scratch]:
        """Those of them that were made here."""
        models = {name: self._settings.models[name].scratch for name in self._models(run)}
        return {name: scratch for name, scratch in models.items() if scratch}
