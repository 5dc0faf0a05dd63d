"""Which file is made of what: the input functions of the rules, which take Snakemake's wildcards,
and the lists of all that a configuration needs made. Where an optional input is missing, they give
[]."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from bld.config.registry import METHODS
from bld.config.settings import LocalBenchmark, Run, Scratch, Settings
from bld.config.template_checks import benchmarks_asking
from bld.files import shard_name
from bld.pipeline.own_files import external, linked, matching
from bld.pipeline.paths import (
    Evaluated,
    cache_manifest,
    dataset_folder,
    model_folder,
    rendered_manifest,
    split_manifest,
    student_folder,
)

MAPS = sorted({method.vocabulary_map for method in METHODS.values() if method.vocabulary_map})
"""The kinds of maps of vocabularies that methods read."""

Wildcards = Any
Cache = tuple[str, str, str]
"""Teacher, corpus and split."""


class Targets:
    """The files of a configuration."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        models, datasets = settings.models.items(), settings.datasets.items()
        benchmarks = settings.benchmarks.items()
        self.hub_models = [name for name, model in models if model.hub]
        self.path_models = [name for name, model in models if model.path]
        self.scratch_models = [name for name, model in models if model.scratch]
        self.hub_datasets = [name for name, dataset in datasets if dataset.hub]
        self.path_datasets = [name for name, dataset in datasets if dataset.path]
        self.hub_benchmarks = [name for name, benchmark in benchmarks if benchmark.task]
        self.local_benchmarks = [name for name, benchmark in benchmarks if benchmark.local]
        # Teachers that average several models, which have no tokens in common.
        self.averages = [name for name, teacher in settings.teachers.items() if teacher.average]

    # What comes from outside.

    def fetched(self) -> list[str]:
        """What the login node, with its internet, has to do for all others."""
        return [
            *map(model_folder, [*self.hub_models, *self.path_models]),
            *map(dataset_folder, self.settings.datasets),
            *(f"resources/benchmarks/{name}/manifest.json" for name in self.hub_benchmarks),
        ]

    def template_asked_by(self, wildcards: Wildcards) -> str:
        """The benchmarks that ask a fetched or linked model for a chat template."""
        model = wildcards.get("model")
        return ",".join(benchmarks_asking(model, self.settings)) if model else ""

    def linked_model(self, wildcards: Wildcards) -> list[str]:
        """The folder of a model of the user's own."""
        return linked("models", wildcards.model, self.settings.models[wildcards.model].path)

    def linked_dataset(self, wildcards: Wildcards) -> list[str]:
        """The folder of a data set of the user's own."""
        name = wildcards.dataset
        return linked("datasets", name, self.settings.datasets[name].path)

    def corpus_source(self, wildcards: Wildcards) -> list[str]:
        """What a corpus is read from: files of the user's, or a fetched data set."""
        source = self.settings.corpora[wildcards.corpus].source
        paths = [path for pattern in source.own_files for path in matching(pattern)]
        folder = f"results/corpora/{wildcards.corpus}/{wildcards.split}"
        own = external(paths, f"{folder}/manifest.record.json") if paths else []
        return [*own, *map(dataset_folder, source.datasets)]

    def corpus_judges(self, wildcards: Wildcards) -> list[str]:
        """The models that judge the documents of a corpus."""
        return [*map(model_folder, sorted(self.settings.corpora[wildcards.corpus].judged_by))]

    # Models, students and teachers.

    def scratch(self, model: str) -> Scratch:
        """How a model from scratch is made."""
        scratch = self.settings.models[model].scratch
        assert scratch, "wildcards are constrained to models from scratch"
        return scratch

    def scratch_documents(self, wildcards: Wildcards) -> str:
        """What a model from scratch, and its tokenizer, are trained on."""
        scratch = self.scratch(wildcards.model)
        return split_manifest(scratch.corpus, scratch.split)

    def scratch_rendered(self, wildcards: Wildcards) -> str:
        """The same documents as the model reads them."""
        scratch = self.scratch(wildcards.model)
        where = scratch.corpus, scratch.split
        return rendered_manifest("tokenizers", wildcards.model, *where)

    def rendered_for(self, wildcards: Wildcards) -> str:
        """The model that a split is rendered for: a student, or the tokenizer of a model from
        scratch."""
        if wildcards.reader == "students":
            return student_folder(wildcards.name)
        return f"resources/tokenizers/{wildcards.name}/manifest.json"

    def student_model(self, wildcards: Wildcards) -> str:
        """The model that a student is made of."""
        return model_folder(self.settings.students[wildcards.student].model)

    def student_tokenizer(self, wildcards: Wildcards) -> str | list[str]:
        """The tokenizer that a student is given, if any; a model from scratch has it before its
        weights."""
        name = self.settings.students[wildcards.student].tokenizer
        if name is None or name not in self.settings.models:
            return []
        kind = "tokenizers" if self.settings.models[name].scratch else "models"
        return f"resources/{kind}/{name}/manifest.json"

    def teacher_models(self, wildcards: Wildcards) -> list[str]:
        """The model that a teacher is, or those of which it is the average."""
        return self.teacher_folders(wildcards.teacher)

    def teacher_folders(self, teacher: str | None) -> list[str]:
        """The models of a teacher: one, or those that are averaged."""
        return [model_folder(name) for name in self.settings.teachers[str(teacher)].models]

    def cache_shards(self, wildcards: Wildcards) -> Any:
        """The shards of a byte cache, named like the shards of documents that they belong to. Their
        records say whether they are others; a date on a big file does not."""
        from snakemake.io import ancient  # stages, which run without Snakemake, import this module

        return ancient(self._shards(wildcards))

    def cache_records(self, wildcards: Wildcards) -> list[str]:
        """The records of those shards, small files that Snakemake compares by content."""
        return [shard.replace(".parquet", ".record.json") for shard in self._shards(wildcards)]

    def _shards(self, wildcards: Wildcards) -> list[str]:
        teacher, corpus, split = wildcards.teacher, wildcards.corpus, wildcards.split
        count = self.settings.corpora[corpus].splits[split].shards
        folder = os.path.dirname(cache_manifest(teacher, corpus, split))
        return [f"{folder}/{shard_name(number, count)}.parquet" for number in range(count)]

    # Runs.

    def run_documents(self, wildcards: Wildcards) -> str:
        """What a run is trained on."""
        run = self.settings.runs[wildcards.run]
        return split_manifest(run.corpus, run.train_split)

    def run_student(self, wildcards: Wildcards) -> str:
        """The student that a run trains."""
        return student_folder(self.settings.runs[wildcards.run].student)

    def run_rendered(self, wildcards: Wildcards) -> str:
        """The same documents as the student reads them."""
        run = self.settings.runs[wildcards.run]
        return rendered_manifest("students", run.student, run.corpus, run.train_split)

    def run_cache(self, wildcards: Wildcards) -> str | list[str]:
        """The teacher's byte distributions, for runs that learn from them."""
        run = self.settings.runs[wildcards.run]
        if not self.settings.learns_from(run, "cached"):
            return []
        return cache_manifest(run.teacher, run.corpus, run.train_split)

    def run_teacher(self, wildcards: Wildcards) -> list[str]:
        """The teacher itself, for runs that ask it on the way, and its tokenizer, for those that
        read its tokens."""
        run = self.settings.runs[wildcards.run]
        is_read = self.settings.learns_from(run, "live") or run.reads_tokens
        return self.teacher_folders(run.teacher) if is_read else []

    def run_map(self, wildcards: Wildcards) -> str | list[str]:
        """How the vocabularies are mapped to each other, for methods that do so."""
        run = self.settings.runs[wildcards.run]
        kind = run.vocabulary_map
        return f"results/vocabulary_maps/{kind}/{run.student}/{run.teacher}.parquet" if kind else []

    def run_warmup(self, wildcards: Wildcards) -> str | list[str]:
        """The warmed-up byte head, for runs that have one."""
        has_one = self.settings.runs[wildcards.run].has_warmup
        return f"results/runs/{wildcards.run}/warmup/manifest.json" if has_one else []

    def run_development(self, wildcards: Wildcards) -> str | list[str]:
        """The documents of a run's development evaluations, if it has them."""
        run = self.settings.runs[wildcards.run]
        return split_manifest(run.corpus, run.development_split) if run.has_development else []

    def run_development_rendered(self, wildcards: Wildcards) -> str | list[str]:
        """The same documents as the student reads them."""
        run = self.settings.runs[wildcards.run]
        of_run = "students", run.student, run.corpus, run.development_split
        return rendered_manifest(*of_run) if run.has_development else []

    def run_development_cache(self, wildcards: Wildcards) -> str | list[str]:
        """The teacher's byte distributions of those documents, for runs that learn from them."""
        run = self.settings.runs[wildcards.run]
        if not (self.settings.learns_from(run, "cached") and run.has_development):
            return []
        return cache_manifest(run.teacher, run.corpus, run.development_split)

    # Evaluation.

    def evaluated(self, wildcards: Wildcards) -> Evaluated:
        """The model that is evaluated, from the folder of its evaluations."""
        match wildcards.evaluated.split("/"):
            case ["runs", name, "evaluation"]:
                run = self.settings.runs[name]
                return Evaluated("run", name, run.corpus, run.validation_split, run.teacher)
            case [_, kind, name, *where]:
                return Evaluated(kind.removesuffix("s"), name, *where)
        raise ValueError(f"{wildcards.evaluated}: expected a folder of evaluations")

    def evaluated_on(self, wildcards: Wildcards) -> str:
        """The documents that a model is evaluated on."""
        model = self.evaluated(wildcards)
        return split_manifest(model.corpus, model.split)

    def evaluated_model(self, wildcards: Wildcards) -> str | list[str]:
        """The model that is evaluated; several where a teacher is an average."""
        model = self.evaluated(wildcards)
        if model.kind == "teacher":
            return self.teacher_folders(model.name)
        if model.kind == "student":
            return student_folder(model.name)
        return f"results/runs/{model.name}/model/manifest.json"

    def evaluated_student(self, wildcards: Wildcards) -> str | None:
        """The student that is evaluated, before training or as a run has trained it."""
        model = self.evaluated(wildcards)
        if model.kind == "run":
            return self.settings.runs[model.name].student
        return model.name if model.kind == "student" else None

    def evaluated_source(self, wildcards: Wildcards) -> str | list[str]:
        """The model that a student was made from, if it was given another tokenizer."""
        student = self.settings.students.get(self.evaluated_student(wildcards) or "")
        return model_folder(student.model) if student and student.tokenizer else []

    def evaluated_head(self, wildcards: Wildcards) -> str | list[str]:
        """The byte head of a run that has one with weights of its own."""
        model = self.evaluated(wildcards)
        has_one = model.kind == "run" and self.settings.runs[model.name].has_warmup
        return f"results/runs/{model.name}/head/manifest.json" if has_one else []

    def evaluated_against(self, wildcards: Wildcards) -> list[str]:
        """The teacher that a student is compared with."""
        return self.teacher_folders(self.evaluated(wildcards).teacher)

    def benchmark_data(self, wildcards: Wildcards) -> str:
        """What a benchmark reads: fetched from the hub, or made from a corpus."""
        where = "resources" if wildcards.benchmark in self.hub_benchmarks else "results"
        return f"{where}/benchmarks/{wildcards.benchmark}/manifest.json"

    def local_benchmark(self, name: str) -> LocalBenchmark:
        """How a benchmark is made from a corpus."""
        local = self.settings.benchmarks[name].local
        assert local, "wildcards are constrained to benchmarks made from a corpus"
        return local

    def benchmark_documents(self, wildcards: Wildcards) -> str:
        """What a benchmark of our own is made of."""
        local = self.local_benchmark(wildcards.benchmark)
        return split_manifest(local.corpus, local.split)

    # The report.

    def run_files(self, name: str) -> dict[str, str]:
        """What the report reads of a run: what its training left, how its student's tokens align
        with its teacher's, and the evaluations of it, of its student before training and of its
        teacher, by measure or benchmark."""
        run, settings = self.settings.runs[name], self.settings
        folder = f"results/runs/{name}"
        files = {
            "metrics": f"{folder}/metrics.parquet",
            "training": f"{folder}/training.json",
            "model": f"{folder}/model/manifest.json",
        }
        for pair in self.alignments([name]):
            files["alignment"] = f"results/alignments/{'/'.join(pair)}/alignment.json"
        students = f"results/evaluation/students/{run.student}"
        folders = {"run": f"{folder}/evaluation", "student": students}
        if run.teacher:
            folders["teacher"] = f"results/evaluation/teachers/{run.teacher}"
        for model, folder in folders.items():
            on = "" if model == "run" else f"/{run.corpus}/{run.validation_split}"
            is_average = model == "teacher" and run.teacher in self.averages
            for task in ["bits_per_byte"] if is_average else settings.evaluation.tasks:
                if task != "byte_divergence":
                    files[f"{model}/{task}"] = f"{folder}{on}/{task}.json"
                elif run.teacher and model != "teacher":
                    against = f"/{run.teacher}" if model == "student" else ""
                    files[f"{model}/{task}"] = f"{folder}{on}{against}/{task}.json"
            for benchmark in [] if is_average else settings.benchmarks:
                files[f"{model}/{benchmark}"] = f"{folder}/{benchmark}.json"
        return files

    def cache_files(self, cache: Sequence[str]) -> dict[str, str]:
        """What the report reads of a byte cache."""
        measures = ["audit"] if cache[0] in self.averages else ["audit", "information"]
        return {name: f"results/teachers/{'/'.join(cache)}/{name}.json" for name in measures}

    def split_files(self, runs: Iterable[str]) -> dict[str, str]:
        """The manifests of the documents of runs, by corpus and split."""
        return {
            f"{run.corpus}, {split}": split_manifest(run.corpus, split)
            for run in self._chosen(runs)
            for split in (run.train_split, run.validation_split)
        }

    def report_files(self, runs: Iterable[str]) -> list[str]:
        """Everything that a report on these runs reads."""
        runs = list(runs)
        caches = self.caches(with_development=False, runs=runs)
        files = {file for run in runs for file in self.run_files(run).values()}
        files |= {file for cache in caches for file in self.cache_files(cache).values()}
        return sorted(files | set(self.split_files(runs).values()))

    # All that is needed, in the order of the chain.

    def splits(self) -> list[tuple[str, str]]:
        """(corpus, split) of all documents that are needed."""
        models = (self.settings.models[name].scratch for name in self.scratch_models)
        read = {(scratch.corpus, scratch.split): None for scratch in models if scratch}
        for run in self.settings.runs.values():
            development = [run.development_split] if run.has_development else []
            for split in (run.train_split, *development, run.validation_split):
                read[run.corpus, str(split)] = None
        locals_ = map(self.local_benchmark, self.local_benchmarks)
        return list(read | {(local.corpus, local.split): None for local in locals_})

    def models(self) -> list[str]:
        """Models whose weights are needed."""
        runs = self.settings.runs.values()
        teachers = [self.settings.teachers[run.teacher] for run in runs if run.teacher]
        of_teachers = [model for teacher in teachers for model in teacher.models]
        of_students = [self.settings.students[run.student].model for run in runs]
        return list(dict.fromkeys([*of_teachers, *of_students]))

    def tokenizers(self) -> list[str]:
        """Models that only lend their tokenizer."""
        runs = self.settings.runs.values()
        names = (self.settings.students[run.student].tokenizer for run in runs)
        return list(dict.fromkeys(x for x in names if x and x in self.settings.models))

    def caches(
        self, with_development: bool = True, runs: Iterable[str] | None = None
    ) -> list[Cache]:
        """The byte caches of these runs, by default of all; those of training splits alone without
        `with_development`."""
        found: dict[Cache, None] = {}
        for run in self._chosen(runs):
            if self.settings.learns_from(run, "cached"):
                found[str(run.teacher), run.corpus, run.train_split] = None
                if with_development and run.has_development:
                    found[str(run.teacher), run.corpus, str(run.development_split)] = None
        return list(found)

    def rendered(self) -> list[tuple[str, str, str, str]]:
        """(kind, name, corpus, split) of what is trained on, or evaluated on meanwhile, as models
        read it; see `rendered_manifest`."""
        found = [
            ("tokenizers", name, scratch.corpus, scratch.split)
            for name in self.models()
            if (scratch := self.settings.models[name].scratch)
        ]
        for run in self.settings.runs.values():
            development = [run.development_split] if run.has_development else []
            for split in (run.train_split, *development):
                found.append(("students", run.student, run.corpus, str(split)))
        return list(dict.fromkeys(found))

    def maps(self) -> list[tuple[str, str, str]]:
        """(kind, student, teacher) of the vocabulary maps that runs read."""
        runs = [(run.vocabulary_map, run) for run in self.settings.runs.values()]
        maps = ((kind, run.student, str(run.teacher)) for kind, run in runs if kind)
        return list(dict.fromkeys(maps))

    def alignments(self, runs: Iterable[str] | None = None) -> list[tuple[str, str, str, str]]:
        """(student, teacher, corpus, split) on which aligned tokens are counted: of these runs, by
        default of all, whose teacher is one model."""
        return list(
            dict.fromkeys(
                (run.student, run.teacher, run.corpus, run.validation_split)
                for run in self._chosen(runs)
                if run.teacher and run.teacher not in self.averages
            )
        )

    def _chosen(self, runs: Iterable[str] | None) -> list[Run]:
        return [self.settings.runs[name] for name in (self.settings.runs if runs is None else runs)]
