import json
from pathlib import Path

import pytest

from bld.publishing.chain import Manifests
from bld.publishing.crate import chain_of

REPORT = "results/archive/demo/report/index.record.json"
CACHE = "results/teachers/big/docs/train"


def edit(path, change):
    record = json.loads(Path(path).read_text())
    change(record)
    Path(path).write_text(json.dumps(record))


def test_a_chain_leads_from_the_report_back_to_what_has_no_inputs(made_up):
    assert [action.path for action in chain_of(REPORT)] == sorted(
        [
            REPORT,
            "resources/models/teacher/manifest.record.json",
            "results/students/swapped/manifest.record.json",
            *(f"results/corpora/docs/{x}/manifest.record.json" for x in ("train", "validation")),
            *(f"{CACHE}/{x}.record.json" for x in ("00000-of-00002", "00001-of-00002", "manifest")),
            *(f"results/runs/{run}/model/manifest.record.json" for run in ("sft", "bld")),
            *(f"results/runs/{run}/evaluation/bits_per_byte.record.json" for run in ("sft", "bld")),
        ]
    )


def test_what_the_report_does_not_rest_on_is_left_out(made_up):
    other = made_up.manifest("results/students/other", {"config.json": "{}"})
    made_up.record("prepare_student", ["resources/models/teacher/manifest.json"], [other], "other")
    assert not [action for action in chain_of(REPORT) if "other" in action.path]


def test_an_input_that_is_no_longer_what_was_made_is_named_with_both_records(made_up):
    training = "results/runs/bld/model/manifest.record.json"
    edit(training, lambda record: record["inputs"].update({f"{CACHE}/manifest.json": "0" * 64}))
    told = rf"^{CACHE}/manifest\.json: {training} .* {CACHE}/manifest\.record\.json .*run `snake"
    with pytest.raises(ValueError, match=told):
        chain_of(REPORT)


def test_a_shard_of_documents_is_known_by_the_manifest_of_its_split(made_up):
    shard = "results/corpora/docs/train/00000-of-00002.parquet"
    scoring = f"{CACHE}/00000-of-00002.record.json"
    edit(scoring, lambda record: record["inputs"].update({shard: "0" * 64}))
    with pytest.raises(ValueError, match=rf"^{shard}: {scoring} was made from another file"):
        chain_of(REPORT)


def test_an_input_without_a_record_is_named_with_who_read_it(made_up):
    student = "results/students/swapped/manifest.record.json"
    Path(student).unlink()
    told = r"^results/students/swapped/manifest\.json: results/runs/\w+/model/manifest.* no record"
    with pytest.raises(ValueError, match=told):
        chain_of(REPORT)


def test_a_report_without_a_record_is_named(made_up):
    with pytest.raises(ValueError, match=r"^results/none\.record\.json: there is no such record"):
        chain_of("results/none.record.json")


@pytest.mark.parametrize("text", ["{", "[]", '{"inputs": {}}', '{"inputs": [], "outputs": []}'])
def test_a_record_that_is_none_is_named_where_it_is_needed(made_up, text):
    other = Path("results/students/other/manifest.record.json")
    made_up.write(other, text)
    assert chain_of(REPORT)
    path = Path("results/students/swapped/manifest.record.json")
    path.write_text(text)
    told = rf"^results/students/swapped/manifest\.json: .*delete .*{path}.*run `snakemake` again"
    with pytest.raises(ValueError, match=told):
        chain_of(REPORT)


@pytest.mark.parametrize("folder", ["resources/raw", "results/corpora/docs/train"])
def test_files_from_outside_need_no_record_wherever_they_lie(made_up, folder):
    own, split = made_up.write(f"{folder}/own.jsonl", "{}"), "results/corpora/docs/train/manifest"
    inputs = ["data/own.jsonl", own]
    record = made_up.record("build_split", inputs, [f"{split}.json"], "docs/train", outside=inputs)
    [action] = [action for action in chain_of(REPORT) if action.path == record]
    assert action.given == set(inputs)


def test_a_manifest_stands_for_files_of_its_folder_and_for_shards():
    content = {
        "files": {"a/b.json": {"bytes": 2, "sha256": "00"}},
        "shards": [{"name": "00000-of-00001", "sha256": "11", "documents": 3}],
    }
    manifests = Manifests(lambda path: content if path == "x/manifest.json" else {})
    assert manifests.files("x/manifest.json") == {
        "x/a/b.json": {"bytes": 2, "sha256": "00"},
        "x/00000-of-00001.parquet": {"sha256": "11"},
    }
    assert manifests.naming("x/a/b.json") == "x/manifest.json"
    assert manifests.naming("x/a/c.json") is None


@pytest.mark.parametrize(
    "content", [[], {"files": []}, {"files": {"a": None}}, {"shards": [{}]}, {"shards": {"a": 1}}]
)
def test_what_is_no_manifest_is_named(content):
    with pytest.raises(ValueError, match=r"x/manifest\.json: expected a manifest"):
        Manifests(lambda path: content).files("x/manifest.json")
