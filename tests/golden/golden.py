"""The referee: shows that what the workflow computes is the same as before, number by number.

For changes that move and rename and compute nothing else. The experiments in small form and a
shortened default are run twice, in fresh copies of the project, by each copy's own code and
configuration: once of a base commit, and once of the working tree, committed or not. What they
leave is known by digests, one for each column of a table, entry of a JSON file and tensor, so that
a difference is told with its file and column. Of numbers every digit counts.

Arithmetic depends on the processor and the installed packages, so no digests are committed: those
of the base are made on this machine and kept in .golden/ beside the repository, for all of its
worktrees. Every job has one thread.

What a change renames, adds or takes away on purpose is declared in the tables below, by addresses
such as "tiny/results/runs/t1_bld/metrics.parquet#kl_loss"; a pattern may match any part of one.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from safetensors import deserialize

BASE = "1b7185c"
"""Version 0.1."""

DECLARED: Mapping[str, str | None] = {
    # Histories are asked for by the names of their settings.
    r"([#.](?:policy|own|strict))\.name$": r"\1.histories",
    r"([#.](?:policy|own|strict))\.width$": r"\1.beam_width",
    r"(#settings\.(?:teacher[._])?)reading\.": r"\1rendering.",
    r"\.keep_mass$": ".top_p",
    r"\.keep_symbols$": ".top_k_symbols",
    r"\.keep_tokens$": ".top_k_tokens",
    # The warm-up's settings, under their new name, stand before those of the training. Named and
    # sorted as before, both tables had the base's digests.
    r"/report/settings\.csv#(setting|value)$": None,
    # Caches have a column more.
    r"/teachers/.+/manifest\.json#format$": None,
    r"/report/caches\.csv#disk_per_byte$": None,
    # A list of all tokens that end a turn.
    r"/generation_config\.json#eos_token_id$": None,
    # A byte student's cross-entropy counts once, so what it has learned is another.
    r"/runs/t2_bld/": None,
    # Intervals draw groups of documents, not documents: bounds, and verdicts by them, are others.
    r"/report/summary\.json#comparison\.(low|high)$": None,
    r"/report/(models|methods|comparison|ranks|benchmarks|bits_per_byte)\.csv"
    r"#((difference_)?(low|high)|verdict)$": None,
    # Questions made from documents name their groups, and the harness digests whole questions.
    r"#harness\.task_hashes\.(documentation|next_line|next_word|text_bits_per_byte)$": None,
    # What an average costs is summed by documents: the last of 16 digits is another.
    r"/evaluation/teachers/both/.+/bits_per_byte\.json#bits_per_byte$": None,
    r"^compare/.+/report/models\.csv#bits_per_byte$": None,
    r"^compare/.+/report/summary\.json#runs\.teacher_bits_per_byte$": None,
    # Evaluations on the way read in the windows of evaluations.
    r"/metrics\.parquet#dev_\w+$": None,
    r"/report/loss\.csv#(loss|running_mean)$": None,
}
"""Patterns of the base's addresses with what stands there now ("#kl_loss$": "#divergence"), or None
for what is gone. All that match are followed, in this order."""

ADDED: Sequence[str] = (
    r"/evaluation/teachers/both/.+/bits_per_byte\.json#bits_per_byte$",
    r"^compare/.+/report/models\.csv#bits_per_byte$",
    r"^compare/.+/report/summary\.json#runs\.teacher_bits_per_byte$",
    r"/report/settings\.csv#(setting|value)$",
    r"/generation_config\.json#eos_token_id$",
    # Which rows of a teacher's cache teach anything.
    r"/teachers/.+\.parquet#taught$",
    r"/teachers/.+/manifest\.json#format$",
    r"/report/caches\.csv#disk_per_byte$",
    # What becomes of reasoning and tools, and what stands before answers.
    r"rendering\.(\w+\.)?(reasoning|tools|prompt)$",
    # What is told of how documents are rendered.
    r"/bits_per_byte\.json#notes$",
    # Entries that the old tokenizer could not spell.
    r"/students/[^/]+/manifest\.json#unspelt_entries$",
    # Evaluations and the questions made from documents have a column for the group.
    r"\.json#per_document\.group$",
    r"/documents\.jsonl#group$",
    # How many prompts of a benchmark did not fit.
    r"\.json#cut_prompts$",
    # What is taken out above, under the same names.
    r"/report/summary\.json#comparison\.(low|high)$",
    r"/report/(models|methods|comparison|ranks|benchmarks|bits_per_byte)\.csv"
    r"#((difference_)?(low|high)|verdict)$",
    r"#harness\.task_hashes\.(documentation|next_line|next_word|text_bits_per_byte)$",
    r"/metrics\.parquet#dev_\w+$",
    r"/report/loss\.csv#(loss|running_mean)$",
    # What becomes of documents that are longer than a row.
    r"training\.(overlap|long_documents)$",
    r"#settings\.development_window$",
    r"/training\.json#long_documents\.\w+$",
    # Documents as models read them: each training rendered them for itself.
    r"/results/rendered/",
)
"""Patterns of addresses that the base does not have."""

NOT_COMPUTED = (
    # Times and memory.
    r"(second|gpu_hours|memory)[a-z_]*$",
    # Digests and sizes of files, whose contents are compared themselves.
    r"sha256$",
    r"manifest\.json#files\.",
    r"manifest\.json#shards\.bytes$",
    r"/teachers/.+/manifest\.json#places\.bytes$",
    r"#(bytes_on_disk|bytes_per_supervised_byte)$",
)
"""Patterns of addresses that tell of the machine or of how files are stored."""

PROJECT = Path(__file__).resolve().parents[2]
DEFAULT = "tests/golden/default.yaml"


def _judged(*runs: str) -> list[str]:
    tasks = ("bits_per_byte", "byte_divergence")
    return [f"results/runs/{run}/evaluation/{task}.json" for run in runs for task in tasks]


CHAINS = {
    # Reports on the second and the third would hold nothing of another kind than that on the first.
    "tiny": {
        "config/experiments/tiny/t1.yaml": ["results/archive/t1/report/summary.json"],
        "config/experiments/tiny/t2.yaml": _judged("t2_sft", "t2_bld"),
        "config/experiments/tiny/t3.yaml": _judged("t3_sft", "t3_bld"),
    },
    # Its teacher has the name of the one above and is another.
    "compare": {
        "config/experiments/tiny/compare.yaml": ["results/archive/compare/report/summary.json"]
    },
    "default": {DEFAULT: ["results/archive/default/report/summary.json"]},
}
"""Folders, with the configurations that are run there one after another, and the files that are
asked of them, under the names that they have in the base."""

ALIKE = {
    # The longest documents of these configurations have 640 tokens as bytes, and the base cuts what
    # is longer than a row otherwise.
    r"\b(sequence_length|positions): \d+": r"\1: 704",
    # In bf16 the base is some 2 % off where it sums the gradients of embeddings.
    r"\bprecision: bf16": "precision: fp32",
}
"""Patterns of settings, and what stands in their place here and in the base."""

COMPUTING = ("deepspeed", "lm_eval", "numpy", "peft", "tokenizers", "torch", "transformers")
"""Packages with whose versions numbers may change."""

Digests = dict[str, str]


def digests(folder: Path) -> Digests:
    """What the workflow has left in a folder, by addresses. Records tell of times and machines."""
    found = {}
    for path in sorted([*folder.glob("resources/**/*"), *folder.glob("results/**/*")]):
        if path.suffix in READERS and not path.name.endswith(".record.json"):
            for name, value in leaves(READERS[path.suffix](path)):
                address = f"{path.relative_to(folder)}#{name}"
                found[address] = hashlib.sha256(repr(value).encode()).hexdigest()
    return found


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The parts of a value under dotted names: entries of objects, columns of lists of objects, all
    else as it is. An object with very many entries, such as a vocabulary, is one part."""
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        columns = dict.fromkeys(key for row in value for key in row)
        value = {key: [row.get(key, "(absent)") for row in value] for key in columns}
    if isinstance(value, dict) and 0 < len(value) <= 200:
        for key, part in value.items():
            yield from leaves(part, f"{name}.{key}" if name else key)
    else:
        yield name, value


def _csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


READERS = {
    ".csv": _csv,
    ".json": lambda path: json.loads(path.read_bytes()),
    ".jsonl": lambda path: [json.loads(line) for line in path.read_bytes().splitlines()],
    ".parquet": lambda path: pq.read_table(path).to_pydict(),
    ".safetensors": lambda path: dict(deserialize(path.read_bytes())),
}


def renamed(address: str, declared: Mapping[str, str | None]) -> str | None:
    """What an address of the base is called now; None if it is gone."""
    for pattern, replacement in declared.items():
        if replacement is not None:
            address = re.sub(pattern, replacement, address)
        elif re.search(pattern, address):
            return None
    return address


def differences(
    base: Digests,
    new: Digests,
    declared: Mapping[str, str | None] = DECLARED,
    added: Iterable[str] = ADDED,
) -> list[str]:
    """A line for every file in which the two differ: how, its path, and its columns or keys."""
    ignored = re.compile("|".join(NOT_COMPUTED))
    as_added = re.compile("|".join(added) or r"(?!)")
    followed = {renamed(address, declared): digest for address, digest in base.items()}
    before = {at: digest for at, digest in followed.items() if at and not ignored.search(at)}
    after = {at: digest for at, digest in new.items() if not ignored.search(at)}
    kinds = {
        "missing": before.keys() - after.keys(),
        "extra": {at for at in after.keys() - before.keys() if not as_added.search(at)},
        "different": {at for at in before.keys() & after.keys() if before[at] != after[at]},
    }
    names: dict[tuple[str, str], list[str]] = {}
    for kind, addresses in kinds.items():
        for path, _, name in sorted(at.partition("#") for at in addresses):
            names.setdefault((kind, path), []).append(name)
    return [f"{kind:9}  {path}: {', '.join(found)}" for (kind, path), found in names.items()]


def computed(tree: str, declared: Mapping[str, str | None], cores: int, keep: bool) -> Digests:
    """What the code of a commit or tree of git computes; `keep` leaves the copies that it ran
    in."""
    place, began = Path(tempfile.mkdtemp(prefix="golden-")), time.monotonic()
    found: Digests = {}
    for name, configurations in CHAINS.items():
        folder = place / name
        _export(tree, folder)
        for file, targets in configurations.items():
            print(f"{file} in {folder}", flush=True)
            asked = [renamed(f"{name}/{target}", declared) for target in targets]
            _snakemake(folder, file, [at.removeprefix(f"{name}/") for at in asked if at], cores)
        found |= {f"{name}/{address}": digest for address, digest in digests(folder).items()}
    print(f"{len(found)} digests of {tree[:12]} in {time.monotonic() - began:.0f} seconds")
    if not keep:
        shutil.rmtree(place)
    return found


def _export(tree: str, folder: Path) -> None:
    """A copy of the files of a tree, with the shortened default of this one, and `ALIKE`."""
    folder.mkdir()
    archive = subprocess.check_output(["git", "archive", tree], cwd=PROJECT)
    subprocess.run(["tar", "-x"], cwd=folder, input=archive, check=True)
    (folder / DEFAULT).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(PROJECT / DEFAULT, folder / DEFAULT)
    for path in (folder / file for chain in CHAINS.values() for file in chain):
        text = path.read_text()
        for pattern, setting in ALIKE.items():
            text = re.sub(pattern, setting, text)
        path.write_text(text)


def _snakemake(folder: Path, file: str, targets: Sequence[str], cores: int) -> None:
    """Make the targets on the processor, one thread a job; says what was printed if that fails."""
    command = ["snakemake", "--profile", "profiles/local", "--configfile", file]
    command += ["--cores", str(cores), "--max-threads=1", "--resources", f"gpu={cores}", "--"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    log = folder / "snakemake.log"
    with log.open("a") as said:
        done = subprocess.run([*command, *targets], cwd=folder, env=env, stdout=said, stderr=said)
    if done.returncode:
        sys.exit(f"{log.read_text()[-8000:]}\n{file} failed: see {log}")


def reference(commit: str, cache: Path, cores: int, keep: bool) -> Digests:
    """What the base computes, kept for as long as packages and configurations are the same."""
    packages = [(name, version(name)) for name in COMPUTING]
    way = [CHAINS, ALIKE, (PROJECT / DEFAULT).read_text(), platform.python_version(), packages]
    made_by, path = hashlib.sha256(repr(way).encode()).hexdigest(), cache / f"{commit}.json"
    if path.exists() and (kept := json.loads(path.read_text()))["made_by"] == made_by:
        return kept["digests"]
    found = computed(commit, {}, cores, keep)
    cache.mkdir(exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps({"made_by": made_by, "digests": found}, indent=1))
    partial.replace(path)
    return found


def _git(*arguments: str, **env: str) -> str:
    env = os.environ | env
    return subprocess.check_output(["git", *arguments], cwd=PROJECT, env=env, text=True).strip()


def working_tree() -> str:
    """The files as they are, but for ignored ones, as a tree of git; its index is left alone."""
    with tempfile.TemporaryDirectory() as folder:
        index = f"{folder}/index"
        _git("add", "--all", GIT_INDEX_FILE=index)
        return _git("write-tree", GIT_INDEX_FILE=index)


def main() -> None:
    """Hold the working tree against the base; exits with 1 if they differ."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    beside = Path(_git("rev-parse", "--path-format=absolute", "--git-common-dir")).parent
    given = os.environ.get
    parser.add_argument("--base", default=given("GOLDEN_BASE", BASE), help="a commit")
    parser.add_argument("--cache", type=Path, default=given("GOLDEN_CACHE", beside / ".golden"))
    parser.add_argument("--cores", type=int, default=2, help="jobs at once")
    parser.add_argument("--keep", action="store_true", help="leave what was made, to look at")
    options = parser.parse_args()
    commit = _git("rev-parse", "--verify", f"{options.base}^{{commit}}")
    base = reference(commit, options.cache, options.cores, options.keep)
    new = computed(working_tree(), DECLARED, options.cores, options.keep)
    found = differences(base, new)
    print("\n".join(found) or "the same")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
