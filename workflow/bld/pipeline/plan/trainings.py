"""What trainings cost: the making of models from scratch, the warm-up of byte heads, distillation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bld.config.settings import BldSettings, Histories, Run, Training
from bld.pipeline.plan import memory
from bld.pipeline.plan.jobs import Job, Premises
from bld.pipeline.plan.memory import Memory
from bld.pipeline.plan.scoring import positions_per_token, scoring_memory
from bld.pipeline.plan.shapes import (
    Shape,
    body_flops,
    forward_flops,
    head_parameters,
    lora_parameters,
    trained_parameters,
    training_flops,
)
from bld.symbols import HEAD_BYTES


@dataclass(frozen=True, kw_only=True)
class TrainingJob(Job):
    """A training; `passes`: how often it sees its documents; `rows` of a batch, of which one process has `rows_at_once`."""

    steps: int
    rows: int
    rows_at_once: int
    tokens_per_step: int
    flops_per_step: float
    passes: float
    checkpoint_bytes: float
    export_bytes: float
    host_bytes: float


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a training does per token: `added` parameters stand beside the model's, `trained` ones of both together get
    gradients; it predicts `symbols` bytes, runs at `positions` positions, and asks a live teacher of `teacher_bytes`."""

    shape: Shape
    flops: float
    added: float
    trained: float
    symbols: float = 0
    positions: float = 1
    teacher_bytes: float = 0


def pretraining(premises: Premises, name: str) -> TrainingJob:
    """The making of a model from scratch."""
    scratch = premises.settings.models[name].scratch
    assert scratch and scratch.training
    shape = premises.shapes.model(name)
    flops = _whole_flops(shape, scratch.training)
    load = Load(shape=shape, flops=flops, added=0, trained=shape.parameters)
    per_token = premises.bytes_per_token(scratch.corpus)
    content = premises.amounts[scratch.corpus, scratch.split].content
    return _job(premises, "pretrain", name, scratch.training, load, per_token / content)


def trainings_of_run(premises: Premises, name: str) -> Iterator[TrainingJob]:
    """The warm-up of a run, if it has one, and its distillation."""
    run = premises.settings.runs[name]
    per_token = premises.bytes_per_token(run.corpus, run.student)
    passes_per_token = per_token / premises.amounts[run.corpus, run.train_split].content
    shape = premises.shapes.student(run.student)
    if run.has_warmup:
        training = run.training.model_copy(update={"steps": run.head_warmup.steps, "lora": None})
        load = _warm_up(run, shape, min(per_token, HEAD_BYTES))
        yield _job(premises, "warm_up", name, training, load, passes_per_token)
    load = _distillation(premises, run, shape, per_token)
    yield _job(premises, "distill", name, run.training, load, passes_per_token)


def _warm_up(run: Run, shape: Shape, symbols: float) -> Load:
    """The body is frozen, and gives no logits; or trained too, all of it whatever `lora` says."""
    assert run.taught and run.taught.warmed_up_head
    head = head_parameters(run.taught.warmed_up_head, shape.hidden)
    whole = run.head_warmup.train_body
    context = run.training.sequence_length
    body = _whole_flops(shape, run.training) if whole else body_flops(shape, context)
    trained = head + (shape.parameters if whole else 0)
    return Load(shape=shape, flops=body + 6 * head, added=head, trained=trained, symbols=symbols)


def _distillation(premises: Premises, run: Run, shape: Shape, per_token: float) -> Load:
    training, lora = run.training, run.training.lora
    flops = training_flops(shape, training.sequence_length, lora, training.activation_checkpointing)
    head, symbols, positions, teacher_bytes = 0, 0.0, 1.0, 0.0
    if isinstance(bld := run.taught, BldSettings):
        head = head_parameters(bld.head, shape.hidden)
        symbols = min(per_token, HEAD_BYTES) if head else per_token
        if bld.head == "marginal":
            positions = positions_per_token(Histories(histories=bld.histories, eps=0))
        flops = positions * flops + 6 * head
    flops += run.sampling.on_policy * forward_flops(shape, training.sequence_length)
    if premises.settings.learns_from(run, "live"):
        teacher = premises.settings.teachers[str(run.teacher)]
        asked = premises.shapes.teacher(str(run.teacher))
        tokens = per_token / premises.bytes_per_token(run.corpus)
        context = min(teacher.window, training.sequence_length * tokens)
        positions_asked = tokens * positions_per_token(teacher)
        flops += positions_asked * sum(forward_flops(shape, context) for shape in asked)
        at_once = scoring_memory(asked, teacher)
        teacher_bytes = at_once.weights + at_once.work
    return Load(
        shape=shape,
        flops=flops,
        added=head + (lora_parameters(shape, lora) if lora else 0),
        trained=head + trained_parameters(shape, lora),
        symbols=symbols,
        positions=positions,
        teacher_bytes=teacher_bytes,
    )


def _whole_flops(shape: Shape, training: Training) -> float:
    """Of a training of all weights, per token."""
    again = training.activation_checkpointing
    return training_flops(shape, training.sequence_length, None, again)


def _job(
    premises: Premises,
    rule: str,
    name: str,
    training: Training,
    load: Load,
    passes_per_token: float,
) -> TrainingJob:
    limits, shape = premises.limits[rule][name], load.shape
    processes = limits.processes
    tokens = training.batch_size * training.sequence_length
    at_once = training.micro_batch_size * training.sequence_length * load.positions
    frozen = shape.parameters + load.added - load.trained
    states = memory.states(load.trained, frozen, training, processes)
    loading = memory.FLOAT32 * (shape.parameters + load.added) + load.teacher_bytes
    work = memory.work_bytes(shape, training, at_once, load.trained, processes, load.symbols)
    return TrainingJob(
        rule=rule,
        target=name,
        gpu_hours=premises.gpu.hours(load.flops * tokens * training.steps, training.precision),
        memory=Memory(*states, work, load.teacher_bytes, loading),
        limits=limits,
        start_minutes=premises.settings.plan.job_minutes,
        steps=training.steps,
        rows=training.batch_size,
        rows_at_once=training.micro_batch_size,
        tokens_per_step=tokens,
        flops_per_step=load.flops * tokens,
        passes=tokens * training.steps * passes_per_token,
        checkpoint_bytes=memory.checkpoint_bytes(load.trained, training),
        export_bytes=memory.FLOAT32 * load.added if rule == "warm_up" else shape.weights_bytes,
        host_bytes=memory.host_bytes(shape, training, load.trained, processes, limits.nodes),
    )
