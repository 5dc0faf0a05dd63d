import hashlib
import json
import os
import subprocess
import time
import zipfile
from pathlib import Path

import pytest
import yaml
from rocrate.rocrate import ROCrate

from bld.config.checks import read_settings

# Put together here, so that no scanner takes this file for a leak.
TOKEN = "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567"
METADATA = "ro-crate-metadata.json"
PROJECT = Path(__file__).parents[3]


def contents(crate):
    with zipfile.ZipFile(crate) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def unpacked(bundle, folder):
    """All that is in a bundle: its files, lists of files and commits with their messages."""
    folder.mkdir()
    (folder / "out.bundle").write_bytes(bundle)
    git = ["git", "-C", folder / "all.git"]
    clone = ["git", "clone", "--quiet", "--bare", folder / "out.bundle", folder / "all.git"]
    subprocess.run(clone, check=True)
    return subprocess.check_output([*git, "cat-file", "--batch-all-objects", "--batch"])


def entities(crate):
    graph = json.loads(contents(crate)[METADATA])["@graph"]
    return {entity["@id"]: entity for entity in graph}


def ids(value):
    return {one["@id"] for one in (value if isinstance(value, list) else [value])}


def test_archiving_twice_gives_the_same_bytes(made_up):
    first = made_up.archive("first.crate.zip").read_bytes()
    for path in [*made_up.folder.rglob("*"), *made_up.code.rglob("*")]:
        os.utime(path, (0, 0))
    before = os.umask(0o077)
    second = made_up.archive("second.crate.zip").read_bytes()
    os.umask(before)
    assert first == second


def test_a_file_of_the_crate_has_no_time_and_no_owner(made_up):
    with zipfile.ZipFile(made_up.archive()) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o100644}
        assert archive.namelist() == sorted(archive.namelist())


def test_every_file_is_described_with_its_size_and_digest(made_up):
    crate = made_up.archive()
    described = entities(crate)
    for name, data in contents(crate).items():
        if name != METADATA:
            assert described[name]["sha256"] == hashlib.sha256(data).hexdigest(), name
            assert described[name]["contentSize"] == str(len(data)), name
    assert ids(described["./"]["hasPart"]) == contents(crate).keys() - {METADATA}


def test_a_crate_holds_code_configuration_records_measures_report_and_logs(made_up):
    names = contents(made_up.archive()).keys()
    assert names >= {
        *("Snakefile", "LICENSE", "CITATION.cff", "envs/report.yaml", "workflow/bld/__init__.py"),
        *("code.bundle", "configuration.yaml", "resources/models/teacher/LICENSE"),
        *(f"results/archive/demo/report/{x}" for x in ("index.html", "summary.json", "models.csv")),
        *(f"results/runs/bld/{x}" for x in ("metrics.parquet", "training.json")),
        "results/runs/bld/evaluation/bits_per_byte.json",
        *(f"results/runs/bld/model/manifest.{x}" for x in ("json", "record.json")),
        *("logs/distill/bld.log", "logs/distill/bld.benchmark.jsonl"),
    }


def test_bulk_data_are_described_and_left_out(made_up):
    crate = made_up.archive()
    names, described = contents(crate).keys(), entities(crate)
    for path in (
        "results/teachers/big/docs/train/00000-of-00002.parquet",
        "results/corpora/docs/train/00001-of-00002.parquet",
        "resources/models/teacher/model.safetensors",
        "results/runs/bld/model/config.json",
        "data/own.jsonl",
    ):
        assert path not in names
        data = Path(path).read_bytes()
        assert described[f"#{path}"]["sha256"] == hashlib.sha256(data).hexdigest()


def test_weights_of_the_runs_come_along_if_they_are_asked_for(made_up):
    without = contents(made_up.archive()).keys()
    files = contents(made_up.archive(include_weights=True, runs=["bld"]))
    assert files.keys() - without == {
        "results/runs/bld/model/model.safetensors",
        "results/runs/bld/model/config.json",
    }
    assert files["results/runs/bld/model/model.safetensors"] == b"trained bld"


def test_a_record_that_the_report_does_not_rest_on_stays_outside_with_its_log(made_up):
    other = made_up.manifest("results/students/other", {"config.json": "{}"})
    made_up.record("prepare_student", ["resources/models/teacher/manifest.json"], [other], "other")
    crate = made_up.archive()
    assert not [name for name in contents(crate) if "other" in name]
    assert "students/other" not in contents(crate)[METADATA].decode()


def test_the_log_of_a_job_of_several_shards_is_about_all_of_them(made_up):
    records = sorted(Path("results/teachers").rglob("0*.record.json"))
    log = json.loads(records[0].read_text())["log"]
    for record in records:
        record.write_text(json.dumps(json.loads(record.read_text()) | {"log": log}))
    described = entities(made_up.archive())
    assert len(records) > 1
    assert ids(described[log]["about"]) == {f"#action/{record}" for record in records}


def test_a_record_is_an_action_from_its_inputs_to_its_outputs(made_up):
    described = entities(made_up.archive())
    path = "results/runs/bld/model/manifest.record.json"
    action, record = described[f"#action/{path}"], json.loads(Path(path).read_text())
    assert {x.removeprefix("#") for x in ids(action["object"])} == record["inputs"].keys()
    assert {x.removeprefix("#") for x in ids(action["result"])} == record["outputs"].keys()
    assert ids(action["subjectOf"]) == {path, record["log"], record["benchmark"]}
    assert ids(described[path]["about"]) == {action["@id"]}
    tool = described[action["instrument"]["@id"]]
    assert tool["name"] == "python -m bld.stages.distill"
    assert tool["@id"] in ids(described["Snakefile"]["hasPart"])
    step = described[described[f"#control/{path}"]["instrument"]["@id"]]
    assert ids(step["workExample"]) == {tool["@id"]}
    assert action["startTime"] == record["started"].replace("Z", "+00:00")


def test_the_run_as_a_whole_leads_from_what_was_given_to_the_report(made_up):
    run = entities(made_up.archive())["#run"]
    assert ids(run["object"]) == {"configuration.yaml", "#data/own.jsonl"}
    folder = "results/archive/demo/report"
    names = ("index.html", "summary.json", "models.csv")
    assert ids(run["result"]) == {f"{folder}/{name}" for name in names}


def test_where_a_model_came_from_and_its_licence_are_said(made_up):
    described = entities(made_up.archive())
    manifest = described["resources/models/teacher/manifest.json"]
    source = described[manifest["isBasedOn"]["@id"]]
    assert (source["name"], source["version"]) == ("org/teacher", "0" * 40)
    licence = described[manifest["license"]["@id"]]
    assert licence["name"] == "apache-2.0"
    assert ids(licence["subjectOf"]) == {"resources/models/teacher/LICENSE"}


def test_authors_licence_and_citation_are_said(made_up):
    author = {"name": "A Person", "orcid": "0000-0002-1825-0097", "affiliation": "An Institute"}
    described = entities(made_up.archive(authors=[author], licence="CC-BY-4.0"))
    root = described["./"]
    assert ids(root["license"]) == {"https://spdx.org/licenses/CC-BY-4.0"}
    person = described[root["author"]["@id"]]
    assert person["@id"] == "https://orcid.org/0000-0002-1825-0097"
    assert described[person["affiliation"]["@id"]]["name"] == "An Institute"
    assert "https://arxiv.org/abs/2604.07466" in ids(root["citation"])
    assert ids(described["#run"]["agent"]) == {person["@id"]}


def test_the_crate_is_dated_by_its_last_step(made_up):
    last = json.loads(Path("results/archive/demo/report/index.record.json").read_text())["ended"]
    root = entities(made_up.archive())["./"]
    assert root["datePublished"] == last.replace("Z", "+00:00")


@pytest.mark.parametrize(
    "path", ["config/config.yaml", *(f"config/experiments/t{x}.yaml" for x in (1, 2, 3))]
)
def test_the_configuration_in_the_crate_gives_the_same_settings(made_up, path):
    made_up.configuration = yaml.safe_load((PROJECT / path).read_text())
    made_up.configuration["archives"] = {"demo": {}}
    settings = read_settings(made_up.configuration)
    again = read_settings(yaml.safe_load(contents(made_up.archive())["configuration.yaml"]))
    assert again == settings
    for name, corpus in settings.corpora.items():
        assert list(again.corpora[name].splits) == list(corpus.splits)


def test_no_byte_of_a_crate_tells_of_a_person_or_a_secret(made_up, zyxuser, monkeypatch):
    monkeypatch.setenv("MIRROR_PASSWORD", "swordfish-77")
    address = "https://bob:" + "hunter2secret@mirror.org/simple"
    logs = [TOKEN, address, "submitted by zyxuser", f"{zyxuser}/models/x", "swordfish-77"]
    stages = ["distill/bld", "distill/sft", "fetch/teacher", "build_split/docs/train"]
    stages.append("gather_cache/big/docs/train")
    for stage, text in zip(stages, logs, strict=True):
        Path(f"logs/{stage}.log").write_text(f"done\n{text}\n")
    own = made_up.configuration
    made_up.write(zyxuser / "documents/1.txt", "a document")
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        made_up.write(zyxuser / "models/own" / name, "{}")
    own["models"]["own"] = {"path": f"{zyxuser}/models/own"}
    own["corpora"]["mine"] = {
        "source": {
            "kind": "files",
            "format": "text",
            "paths": [f"{zyxuser}/documents/*.txt"],
        },
        "splits": {"train": {"fraction": 1.0}},
    }
    made_up.write(made_up.code / "config/open.yaml", "# Read this.\n")
    made_up.commit()
    crate = made_up.archive()
    files = contents(crate)
    files["objects"] = unpacked(files["code.bundle"], zyxuser / "unpacked")
    assert b"Read this" in files["objects"]
    planted = ["zyxuser", TOKEN, "hunter2secret", "swordfish-77", str(zyxuser)]
    for name, data in files.items():
        assert not [x for x in planted if x.encode() in data or x in name], name
    again = yaml.safe_load(files["configuration.yaml"])
    assert again["models"]["own"]["path"] == "~/models/own"
    assert again["corpora"]["mine"]["source"]["paths"] == ["~/documents/*.txt"]
    left_out = entities(crate)["./"]["description"]
    for stage in stages:
        assert f"logs/{stage}.log" not in files and f"logs/{stage}.log" in left_out
    assert "logs/distill/bld.benchmark.jsonl" in files


def name_in_the_measure(made_up, leak):
    """Written by a step, as its record says."""
    path = made_up.write("results/runs/bld/evaluation/bits_per_byte.json", {"bits": 2, "x": leak})
    inputs = [
        "results/runs/bld/model/manifest.json",
        "results/corpora/docs/validation/manifest.json",
    ]
    made_up.record("evaluate_bits_per_byte", inputs, [path], "bld")
    made_up.report([path])


REFUSED = {
    "a secret in a result": (name_in_the_measure, TOKEN, "evaluation/bits_per_byte.json, line 3: "),
    "a path in a result": (
        name_in_the_measure,
        "{home}/x",
        "evaluation/bits_per_byte.json, line 3: ",
    ),
    "a name in a result": (
        name_in_the_measure,
        "by zyxuser",
        "evaluation/bits_per_byte.json, line 3: ",
    ),
    "a secret in the code": (
        lambda made_up, leak: made_up.write(made_up.code / "workflow/x.py", f"\n# {leak}"),
        TOKEN,
        "workflow/x.py, line 2: ",
    ),
    "a path in the code": (
        lambda made_up, leak: made_up.write(made_up.code / "workflow/x.py", f"\n# {leak}"),
        "{home}/x",
        "workflow/x.py, line 2: ",
    ),
    "a secret in a file of settings": (
        lambda made_up, leak: made_up.write(made_up.code / "config/mine.yaml", f"\n# {leak}"),
        TOKEN,
        "config/mine.yaml, line 2: ",
    ),
    "a secret in the configuration": (
        lambda made_up, leak: made_up.configuration["report"].update(title=leak),
        "for https://bob:" + "hunter2secret@mirror.org/",
        "configuration.yaml, line ",
    ),
    "a name in the configuration": (
        lambda made_up, leak: made_up.configuration["archives"]["demo"].update(title=leak),
        "By zyxuser",
        "configuration.yaml, line ",
    ),
    "bytes with a secret": (
        lambda made_up, leak: made_up.write(
            "results/runs/bld/metrics.parquet", b"\xff\x00" + leak.encode()
        ),
        TOKEN,
        "results/runs/bld/metrics.parquet, line 1: ",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_crate_with_a_secret_or_a_person_is_not_written_and_the_place_is_told(
    made_up, zyxuser, what
):
    plant, leak, place = REFUSED[what]
    leak = leak.format(home=zyxuser)
    plant(made_up, leak)
    with pytest.raises(ValueError, match="so no crate is written") as refused:
        made_up.archive()
    assert place in str(refused.value) and leak not in str(refused.value)
    assert not Path("demo.crate.zip").exists()


def test_a_profile_and_settings_with_a_path_of_the_machine_are_left_out_and_named(made_up, zyxuser):
    made_up.write(made_up.code / "profiles/slurm/config.yaml", f"conda-prefix: {zyxuser}/envs\n")
    made_up.write(made_up.code / "config/mine.yaml", "models: {m: {path: /data/zyxuser/m}}\n")
    crate = made_up.archive()
    left_out = entities(crate)["./"]["description"]
    for name in ("profiles/slurm/config.yaml", "config/mine.yaml"):
        assert name not in contents(crate) and name in left_out


def test_an_account_that_is_called_like_a_repository_of_the_hub_leaves_the_repository(
    made_up, zyxuser
):
    source = {"hub": "zyxuser/a-model", "revision": "0" * 40}
    made_up.configuration["models"]["hers"] = source
    files = contents(made_up.archive())
    assert yaml.safe_load(files["configuration.yaml"])["models"]["hers"]["hub"] == "zyxuser/a-model"


def test_a_file_that_is_not_the_recorded_one_is_refused_with_what_to_do(made_up):
    measure = made_up.write("results/runs/bld/evaluation/bits_per_byte.json", {"bits_per_byte": 1})
    told = (
        rf"^{measure}: found sha256 .*, expected sha256 .*{measure.removesuffix('.json')}\.record"
    )
    with pytest.raises(ValueError, match=told):
        made_up.archive()


def test_a_job_that_ran_other_code_than_there_is_now_is_refused(made_up):
    path = "results/runs/bld/model/manifest.record.json"
    record = json.loads(Path(path).read_text())
    record["step"]["code"]["modules"]["bld.stages.distill"] = "0" * 64
    made_up.write(path, record)
    told = rf"^{path}: the job ran another version of bld\.stages\.distill than there is here"
    with pytest.raises(ValueError, match=told):
        made_up.archive()


def test_a_recorded_file_that_is_gone_is_refused(made_up):
    Path("results/archive/demo/report/models.csv").unlink()
    with pytest.raises(ValueError, match=r"report/models\.csv: found no such file"):
        made_up.archive()


def test_a_log_that_is_gone_is_said(made_up):
    Path("logs/distill/bld.log").unlink()
    crate = made_up.archive()
    told = "Gone before the crate was written: logs/distill/bld.log."
    assert told in made_up.remarks
    assert told in entities(crate)["./"]["description"]


def test_the_public_library_reads_the_crate(made_up):
    crate = ROCrate(made_up.archive())
    assert crate.mainEntity.id == "Snakefile"
    assert len(crate.get_by_type("CreateAction")) == 12 + 1


def test_a_thousand_shards_are_archived_in_seconds(make_up):
    workflow = make_up(1000)
    start = time.monotonic()
    crate = workflow.archive()
    assert time.monotonic() - start < 20
    names = contents(crate).keys()
    assert sum(name.startswith("results/teachers/big/docs/train/0") for name in names) == 1000
