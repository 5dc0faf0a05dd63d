"""Why attempts ended, and what the next one asks for."""

import pytest

from bld.pipeline.attempts import Attempts, Cause, Event
from bld.pipeline.growth import first_beyond

STOPPED = {Event.BEGAN, Event.SAVED, Event.STOPPED}


@pytest.fixture
def attempts(tmp_path):
    return Attempts(tmp_path / "new/manifest.record.json", "identity")


@pytest.mark.parametrize(
    "events, state, cause",
    [
        (STOPPED, "FAILED", Cause.TO_BE_CONTINUED),
        (STOPPED, None, Cause.TO_BE_CONTINUED),
        (STOPPED, "CANCELLED", Cause.TO_BE_CONTINUED),
        (STOPPED, "OUT_OF_MEMORY", Cause.MEMORY),
        ({Event.BEGAN, Event.SAVED}, "TIMEOUT", Cause.TO_BE_CONTINUED),
        ({Event.BEGAN}, "TIMEOUT", Cause.TIME),
        (set(), "TIMEOUT", Cause.TIME),
        ({Event.BEGAN, Event.SAVED}, "FAILED", Cause.FAILURE),
        ({Event.BEGAN, Event.SAVED}, "NODE_FAIL", Cause.FAILURE),
        ({Event.BEGAN, Event.SAVED}, "OUT_OF_MEMORY", Cause.MEMORY),
        (set(), "OUT_OF_MEMORY", Cause.MEMORY),
        ({Event.BEGAN}, None, Cause.FAILURE),
    ],
)
def test_the_cause_is_told_by_what_the_job_wrote_and_by_slurms_word(attempts, events, state, cause):
    for event in Event:
        if event in events:
            attempts.write(event)
    assert attempts.end(state, {}) == cause


def test_what_an_attempt_wrote_says_nothing_of_the_next(attempts):
    attempts.write(Event.SAVED)
    assert attempts.end("TIMEOUT", {}) == Cause.TO_BE_CONTINUED
    assert attempts.end("TIMEOUT", {}) == Cause.TIME


def test_what_was_not_enough_is_the_most_that_an_attempt_with_that_end_had(attempts):
    assert attempts.not_enough(Cause.MEMORY, "mem_mb") is None
    for state, asked in [
        ("OUT_OF_MEMORY", {"mem_mb": 200, "runtime": 10}),
        ("OUT_OF_MEMORY", {"mem_mb": 100, "runtime": 20}),
        ("TIMEOUT", {"mem_mb": 900, "runtime": 30}),
        ("FAILED", {"mem_mb": 999, "runtime": 99}),
    ]:
        attempts.end(state, asked)
    assert attempts.not_enough(Cause.MEMORY, "mem_mb") == 200
    assert attempts.not_enough(Cause.TIME, "runtime") == 30
    assert attempts.not_enough(Cause.MEMORY, "mem_mb_per_cpu") is None
    assert Attempts(attempts.path, "other settings").not_enough(Cause.MEMORY, "mem_mb") is None


def test_a_failure_of_which_nothing_follows_leaves_no_file(attempts):
    assert attempts.end("FAILED", {"mem_mb": 1}) == Cause.FAILURE
    assert not attempts.path.exists()
    assert attempts.path.name == "manifest.record.attempts"


@pytest.mark.parametrize(
    "value, not_enough, asked",
    [
        (lambda attempt: 100 * attempt, None, 100),
        (lambda attempt: 100 * attempt, 100, 200),
        (lambda attempt: 100 * attempt, 250, 300),
        (lambda attempt: 150 * attempt**4, 150, 2400),
        (lambda attempt: 100, 100, 100),
        (lambda attempt: min(100 * attempt, 250), 400, 250),
        # The profile was edited since.
        (lambda attempt: 500 * attempt, 300, 500),
        (lambda attempt: "<TBD>", 300, "<TBD>"),
    ],
)
def test_the_first_attempt_that_asks_for_more_is_the_next(value, not_enough, asked):
    assert first_beyond(value, not_enough) == asked
