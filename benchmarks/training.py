"""What distillation costs beside fine-tuning, head by head: the second half of `make bench`.

One table, each row a training of the same student on the same batches in the trainer that runs use,
DeepSpeed included: by its own tokens (`sft`), and by every byte head from the teacher's cache. Byte
students, whose output head is the byte head, have a pair of rows of their own. It is written to
benchmarks/results/training.json, a list of rows.

`tokens_per_s`: supervised tokens per second of step time, from making the batch to the optimiser's
step, the median of the `steps` steps of `repeats` turns; the trainings take turns. `ratio_sft`:
that over the one of `sft` for the same student. `head_parameters`: what is trained and thrown away
at the end. `peak_mib`: the most memory that a turn took, with model, gradients and optimiser.
`mfu`: six operations for each weight and position, over what a large matrix product reaches on this
device in the same run.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from measuring import Memory, timed
from subjects import SHAPES, Subject, quick_documents, random_model
from table import print_table
from transformers import PreTrainedModel

from bld.cache.live import LiveSignals
from bld.cache.reading import ByteCache, CachedSignals
from bld.config.settings import Histories as HistorySettings
from bld.config.settings import Training
from bld.documents.document import Document
from bld.documents.shards import read_split
from bld.files import write_json
from bld.models import device, load_language_model
from bld.scoring.scorer import ByteScorer
from bld.tokenization.loading import load_tokenizer
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import byte_tokenizer_like
from bld.training.batches import Batches, Signals
from bld.training.heads import TRAINED_HEADS, ByteHead, MarginalHead, OutputHead
from bld.training.histories import Histories
from bld.training.loop import train
from bld.training.objectives.bld import Bld
from bld.training.objectives.sft import Sft
from bld.training.records import parameter_count
from bld.training.scratch import new_model
from bld.training.trainee import Trainee

REPEATS, STEPS, WARM_UP_STEPS = 6, 10, 2
MATRIX = {"cpu": 2048, "cuda": 8192}
OPERATIONS_PER_WEIGHT = 6
COLUMNS = (
    *("student", "objective", "head", "histories", "device", "dtype", "threads", "tokens_per_s"),
    *("ratio_sft", "head_parameters", "peak_mib", "mfu"),
)


class Student(NamedTuple):
    """Who learns: `new` makes it afresh, and `signals` are the teacher's for its documents."""

    name: str
    renderer: Renderer
    new: Callable[[], PreTrainedModel]
    documents: Sequence[Document]
    signals: Signals


class Contest:
    """One training on its way through the benchmark; `head` None is plain fine-tuning."""

    def __init__(self, student: Student, head: str | None, histories: str, training: Training):
        self.student, self.head, self.histories = student, head, histories
        self._training = training
        rendered = [student.renderer.render(d.segments, d.id) for d in student.documents]
        self._positions = training.batch_size * training.sequence_length
        size = len(student.new().get_output_embeddings().weight)
        summed = Histories(student.renderer, size, histories) if head == "marginal" else None
        self._data = Batches(rendered, student.signals if head else None, summed)
        self._turns = 0
        self._rates: list[float] = []
        self._steps_per_s: list[float] = []
        self.peak: float | None = None
        self._head_parameters = self._body_parameters = 0

    def run(self) -> None:
        """One turn."""
        lm = self.student.new()
        head = self._new_head(lm)
        trainee = Trainee(lm, head, Bld() if head else Sft())
        self._head_parameters = parameter_count(head) if head else 0
        table = lm.get_input_embeddings().weight.numel()
        tied = lm.get_input_embeddings().weight is lm.get_output_embeddings().weight
        self._body_parameters = parameter_count(lm) - (0 if tied else table)
        memory = Memory(device())
        memory.used()
        memory.reset_peak()
        _, metrics = train(trainee, self._data, self._training, 0, "bench")
        peak = memory.peak()
        self.peak = None if peak is None else max(peak, self.peak or 0)
        steady = metrics.iloc[WARM_UP_STEPS:]
        self._turns += 1
        self._rates += (steady["tokens"] / steady["seconds"]).tolist()
        self._steps_per_s += (1 / steady["seconds"]).tolist()

    @property
    def tokens_per_s(self) -> float:
        """The median of all steps."""
        return statistics.median(self._rates)

    def row(self, sft: Contest, matrix_operations_per_s: float) -> dict[str, Any]:
        """The row of the table."""
        positions_per_s = statistics.median(self._steps_per_s) * self._positions
        operations = OPERATIONS_PER_WEIGHT * self._body_parameters * positions_per_s
        return {
            "student": self.student.name,
            "objective": "bld" if self.head else "sft",
            "head": self.head,
            "histories": self.histories if self.head == "marginal" else None,
            "device": torch.cuda.get_device_name() if device().type == "cuda" else "cpu",
            "dtype": self._training.precision,
            "threads": torch.get_num_threads(),
            "repeats": self._turns,
            "steps": self._training.steps - WARM_UP_STEPS,
            "tokens_per_s": self.tokens_per_s,
            "ratio_sft": self.tokens_per_s / sft.tokens_per_s,
            "head_parameters": self._head_parameters,
            "parameters": self._body_parameters,
            "peak_mib": self.peak,
            "mfu": operations / matrix_operations_per_s,
        }

    def _new_head(self, lm: PreTrainedModel) -> ByteHead | None:
        if self.head in TRAINED_HEADS:
            return TRAINED_HEADS[self.head](lm.config.hidden_size, 0).to(lm.device)
        if self.head == "marginal":
            return MarginalHead()
        return OutputHead(lm, self.student.renderer.vocabulary) if self.head else None


def measure(
    subword: Student, as_bytes: Student, training: Training, repeats: int
) -> list[dict[str, Any]]:
    """The rows of both students."""
    contests = [
        Contest(subword, head, histories, training)
        for head, histories in (
            (None, ""),
            ("linear", ""),
            ("causal", ""),
            ("marginal", "trunk"),
            ("marginal", "prefix"),
        )
    ]
    contests += [Contest(as_bytes, head, "", training) for head in (None, "output")]
    for turn in range(repeats):
        for contest in contests:
            contest.run()
            name = " ".join(filter(None, (contest.head or "sft", contest.histories)))
            print(
                f"{contest.student.name}, {name}, turn {turn + 1}: "
                f"{contest.tokens_per_s:,.0f} tokens/s",
                flush=True,
            )
    reached = _matrix_operations_per_s(training.precision)
    sft = {c.student.name: c for c in contests if c.head is None}
    return [contest.row(sft[contest.student.name], reached) for contest in contests]


def _matrix_operations_per_s(precision: str) -> float:
    """What one product of two large square matrices reaches, the best of five."""
    size = MATRIX[device().type]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    one, other = torch.randn(2, size, size, device=device(), dtype=dtype)
    seconds = min(timed(lambda: one @ other, device())[1] for _ in range(5))
    return 2 * size**3 / seconds


def _demo(arguments: argparse.Namespace) -> tuple[Student, Student]:
    """The demo's student (on a GPU: one of a billion weights with its tokenizer), and the same with
    bytes as tokens, on the documents and the cache of the demo."""
    documents = list(read_split(arguments.documents))
    cache = ByteCache(arguments.cache, arguments.documents)
    tokenizer = load_tokenizer(arguments.student)
    tokenizers = {"subword": tokenizer, "bytes": byte_tokenizer_like(tokenizer)}
    shape = SHAPES["1b" if arguments.shape == "1b" else "small"]
    students = []
    for name, one in tokenizers.items():
        renderer = Renderer(one)
        symbols = [len(renderer.render(d.segments, d.id).symbols_N) for d in documents]
        signals = CachedSignals(cache, [d.id for d in documents], symbols)

        def new(tokenizer: Any = one, is_demo: bool = name == "subword") -> PreTrainedModel:
            if is_demo and arguments.shape != "1b":
                return load_language_model(arguments.student)
            return new_model(shape, tokenizer, seed=0).to(device())

        students.append(Student(name, renderer, new, documents, signals))
    return students[0], students[1]


def _quick() -> tuple[Student, Student]:
    """Two tiny students, and a tiny teacher that is asked on the way."""
    teacher, documents = random_model("tiny", "fp32"), quick_documents()
    tokenizer = byte_tokenizer_like(teacher.tokenizer)
    as_bytes = Subject(
        "bytes", tokenizer, Renderer(tokenizer), new_model(SHAPES["tiny"], tokenizer, 0)
    )
    scorer = ByteScorer(
        teacher.renderer, teacher.lm, HistorySettings(histories="prefix", eps=1e-3), 128, 1024
    )
    signals = LiveSignals(documents, scorer, 0.999, 16)
    students = [
        Student(
            name,
            subject.renderer,
            lambda tokenizer=subject.tokenizer: new_model(SHAPES["tiny"], tokenizer, 0),
            documents,
            signals,
        )
        for name, subject in (("subword", teacher), ("bytes", as_bytes))
    ]
    return students[0], students[1]


def main() -> None:
    """Measure, print the table, write it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    corpus = "python_docs/distillation"
    parser.add_argument("--documents", type=Path, default=Path("results/corpora", corpus))
    parser.add_argument("--cache", type=Path, default=Path("results/teachers/demo", corpus))
    parser.add_argument("--student", type=Path, default=Path("results/students/swapped"))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/training.json"))
    on_gpu = torch.cuda.is_available()
    parser.add_argument("--shape", choices=["demo", "1b"], default="1b" if on_gpu else "demo")
    parser.add_argument(
        "--precision", choices=["fp32", "bf16"], default="bf16" if on_gpu else "fp32"
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--quick", action="store_true", help="tiny models, a few lines, one turn")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    training = Training(
        steps=3 if arguments.quick else STEPS,
        sequence_length=64 if arguments.quick else 512,
        batch_size=4,
        micro_batch_size=4,
        learning_rate=1e-4,
        precision=arguments.precision,
        zero_stage=1 if arguments.precision == "bf16" else 0,
    )
    subword, as_bytes = _quick() if arguments.quick else _demo(arguments)
    rows = measure(subword, as_bytes, training, 1 if arguments.quick else REPEATS)
    print_table(rows, COLUMNS)
    write_json(arguments.output, rows)


if __name__ == "__main__":
    main()
