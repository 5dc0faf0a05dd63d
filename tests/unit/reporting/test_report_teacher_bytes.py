import re
from xml.etree import ElementTree

import pandas as pd
import pytest

from bld.reporting.figures import FIGURES
from bld.reporting.source import Source
from bld.reporting.teacher_bytes import CacheInputs, Told, cache_tables, read_teacher_bytes


def told(factory, information=None, **audit):
    one = read_teacher_bytes(factory.cache(audit=audit, information=information))
    return Told(one, 0, Source(cache_tables([one])))


def plain(sentences):
    return [re.sub("<[^>]*>", "", sentence) for sentence in sentences]


def audit_text(factory, **audit):
    return " ".join(plain(told(factory, **audit).audit()))


def test_the_audit_is_told_in_plain_words(factory):
    assert plain(told(factory).audit()) == [
        "The cache sums the tokens of the text up to each byte, beside those of the whole text (prefix), "
        "less those with at most 0.1\u00a0% of the mass. It takes 18.0 bytes on disk for a byte of text.",
        "For the audit, 16 documents (12\u2009000 bytes) were summed again without dropping any. The text "
        "then costs 2.101 bits per byte; under the policy of the cache it costs 2.102, as stored 2.111. "
        "No true byte is lost in the cache.",
        "The cache says that the dropped histories held at most 0.4\u00a0% of the mass at a byte on "
        "average, and 25.0\u00a0% at the worst byte. Dropping them moved 0.03\u00a0% on average, nowhere "
        "more than the cache says.",
        "Storage loses 0.0045 nats a byte, 0.3\u00a0% of the distributions\u2019 entropy.",
    ]


def test_what_is_wrong_with_a_cache_is_said(factory):
    lost = {"mean": 0.0, "max": 0.0, "exceeded": 0.0123, "rounding": 1e-4}
    text = audit_text(factory, lost_mass=lost)
    assert "at 1.23\u00a0% of the bytes more than the cache says" in text
    gone = {"stored": 4, "policy": 0, "strict": 1}
    text = audit_text(factory, true_byte_lost=gone)
    assert "4 true bytes are lost in the cache, 1 under the stricter policy." in text
    infinite = {"kl": None, "entropy": 1.0, "share_of_entropy": None}
    assert "has to be scored again" in audit_text(factory, storage=infinite)


@pytest.mark.parametrize(
    "own, strict, words",
    [
        (
            {"histories": "trunk"},
            {"histories": "prefix", "eps": 0.0},
            ["alone (trunk).", "over the tokens of"],
        ),
        (
            {"histories": "beam", "eps": 0.01, "beam_width": 5},
            {"histories": "beam", "eps": 0.0, "beam_width": 64},
            ["a beam of 5 finds", "a beam of 64 finds (beam), none dropped"],
        ),
        (
            {"histories": "prefix", "eps": 0.01},
            {"histories": "prefix", "eps": 0.001},
            ["at most 1.0\u00a0% of the mass", "at most 0.1\u00a0% of the mass"],
        ),
    ],
)
def test_every_policy_is_put_in_words(factory, own, strict, words):
    text = audit_text(factory, settings={"own": own, "strict": strict})
    assert [one for one in words if one not in text] == []


def test_what_bytes_tell_is_told_in_plain_words(factory):
    first, second = plain(told(factory).information())
    assert "8.00 bits of entropy on average" in first and "7.20 together, 90.0\u00a0%" in first
    assert first.endswith("The first byte alone has 40.0\u00a0%.")
    assert "1.4\u00a0% of the bytes, which hold 0.6\u00a0%" in second


def test_numbers_of_a_sentence_name_the_row_of_their_own_cache(factory):
    caches = [read_teacher_bytes(factory.cache(name)) for name in ("one", "other")]
    caches[1].audit["documents"] = 77
    source = Source(cache_tables(caches))
    sentence = Told(caches[1], 1, source).audit()[1]
    cell = '<data value="77.0" data-csv="caches.csv" data-row="1" data-column="documents">77</data>'
    assert cell in sentence


def test_the_tables_are_tidy_and_hold_all_figures(factory):
    frames = cache_tables([read_teacher_bytes(factory.cache(name)) for name in ("one", "other")])
    audits = frames["audit"]
    assert audits["cache"].tolist() == ["one on docs, train"] * 3 + ["other on docs, train"] * 3
    stored = audits[audits["distribution"] == "stored"].iloc[0]
    assert (stored["jsd_mean"], stored["total_variation_p99"]) == (0.0011, 0.024)
    assert audits["jsd_mean"].isna().sum() == 2
    rows = frames["information"]
    assert rows.groupby(["cache", "by"]).size().tolist() == [11] * 4
    assert rows["bytes"].tolist() == 4 * list(range(1, 12))
    assert rows["known"].notna().sum() == rows["token_bits"].notna().sum() == 22
    caches = frames["caches"].iloc[0]
    assert (caches["disk_per_byte"], caches["moved"], caches["first_byte"]) == (18.0, 0.0003, 0.4)
    assert (caches["strict"], caches["policy"], caches["stored"]) == (2.101, 2.102, 2.111)


def test_the_page_shows_one_part_per_cache_and_one_figure(whole):
    (section,) = [
        one for one in whole.all("section") if one.get("aria-labelledby") == "teacher-bytes"
    ]
    headings = [whole.words(one) for one in section.iter("h3")]
    assert headings[:2] == ["large on docs, train", "larger on docs, train"]
    assert len(section.findall(".//*[@id='figure-information']")) == 1
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
    assert {row[0] for row in whole.table("audit")} == {
        f"{name}{cache} on docs, train"
        for name in ("stricter policy", "policy of the cache", "cache, as stored")
        for cache in ("large", "larger")
    }
    page = build(factory.run("sft-1"), caches=[factory.cache()])
    assert [row[0] for row in page.table("audit")] == [
        "stricter policy", "policy of the cache", "cache, as stored",
    ]  # fmt: skip


def test_without_a_cache_the_page_says_nothing_of_teachers_bytes(build, factory):
    page = build(factory.run("sft-1"), figures=["audit", "information"])
    assert "teacher-bytes" not in page.source
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
    page = build(factory.run("sft-1"), caches=[factory.cache(), alone], figures=FIGURES)
    rows = pd.read_csv(page.folder / "information.csv")
    assert set(rows["cache"]) == {"large on docs, train"}
    words = page.words()
    assert "both on docs, train" in words and words.count("Before a token, the teacher") == 1
