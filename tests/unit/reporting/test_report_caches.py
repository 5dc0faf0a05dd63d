"""Tables on byte caches and on the alignment of tokens."""

from xml.etree import ElementTree

import pandas as pd
import pytest

from bld.reporting.inputs import CacheInputs, read_cache, read_runs
from bld.reporting.registry import all_figures
from bld.reporting.tables import make_tables


def frames(factory, *caches, run=None):
    runs = read_runs([run or factory.run("sft-1")])
    return make_tables(runs, [read_cache(cache) for cache in caches]).frames


def test_the_tables_are_tidy_and_hold_all_figures(factory):
    found = frames(factory, factory.cache("one"), factory.cache("other"))
    audits = found["audit"]
    assert audits["cache"].tolist() == ["one on docs, train"] * 3 + ["other on docs, train"] * 3
    stored = audits[audits["distribution"] == "stored"].iloc[0]
    assert (stored["jsd_mean"], stored["total_variation_p99"]) == (0.0011, 0.024)
    assert audits["jsd_mean"].isna().sum() == 2
    rows = found["information"]
    assert rows.groupby(["cache", "by"]).size().tolist() == [11] * 4
    assert rows["bytes"].tolist() == 4 * list(range(1, 12))
    assert rows["known"].notna().sum() == rows["token_bits"].notna().sum() == 22
    caches = found["caches"].iloc[0]
    assert (caches["disk_per_byte"], caches["moved"], caches["first_byte"]) == (18.0, 0.0003, 0.4)
    assert (caches["strict"], caches["policy"], caches["stored"]) == (2.101, 2.102, 2.111)


def test_a_cache_is_shown_with_its_policy_and_what_it_loses(build, factory):
    own = {"own": {"histories": "beam", "eps": 0.01, "beam_width": 5}, "strict": {}}
    page = build(factory.run("sft-1"), caches=[factory.cache(audit={"settings": own})])
    assert page.table("caches") == [
        [
            "large on docs, trainbeam, eps 0.01, beam_width 5",
            "1612 000 bytes",
            "18.0",
            "0.4 %at most 25.0 %",
            "0.03 %0.00 % exceed",
            "0.00450.3 % of entropy",
            "8.00",
            "7.2090.0 % of token\u2019s",
            "1.4 %0.6 % of entropy",
        ]
    ]


def test_numbers_name_the_row_of_their_own_cache(factory, build):
    caches = [factory.cache("one"), factory.cache("other", audit={"documents": 77})]
    page = build(factory.run("sft-1"), caches=caches)
    cell = '<data value="77.0" data-csv="caches.csv" data-row="1" data-column="documents">77</data>'
    assert cell in page.source


def test_the_page_shows_each_cache_and_one_figure(whole):
    assert "a\\n&lt;b&gt;<mark>&amp;</mark>" in whole.source
    assert len(pd.read_csv(whole.folder / "audit.csv")) == 6
    svg = ElementTree.parse(whole.folder / "information.svg").getroot()
    assert (
        "larger on docs, train: the first byte has 40.0\u00a0% of the entropy of the token, all "
        "bytes 85.5\u00a0%" in svg.attrib["aria-label"]
    )
    texts = {element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")}
    assert {"token", "its bytes", "11+", "100%"} <= texts


def test_rows_of_several_caches_say_whose_they_are_and_of_one_do_not(whole, build, factory):
    names = ("stricter policy", "policy of the cache", "cache, as stored")
    assert {row[0] for row in whole.table("audit")} == {
        f"{name}{cache} on docs, train" for name in names for cache in ("large", "larger")
    }
    page = build(factory.run("sft-1"), caches=[factory.cache()])
    assert [row[0] for row in page.table("audit")] == list(names)


def test_without_a_cache_the_page_says_nothing_of_caches(build, factory):
    page = build(factory.run("sft-1"), figures=["audit", "information"])
    assert "teacher-bytes" not in page.source.partition("</style>")[2]
    assert not list(page.folder.glob("*.svg"))


def test_tokens_of_one_byte_alone_have_one_row_and_are_drawn(build, factory):
    byte_model = {
        "by_position": [{"position": 1, "tokens": 9, "byte_bits": 2.0, "known": 1.0}],
        "by_length": [{"length": 1, "tokens": 9, "token_bits": 2.0, "byte_bits": 2.0}],
    }
    cache = factory.cache(information=byte_model)
    page = build(factory.run("sft-1"), caches=[cache], figures=["information"])
    assert page.table("information") == [["1", "9", "2.000", "100.0 %"]]


def test_a_teacher_without_tokens_of_its_own_is_audited_alone(build, factory):
    both = factory.cache("both")
    alone = CacheInputs("both", "docs", "train", {"audit": both.files["audit"]})
    page = build(factory.run("sft-1"), caches=[factory.cache(), alone], figures=all_figures())
    rows = pd.read_csv(page.folder / "information.csv")
    assert set(rows["cache"]) == {"large on docs, train"}
    assert [row[6] for row in page.table("caches")] == ["8.00", "\u2013"]


def test_fractions_are_of_what_was_counted(factory):
    (row,) = frames(factory)["alignment"].to_dict("records")
    counted = {
        "student": "small",
        "teacher": "large",
        "corpus": "docs",
        "documents": 150,
        "student_entries": 400,
        "teacher_entries": 1000,
        "shared_entries": 300,
        "student_tokens": 5000,
        "teacher_tokens": 4000,
        "aligned_tokens": 3200,
        "bytes": 16000,
        "shared_boundaries": 3500,
    }
    fractions = {
        "shared_of_student": 3 / 4,
        "shared_of_teacher": 3 / 10,
        "aligned_of_student": 16 / 25,
        "aligned_of_teacher": 4 / 5,
        "left_over": 9 / 25,
        "boundary_share": 7 / 32,
        "bytes_per_chunk": 32 / 7,
    }
    assert row == counted | {name: pytest.approx(value) for name, value in fractions.items()}


def test_a_pair_of_tokenizers_has_one_row_however_many_runs_it_has(factory, build):
    runs = [factory.run("sft-1"), factory.run("bld-1", "bld"), factory.run("m", student="medium")]
    rows = build(*runs).table("alignment")
    assert [row[0] for row in rows] == ["small and largeon docs", "medium and largeon docs"]
    assert rows[0][1:] == ["150", "64.0 %", "36.0 %", "21.9 %", "4.6", "300", "75.0 %", "30.0 %"]


def test_without_a_teacher_or_its_file_there_is_no_alignment(build, factory):
    run = factory.run("sft-1")
    run.files["alignment"].unlink()
    for one in (run, factory.run("sft-2", teacher=None)):
        assert build(one).table("alignment") == []


def test_a_pair_without_tokens_has_dashes(build, factory):
    run = factory.run("sft-1")
    nothing = {"tokens": {"student": 0, "teacher": 0, "aligned": 0}}
    factory.edit(run.files["alignment"], **nothing, bytes={"total": 0, "shared_boundary": 0})
    (row,) = build(run).table("alignment")
    assert row[2:6] == ["\u2013"] * 4
