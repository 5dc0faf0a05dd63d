"""Marks stand for words, and for no number."""

import pytest

from bld.publishing.marks import same_but_for_marks


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("by zyxuser, 2.5\n", "by USER, 2.5\n", True),
        ("/home/zyxuser/data/x: 2.5", "~/data/x: 2.5", True),
        ('"key": "hf_abc"', '"key": "REDACTED"', True),
        ("by zyxuser, 2.5\n", "by USER, 2.1\n", False),
        ("by zyxuser, 2.5\n", "by bob, 2.5\n", False),
        ("by zyxuser, 2.5\n", "by USER, 2.5", False),
        ("a 2.5", "a REDACTED", False),
        ("a \u22122.5", "a ~2.1", False),
        ("a b c", "a USER", False),
    ],
)
def test_texts_are_the_same_but_for_words_that_were_taken_out(one, other, is_same):
    assert same_but_for_marks(one, other) == same_but_for_marks(other, one) == is_same
