"""A good crate passes; one that was altered is refused, with the reason."""

import hashlib
import json
import sys

import pytest

from bld.publishing.verify import verify

RUN, REPORT = "results/runs/sft", "results/archive/demo/report"
DOCUMENTS, STUDENT = (
    "results/corpora/docs/train/manifest.json",
    "results/students/small/manifest.json",
)
MODEL = f"{RUN}/model/manifest.json"
BITS = f"{RUN}/evaluation/bits_per_byte.json"
TRAINED = f"{RUN}/model/manifest.record.json"
JUDGED = f"{RUN}/evaluation/bits_per_byte.record.json"
REPORTED = f"{REPORT}/index.record.json"


def test_a_good_crate_passes(good):
    findings = verify(good)
    assert findings.problems == []
    assert "results/archive/demo/report: made again" in " ".join(findings.checked)


def better(crate):
    """The evaluation with a better score in every document."""
    found = json.loads(crate.files[BITS])
    rows = [row | {"nats": row["nats"] * 0.9} for row in found["per_document"]]
    score = found["bits_per_byte"] * 0.9
    return json.dumps(found | {"per_document": rows, "bits_per_byte": score}).encode()


def another_commit(crate):
    for name in [name for name in crate.files if name.endswith(".record.json")]:
        crate.record(name, lambda record: record["version"].update(commit="0123" * 10))


def another_seed_in_the_report(crate):
    """With its identity, so that the record is consistent by itself."""

    def edit(record):
        record["step"]["settings"]["runs"]["sft"]["settings"]["seed"] = 7
        parts = {"code": record["step"]["code"]["digest"], "settings": record["step"]["settings"]}
        line = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        record["step"]["identity"] = hashlib.sha256(line.encode()).hexdigest()

    crate.record(REPORTED, edit)


def redacted(name, old, new):
    """Change a file, and say that something was taken out of it."""

    def alter(crate):
        crate.graph[name]["originalSha256"] = hashlib.sha256(crate.files[name]).hexdigest()
        crate.replace(name, old, new)

    return alter


def unmade(crate):
    """Take out a step: its record, its action and that it is mentioned."""
    name = STUDENT.replace("manifest", "manifest.record")
    crate.remove(name, f"#action/{name}")


ACTION = f"#action/{TRAINED}"
ALTERED = {
    "a metric in an evaluation": (
        lambda crate: crate.put(BITS, better(crate), told=False),
        f"{BITS}: the metadata says SHA-256",
    ),
    "a metric, and its digest in the metadata": (
        lambda crate: crate.put(BITS, better(crate)),
        f"{BITS}: {JUDGED} says that it was made with SHA-256",
    ),
    "a metric, and its digest everywhere": (
        lambda crate: crate.swap(BITS, better(crate)),
        f"{REPORT}/summary.json: does not follow from the results: line",
    ),
    "a figure's CSV": (
        lambda crate: crate.replace(f"{REPORT}/loss.csv", "3.0", "2.0", told=False),
        f"{REPORT}/loss.csv: the metadata says SHA-256",
    ),
    "a figure's CSV, and its digest everywhere": (
        lambda crate: crate.swap(
            f"{REPORT}/loss.csv", crate.files[f"{REPORT}/loss.csv"].replace(b"3.0", b"2.0")
        ),
        f"{REPORT}/loss.csv: does not follow from the results: line",
    ),
    "a drawing, and its digest everywhere": (
        lambda crate: crate.swap(
            f"{REPORT}/loss.svg", crate.files[f"{REPORT}/loss.svg"].replace(b"step", b"stop")
        ),
        f"{REPORT}/loss.svg: does not follow from the results: line",
    ),
    "a number on the page, and its digest everywhere": (
        lambda crate: crate.swap(
            f"{REPORT}/index.html", crate.files[f"{REPORT}/index.html"].replace(b"2.571", b"2.071")
        ),
        f"{REPORT}/index.html: does not follow from the results: line",
    ),
    "a number in the summary, as if something was taken out": (
        redacted(f"{REPORT}/summary.json", "2.571", "2.071"),
        f"{REPORT}/summary.json: does not follow from the results: line",
    ),
    "a mark in place of a number": (
        redacted(f"{REPORT}/summary.json", "2.5714285714285716", "REDACTED"),
        f"{REPORT}/summary.json: does not follow from the results: line",
    ),
    "a metric, as if something was taken out": (
        redacted(BITS, '"nats": 9', '"nats": 8'),
        f"{REPORT}/bits_per_byte.csv: does not follow from the results: line",
    ),
    "bytes, as if something was taken out": (
        lambda crate: crate.graph[f"{RUN}/metrics.parquet"].update(originalSha256="00" * 32),
        f"{RUN}/metrics.parquet: something was taken out of it according to the metadata, which is done to texts alone",
    ),
    "a missing file": (
        lambda crate: crate.files.pop(f"{RUN}/training.json"),
        f"{RUN}/training.json: described in the metadata, but not in the crate",
    ),
    "a file missing from the metadata too": (
        lambda crate: crate.remove(f"{RUN}/training.json"),
        f"{RUN}/training.json: made according to {TRAINED}, but neither in the crate nor described",
    ),
    "an extra file": (
        lambda crate: crate.files.update({"results/more.json": b"{}"}),
        "results/more.json: in the crate, but not described in the metadata",
    ),
    "an extra file that is described": (
        lambda crate: (
            crate.graph.update({"results/more.json": {"@id": "results/more.json", "@type": "File"}}),
            crate.put("results/more.json", b"{}"),
        ),
        "results/more.json: no run record tells how it was made",
    ),
    "a size": (
        lambda crate: crate.graph[BITS].update(contentSize="1"),
        f"{BITS}: the metadata says bytes 1, found",
    ),
    "a digest of weights that are not in the crate": (
        lambda crate: crate.graph[f"#{RUN}/model/model.safetensors"].update(sha256="00" * 32),
        f"{RUN}/model/model.safetensors: {MODEL} says that it has SHA-256 cdcd",
    ),
    "an action removed": (
        lambda crate: crate.remove(ACTION),
        f"{TRAINED}: the metadata have no action for this record",
    ),
    "an action without a record": (
        lambda crate: crate.graph.update({"#action/x": crate.graph[ACTION] | {"@id": "#action/x"}}),
        "#action/x: an action in the metadata without a run record",
    ),
    "an action's input": (
        lambda crate: crate.graph[ACTION].update(object=[{"@id": DOCUMENTS}, {"@id": BITS}]),
        f"{TRAINED}: its action in the metadata has another inputs than the record: + {BITS}, - {STUDENT}",
    ),
    "an action's times": (
        lambda crate: crate.graph[ACTION].update(startTime="2020-01-01T00:00:00Z"),
        f"{TRAINED}: its action in the metadata has another start than the record: 2020-01-01",
    ),
    "an action's tool": (
        lambda crate: crate.graph[ACTION].update(instrument=crate.graph[f"#action/{JUDGED}"]["instrument"]),
        f"{TRAINED}: its action in the metadata has another tool",
    ),
    "a step": (unmade, f"{TRAINED}: read {STUDENT}, which no step of the crate has made"),
    "a record's input": (
        lambda crate: crate.record(TRAINED, lambda record: record["inputs"].update({DOCUMENTS: "00" * 32})),
        f"{TRAINED}: read {DOCUMENTS} with SHA-256 0000",
    ),
    "a record's settings": (
        lambda crate: crate.record(TRAINED, lambda record: record["step"]["settings"].update(seed=7)),
        f"{TRAINED}: its identity is",
    ),
    "a record's settings, and its identity": (
        another_seed_in_the_report,
        "configuration.yaml: gives seed 0 (told: 7) of run 'sft'",
    ),
    "a record's modules": (
        lambda crate: crate.record(TRAINED, lambda record: record["step"]["code"]["modules"].popitem()),
        f"{TRAINED}: its code digest is",
    ),
    "a record's times": (
        lambda crate: crate.record(TRAINED, lambda record: record.update(ended="2020-01-01T00:00:00Z")),
        f"{TRAINED}: ended (2020-01-01T00:00:00+00:00) before it started",
    ),
    "a record that is none": (
        lambda crate: crate.record(TRAINED, lambda record: record.pop("step")),
        f"{TRAINED}: not a run record: step: Field required",
    ),
    "the code": (
        lambda crate: crate.replace("workflow/bld/tokenization/transfer.py", "import", "import os\nimport", told=True),
        "bld.tokenization.transfer: the crate holds another version than that which ran",
    ),
    "code that cannot be parsed": (
        lambda crate: crate.put("workflow/bld/stages/prepare_student.py", b"def main(:"),
        f"{TRAINED}: the code of prepare_student cannot be read in the crate: ",
    ),
    "the repository": (
        lambda crate: crate.put("code.bundle", crate.files["code.bundle"][:-100]),
        "code.bundle: git fetch: ",
    ),
    "the configuration": (
        lambda crate: crate.replace("configuration.yaml", "seed: 0", "seed: 8"),
        "configuration.yaml: gives seed 8 (told: 0) of run 'sft'",
    ),
    "the configuration, as if something was taken out": (
        redacted("configuration.yaml", "seed: 0", "seed: 8"),
        "configuration.yaml: gives seed 8 (told: 0) of run 'sft'",
    ),
    "no configuration": (
        lambda crate: crate.remove("configuration.yaml"),
        "configuration.yaml: missing, so the runs cannot be made again",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ALTERED)
def test_an_altered_crate_is_refused_with_the_reason(forged, what):
    alter, reason = ALTERED[what]
    problems = forged(alter).problems
    assert any(reason in problem for problem in problems), problems


def other_version(package, then=lambda crate: None):
    """Have the report made by another version of a package; and alter it."""

    def alter(crate):
        then(crate)
        crate.record(
            REPORTED, lambda record: record["environment"]["packages"].update({package: "0"})
        )

    return alter


def redrawn(crate):
    name = f"{REPORT}/loss.svg"
    crate.swap(name, crate.files[name].replace(b"M ", b"M  "))


def test_drawings_of_another_version_of_the_drawing_package_are_not_compared(forged):
    findings = forged(other_version("matplotlib", redrawn))
    assert findings.problems == []
    told = " ".join(findings.not_checked)
    assert "the drawings of results/archive/demo/report (loss.svg): drawn by matplotlib 0" in told


def test_numbers_on_a_page_drawn_by_another_version_are_compared(forged):
    page = f"{REPORT}/index.html"
    alter = other_version(
        "matplotlib", lambda crate: crate.swap(page, crate.files[page].replace(b"2.571", b"2.071"))
    )
    assert any(f"{page}: does not follow" in problem for problem in forged(alter).problems)


@pytest.mark.parametrize(("change", "is_same"), [(1, True), (10**9, False)])
def test_of_other_versions_of_the_arithmetic_the_last_digits_may_differ(forged, change, is_same):
    table = f"{REPORT}/loss.csv"

    def nearly(crate):
        """3.888888888888889 becomes 3.888888888888888, or 3.888887888888889."""
        assert b"3.888888888888889" in crate.files[table]
        digits = str(3888888888888889 - change).encode()
        crate.swap(table, crate.files[table].replace(b"3.888888888888889", b"3." + digits[1:]))

    assert (forged(other_version("numpy", nearly)).problems == []) == is_same
    assert forged(nearly).problems != []


@pytest.mark.parametrize("name", [BITS, f"{REPORT}/models.csv", f"{REPORT}/index.html"])
def test_what_was_redacted_is_said_and_the_report_has_to_follow_apart_from_it(forged, name):
    findings = forged(redacted(name, "text" if name == BITS else "sft", "USER"))
    assert findings.problems == findings.undecided == []
    told = " ".join(findings.not_checked)
    assert f"that what was taken out of 1 file was personal ({name})" in told


def test_who_has_not_the_packages_of_reports_is_told_so_and_not_that_the_crate_is_wrong(
    good, tmp_path, monkeypatch
):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(bare))
    findings = verify(good)
    assert findings.problems == []
    [told] = findings.undecided
    assert f"whether {REPORT} follows" in told and "No module named" in told


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

    findings = forged(alter)
    reason = f"{DOCUMENTS.replace('manifest', 'manifest.record')}: read results/own.jsonl"
    assert [one.partition(", which")[0] for one in findings.problems] == [reason] * (not outside)
    told = " ".join(findings.not_checked)
    assert ("build_split read from outside (results/own.jsonl)" in told) == bool(outside)


def test_settings_that_a_path_was_taken_out_of_are_said_and_not_checked(forged):
    def redact(record):
        record["step"]["settings"]["path"] = "~/documents"
        record["step"]["redacted"] = True

    findings = forged(lambda crate: crate.record(TRAINED, redact))
    assert findings.problems == []
    assert any(f"whose records were redacted ({TRAINED})" in told for told in findings.not_checked)


def test_code_with_another_way_to_take_digests_has_to_verify_itself(forged):
    def alter(crate):
        crate.put("workflow/bld/pipeline/code_digest.py", b"# another\n")
        crate.replace("workflow/bld/tokenization/transfer.py", "import", "import os\nimport")

    findings = forged(alter)
    assert findings.problems == []
    assert any("takes the digests of code in another way" in told for told in findings.undecided)


def test_a_crate_without_a_repository_passes_and_that_is_said(forged):
    findings = forged(lambda crate: crate.remove("code.bundle"))
    assert findings.problems == []
    assert any("the crate has no repository" in told for told in findings.not_checked)


def test_a_commit_that_was_amended_since_is_said(forged):
    findings = forged(another_commit)
    assert findings.problems == []
    assert any("ran commit 0123012301" in told for told in findings.not_checked)


def test_code_that_is_not_as_committed_is_said(forged):
    findings = forged(lambda crate: crate.put("LICENSE", b"none"))
    assert findings.problems == []
    assert any(
        "1 file of the crate not as committed (LICENSE)" in told for told in findings.checked
    )
