import re
from xml.etree import ElementTree

import pandas as pd
import pytest

from bld.reporting.report import build_report
from bld.reporting.teacher_bytes import (
    audit_table,
    information_table,
    read_teacher_bytes,
)


def changed(factory, **figures):
    return read_teacher_bytes(factory.cache(audit=figures))


def audit_text(cache):
    return " ".join(cache.audit_sentences())


def test_the_audit_is_told_in_plain_words(factory):
    assert read_teacher_bytes(factory.cache()).audit_sentences() == [
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
    assert "at 1.23\u00a0% of the bytes more than the cache says" in audit_text(
        changed(factory, lost_mass=lost)
    )
    gone = {"stored": 4, "policy": 0, "strict": 1}
    text = audit_text(changed(factory, true_byte_lost=gone))
    assert "4 true bytes are lost in the cache, 1 under the stricter policy." in text
    infinite = {"kl": None, "entropy": 1.0, "share_of_entropy": None}
    assert "has to be scored again" in audit_text(changed(factory, storage=infinite))


@pytest.mark.parametrize(
    "own, strict, words",
    [
        (
            {"name": "trunk"},
            {"name": "prefix", "eps": 0.0},
            ["alone (trunk).", "over the tokens of"],
        ),
        (
            {"name": "beam", "eps": 0.01, "width": 5},
            {"name": "beam", "eps": 0.0, "width": 64},
            ["a beam of 5 finds", "a beam of 64 finds (beam), none dropped"],
        ),
        (
            {"name": "prefix", "eps": 0.01},
            {"name": "prefix", "eps": 0.001},
            ["at most 1.0\u00a0% of the mass", "at most 0.1\u00a0% of the mass"],
        ),
    ],
)
def test_every_policy_is_put_in_words(factory, own, strict, words):
    text = audit_text(changed(factory, settings={"own": own, "strict": strict}))
    assert [one for one in words if one not in text] == []


def test_what_bytes_tell_is_told_in_plain_words(factory):
    first, second = read_teacher_bytes(factory.cache()).information_sentences()
    assert "8.00 bits of entropy on average" in first and "7.20 together, 90.0\u00a0%" in first
    assert first.endswith("The first byte alone has 40.0\u00a0%.")
    assert "1.4\u00a0% of the bytes, which hold 0.6\u00a0%" in second


def test_the_tables_are_tidy_and_hold_all_figures(factory):
    caches = [read_teacher_bytes(factory.cache(teacher)) for teacher in ("one", "other")]
    audits = audit_table(caches)
    assert audits["teacher"].tolist() == ["one"] * 3 + ["other"] * 3
    stored = audits[audits["distribution"] == "cache, as stored"].iloc[0]
    assert (stored["jsd_mean"], stored["total_variation_p99"]) == (0.0011, 0.024)
    assert audits["jsd_mean"].isna().sum() == 2
    rows = information_table(caches)
    assert rows.groupby(["teacher", "by"]).size().tolist() == [11] * 4
    assert rows["bytes"].tolist() == 4 * list(range(1, 12))
    assert rows["known"].notna().sum() == rows["token_bits"].notna().sum() == 22


def test_the_page_shows_one_part_per_cache_and_one_figure(factory, tmp_path):
    runs = [factory.run("sft-1"), factory.run("bld-1", "bld")]
    caches = [factory.cache("one"), factory.cache("other")]
    build_report(runs, caches, "A title", tmp_path)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<h3>(.*?)</h3>", page) == ["one on docs, train", "other on docs, train"]
    assert page.count('id="figure-information"') == 1
    assert "a\\n&lt;b&gt;<mark>&amp;</mark>" in page
    assert len(pd.read_csv(tmp_path / "audit.csv")) == 6
    svg = ElementTree.parse(tmp_path / "information.svg").getroot()
    assert "one on docs, train: share of the token's entropy" in svg.attrib["aria-label"]
    texts = {element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")}
    assert {"token", "its bytes", "11+", "100%"} <= texts


def test_without_a_cache_the_page_says_nothing_of_teachers_bytes(factory, tmp_path):
    build_report([factory.run("sft-1")], [], "A title", tmp_path)
    assert "teacher-bytes" not in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert not {"audit.csv", "information.csv", "information.svg"} & {
        path.name for path in tmp_path.iterdir()
    }


def test_tokens_of_one_byte_alone_have_one_row_and_are_drawn(factory, tmp_path):
    byte_model = {
        "by_position": [{"position": 1, "tokens": 9, "byte_bits": 2.0, "known": 1.0}],
        "by_length": [{"length": 1, "tokens": 9, "token_bits": 2.0, "byte_bits": 2.0}],
    }
    cache = factory.cache(information=byte_model)
    build_report([factory.run("sft-1")], [cache], "A title", tmp_path)
    assert "100.0\u00a0%" in (tmp_path / "index.html").read_text(encoding="utf-8")
