from hypothesis import given
from hypothesis import strategies as st

from bld.cache.places import in_order, places_in, told


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=3), unique=True), st.randoms())
def test_places_find_what_is_there_and_nothing_else(ids, random):
    held = [one for one in ids if random.random() < 0.7]
    cut = random.randint(0, len(held))
    parts = [held[:cut], held[cut:]]
    symbols = {one: number for number, one in enumerate(held)}
    places = in_order(
        [
            places_in(number, told(part, [symbols[x] for x in part]).decode(), [len(part)])
            for number, part in enumerate(parts)
        ]
    )
    for one, number in zip(ids, places.find(ids), strict=True):
        if one not in held:
            assert number == -1
        else:
            assert parts[places.shard[number]][places.row[number]] == one
            assert places.symbols[number] == symbols[one]
