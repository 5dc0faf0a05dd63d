# Which files there are, and which of them a job reads.

from collections import namedtuple

from bld.pipeline.uses import (
    MAPPED,
    alignments_measured,
    caches,
    has_map,
    has_warmup,
    is_watched,
    learns_from,
    reads_tokens,
)
from bld.pipeline.touched import unchanged

REPORT = "results/report/index.html"


def model_folder(name):
    return f"resources/models/{name}/manifest.json"


def teacher_folders(name):
    """The model that a teacher is, or those of which it is the average."""
    return [model_folder(model) for model in SETTINGS.teachers[name].models]


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


def external(paths, record):
    """Files of the user's own, which may be large: a date alone makes nothing stale."""
    known = unchanged(paths, record)
    return [ancient(path) if path in known else path for path in paths]


def linked_files(folder, kind, name):
    return external(files_under(folder), f"resources/{kind}/{name}/manifest.record.json")


def corpus_inputs(corpus, split):
    source = SETTINGS.corpora[corpus].source
    if source.kind == "files":
        paths = [path for pattern in source.paths for path in matching_files(pattern)]
        return external(paths, f"results/corpora/{corpus}/{split}/manifest.record.json")
    if source.kind == "dataset":
        return f"resources/datasets/{source.dataset}/manifest.json"
    return []


def scratch_documents(wildcards):
    """What a model from scratch, and its tokenizer, are trained on."""
    scratch = SETTINGS.models[wildcards.model].scratch
    return split_manifest(scratch.corpus, scratch.split)


# Teachers that average several models, which have no tokens in common.
AVERAGES = [name for name, teacher in SETTINGS.teachers.items() if teacher.average]


def teacher_models(wildcards):
    return teacher_folders(wildcards.teacher)


def cache_shards(wildcards):
    """The shards of a byte cache, named like the shards of documents that they belong to."""
    teacher, corpus, split = wildcards.teacher, wildcards.corpus, wildcards.split
    count = SETTINGS.corpora[corpus].splits[split].shards
    return [
        f"results/teachers/{teacher}/{corpus}/{split}/{shard_name(number, count)}.parquet"
        for number in range(count)
    ]


def cache_records(wildcards):
    """The records of those shards, small files that Snakemake compares by content."""
    return [shard.replace(".parquet", ".record.json") for shard in cache_shards(wildcards)]


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


def run_teacher(wildcards):
    """The teacher itself, for runs that ask it on the way, and its tokenizer, for those that read its tokens."""
    run = SETTINGS.runs[wildcards.run]
    asked = learns_from(run, "live", SETTINGS) or reads_tokens(run)
    return teacher_folders(run.teacher) if asked else []


def run_map(wildcards):
    """How the vocabularies are mapped to each other, for methods that do so."""
    run = SETTINGS.runs[wildcards.run]
    where = f"results/vocabulary_maps/{run.method}/{run.student}/{run.teacher}.parquet"
    return [where] if has_map(run) else []


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


# A model that is judged, and with whom: of a run its own corpus, split and teacher; else what is named in the path.
Judged = namedtuple("Judged", ["kind", "name", "corpus", "split", "teacher"], defaults=[None] * 3)


def judged(wildcards):
    """Who is judged, from the folder of the evaluations."""
    match wildcards.judged.split("/"):
        case ["runs", name, "evaluation"]:
            run = SETTINGS.runs[name]
            return Judged("run", name, run.corpus, run.validation_split, run.teacher)
        case ["evaluation", kind, name, *where]:
            return Judged(kind.removesuffix("s"), name, *where)


def judged_on(wildcards):
    """The documents that a model is judged on."""
    who = judged(wildcards)
    return split_manifest(who.corpus, who.split)


def judged_model(wildcards):
    who = judged(wildcards)
    if who.kind == "teacher":
        return teacher_folders(who.name)
    if who.kind == "student":
        return student_folder(who.name)
    return f"results/runs/{who.name}/model/manifest.json"


def has_trained_head(who):
    return who.kind == "run" and has_warmup(SETTINGS.runs[who.name])


def judged_head(wildcards):
    """The byte head of a run that has one with weights of its own."""
    who = judged(wildcards)
    return [f"results/runs/{who.name}/head/manifest.json"] if has_trained_head(who) else []


def judged_teacher(wildcards):
    """The teacher that a student is held against."""
    return teacher_folders(judged(wildcards).teacher)


HUB_BENCHMARKS = [name for name, benchmark in SETTINGS.benchmarks.items() if benchmark.task]
LOCAL_BENCHMARKS = [name for name, benchmark in SETTINGS.benchmarks.items() if benchmark.local]


def benchmark_data(wildcards):
    """What a benchmark reads: fetched from the hub, or made from a corpus."""
    where = "resources" if wildcards.benchmark in HUB_BENCHMARKS else "results"
    return f"{where}/benchmarks/{wildcards.benchmark}/manifest.json"


def benchmark_documents(wildcards):
    local = SETTINGS.benchmarks[wildcards.benchmark].local
    return split_manifest(local.corpus, local.split)


def run_files(name):
    """What the report reads of a run: what its training left, how its student's tokens stand to its teacher's, and what
    was found of it, of its student before and of its teacher, by measure or benchmark."""
    run = SETTINGS.runs[name]
    kept = {
        "metrics": "metrics.parquet",
        "training": "training.json",
        "model": "model/manifest.json",
    }
    files = {what: f"results/runs/{name}/{file}" for what, file in kept.items()}
    for pair in alignments_measured(SETTINGS, [name]):
        files["alignment"] = f"results/alignments/{'/'.join(pair)}/alignment.json"
    of_student = f"results/evaluation/students/{run.student}"
    of_teacher = f"results/evaluation/teachers/{run.teacher}"
    folders = {"run": f"results/runs/{name}/evaluation", "student": of_student}
    folders |= {"teacher": of_teacher} if run.teacher else {}
    for whose, folder in folders.items():
        where = [] if whose == "run" else [run.corpus, run.validation_split]
        is_average = whose == "teacher" and run.teacher in AVERAGES
        for task in ["bits_per_byte"] if is_average else SETTINGS.evaluation.tasks:
            if task != "byte_divergence":
                files[f"{whose}/{task}"] = os.path.join(folder, *where, f"{task}.json")
            elif run.teacher and whose != "teacher":
                against = [run.teacher] if whose == "student" else []
                files[f"{whose}/{task}"] = os.path.join(folder, *where, *against, f"{task}.json")
        for benchmark in [] if is_average else SETTINGS.benchmarks:
            files[f"{whose}/{benchmark}"] = f"{folder}/{benchmark}.json"
    return files


def cache_files(cache):
    """What the report reads of a byte cache."""
    folder = f"results/teachers/{'/'.join(cache)}"
    found = ["audit"] if cache[0] in AVERAGES else ["audit", "information"]
    return {what: f"{folder}/{what}.json" for what in found}


def caches_of(runs):
    """The byte caches that these runs learn from."""
    return sorted(caches(SETTINGS, looked_at=False, runs=runs))


def report_files(runs):
    """Everything that a report on these runs tells of."""
    return sorted(
        {
            *(file for run in runs for file in run_files(run).values()),
            *(file for cache in caches_of(runs) for file in cache_files(cache).values()),
        }
    )
