"""Real chat templates and tokenizers: what comes out is what docs/templates.md says."""

import pytest

from template_table import ANEW, line, measure, rows, written_rows

SLOW_TO_LOAD = {"tokenizer gemma3"}
ROWS = rows()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.long if n in SLOW_TO_LOAD else ()) for n in ROWS],
)
def test_conversations_come_out_as_the_page_says(name):
    found = line(name, measure(ROWS[name]))
    assert found == written_rows().get(name), f"`{ANEW} {name!r}` writes the row anew"


def test_the_page_has_these_rows_alone():
    assert set(written_rows()) == set(ROWS)
