"""Renders a split for a model, several shards at once, into the arrays of `renderings`."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from bld.arrays import threads
from bld.config.settings import Rendering
from bld.documents.renderings import FORMAT, Column, Sizes, columns_for, origin, stored
from bld.documents.shards import checked_digest, read_shard
from bld.files import MANIFEST, read_manifest
from bld.folders import new_folder
from bld.progress import progress
from bld.tokenization.rendering import Renderer, load_renderer
from bld.tokenization.tally import Tally

WRITTEN_AT_ONCE = 1 << 20
"""Tokens of a shard that are kept in memory."""


def render_split(split: Path, tokenizer: Path, rendering: Rendering, target: Path) -> None:
    """Render the documents in the folder `split` for the model in the folder `tokenizer` into the
    folder `target`, which appears whole.

    Raises ValueError as `load_renderer`, `Renderer.render`, `checked_digest` and `read_shard` do,
    and if the split does not hold the documents that its manifest counts.
    """
    renderer = load_renderer(tokenizer, **dict(rendering))
    for note in renderer.notes:
        print(f"tokenizer: {note}")
    vocabulary = renderer.vocabulary
    longest = max(len(spelt or b"") for spelt in vocabulary.token_bytes)
    columns = columns_for(len(vocabulary), longest)
    counted = read_manifest(split / MANIFEST)
    names = [shard["name"] for shard in counted["shards"]]
    in_turn = counted.get("shards_in_turn", len(names))
    about: dict[str, Any] = {"format": FORMAT, "notes": renderer.notes, "shards_in_turn": in_turn}
    about |= origin(split, tokenizer, rendering)
    with new_folder(target, about) as folder:
        render = partial(_render_shard, split, counted, folder, columns)
        tally, sizes = Tally(), [np.zeros((1, len(Sizes._fields)), np.int64)]
        with progress("render", counted["documents"], "documents") as bar:
            for sizes_D6, found in _each_shard(render, names, renderer):
                sizes.append(sizes_D6)
                tally.add(found)
                bar.update(len(sizes_D6))
        shards = [len(sizes_D6) for sizes_D6 in sizes[1:]]
        expected = [shard["documents"] for shard in counted["shards"]]
        if shards != expected:
            raise ValueError(
                f"{split / MANIFEST} counts {expected} documents in its shards, but {shards} are "
                "there; make the corpus again"
            )
        begins = np.cumsum(np.concatenate(sizes), axis=0)
        np.save(folder / "begins.npy", begins)
        totals = Sizes(*begins[-1].tolist())
        for name, column in columns.items():
            rows = totals._asdict()[column.counted_as]
            _join(folder, name, column, rows, names)
        size = sum(path.stat().st_size for path in folder.iterdir())
        about |= {
            "documents_in_shards": shards,
            "told": tally.notes,
            "bytes": size,
            **totals._asdict(),
        }
    for note in tally.notes:
        print(f"{split.name}: {note}")
    each = size / max(1, totals.tokens)
    print(f"{sum(shards):,} documents, {totals.tokens:,} tokens, {each:.1f} bytes per token")


Found = tuple[np.ndarray, Tally]
"""The sizes [D, 6] of the documents of a shard, and what is worth telling of them."""


def _each_shard(
    render: Callable[[Renderer, str], Found], names: Sequence[str], renderer: Renderer
) -> Iterator[Found]:
    """What every shard gives, in their order."""
    processes = min(threads(), len(names))
    if processes == 1:
        yield from (render(renderer, name) for name in names)
        return
    # Forked, they share the renderer, which takes seconds to load.
    with ProcessPoolExecutor(
        processes, get_context("fork"), _begin, (partial(render, renderer), os.getpid())
    ) as pool:
        try:
            yield from pool.map(_run, names)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


_work: Callable[[str], Found]


def _begin(work: Callable[[str], Found], parent: int) -> None:
    global _work
    _work = work

    def watch() -> None:
        # Of a parent that was killed nobody else would tell them.
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _run(name: str) -> Found:
    return _work(name)


def _render_shard(
    split: Path,
    manifest: Mapping[str, Any],
    folder: Path,
    columns: Mapping[str, Column],
    renderer: Renderer,
    name: str,
) -> Found:
    """Write the documents of a shard beside each other, a file for each of the arrays."""
    sizes: list[Sizes] = []
    with ExitStack() as stack:
        files = {
            column: stack.enter_context(open(_part(folder, column, name), "wb"))
            for column in columns
        }
        waiting: dict[str, list[np.ndarray]] = {column: [] for column in columns}

        def write() -> None:
            for column, arrays in waiting.items():
                for array in arrays:
                    files[column].write(array.astype(columns[column].dtype).tobytes())
                arrays.clear()

        tokens = 0
        path = split / f"{name}.parquet"
        checked_digest(path, manifest)
        for document in read_shard(path):
            rendered = renderer.render(document.segments, f"document {document.id}")
            arrays, size = stored(document.id, rendered)
            sizes.append(size)
            for column, array in arrays.items():
                waiting[column].append(array)
            tokens += size.tokens
            if tokens >= WRITTEN_AT_ONCE:
                write()
                tokens = 0
        write()
    return np.array(sizes, np.int64).reshape(-1, len(Sizes._fields)), renderer.take_tally()


def _part(folder: Path, column: str, name: str) -> Path:
    return folder / f"{column}.{name}.partial"


def _join(folder: Path, name: str, column: Column, rows: int, shards: Iterable[str]) -> None:
    """One array of what the shards have of it, one after the other."""
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(column.dtype)),
        "fortran_order": False,
        "shape": (rows, *column.width),
    }
    with open(folder / f"{name}.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for shard in shards:
            part = _part(folder, name, shard)
            with open(part, "rb") as source:
                shutil.copyfileobj(source, file)
            part.unlink()
