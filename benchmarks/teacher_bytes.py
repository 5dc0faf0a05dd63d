"""What teacher byte distributions cost, and how good they are: `make bench`.

One table for two models, each row a way to read the same text with the same model, in one process,
with the same threads and dtype: a plain forward, this project's policies, and genlm-bytes. It is
written to benchmarks/results/teacher_bytes.json, a list of rows.

`bytes` of supervised text were read at `bytes_per_s`, the median of `repeats` runs; the runs of all
methods take turns. `nodes_per_token`: positions that the model ran, over those of the plain forward
of the same documents. `ratio_plain`, `ratio_genlm`: bytes/s over those of the plain forward, and of
genlm-bytes at K = 10, eps = 0.01; `efficiency` is ratio_plain * nodes_per_token, 1 where nothing
costs but positions. `jsd_mean` and `jsd_p99` (nats), `bits_per_byte` and `true_byte_lost`, see
agreement.py, are taken on `compared_bytes`, the divergences from a wide beam of genlm-bytes.
`peak_mib`: the most memory a run took above the loaded model, with what the method keeps between
runs. `model_s`, `other_s`: seconds of one more run, on one thread, inside the model (body, output
head), and outside.

Beams, genlm-bytes and our own, read a sample of the documents, cut short. That does them no harm:
the cost per byte of genlm-bytes grows with the length of a text.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from agreement import agreement
from entries import Entry
from methods import Bytes, Method, PlainForward
from subjects import Subject, demo_teacher, quick_documents, random_model, sample
from table import print_table

from bld.config.settings import Histories
from bld.documents.document import Document
from bld.documents.shards import read_split
from bld.files import write_json

WINDOW, BATCH_TOKENS = 1024, 8192
POLICIES = [
    Histories(histories="trunk"),
    *(Histories(histories="prefix", eps=eps) for eps in (0.0, 1e-3, 1e-2)),
    Histories(histories="beam", eps=1e-2, beam_width=10),
]
GENLM, GENLM_CONVERGED, GENLM_REFERENCE = (10, 1e-2), (32, 1e-5), (64, 1e-5)
QUICK_REFERENCE = Histories(histories="beam", eps=1e-6, beam_width=64)
REPEATS = 3

SAMPLE_DOCUMENTS, SAMPLE_BYTES = 8, 300
# The large vocabulary: one document in so many (on a GPU all), and a sample for the speed of beams.
LARGE_EVERY, LARGE_SAMPLE_DOCUMENTS, LARGE_SAMPLE_BYTES = 16, 2, 100

COLUMNS = [
    *("model", "policy", "eps", "width", "bytes", "bytes_per_s", "nodes_per_token"),
    *("ratio_plain", "efficiency", "ratio_genlm", "jsd_mean", "jsd_p99", "bits_per_byte"),
    *("true_byte_lost", "peak_mib", "model_s", "other_s"),
]


def measure(
    subject: Subject,
    documents: Sequence[Document],
    some: Sequence[Document],
    beams: Sequence[tuple[int, float]],
    compares: bool,
) -> list[dict[str, Any]]:
    """The rows of one model.

    `beams`: K and eps of genlm-bytes. Beams read `some` of the documents; the last one is what all
    others are compared with there, if `compares`.
    """

    def add(make: Callable[[], Method], on: Sequence[Document], repeats: int = REPEATS) -> Entry:
        return Entry(subject, make, on, repeats, keeps=on is some)

    plain = add(lambda: PlainForward(subject, BATCH_TOKENS), documents)
    ours = [
        add(
            lambda policy=policy: Bytes(subject, policy, WINDOW, BATCH_TOKENS),
            some if policy.histories == "beam" else documents,
        )
        for policy in POLICIES
    ]
    theirs = [
        add(lambda beam=beam: _genlm(subject, *beam), some, REPEATS if beam == GENLM else 1)
        for beam in beams
    ]
    entries = [plain, *ours, *theirs]
    for turn in range(REPEATS):
        for entry in entries:
            if turn < entry.repeats:
                entry.run()
                _say(f"{subject.name}: {entry.method.label}, {entry.bytes_per_s:,.0f} bytes/s")
    for entry in [plain, *ours]:
        entry.profile()
    rows = [_about(subject) | entry.row(plain, theirs[0] if theirs else None) for entry in entries]
    if compares:
        wide = Bytes(subject, QUICK_REFERENCE, WINDOW, BATCH_TOKENS)
        reference = theirs[-1].found if theirs else list(wide.score(some))
        for entry, row in zip(entries[1:], rows[1:], strict=True):
            row |= agreement(entry.on(some), reference, some)
    return rows


def _genlm(subject: Subject, width: int, eps: float) -> Method:
    from genlm_beam import GenlmBeam  # a requirement of the benchmark, which its test does without

    return GenlmBeam(subject, width, eps)


def _about(subject: Subject) -> dict[str, Any]:
    lm = subject.lm
    on_gpu = lm.device.type == "cuda"
    return {
        "model": subject.name,
        "vocabulary": len(subject.tokenizer),
        "device": torch.cuda.get_device_name(lm.device) if on_gpu else "cpu",
        "threads": torch.get_num_threads(),
        "dtype": str(lm.dtype).removeprefix("torch."),
    }


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    """Measure, print the table, write it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--teacher", type=Path, default=Path("resources/models/teacher"))
    parser.add_argument(
        "--documents", type=Path, default=Path("results/corpora/python_docs/validation")
    )
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results/teacher_bytes.json")
    )
    on_gpu = torch.cuda.is_available()
    parser.add_argument(
        "--shape",
        choices=["small", "1b"],
        default="1b" if on_gpu else "small",
        help="the random model with the large vocabulary",
    )
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--quick", action="store_true", help="a tiny model, a few lines, without genlm-bytes"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    precision = arguments.precision
    if arguments.quick:
        documents = quick_documents()
        rows = measure(random_model("tiny", precision), documents, documents, [], compares=True)
    else:
        documents = list(read_split(arguments.documents))
        some = sample(documents, SAMPLE_DOCUMENTS, SAMPLE_BYTES)
        beams = [GENLM, GENLM_CONVERGED, GENLM_REFERENCE]
        rows = measure(demo_teacher(arguments.teacher, precision), documents, some, beams, True)
        few = sample(documents, LARGE_SAMPLE_DOCUMENTS, LARGE_SAMPLE_BYTES)
        model = random_model(arguments.shape, precision)
        many = documents if on_gpu else documents[::LARGE_EVERY]
        rows += measure(model, many, few, [GENLM], compares=False)
    print_table(rows, COLUMNS)
    write_json(arguments.output, rows)


if __name__ == "__main__":
    main()
