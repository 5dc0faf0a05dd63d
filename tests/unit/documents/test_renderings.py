"""A split that is rendered once and mapped is what was rendered document by document."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.config.settings import Rendering
from bld.documents.document import make_document
from bld.documents.rendering import render_split
from bld.documents.renderings import RenderedSplit, open_rendering
from bld.documents.shards import read_split, write_splits
from bld.files import MANIFEST
from bld.folders import new_folder, whole_folder
from bld.pipeline.step import files_line, step_line
from bld.tokenization.rendered import RenderedTokens
from bld.tokenization.rendering import load_renderer
from bld.tokenization.scratch import train_tokenizer
from bld.training.batches import Batches
from bld.training.pieces import pieces_of

PLAIN = Rendering(template="plain")
CHATS = st.lists(
    st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text()), min_size=1, max_size=4),
    min_size=3,
    max_size=12,
)


def write_split(folder, documents, shards):
    split = SimpleNamespace(fraction=1.0, shards=shards, documents=None)
    write_splits(documents, {"train": folder}, {"train": split}, 0)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tokenizer whose template writes text before an end token."""
    folder = tmp_path_factory.mktemp("models") / "student"
    tokenizer = train_tokenizer(
        ["Return the index of the key"] * 9, "byte_level_bpe", 300, "chatml"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '[' + m.role + ']' + m.content }}"
        "{% if m.role == 'assistant' %}{{ ' ' + eos_token }}{% endif %}{% endfor %}"
    )
    with new_folder(folder, {}) as made:
        tokenizer.save_pretrained(made)
    return folder


@pytest.fixture
def made(tmp_path, model):
    """Five documents in two shards, rendered."""
    documents = [make_document(f"d{n}", "text", [("text", f"key {n}" * n)]) for n in range(5)]
    split = write_split(tmp_path / "train", documents, shards=2)
    render_split(split, model, PLAIN, tmp_path / "rendered")
    return tmp_path / "rendered", split, model, PLAIN


def same(mapped, rendered):
    for field in fields(RenderedTokens):
        one, other = getattr(mapped, field.name), getattr(rendered, field.name)
        if isinstance(other, np.ndarray):
            assert one.dtype == other.dtype, field.name
            np.testing.assert_array_equal(one, other, field.name)
        else:
            assert one == other


@pytest.mark.parametrize("processes", ["1", "2"])
def test_what_is_mapped_is_what_is_rendered_document_by_document(
    tmp_path_factory, monkeypatch, model, processes
):
    monkeypatch.setenv("OMP_NUM_THREADS", processes)

    monkeypatch.setattr("bld.documents.shards.IN_TURN", 2)

    @given(CHATS, st.integers(1, 3), st.integers(0, 12), st.sampled_from(["auto", "plain"]))
    @settings(deadline=None, max_examples=12)
    def check(chats, shards, at_most, template):
        folder, rendering = tmp_path_factory.mktemp("a"), Rendering(template=template)
        documents = [make_document(f"d\u00e9{n}", "chat", turns) for n, turns in enumerate(chats)]
        split = write_split(folder / "train", documents, shards)
        render_split(split, model, rendering, folder / "rendered")
        mapped = open_rendering(folder / "rendered", split, model, rendering)
        renderer = load_renderer(model, **dict(rendering))
        rendered = [renderer.render(d.segments, f"document {d.id}") for d in read_split(split)]
        for one, other in zip(mapped, rendered, strict=True):
            same(one, other)
        assert list(mapped.ids) == [document.id for document in read_split(split)]
        assert mapped.sizes("symbols").tolist() == [len(one.symbols_N) for one in rendered]
        assert mapped.has_unspelt == Batches(rendered).has_unspelt
        assert list(pieces_of(mapped, 8, 0.5)) == list(pieces_of(rendered, 8, 0.5))
        first = open_rendering(folder / "rendered", split, model, rendering, at_most)
        assert len(first) == len(first.ids) == min(at_most, len(rendered))
        assert first.has_unspelt == Batches(rendered[:at_most]).has_unspelt
        assert sorted(mapped.manifest["told"]) == sorted(renderer.told())

    check()


def test_documents_stay_on_the_disk(made):
    documents = open_rendering(*made)
    arrays = [value for value in vars(documents).values() if isinstance(value, np.ndarray)]
    arrays += documents._arrays.values()
    big = [array for array in arrays if array.size > 2 * len(documents)]
    assert len(big) > 5 and all(isinstance(array.base, np.memmap) for array in big)
    kept = [value for value in vars(documents).values() if isinstance(value, list | tuple)]
    assert not kept
    assert not any(array.flags.writeable for array in big)


@pytest.mark.parametrize(
    "change, said",
    [
        ("split", "another content_sha256"),
        ("settings", "another rendering"),
        ("tokenizer", "another tokenizer"),
        ("format", "of format 1, found 0"),
        ("arrays", "expected arrays of 5 documents"),
    ],
)
def test_what_does_not_belong_is_refused(made, tmp_path, change, said):
    folder, split, model, rendering = made
    if change == "split":
        split = write_split(tmp_path / "other", [make_document("x", "t", [("text", "x")])], 1)
    if change == "settings":
        rendering = Rendering(template="plain", prompt="served")
    if change == "tokenizer":
        with new_folder(tmp_path / "model", {}) as model:
            (model / "tokenizer.json").write_text("{}")
        model = tmp_path / "model"
    manifest = json.loads((folder / MANIFEST).read_text())
    if change == "format":
        (folder / MANIFEST).write_text(json.dumps(manifest | {"format": 0}))
    if change == "arrays":
        np.save(folder / "tokens.npy", np.load(folder / "tokens.npy")[:-1])
    with pytest.raises(ValueError, match=said):
        open_rendering(folder, split, model, rendering)


def test_a_truncated_file_is_refused(made):
    path = made[0] / "symbols.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"symbols\.npy: expected"):
        whole_folder(made[0] / MANIFEST)


def test_a_document_that_cannot_be_rendered_stops_it_and_nothing_is_left(
    tmp_path, model, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    split = write_split(tmp_path / "train", [make_document("a", "t", [("text", "x")])] * 3, 2)
    (split / "00001-of-00002.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="00001-of-00002"):
        render_split(split, model, PLAIN, tmp_path / "rendered")
    assert [path.name for path in tmp_path.iterdir()] == ["train"]


def test_a_rendering_that_is_killed_leaves_nothing_half_written(tmp_path, model):
    documents = [make_document(f"d{n}", "t", [("text", "the key " * 400)]) for n in range(500)]
    split = write_split(tmp_path / "train", documents, shards=2)
    target = tmp_path / "out/rendered" / MANIFEST
    line = step_line("bld.stages.render_split", {"rendering": PLAIN.model_dump(mode="json")})
    inputs = {"documents": split / MANIFEST, "model": model / MANIFEST}
    command = [sys.executable, "-m", "bld.stages.render_split", "--step", line]
    command += ["--files", files_line(inputs, {"manifest": target})]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "2"}
    process = subprocess.Popen(command, env=environment)
    while not list(target.parent.parent.glob(".rendered.partial/tokens.*")):
        assert process.poll() is None
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not target.parent.exists() and len(workers) == 2
    assert not psutil.wait_procs(workers, timeout=30)[1]
    render_split(split, model, PLAIN, target.parent)
    assert len(RenderedSplit(whole_folder(target))) == 500
    assert [path.name for path in target.parent.parent.iterdir()] == ["rendered"]
