"""What another vocabulary costs a student: the third part of `make bench`.

One table, each row a model of few weights given another tokenizer, with real tokenizers of up to
262,145 entries (fetched as the tests fetch them; npm is needed). It is written to
benchmarks/results/transfer.json, a list of rows.

`load_s`: both tokenizers with their renderers. `transfer_s`: the rows of the new vocabulary.
`peak_mib`: the most memory that the transfer took, besides what was there before; the tables of
this model are `tables_mib` of it. `unspelt`: entries that the old tokenizer has no tokens for.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from measuring import MIB, Memory, timed
from subjects import SHAPES, tiny_vocabulary
from table import print_table
from transformers import PreTrainedTokenizerBase

from bld.files import write_json
from bld.tokenization.loading import load_tokenizer
from bld.tokenization.rendering import Renderer, load_renderer
from bld.tokenization.scratch import byte_tokenizer_like
from bld.tokenization.transfer import transfer_vocabulary
from bld.training.scratch import new_model
from real_tokenizers import tokenizer_folder

BYTES = "bytes"
PAIRS = (
    ("llama3_1", "gemma3"),
    ("gemma3", "llama3_1"),
    ("llama3_1", BYTES),
)
COLUMNS = (
    *("old", "new", "old_entries", "new_entries", "load_s", "transfer_s", "peak_mib"),
    *("tables_mib", "unspelt"),
)
CPU = torch.device("cpu")

Side = tuple[PreTrainedTokenizerBase, Renderer]


def measure(names: tuple[str, str], quick: bool) -> dict[str, Any]:
    """A row of the table."""
    (old, new), load_s = timed(lambda: _sides(names, quick), CPU)
    lm = new_model(SHAPES["tiny"], old[0], seed=0)
    memory = Memory(CPU)
    before = memory.used()
    memory.reset_peak()
    unspelt, transfer_s = timed(lambda: transfer_vocabulary(lm, old, new), CPU)
    peak = memory.peak()
    return {
        "old": names[0],
        "new": names[1],
        "old_entries": old[1].vocabulary_size,
        "new_entries": new[1].vocabulary_size,
        "load_s": load_s,
        "transfer_s": transfer_s,
        "peak_mib": None if peak is None or before is None else peak - before,
        "tables_mib": lm.get_input_embeddings().weight.nbytes / MIB,
        "unspelt": len(unspelt),
    }


def _sides(names: tuple[str, str], quick: bool) -> tuple[Side, Side]:
    if quick:
        old = tiny_vocabulary()
        new = byte_tokenizer_like(old)
        return (old, Renderer(old)), (new, Renderer(new))
    one = _side(names[0])
    if names[1] != BYTES:
        return one, _side(names[1])
    tokenizer = byte_tokenizer_like(one[0])
    return one, (tokenizer, Renderer(tokenizer))


def _side(name: str) -> Side:
    folder = tokenizer_folder(name)
    tokenizer = load_tokenizer(folder)
    return tokenizer, load_renderer(folder, tokenizer=tokenizer)


def main() -> None:
    """Measure, print the table, write it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/transfer.json"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="one small vocabulary and bytes")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pairs = (("tiny", BYTES),) if arguments.quick else PAIRS
    rows = [measure(names, arguments.quick) for names in pairs]
    print_table(rows, COLUMNS)
    write_json(arguments.output, rows)


if __name__ == "__main__":
    main()
