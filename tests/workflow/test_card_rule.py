"""What a model card is made from, as Snakemake plans it."""

import pytest

CARDS = ("results/runs/sft/model/README.md", "results/runs/bld/model/README.md")


@pytest.fixture(scope="module")
def cards(plan, default):
    """The plan of two cards for a configuration."""

    def planned(**changes):
        return plan(default() | changes, arguments=CARDS)

    return planned


def test_a_card_waits_for_the_first_archive_that_has_its_run(cards):
    several = cards(archives={"one": {"runs": ["sft"]}, "two": {}})
    assert several.counts["write_crate"] == several.counts["report_selection"] == 2
    assert "report" not in several.counts
    none = cards(archives={"one": {"runs": ["bld_marginal"]}})
    assert "write_crate" not in none.counts and none.counts["report"] == 1


def test_plain_fine_tuning_has_no_teacher_on_its_card(cards):
    planned = cards()
    assert planned.settings("write_card sft")["teacher"] is None
    assert planned.settings("write_card bld")["teacher"]["model"] == "teacher"
    assert planned.settings("write_card bld")["scratch"].keys() == {"teacher", "other"}
