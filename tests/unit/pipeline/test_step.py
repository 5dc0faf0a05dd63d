import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.pipeline.code_digest import code_digest
from bld.pipeline.step import StepParser, parse_step, step_line

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


def test_a_stage_cannot_run_without_its_step(capsys):
    with pytest.raises(SystemExit):
        StepParser("A stage.").parse_args([])
    assert "--step" in capsys.readouterr().err
