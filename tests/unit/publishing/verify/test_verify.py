"""A good crate passes; one that was altered is refused, with the reason."""

import json
import sys

import pytest

from bld.pipeline.code_digest import digest_of
from bld.pipeline.step import line_of, parse_step
from bld.publishing.verify import verify

RUN, REPORT = "results/runs/sft", "results/archive/demo/report"
DOCUMENTS, STUDENT = (
    "results/corpora/docs/train/manifest.json",
    "results/students/small/manifest.json",
)
MODEL = f"{RUN}/model/manifest.json"
BITS = f"{RUN}/evaluation/bits_per_byte.json"
TRAINED = f"{RUN}/model/manifest.record.json"
EVALUATED = f"{RUN}/evaluation/bits_per_byte.record.json"
REPORTED = f"{REPORT}/index.record.json"


def test_a_good_crate_passes(good):
    findings = verify(good)
    assert findings.problems == []
    assert f"{REPORT}: drawn again" in " ".join(findings.checked)


def better(crate):
    """The evaluation with a better score in every document."""
    found = json.loads(crate.files[BITS])
    rows = [row | {"nats": row["nats"] * 0.9} for row in found["per_document"]]
    score = found["bits_per_byte"] * 0.9
    return json.dumps(found | {"per_document": rows, "bits_per_byte": score}).encode()


def unmade(crate):
    """Take out a step: its record, its action and that it is mentioned."""
    name = STUDENT.replace("manifest", "manifest.record")
    crate.remove(name, f"#action/{name}")


ALTERED = {
    "a metric in an evaluation": (
        lambda crate: crate.put(BITS, better(crate), told=False),
        f"{BITS}: the metadata says ",
    ),
    "a metric, and its digest in the metadata": (
        lambda crate: crate.put(BITS, better(crate)),
        f"{BITS}: {EVALUATED} made it with SHA-256",
    ),
    "a metric, and its digest everywhere": (
        lambda crate: crate.swap(BITS, better(crate)),
        f"{REPORT}/summary.json: line ",
    ),
    "a number in a table of the report, and its digest everywhere": (
        lambda crate: crate.swap(
            f"{REPORT}/loss.csv", crate.files[f"{REPORT}/loss.csv"].replace(b"3.0", b"2.0")
        ),
        f"{REPORT}/loss.csv: line ",
    ),
    "a missing file": (
        lambda crate: crate.files.pop(f"{RUN}/training.json"),
        f"{RUN}/training.json: described in the metadata, but not in the crate",
    ),
    "a file missing from the metadata too": (
        lambda crate: crate.remove(f"{RUN}/training.json"),
        f"{RUN}/training.json: {TRAINED} made it with SHA-256",
    ),
    "an extra file": (
        lambda crate: crate.files.update({"results/more.json": b"{}"}),
        "results/more.json: in the crate, but not described in the metadata",
    ),
    "an extra file that is described": (
        lambda crate: (
            crate.graph.update(
                {"results/more.json": {"@id": "results/more.json", "@type": "File"}}
            ),
            crate.put("results/more.json", b"{}"),
        ),
        "results/more.json: no record tells how it was made",
    ),
    "a size": (
        lambda crate: crate.graph[BITS].update(contentSize="1"),
        f"{BITS}: the metadata says 1 bytes",
    ),
    "a digest of weights that are not in the crate": (
        lambda crate: crate.graph[f"#{RUN}/model/model.safetensors"].update(sha256="00" * 32),
        f"{RUN}/model/model.safetensors: {MODEL} gives it SHA-256 cdcd",
    ),
    "a step": (unmade, "read it, and no record tells how it was made"),
    "no report": (
        lambda crate: crate.record(REPORTED, lambda record: record.update(stage="distill")),
        "no step of the crate made a report",
    ),
    "a record's input": (
        lambda crate: crate.record(
            TRAINED, lambda record: record["inputs"].update({DOCUMENTS: "00" * 32})
        ),
        f"{DOCUMENTS}: {TRAINED} was made from another file (sha256 0000",
    ),
    "a record's settings": (
        lambda crate: crate.record(
            TRAINED, lambda record: record["step"]["settings"].update(seed=7)
        ),
        f"{TRAINED}: its identity does not follow",
    ),
    "a record's modules": (
        lambda crate: crate.record(
            TRAINED, lambda record: record["step"]["code"]["modules"].popitem()
        ),
        f"{TRAINED}: its code digest does not follow",
    ),
    "a record's times": (
        lambda crate: crate.record(
            TRAINED, lambda record: record.update(ended="2020-01-01T00:00:00Z")
        ),
        f"{TRAINED}: ended before it started",
    ),
    "a record that is none": (
        lambda crate: crate.record(TRAINED, lambda record: record.pop("step")),
        f"{TRAINED}: not a run record: step: Field required",
    ),
    "the code": (
        lambda crate: crate.replace(
            "workflow/bld/tokenization/transfer.py", "import", "from", told=False
        ),
        "workflow/bld/tokenization/transfer.py: the metadata says ",
    ),
    "the configuration": (
        lambda crate: crate.replace("configuration.yaml", "seed: 0", "seed: 8", told=False),
        "configuration.yaml: the metadata says ",
    ),
}


@pytest.mark.parametrize("what", ALTERED)
def test_an_altered_crate_is_refused_with_the_reason(forged, what):
    alter, reason = ALTERED[what]
    problems = forged(alter).problems
    assert any(reason in problem for problem in problems), problems


def test_the_last_digits_of_numbers_may_differ_as_between_versions_of_packages(forged):
    table = f"{REPORT}/loss.csv"

    def nearly(crate):
        assert b"3.888888888888889" in crate.files[table]
        crate.swap(table, crate.files[table].replace(b"3.888888888888889", b"3.888888888888888"))

    assert forged(nearly).problems == []


def test_a_report_of_other_code_is_not_drawn_again_and_that_is_said(forged):
    def alter(record):
        modules = record["step"]["code"]["modules"] | {"bld.reporting.more": "00" * 32}
        record["step"]["code"] = {"modules": modules, "digest": digest_of(modules)}
        line = line_of(record["step"]["code"]["digest"], record["step"]["settings"])
        record["step"]["identity"] = parse_step(line).identity

    findings = forged(lambda crate: crate.record(REPORTED, alter))
    assert findings.problems == []
    assert any("made by another version of the code" in told for told in findings.not_checked)


ISSUE = '{"check": {"identifier": "x_1"}, "message": "no author"}'
WRITES = """while [ "$1" != -o ]; do shift; done; echo '{"issues": [%s]}' > "$2"; exit %d"""
VALIDATORS = {
    "accepts": (WRITES % ("", 0), "checked", "the public validator finds that its metadata follow"),
    "refuses": (WRITES % (ISSUE, 1), "problems", "public validator, x_1: no author"),
    "cannot run": ("echo 'no network' >&2; exit 2", "not_checked", "the public validator failed"),
}


@pytest.mark.parametrize("what", VALIDATORS)
def test_the_public_validator_is_asked(forged, tmp_path, monkeypatch, what):
    script, where, words = VALIDATORS[what]
    program = tmp_path / "crates/bin/rocrate-validator"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    assert words in " ".join(getattr(forged(lambda crate: None), where))


def test_without_the_public_validator_that_is_said(forged):
    told = " ".join(forged(lambda crate: None).not_checked)
    assert "the public validator was not found" in told


def test_who_has_not_the_packages_of_reports_is_told_so_and_not_that_the_crate_is_wrong(
    good, tmp_path, monkeypatch
):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(bare))
    findings = verify(good)
    assert findings.problems == []
    [told] = [one for one in findings.not_checked if "No module named" in one]
    assert told.startswith(f"that {REPORT} follows")


@pytest.mark.parametrize("outside", [[], ["results/own.jsonl"]])
def test_a_file_among_results_that_no_step_made_has_to_be_said_to_come_from_outside(
    forged, outside
):
    def alter(crate):
        name = DOCUMENTS.replace("manifest", "manifest.record")
        crate.replace(name, "own.jsonl", "results/own.jsonl")
        crate.record(name, lambda record: record.update(outside=outside))
        moved = {"@id": "#results/own.jsonl"}
        crate.graph[f"#action/{name}"]["object"] = moved
        crate.graph["#results/own.jsonl"] = crate.graph.pop("#own.jsonl") | moved

    assert (forged(alter).problems == []) == bool(outside)


def test_settings_with_an_anonymised_path_need_not_give_the_identity(forged):
    def anonymise(record):
        record["step"]["settings"]["path"] = "~/documents"
        record["step"]["redacted"] = True

    assert forged(lambda crate: crate.record(TRAINED, anonymise)).problems == []


def test_a_crate_without_a_repository_passes(forged):
    assert forged(lambda crate: crate.remove("code.bundle")).problems == []
