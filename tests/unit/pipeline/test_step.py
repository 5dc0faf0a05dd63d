import hashlib
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.folders import new_folder
from bld.pipeline.code_digest import code_digest
from bld.pipeline.step import (
    File,
    Files,
    Folder,
    OptionalFile,
    OptionalFolder,
    files_line,
    line_of,
    parse_step,
    stage,
    step_line,
)
from bld.pipeline.step_settings import StepSettings

STAGE = "bld.stages.link"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def turned(value):
    """The same value with the keys of every mapping in the opposite order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_a_step_line_is_one_line_that_does_not_depend_on_the_order_of_keys(read):
    line = step_line(STAGE, read)
    assert line == step_line(STAGE, turned(read))
    assert "\n" not in line


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_a_stage_reads_back_the_settings_that_its_rule_wrote(read):
    line = step_line(STAGE, read)
    step = parse_step(line)
    assert step.settings == json.loads(json.dumps(read))
    assert step.identity == hashlib.sha256(line.encode()).hexdigest()
    assert step.code == code_digest(STAGE)


@settings(deadline=None, max_examples=50)
@given(
    st.dictionaries(st.text(), VALUES, max_size=3), st.dictionaries(st.text(), VALUES, max_size=3)
)
def test_other_settings_are_another_step(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (step_line(STAGE, one) == step_line(STAGE, other)) == same


def test_the_digest_of_the_code_is_part_of_the_line():
    assert json.loads(step_line(STAGE, {}))["code"] == code_digest(STAGE)
    assert step_line(STAGE, {}) != step_line("bld.stages.fetch", {})


@pytest.mark.parametrize("one, other", [("3e-4", "0.0003"), ("1.0", "1.00"), ("1e3", "1000.0")])
def test_a_number_makes_the_same_line_however_it_is_written(one, other):
    assert step_line(STAGE, {"rate": float(one)}) == step_line(STAGE, {"rate": float(other)})


class Settings(StepSettings):
    seed: int = 0
    head: str | None = None


class Inputs(Files):
    documents: File
    model: Folder
    cache: OptionalFile
    warmup: OptionalFolder
    teacher: list[Folder]


class Outputs(Files):
    evaluation: File


@pytest.fixture
def started(tmp_path, monkeypatch):
    """(settings, inputs) -> the step of a stage that is called with them; its files lie in this
    folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        with new_folder(tmp_path / name, {}) as folder:
            (folder / "weights").write_text(name)

    def start(settings, **inputs):
        given = {"documents": "split", "model": "one/manifest.json", "cache": [], "warmup": []}
        files = files_line(given | {"teacher": []} | inputs, {"evaluation": "out.json"})
        monkeypatch.setattr(sys, "argv", ["", "--step", line_of("", settings), "--files", files])
        with stage(Settings, Inputs, Outputs) as step:
            return step

    return start


def test_a_stage_gets_its_settings_and_files_as_it_declares_them(started):
    step = started({"seed": 3}, teacher=["one/manifest.json", "two/manifest.json"])
    assert (step.settings.seed, step.settings.head) == (3, None)
    assert step.settings.dump() == {"seed": 3}
    assert step.inputs.documents == Path("split") and step.inputs.model == Path("one")
    assert step.inputs.teacher == [Path("one"), Path("two")]
    assert step.inputs.cache is step.inputs.warmup is None
    assert step.outputs.evaluation == Path("out.json")
    assert step.record.inputs == [
        *map(Path, ("split", "one/manifest.json")),
        *(None, None),
        *map(Path, ("one/manifest.json", "two/manifest.json")),
    ]


def test_a_list_of_one_is_a_file_as_well(started):
    step = started({}, model=["two/manifest.json"], cache=["cache"], warmup=["one/manifest.json"])
    assert (step.inputs.model, step.inputs.cache) == (Path("two"), Path("cache"))
    assert step.inputs.warmup == Path("one")


@pytest.mark.parametrize(
    "settings, inputs, named",
    [
        ({"seed": "x"}, {}, "seed"),
        ({"sed": 1}, {}, "sed"),
        ({}, {"documents": []}, "documents"),
        ({}, {"model": ["one/manifest.json", "two/manifest.json"]}, "model"),
        ({}, {"model": "gone/manifest.json"}, "gone/manifest.json"),
        ({}, {"other": "x"}, "other"),
    ],
)
def test_what_a_stage_does_not_declare_or_find_is_refused_by_name(started, settings, inputs, named):
    with pytest.raises(SystemExit, match=named):
        started(settings, **inputs)


def test_a_folder_that_is_not_whole_is_refused(started):
    Path("one/weights").unlink()
    with pytest.raises(SystemExit, match="one/weights"):
        started({})
