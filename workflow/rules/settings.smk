# What each step reads of the settings: besides its inputs and its code, this is what it is rerun for.

import platform


def split_settings(wildcards):
    """What a split depends on: its source, the fractions of the splits before it, in their order, and itself, the last; of
    Python's own documentation also the Python, which an environment of its own would fix."""
    corpus, split = wildcards.corpus, wildcards.split
    settings = SETTINGS.corpora[corpus].model_dump(exclude={"expected"})
    names = list(settings["splits"])
    before = [
        [name, {"fraction": settings["splits"][name]["fraction"]}]
        for name in names[: names.index(split)]
    ]
    described = settings | {"splits": [*before, [split, settings["splits"][split]]]}
    if not SETTINGS.corpora[corpus].source.reads_python or has_environments():
        return {"corpus": described}
    return {"corpus": described, "python": platform.python_version()}


def reading(model):
    """How documents are rendered for a model."""
    keys = {"template", "template_arguments", "end_tokens", "trust_remote_code"}
    return SETTINGS.models[model].model_dump(include=keys)


def student_reading(name):
    """How documents are rendered for a student: as for the model whose tokenizer it has."""
    student = SETTINGS.students[name]
    model = student.tokenizer if student.tokenizer in SETTINGS.models else student.model
    trusted = SETTINGS.models[student.model].trust_remote_code
    return reading(model) | {"trust_remote_code": trusted}


def tokenizer_settings(wildcards):
    scratch = SETTINGS.models[wildcards.model].scratch
    return scratch.model_dump(include={"tokenizer", "documents"})


def pretrain_settings(wildcards):
    scratch = SETTINGS.models[wildcards.model].scratch
    return {"scratch": scratch.model_dump(), "reading": reading(wildcards.model)}


# The settings of histories that are not read: a beam alone has a width, and the trunk drops nothing.
UNREAD = {"trunk": {"eps", "beam_width"}, "prefix": {"beam_width"}, "beam": set()}


def policy(section):
    """The histories that a section asks for."""
    read = {"histories", "eps", "beam_width"} - UNREAD[section.histories]
    return {key: getattr(section, key) for key in read}


def teacher_settings(wildcards):
    return scoring_settings(SETTINGS.teachers[wildcards.teacher])


def teacher_reading(teacher):
    """How documents are rendered for a teacher; for each of its models, where it averages several."""
    if not teacher.average:
        return {"reading": reading(teacher.model)}
    readings = {model: reading(model) for model in teacher.models}
    return {"reading": readings, "average": teacher.average.model_dump()}


def scoring_settings(teacher):
    """How a teacher's byte distributions are made."""
    unread = {"model", "average", "mode"} | UNREAD[teacher.histories]
    return {"scoring": teacher.model_dump(exclude=unread)} | teacher_reading(teacher)


def sample_settings(wildcards):
    """A sample of the documents that a teacher has scored, and how they are read."""
    teacher = SETTINGS.teachers[wildcards.teacher]
    sample = SETTINGS.audit.model_dump(include={"documents", "seed"})
    limits = teacher.model_dump(include={"window", "batch_tokens", "precision"})
    return sample | limits | teacher_reading(teacher)


def audit_settings(wildcards):
    own = policy(SETTINGS.teachers[wildcards.teacher])
    return sample_settings(wildcards) | {"own": own, "strict": policy(SETTINGS.audit)}


def information_settings(wildcards):
    teacher = SETTINGS.teachers[wildcards.teacher]
    return sample_settings(wildcards) | {"policy": policy(teacher)}


def student_settings(wildcards):
    """How the rows of a new vocabulary are made is read with one alone, the seed only where noise is drawn."""
    student = SETTINGS.students[wildcards.student]
    if student.tokenizer is None:
        return {"tokenizer": None}
    seed = {"seed": student.seed} if student.initialisation == "random" else {}
    return {
        "tokenizer": student.tokenizer,
        "transfer": {"initialisation": student.initialisation, "pad_to": student.pad_vocabulary_to}
        | seed,
        "model_reading": reading(student.model),
        "reading": student_reading(wildcards.student),
    }


def map_settings(wildcards):
    """Between which vocabularies a map leads, and of which kind it is."""
    return {"kind": wildcards.kind} | readings_of_both(wildcards)


def alignment_settings(wildcards):
    """How many documents tokens are counted on, at most, and how both models read them."""
    return {"documents": 200} | readings_of_both(wildcards)


def readings_of_both(wildcards):
    """How documents are rendered for a student, and for a teacher of one model."""
    return {
        "student_reading": student_reading(wildcards.student),
        "teacher_reading": reading(SETTINGS.teachers[wildcards.teacher].model),
    }


def training_settings(run, unread=()):
    """How a run is trained; without looks at a development split nothing is read about them."""
    looks = set() if run.has_development else {"evaluate_every", "evaluate_documents"}
    return run.training.model_dump(exclude={*unread, *looks})


def warm_up_settings(wildcards):
    """The warm-up has its own length and rate, no teacher and no low-rank updates."""
    run = SETTINGS.runs[wildcards.run]
    read = {"head", "byte_weight", "reduction", "mask_end", "mask_whitespace"}
    return {
        "training": training_settings(run, {"steps", "learning_rate", "lora"}),
        "head_warmup": run.head_warmup.model_dump(),
        "bld": run.bld.model_dump(include=read),
        "seed": run.seed,
        "reading": student_reading(run.student),
    }


def distill_settings(wildcards):
    run = SETTINGS.runs[wildcards.run]
    settings = {
        "method": run.method,
        "training": training_settings(run),
        "seed": run.seed,
        "reading": student_reading(run.student),
    }
    if run.taught:
        settings[run.method] = run.taught.model_dump()
        if run.taught.reads_tokens:
            settings["teacher_reading"] = reading(SETTINGS.teachers[run.teacher].model)
    if run.sampling.on_policy:
        settings["sampling"] = run.sampling.model_dump()
    if SETTINGS.learns_from(run, "live"):
        settings["teacher"] = scoring_settings(SETTINGS.teachers[run.teacher])
    return settings


def judged_reading(wildcards):
    """How documents are rendered for a model that is judged."""
    who = TARGETS.evaluated(wildcards)
    if who.kind == "teacher":
        return reading(SETTINGS.teachers[who.name].model)
    return student_reading(who.name if who.kind == "student" else SETTINGS.runs[who.name].student)


def evaluation_settings(wildcards):
    settings = SETTINGS.evaluation.model_dump(include={"window", "batch_tokens"})
    return settings | {"reading": judged_reading(wildcards)}


def average_settings(wildcards):
    """An average has no tokens, and is judged by its bytes."""
    settings = SETTINGS.evaluation.model_dump(include={"window", "batch_tokens"})
    teacher = SETTINGS.teachers[wildcards.teacher]
    return settings | teacher_reading(teacher) | {"policy": policy(SETTINGS.evaluation)}


def divergence_settings(wildcards):
    who = TARGETS.evaluated(wildcards)
    of_teacher = teacher_reading(SETTINGS.teachers[who.teacher])
    return {
        **evaluation_settings(wildcards),
        **{f"teacher_{key}": value for key, value in of_teacher.items()},
        "documents": SETTINGS.evaluation.divergence_documents,
        "policy": policy(SETTINGS.evaluation),
        "head": SETTINGS.runs[who.name].bld.head if TARGETS.evaluated_head(wildcards) else None,
    }


def text_settings(wildcards):
    texts = {"prompts", "temperature", "completion_bytes", "passage_bytes"}
    return evaluation_settings(wildcards) | {
        **SETTINGS.evaluation.model_dump(include=texts),
        "policy": policy(SETTINGS.evaluation),
    }


def local_benchmark_settings(wildcards):
    local = SETTINGS.benchmarks[wildcards.benchmark].local
    return local.model_dump(include={"kind", "documents", "seed"})


def benchmark_settings(wildcards):
    """How a model is judged by a benchmark; what its data is made from is read by those who make it."""
    benchmark = SETTINGS.benchmarks[wildcards.benchmark]
    return benchmark.model_dump(exclude={"local", "data", "nltk"}) | {
        "name": wildcards.benchmark,
        "max_length": SETTINGS.evaluation.window,
        "reading": judged_reading(wildcards),
    }


def report_settings(title, runs):
    """What the report on these runs tells of and where it is found; of settings also those that are not as they are by
    themselves."""
    return {
        "title": title,
        "runs": {
            name: {
                "settings": SETTINGS.runs[name].own(),
                "changed": SETTINGS.runs[name].own(exclude_defaults=True),
                "files": TARGETS.run_files(name),
            }
            for name in runs
        },
        "caches": [
            dict(zip(("teacher", "corpus", "split"), cache)) | {"files": TARGETS.cache_files(cache)}
            for cache in sorted(TARGETS.caches(with_development=False, runs=runs))
        ],
        "figures": report_figures(runs),
    }
