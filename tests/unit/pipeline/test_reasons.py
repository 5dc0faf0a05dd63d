"""Why a job runs, in words, and the table of it."""

import io
import json
from types import SimpleNamespace

import pytest

from bld.files import sha256_of
from bld.pipeline.code_digest import code_modules
from bld.pipeline.stale_page import print_stale
from bld.pipeline.staleness import own_causes, step_differences
from bld.pipeline.step import step_line

STAGE = "bld.stages.link"
NOTHING = {"missing_output": set(), "updated_input": set(), "updated_input_run": set()}
NO_REASON = {"forced": False, **NOTHING}


def differences(before, after, record=None):
    lines = [step_line(STAGE, settings) for settings in (before, after)]
    return list(step_differences(*lines, record or {}))


@pytest.mark.parametrize(
    "before, after, said",
    [
        ({"training": {"rate": 0.1}}, {"training": {"rate": 0.2}}, ["training.rate: 0.1 -> 0.2"]),
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}, []),
        ({"a": True}, {"a": "true"}, ['a: true -> "true"']),
        ({"a": {}}, {"a": {"b": None}}, ["a: {} -> not there", "a.b: not there -> null"]),
        ({"a": [1, 2]}, {"a": [2, 1]}, ["a: [1, 2] -> [2, 1]"]),
        (
            {"s": [["a", {"x": 1}], ["b", {}]]},
            {"s": [["a", {"x": 2}], ["b", {}]]},
            ["s.a.x: 1 -> 2"],
        ),
        (
            {"s": [["a", {"x": 1}], ["b", {"x": 2}]]},
            {"s": [["b", {"x": 2}], ["a", {"x": 1}]]},
            ["settings: in another order"],
        ),
        (
            {str(n): 1 for n in range(9)},
            {"8": 1},
            [*(f"{n}: 1 -> not there" for n in range(4)), "and 4 more settings"],
        ),
        # Two settings whose values change places.
        ({"a": 1, "b": 2}, {"a": 2, "b": 1}, ["a: 1 -> 2", "b: 2 -> 1"]),
    ],
)
def test_settings_are_told_by_their_names_from_what_to_what(before, after, said):
    assert differences(before, after) == said


def test_a_long_value_is_cut():
    [said] = differences({"prompt": "x" * 500}, {"prompt": "y"})
    assert len(said) < 80 and said.endswith('... -> "y"')


def test_code_is_told_by_the_files_that_are_others_than_in_the_record():
    now = code_modules(STAGE)
    modules = now | {"bld.folders": "0" * 64, "bld.gone": "1" * 64}
    del modules["bld.hub"]
    line = step_line(STAGE, {})
    before = json.dumps(json.loads(line) | {"code": "another"})
    record = {"stage": "link", "step": {"code": {"modules": modules}}}
    assert list(step_differences(before, line, record)) == [
        f"code of workflow/bld/folders.py: 00000000 -> {now['bld.folders'][:8]}",
        "code of workflow/bld/gone.py: 11111111 -> none",
        f"code of workflow/bld/hub.py: none -> {now['bld.hub'][:8]}",
    ]
    for unknown in ({}, record | {"stage": "called_otherwise"}):
        [said] = step_differences(before, line, unknown)
        assert said == "code: another than when this was made"


class Kept:
    """What Snakemake has kept of a job's outputs, with nothing changed but what a test says."""

    def __init__(self, **before):
        self.before = before

    def has_metadata(self, job):
        return bool(self.before)

    def params_changed(self, job):
        return "params" in self.before

    def __getattr__(self, name):
        if name.endswith("_changed"):
            kept = {"input_changed": "input", "code_changed": "code"}.get(name, "conda_env")
            return lambda job: iter([kept in self.before])
        return lambda output: self.before[name]


def job(tmp_path, monkeypatch, **more):
    monkeypatch.chdir(tmp_path)
    for name in ("a.json", "out.json"):
        (tmp_path / name).write_text(name)
    about = {"output": ["out.json"], "input": ["a.json"], **more}
    return SimpleNamespace(**about)


def causes(job, kept, **reason):
    return own_causes(job, SimpleNamespace(**NO_REASON | reason), kept)


def test_what_was_never_made_and_what_is_missing_are_told_apart(tmp_path, monkeypatch):
    one = job(tmp_path, monkeypatch, output=["new.json", "new.csv"])
    assert causes(one, Kept(), missing_output={"new.json"}) == ["not made yet"]
    two = job(tmp_path, monkeypatch, output=["out.json", "gone.json"])
    assert causes(two, Kept(), missing_output={"gone.json"}) == ["not there: gone.json"]


def test_inputs_are_told_that_are_new_that_are_gone_and_that_are_others(tmp_path, monkeypatch):
    one = job(tmp_path, monkeypatch)
    assert causes(one, Kept(input=["b.json"])) == [
        "no longer read: b.json",
        "newly read: a.json",
    ]
    (tmp_path / "out.record.json").write_text(json.dumps({"inputs": {"a.json": "f" * 64}}))
    one.output = ["out.json", "out.record.json"]
    now = sha256_of("a.json")[:8]
    assert causes(one, Kept(), updated_input={"a.json"}) == [f"a.json: ffffffff -> {now}"]


def test_of_a_command_the_options_are_told_that_differ(tmp_path, monkeypatch):
    rule = SimpleNamespace(shellcmd="python -m stage --one {x} --two 2")
    one = job(tmp_path, monkeypatch, rule=rule)
    kept = Kept(code="python -m stage --one {x} --two 3 --three")
    assert causes(one, kept) == ["command: --two 3, --three -> --two 2"]


def test_the_table_has_a_row_for_jobs_with_the_same_cause_and_counts_those_that_follow():
    jobs = [{"rule": "score", "of": [f"{n}-of-3"], "own": ["eps: 0 -> 1"]} for n in range(3)]
    jobs += [{"rule": "train", "of": ["sft"], "own": ["steps: 1 -> 2", "rate: 3 -> 4"]}]
    jobs += [{"rule": "judge", "of": ["sft"], "own": []}] * 2
    text = io.StringIO()
    print_stale(jobs, text)
    lines = [line.split() for line in text.getvalue().splitlines()]
    assert ["score", "0-of-3", "and", "2", "more", "eps:", "0", "->", "1"] in lines
    assert ["train", "sft", "steps:", "1", "->", "2"] in lines and [
        "rate:",
        "3",
        "->",
        "4",
    ] in lines
    assert ["Following", "from", "these:", "judge", "(2)."] in lines
    assert ["6", "jobs", "would", "run."] in lines


def test_without_stale_jobs_the_table_is_a_sentence():
    text = io.StringIO()
    print_stale([], text)
    assert text.getvalue() == "Nothing is stale.\n"
