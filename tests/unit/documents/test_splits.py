import hashlib
import math
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bld.documents.splits import assign_split

NAMES = ["train", "validation", "test", "teacher", "spare"]
SHARES = (
    st.lists(st.integers(0, 100), min_size=1, max_size=5)
    .filter(any)
    .flatmap(lambda parts: st.tuples(st.just(parts), st.integers(0, 100)))
    .map(lambda pair: [part / (sum(pair[0]) + pair[1]) for part in pair[0]])
    .map(lambda shares: dict(zip(NAMES, shares, strict=False)))
)
SEEDS = st.integers(0, 2**31)


@given(st.text(), SHARES, SEEDS)
@settings(deadline=None, max_examples=200)
def test_a_group_falls_into_the_interval_of_its_hash(group, shares, seed):
    digest = hashlib.sha256(str(seed).encode() + b"\0" + group.encode()).digest()
    uniform = Fraction(int.from_bytes(digest[:8], "big"), 2**64)
    bounds = [Fraction(0)]
    for share in shares.values():
        bounds.append(bounds[-1] + Fraction(share))
    expected = [
        name
        for name, low, high in zip(shares, bounds, bounds[1:], strict=False)
        if low <= uniform < high
    ]
    assert assign_split(group, shares, seed) == (expected[0] if expected else None)


@given(st.lists(st.text(), max_size=50), SHARES, SEEDS)
@settings(deadline=None, max_examples=50)
def test_a_split_added_at_the_end_moves_nothing(groups, shares, seed):
    rest = max(0.0, 1 - sum(shares.values()))
    for group in groups:
        before = assign_split(group, shares, seed)
        after = assign_split(group, {**shares, "added": rest}, seed)
        assert after == before or (before is None and after == "added")


@given(SHARES, SEEDS)
@settings(deadline=None, max_examples=10)
def test_shares_are_met_within_five_standard_deviations(shares, seed):
    count = 4000
    found = Counter(assign_split(f"group {i}", shares, seed) for i in range(count))
    for name, share in shares.items():
        deviation = math.sqrt(count * share * (1 - share)) if share < 1 else 0
        assert abs(found[name] - count * share) <= 5 * deviation + 1


def test_shares_that_make_up_the_whole_leave_no_group_out():
    shares = {f"split {i}": 0.1 for i in range(10)}
    assert None not in {assign_split(str(i), shares, 0) for i in range(5000)}


def test_another_seed_is_another_assignment():
    shares = {"train": 0.5, "test": 0.5}
    one, two = ([assign_split(str(i), shares, seed) for i in range(100)] for seed in (0, 1))
    assert one != two


@pytest.mark.parametrize("shares", [{"a": 0.9, "b": 0.2}, {"a": -0.1, "b": 0.5}])
def test_impossible_shares_are_refused(shares):
    with pytest.raises(ValueError, match=r"at most 1, found \{'a'"):
        assign_split("g", shares, 0)
