# What archives and model cards are made from, and what their steps read of the settings.

from snakemake import __version__ as SNAKEMAKE_VERSION


def archived_runs(wildcards):
    """The runs of an archive, all if it names none."""
    return SETTINGS.archives[wildcards.archive].runs or list(SETTINGS.runs)


def selection_settings(wildcards):
    """What the report on an archive's runs tells of."""
    title = SETTINGS.archives[wildcards.archive].title
    return report_settings(title, archived_runs(wildcards))


def archive_settings(wildcards):
    """What is said of an archive, and the whole configuration; a step line keeps no order, and that of splits counts."""
    return {
        "archive": SETTINGS.archives[wildcards.archive].model_dump(mode="json"),
        "configuration": SETTINGS.model_dump(mode="json"),
        "splits": {name: list(corpus.splits) for name, corpus in SETTINGS.corpora.items()},
        "snakemake": SNAKEMAKE_VERSION,
    }


CRATES = [f"results/archive/{archive}.crate.zip" for archive in SETTINGS.archives]


def card_archive(run):
    """The first archive that has the run, if one does."""
    archives = SETTINGS.archives.items()
    return next((name for name, one in archives if one.runs is None or run in one.runs), None)


def card_report(wildcards):
    """The tables that tell of the run: those of its archive, or else of the report on all runs."""
    archive = card_archive(wildcards.run)
    folder = f"results/archive/{archive}/report" if archive else os.path.dirname(REPORT)
    return {
        "summary": f"{folder}/summary.json",
        "tables": [f"{folder}/{table}.csv" for table in ("models", "comparison", "benchmarks")],
    }


def card_crate(wildcards):
    archive = card_archive(wildcards.run)
    return [f"results/archive/{archive}.crate.zip"] if archive else []


def card_teacher(run):
    """The teacher that a run learns from; plain fine-tuning only measures its distance to one."""
    return SETTINGS.teachers[run.teacher] if run.taught else None


def card_models(run):
    """The models that a run was made from: base model, tokenizer, teacher."""
    student, teacher = SETTINGS.students[run.student], card_teacher(run)
    names = [student.model, student.tokenizer, *(teacher.models if teacher else [])]
    return [name for name in dict.fromkeys(names) if name in SETTINGS.models]


def card_scratch(run):
    """Those of them that were made here."""
    models = {name: SETTINGS.models[name].scratch for name in card_models(run)}
    return {name: scratch for name, scratch in models.items() if scratch}


def card_made_from(wildcards):
    """Manifests of all that a run was made from: fetched models, documents, and the data sets that these are from."""
    run = SETTINGS.runs[wildcards.run]
    scratch = card_scratch(run)
    splits = {run.train_split, run.validation_split}
    splits |= {run.development_split} if run.has_development else set()
    documents = {(run.corpus, split) for split in splits}
    documents |= {(one.corpus, one.split) for one in scratch.values()}
    sources = [SETTINGS.corpora[corpus].source for corpus, _ in documents]
    datasets = {name for source in sources for name in source.datasets}
    return [
        *(model_folder(name) for name in card_models(run) if name not in scratch),
        *(split_manifest(*split) for split in sorted(documents)),
        *(f"resources/datasets/{name}/manifest.json" for name in sorted(datasets)),
    ]


def card_settings(wildcards):
    run = SETTINGS.runs[wildcards.run]
    student, teacher = SETTINGS.students[run.student], card_teacher(run)
    told = {
        "average" if teacher and teacher.average else "model",
        "histories",
        "eps",
        "mode",
        "top_k_tokens",
    }
    return {
        "name": wildcards.run,
        "run": run.own(),
        "student": student.model_dump(include={"model", "tokenizer", "initialisation"}),
        "teacher": teacher and teacher.model_dump(include=told),
        "scratch": {name: scratch.model_dump() for name, scratch in card_scratch(run).items()},
        "trust_remote_code": SETTINGS.models[student.model].trust_remote_code,
    }


CARDS = [f"results/runs/{run}/model/README.md" for run in SETTINGS.runs]
