"""The settings of how models are evaluated: by bytes, by benchmarks and by what they write; and how
teachers' bytes are audited.

`config` is the place to import settings from.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, StringConstraints

from bld.config.documents import Count, Name, NonNegative, Revision, Section, Seed
from bld.config.models import Histories

HubName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$")]

Measure = Literal["bits_per_byte", "byte_divergence", "text"]
METRICS = "evaluate-metric"
"""Who owns the hub's metrics, which are spaces there."""
MEASURES: tuple[Measure, ...] = get_args(Measure)
"""What is measured of a model besides benchmarks."""


def kind_of(repository: str) -> str:
    """Of a repository of the hub that a benchmark reads: "dataset" or "space"."""
    return "space" if repository.startswith(f"{METRICS}/") else "dataset"


class Evaluation(Histories):
    """How models are evaluated on the validation split; for byte_divergence, teacher and student
    are summed over the same kind of histories."""

    reruns = (
        "the evaluations (`histories`, `eps` and `beam_width`: byte_divergence, text and averaged "
        "teachers alone; `window`: runs that are evaluated on the way too) and the report"
    )

    eps: float = Field(0.0, ge=0, lt=1)
    """Drop histories with at most this fraction of the mass; with 0 every symbol keeps some, so
    that KL is finite."""
    tasks: list[Measure] = Field(list(MEASURES))
    """What is measured; byte_divergence needs runs with a teacher; text is what models write and
    what surprises them."""
    divergence_documents: Count = 64
    """Documents on which byte_divergence is measured."""
    prompts: list[str] = Field(
        ["What does `os.path.join` do?", "Write a Python function that reverses a string."]
    )
    """Questions that every model answers for the report."""
    temperature: NonNegative = 0.0
    """Of the answers, which are drawn from the same random numbers every time; 0 takes the most
    probable tokens."""
    completion_bytes: Count = 320
    """Longest answer in bytes."""
    passage_bytes: Count = 600
    """Length of the passage whose bytes are coloured in the report by how much they surprise a
    model."""
    window: Count = 1024
    """Longest context in tokens; longer documents are read in windows that overlap by half, also
    those of development splits. Benchmarks count it, and how much a task may write, in tokens of
    the model that a student was made from: with another tokenizer it reads and writes the same
    lengths of text."""
    batch_tokens: Count = 8192
    """Tokens in one forward pass."""


class LocalBenchmark(Section):
    """A benchmark made from documents of a corpus with `kind: python_docs`."""

    reruns = "this benchmark of every model and the report"

    kind: Literal["documentation", "next_line", "next_word", "bits_per_byte"]
    """Which of four documentations belongs to a function; which of four lines of source comes next;
    the next word, which stood there before, exactly; or the harness's own bits per byte."""
    corpus: Name
    """The entry under `corpora`."""
    split: Name = "validation"
    """The split that it is made from; no model may be trained on it."""
    documents: Count = 64
    """Questions, or documents."""
    seed: Seed = 0
    """Seed of which questions, and of wrong answers."""


class Benchmark(Section):
    """A task of lm-evaluation-harness, of its own collection or made from a corpus. Every run is
    evaluated on it, its teacher, and its student before training."""

    reruns = "this benchmark of every model and the report"

    task: str | None = None
    """The harness's name of a task, or of a group of tasks; or else `local`."""
    local: LocalBenchmark | None = None
    """A task made here; or else `task`."""
    data: dict[HubName, Revision] = Field({})
    """The hub's data sets that the task reads, each with its `revision`; metrics of the hub too
    (evaluate-metric/code_eval)."""
    nltk: list[Name] = Field([])
    """Packages of nltk's data that the task reads (IFEval: punkt_tab)."""
    unsafe_code: bool = False
    """Let the task run the code that models write, as HumanEval and MBPP do: in the job, with its
    rights and without a sandbox."""
    few_shot: Annotated[int, Field(ge=0)] | None = None
    """Examples in front of a question; null as the task says."""
    chat_template: bool | Literal["auto"] = False
    """Put questions as a user's turn, into the model's chat template, which all models then need;
    `auto` does so for those that have one."""
    metric: str | None = None
    """The metric of the report, as the harness names it; null is the first that the task has."""
    limit: Count | None = None
    """Only so many questions of each task; null is all, as whatever is published must be."""
    batch_size: Count = 16
    """Questions in one forward pass."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the model; bf16 is for GPUs."""


class Audit(Histories):
    """How a teacher's byte distributions are checked: a sample of documents is summed again under a
    stricter policy."""

    reruns = "the audits, the measure of information (`documents` and `seed` alone) and the report"

    histories: Literal["prefix", "beam"] = "prefix"
    """The histories of the stricter policy."""
    eps: float = Field(0.0, ge=0, lt=1)
    """Drop histories with at most this fraction of the mass; at most that of every teacher with
    such histories."""
    documents: Count = 16
    """Documents in the sample, which also serves to measure what a token tells and its bytes do
    not."""
    seed: Seed = 0
    """Seed of the sample."""
