"""The plan as a page of a terminal, and of its log: tables, what they assume, and what does not
fit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import IO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bld.config.plan import GIB
from bld.config.settings import Settings
from bld.pipeline.plan import costs, memory
from bld.pipeline.plan.contexts import contexts
from bld.pipeline.plan.costs import Plan, flops, gib, hours, short, size
from bld.pipeline.plan.jobs import all_gpu_hours, all_submissions
from bld.pipeline.plan.shapes import Shape
from bld.pipeline.plan.work import PADDED, cache_bytes_per_byte, expected_of, positions_per_token
from bld.pipeline.record import SECONDS_PER_HOUR

# A job's standard output is a pipe, which has no width of its own.
WIDTH = 100


def print_plan(plan: Plan, file: IO[str] | None = None) -> None:
    """Print the whole page, to standard output unless there is a `file`."""
    console = Console(width=WIDTH, file=file, highlight=False, markup=False, emoji=False)
    console.print(f"Plan: {plan.settings.report.title}", style="bold")
    console.print(f"on {_gpu(plan)}; nothing of it is spent yet.\n")
    for make in (_documents, _models, _scoring, _trainings, _memory, _disk):
        table = make(plan)
        if table.row_count:
            console.print(table)
            console.print()
    _section(console, "In all", _totals(plan), bullet="")
    _section(console, "Assumed", _assumptions(plan))
    _section(console, "Close to a limit", plan.warnings)
    _section(console, "Cannot work", plan.refusals)
    if not plan.refusals:
        console.print("It fits." if not plan.warnings else "It fits; see what is close to a limit.")


def _section(console: Console, title: str, lines: Iterable[str], bullet: str = "*") -> None:
    table = Table.grid(padding=(0, 0, 0, 1))
    for line in lines:
        table.add_row(bullet, line)
    if table.row_count:
        console.print(title, style="bold")
        console.print(table)
        console.print()


def _table(title: str, *columns: str, words: int = 1) -> Table:
    """A table whose first `words` columns hold words, the others numbers."""
    table = Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, show_edge=False
    )
    for column in columns[:words]:
        table.add_column(column, overflow="fold")
    for column in columns[words:]:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _documents(plan: Plan) -> Table:
    columns = ("documents", "content", "supervised", "shards", "known as")
    table = _table("Documents", "corpus", "split", *columns, words=2)
    for (corpus, split), found in plan.splits.items():
        amounts = count(found.documents), size(found.content), size(found.supervised)
        known = "counted" if found.counted else "expected"
        table.add_row(corpus, split, *amounts, count(found.shards), known)
    return table


def _models(plan: Plan) -> Table:
    table = _table("Models", "model", "parameters", "vocabulary", "layers", "hidden", "weights")
    students = {f"student {name}": shape for name, shape in plan.students.items()}
    for name, x in {**plan.models, **students}.items():
        sizes = short(x.parameters), count(x.vocabulary), count(x.layers), count(x.hidden)
        table.add_row(name, *sizes, size(x.weights_bytes))
    return table


def _scoring(plan: Plan) -> Table:
    columns = ("positions", "cache,\nat most", "GPU-\nhours", "jobs")
    per_job = ("hours\nper job", "GiB of\na GPU")
    table = _table(
        "Teachers' byte distributions", "teacher", "documents", *columns, *per_job, words=2
    )
    for job in plan.scoring:
        table.add_row(
            job.teacher,
            f"{job.corpus} {job.split}",
            short(job.positions),
            size(job.cache_bytes),
            hours(job.gpu_hours * job.count),
            str(job.submissions * job.count),
            hours(job.hours),
            gib(job.memory.total),
        )
    return table


def _trainings(plan: Plan) -> Table:
    columns = ("GPUs", "steps", "tokens\nper step", "tokens\nin all", "passes", "work\nper step")
    per_step = ("seconds\nper step", "GPU-\nhours", "jobs")
    table = _table("Trainings", "training", *columns, *per_step)
    for job in plan.trainings:
        table.add_row(
            job.name,
            str(job.limits.gpus),
            count(job.steps),
            count(job.tokens_per_step),
            short(job.tokens_per_step * job.steps),
            f"{job.passes:.2g}",
            flops(job.flops_per_step),
            hours(job.hours / job.steps * SECONDS_PER_HOUR),
            hours(job.gpu_hours),
            str(job.submissions),
        )
    return table


def _memory(plan: Plan) -> Table:
    title = f"Memory of one GPU, GiB of {plan.settings.plan.memory / GIB:g}"
    columns = ("weights", "gradients", "optimiser", "work", "teacher", "loading", "at its\nheight")
    table = _table(title, "training", *columns)
    for job in plan.trainings:
        table.add_row(job.name, *map(gib, job.memory), gib(job.memory.total))
    return table


def _disk(plan: Plan) -> Table:
    table = _table("Disk", "what", "size", "files", "")
    for item in plan.items:
        room = size(item.bytes) if item.bytes else "small"
        table.add_row(item.name, room, count(item.files), "there" if item.there else "")
    return table


def count(value: float) -> str:
    """A whole number with commas."""
    return f"{value:,.0f}"


def _totals(plan: Plan) -> Iterable[str]:
    of_scoring, of_training = all_gpu_hours(plan.scoring), all_gpu_hours(plan.trainings)
    yield (
        f"{hours(of_scoring + of_training)} GPU-hours on {plan.settings.plan.gpu}: "
        f"{hours(of_scoring)} of scoring, {hours(of_training)} of training"
    )
    sent = all_submissions(plan.jobs)
    yield (
        f"{count(plan.submissions)} queue slots (submissions of jobs): {count(sent)} of scoring "
        f"and training, {count(plan.submissions - sent)} of the rest"
    )
    yield (
        f"{size(plan.to_write)} to write, checkpoints among them; {size(plan.free)} are free on "
        "the file system of the working folder"
    )
    yield f"about {count(sum(item.files for item in plan.items))} files"


def _gpu(plan: Plan) -> str:
    gpu = plan.settings.plan
    return (
        f"{gpu.gpu} with {gpu.memory / GIB:g} GiB, {gpu.peak('bf16'):g} TFLOP/s at best in bf16 "
        f"and {gpu.peak('fp32'):g} in fp32, of which {gpu.utilisation:.0%} are reached"
    )


def _assumptions(plan: Plan) -> Iterable[str]:
    settings = plan.settings
    yield (
        f"Speed: `plan.utilisation` {settings.plan.utilisation:g} of the published peak, in "
        "training and in scoring; communication between GPUs, summing tokens to bytes and "
        "evaluating are not counted."
    )
    yield (
        "Work: 2 operations per weight and token forward, 4 backward (2 for frozen weights), 2 "
        "more with activation checkpointing; and attention over the whole context."
    )
    for name in sorted({run.corpus for run in settings.runs.values()}):
        yield _documents_of(name, settings)
    for name in sorted({run.teacher for run in settings.runs.values() if run.teacher}):
        teacher = settings.teachers[name]
        shapes = [plan.models[model] for model in teacher.models]
        packed = positions_per_token(teacher, replace(shapes[0], has_states=False), 0)
        yield (
            f"Teacher `{name}`: {packed:g} positions per token with histories "
            f"`{teacher.histories}`; at most {cache_bytes_per_byte(teacher.top_k_symbols):.0f} "
            f"bytes of cache per supervised byte with `top_k_symbols` {teacher.top_k_symbols} "
            "(half of that is usual)."
        )
        if any(shape.has_states for shape in shapes) and packed > 1:
            yield (
                f"Teacher `{name}`: some of its layers carry a state along a row, so each of its "
                "histories is read in a row of its own, from the beginning of its text, which is "
                "counted as half a context; `histories: trunk` needs one position per token."
            )
    for name, shape in plan.students.items():
        own = (run.training for run in settings.runs.values() if run.student == name)
        if shape.is_read_apart(max(training.sequence_length for training in own)):
            yield (
                f"Student `{name}`: {_why_apart(shape)}, so each document is read in a row of its "
                f"own; {PADDED - 1:.0%} of padding are counted."
            )
    yield from contexts(plan)
    if any(run.sampling.on_policy for run in settings.runs.values()):
        yield (
            "Text of the students' own (`sampling.on_policy`): a forward pass over it; it is drawn "
            "token by token, which takes longer than its operations say, and how much longer is "
            "not counted."
        )
    yield (
        "Memory: the model in the precision of the run, states by ZeRO's stage, and for `work` all "
        "that layers keep for the backward pass; while it is loaded, the whole model in float32 "
        f"and nothing else. At its height there are also {gib(memory.RESERVE)} GiB for CUDA, "
        "libraries and gaps."
    )
    yield (
        f"Jobs: each needs {settings.plan.job_minutes:g} minutes (`plan.job_minutes`) besides its "
        "work, to start, load and save; runtime and GPUs are those of this profile."
    )
    yield (
        f"Disk: no more than {costs.CHECKPOINTS} checkpoints of each training "
        f"({costs.CHECKPOINTS - 1} are kept, one is being written), of all trainings at once; they "
        "go when it is done. Conda environments, parts of shards that are being scored and quotas "
        "are not counted."
    )


def _why_apart(shape: Shape) -> str:
    if shape.has_states:
        return "some of its layers carry a state along a row"
    return f"its positions are encoded otherwise in texts of more than {shape.switch} tokens"


def _documents_of(name: str, settings: Settings) -> str:
    expected = expected_of(settings.corpora[name])
    if not expected:
        return f"Documents of `{name}`: counted; 4 bytes per token."
    return (
        f"Documents of `{name}`: {count(expected.documents)} of "
        f"{count(expected.bytes_per_document)} bytes, {expected.supervised_fraction:.0%} of them "
        f"supervised, {expected.bytes_per_token:g} bytes per token (`corpora.{name}.expected`); "
        "counted where a split is made."
    )
