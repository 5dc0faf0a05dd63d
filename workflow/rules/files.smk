# Which files there are, and which of them a job reads.

REPORT = "results/report/index.html"


def model_folder(name):
    return f"resources/models/{name}/manifest.json"


def student_folder(name):
    return f"results/students/{name}/manifest.json"


def split_manifest(corpus, split):
    return f"results/corpora/{corpus}/{split}/manifest.json"


def split_shards(corpus, split):
    count = SETTINGS.corpora[corpus].splits[split].shards
    return [
        f"results/corpora/{corpus}/{split}/{shard_name(number, count)}.parquet"
        for number in range(count)
    ]


def split_files(corpus, split):
    return [split_manifest(corpus, split), *split_shards(corpus, split)]


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
    return split_files(scratch.corpus, scratch.split)


def teacher_model(wildcards):
    return model_folder(SETTINGS.teachers[wildcards.teacher].model)


def cache_shards(wildcards):
    """The shards of a byte cache, named like the shards of documents that they belong to."""
    return [
        path.replace("results/corpora/", f"results/teachers/{wildcards.teacher}/", 1)
        for path in split_shards(wildcards.corpus, wildcards.split)
    ]


def other_tokenizer(wildcards):
    """The model whose tokenizer the student is given, if it is given one."""
    tokenizer = SETTINGS.students[wildcards.student].tokenizer
    return [model_folder(tokenizer)] if tokenizer in SETTINGS.models else []


def run_documents(wildcards):
    run = SETTINGS.runs[wildcards.run]
    return split_files(run.corpus, run.train_split)


def run_student(wildcards):
    return student_folder(SETTINGS.runs[wildcards.run].student)


def run_cache(wildcards):
    """The teacher's byte distributions, for runs that learn from them."""
    run = SETTINGS.runs[wildcards.run]
    if run.method == "sft":
        return []
    return [f"results/teachers/{run.teacher}/{run.corpus}/{run.train_split}/manifest.json"]


def run_warmup(wildcards):
    """The warmed-up byte head, for runs that have one."""
    run = SETTINGS.runs[wildcards.run]
    has_head = run.method == "bld" and run.bld.head == "linear"
    return [f"results/runs/{wildcards.run}/warmup/manifest.json"] if has_head else []


def run_validation(wildcards):
    """The documents that a run is judged on."""
    run = SETTINGS.runs[wildcards.run]
    return split_files(run.corpus, run.validation_split)


def run_teacher(wildcards):
    return model_folder(SETTINGS.teachers[SETTINGS.runs[wildcards.run].teacher].model)


def measured(run):
    """What is measured of a run; without a teacher there is no divergence from one."""
    tasks = SETTINGS.evaluation.tasks
    return [task for task in tasks if SETTINGS.runs[run].teacher or task != "byte_divergence"]


# The byte caches that runs learn from: teacher, corpus, split.
CACHES = sorted(
    {
        (run.teacher, run.corpus, run.train_split)
        for run in SETTINGS.runs.values()
        if run.method != "sft"
    }
)


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
