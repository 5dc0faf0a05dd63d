"""What reports, archives and model cards are made of, and what their steps read of the settings."""

from __future__ import annotations

import os
from collections.abc import Collection

from bld.config.models import Teacher
from bld.config.settings import Run, Scratch
from bld.pipeline import step_settings as reads
from bld.pipeline.paths import REPORT, dataset_folder, model_folder, split_manifest
from bld.pipeline.steps import read, step, step_of
from bld.pipeline.targets import Targets, Wildcards
from bld.publishing.card.results import TABLES
from bld.reporting.registry import Figure, Reported, figures_of


class Selection:
    """The reports, crates and cards of a configuration: input functions of their rules, and their
    step lines."""

    def __init__(self, targets: Targets, snakemake: str) -> None:
        self._targets, self._settings, self._snakemake = targets, targets.settings, snakemake
        self.figures = self._figures(self._settings.runs)
        self.report = self._report_step(self._settings.report.title, self._settings.runs)
        self.crates = [f"results/archive/{name}.crate.zip" for name in self._settings.archives]
        self.cards = [f"results/runs/{run}/model/README.md" for run in self._settings.runs]

    # The report on all runs (`report`), and that of an archive.

    def reported(self, wildcards: Wildcards) -> list[str]:
        """Everything that the report of an archive reads."""
        return self._targets.report_files(self._runs(wildcards.archive))

    def report_selection(self, wildcards: Wildcards) -> str:
        """The step that makes the report on an archive's runs."""
        title = self._settings.archives[wildcards.archive].title
        return self._report_step(title, self._runs(wildcards.archive))

    def _report_step(self, title: str, runs: Collection[str]) -> str:
        """The step line of a report: what it tells of and where that is found."""
        caches = sorted(self._targets.caches(with_development=False, runs=runs))
        settings = reads.Report(
            title=title,
            runs={name: self._reported_run(name) for name in runs},
            caches=[self._reported_cache(*cache) for cache in caches],
            splits=self._targets.split_files(runs),
            figures=list(self._figures(runs)),
        )
        return step("report", settings)

    def _reported_run(self, name: str) -> reads.ReportedRun:
        run = self._settings.runs[name]
        return reads.ReportedRun(
            settings=Run.model_validate(run.own()),
            files=self._targets.run_files(name),
            changed=run.own(mode="json", exclude_defaults=True),
        )

    def _reported_cache(self, teacher: str, corpus: str, split: str) -> reads.ReportedCache:
        files = self._targets.cache_files((teacher, corpus, split))
        return reads.ReportedCache(teacher=teacher, corpus=corpus, split=split, files=files)

    def _figures(self, names: Collection[str]) -> dict[str, Figure]:
        """The figures of the report on these runs, by name."""
        settings, targets = self._settings, self._targets
        runs = [settings.runs[name] for name in names]
        caches = targets.caches(with_development=False, runs=names)
        measures = {measure for cache in caches for measure in targets.cache_files(cache)}
        return figures_of(Reported(runs, settings.evaluation.tasks, settings.benchmarks, measures))

    # Archives.

    def _runs(self, archive: str) -> list[str]:
        """The runs of an archive, all if it names none."""
        return self._settings.archives[archive].runs or list(self._settings.runs)

    @step_of
    def archive(self, wildcards: Wildcards) -> reads.Archive:
        """What a crate says of its archive and reads of the configuration."""
        settings = self._settings
        return reads.Archive(
            archive=read(settings.archives[wildcards.archive]),
            configuration=read(settings),
            splits={name: list(corpus.splits) for name, corpus in settings.corpora.items()},
            snakemake=self._snakemake,
        )

    # Model cards.

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
            *map(dataset_folder, sorted(datasets)),
        ]

    @step_of
    def write_card(self, wildcards: Wildcards) -> reads.WriteCard:
        """What the card says of a run's configuration."""
        run = self._settings.runs[wildcards.run]
        student, teacher = self._settings.students[run.student], self._teacher(run)
        models = "average" if teacher and teacher.average else "model"
        of_teacher = {models, "histories", "eps", "mode", "top_k_tokens"}
        return reads.WriteCard(
            name=wildcards.run,
            run=Run.model_validate(run.own()),
            student=student.model_dump(include={"model", "tokenizer", "initialisation"}),
            teacher=teacher and teacher.model_dump(include=of_teacher),
            scratch={name: read(one) for name, one in self._scratch(run).items()},
            trust_remote_code=self._settings.models[student.model].trust_remote_code,
        )

    def _archive_of(self, run: str) -> str | None:
        """The first archive that has the run, if one does."""
        return next((name for name in self._settings.archives if run in self._runs(name)), None)

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
