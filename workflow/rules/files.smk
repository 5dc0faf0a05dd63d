# Which files there are, and which of them a job reads.

from bld.planning.uses import caches, has_warmup, is_watched, learns_from

REPORT = "results/report/index.html"


def model_folder(name):
    return f"resources/models/{name}/manifest.json"


def student_folder(name):
    return f"results/students/{name}/manifest.json"


def split_manifest(corpus, split):
    return f"results/corpora/{corpus}/{split}/manifest.json"


def files_under(folder):
    return sorted(
        os.path.join(where, name) for where, _, names in os.walk(folder) for name in names
    )


def matching_files(pattern):
    if os.path.isdir(pattern):
        return files_under(pattern)
    return sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))


def corpus_inputs(corpus):
    source = SETTINGS.corpora[corpus].source
    if source.kind == "files":
        return [path for pattern in source.paths for path in matching_files(pattern)]
    if source.kind == "dataset":
        return f"resources/datasets/{source.dataset}/manifest.json"
    return []


def scratch_documents(wildcards):
    """What a model from scratch, and its tokenizer, are trained on."""
    scratch = SETTINGS.models[wildcards.model].scratch
    return split_manifest(scratch.corpus, scratch.split)


def teacher_model(wildcards):
    return model_folder(SETTINGS.teachers[wildcards.teacher].model)


def cache_shards(wildcards):
    """The shards of a byte cache, named like the shards of documents that they belong to."""
    teacher, corpus, split = wildcards.teacher, wildcards.corpus, wildcards.split
    count = SETTINGS.corpora[corpus].splits[split].shards
    return [
        f"results/teachers/{teacher}/{corpus}/{split}/{shard_name(number, count)}.parquet"
        for number in range(count)
    ]


def given_tokenizer(wildcards):
    """The tokenizer that a student is given, if any; a model from scratch has it before its weights."""
    name = SETTINGS.students[wildcards.student].tokenizer
    if name not in SETTINGS.models:
        return []
    kind = "tokenizers" if SETTINGS.models[name].scratch else "models"
    return [f"resources/{kind}/{name}/manifest.json"]


def run_documents(wildcards):
    run = SETTINGS.runs[wildcards.run]
    return split_manifest(run.corpus, run.train_split)


def run_student(wildcards):
    return student_folder(SETTINGS.runs[wildcards.run].student)


def run_cache(wildcards):
    """The teacher's byte distributions, for runs that learn from them."""
    run = SETTINGS.runs[wildcards.run]
    if not learns_from(run, "cached", SETTINGS):
        return []
    return [f"results/teachers/{run.teacher}/{run.corpus}/{run.train_split}/manifest.json"]


def run_live_teacher(wildcards):
    """The teacher itself, for runs that ask it on the way."""
    run = SETTINGS.runs[wildcards.run]
    return run_teacher(wildcards) if learns_from(run, "live", SETTINGS) else []


def run_warmup(wildcards):
    """The warmed-up byte head, for runs that have one."""
    run = SETTINGS.runs[wildcards.run]
    return [f"results/runs/{wildcards.run}/warmup/manifest.json"] if has_warmup(run) else []


def run_development(wildcards):
    """The documents that a run is looked at during training, if it is."""
    run = SETTINGS.runs[wildcards.run]
    return [split_manifest(run.corpus, run.development_split)] if is_watched(run) else []


def run_development_cache(wildcards):
    """What the teacher says of those documents, for runs that learn from it."""
    run = SETTINGS.runs[wildcards.run]
    if not (learns_from(run, "cached", SETTINGS) and is_watched(run)):
        return []
    return [f"results/teachers/{run.teacher}/{run.corpus}/{run.development_split}/manifest.json"]


def run_validation(wildcards):
    """The documents that a run is judged on."""
    run = SETTINGS.runs[wildcards.run]
    return split_manifest(run.corpus, run.validation_split)


def run_teacher(wildcards):
    return model_folder(SETTINGS.teachers[SETTINGS.runs[wildcards.run].teacher].model)


def measured(run):
    """What is measured of a run; without a teacher there is no divergence from one."""
    tasks = SETTINGS.evaluation.tasks
    return [task for task in tasks if SETTINGS.runs[run].teacher or task != "byte_divergence"]


# The byte caches that runs learn from: teacher, corpus, split.
CACHES = sorted(caches(SETTINGS, looked_at=False))


def report_inputs(wildcards):
    files = [
        f"results/teachers/{'/'.join(cache)}/{measure}.json"
        for cache in CACHES
        for measure in ("audit", "information")
    ]
    for name, run in SETTINGS.runs.items():
        judged_on = f"{run.corpus}/{run.validation_split}/bits_per_byte.json"
        files += [f"results/runs/{name}/{file}" for file in ("metrics.parquet", "training.json")]
        files += [f"results/runs/{name}/evaluation/{task}.json" for task in measured(name)]
        files += [f"results/evaluation/students/{run.student}/{judged_on}"]
        if run.teacher:
            files += [f"results/evaluation/teachers/{run.teacher}/{judged_on}"]
    return sorted(set(files))
