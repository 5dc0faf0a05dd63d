"""Zip files from anybody: what could do harm is refused by its name, before anything is read."""

import json
import stat
import zipfile

import pytest

from bld.publishing.graph import METADATA
from bld.publishing.reading import open_crate

RO_CRATE = {
    "@graph": [
        {
            "@id": METADATA,
            "@type": "CreativeWork",
            "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        },
        {"@id": "./", "@type": "Dataset"},
    ]
}


@pytest.fixture
def crate(tmp_path):
    """Makes a small crate, with further entries whatever they are called."""

    def make(**entries):
        path = tmp_path / "small.crate.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(METADATA, json.dumps(RO_CRATE))
            archive.writestr("configuration.yaml", "{}")
            for about in entries.values():
                info = zipfile.ZipInfo("placeholder")
                info.filename = info.orig_filename = about["name"]
                for key in about.keys() & {"external_attr", "compress_type"}:
                    setattr(info, key, about[key])
                archive.writestr(info, about.get("content", b"x"))
        return path

    return make


def reason_against(path):
    with pytest.raises(ValueError) as refused, open_crate(path):
        pass
    return str(refused.value)


def test_a_crate_is_read_by_names(crate):
    with open_crate(crate(extra={"name": "results/é.json", "content": b'{"a": 1}'})) as opened:
        assert opened.names == ["configuration.yaml", "results/é.json", METADATA]
        assert opened.json("results/é.json") == {"a": 1}


NO_NAME = "is not the name of a file inside the crate"
DANGEROUS = {
    "climbs out": ({"name": "results/../../x"}, NO_NAME),
    "absolute": ({"name": "/etc/x"}, NO_NAME),
    "a drive": ({"name": "C:x"}, NO_NAME),
    "backslashes": ({"name": "results\\..\\x"}, NO_NAME),
    "control characters": ({"name": "results/\x1b[2J"}, NO_NAME),
    "a repository": ({"name": "sub/.GIT/hooks/post-checkout"}, "would change a git repository"),
    "a link": (
        {"name": "results/link", "external_attr": (stat.S_IFLNK | 0o777) << 16},
        "is a link or another special file",
    ),
    "another case": ({"name": "Configuration.yaml"}, "is there twice"),
    "a bomb": (
        {"name": "results/x", "content": bytes(2**21), "compress_type": zipfile.ZIP_DEFLATED},
        "to 2097152 bytes",
    ),
}


@pytest.mark.parametrize("what", DANGEROUS)
def test_a_zip_that_could_do_harm_is_refused_before_anything_is_read(crate, what):
    about, reason = DANGEROUS[what]
    assert reason in reason_against(crate(extra=about))


NO_CRATES = {
    "nothing": (None, "No such file"),
    "a text": (b"not a zip", "not a zip file"),
    "half": (0.5, "not a zip file"),
    "no metadata": ({}, f"{METADATA}: not in the crate"),
    "no JSON": ({METADATA: "{"}, f"{METADATA}: expected JSON"),
    "no graph": ({METADATA: "[]"}, "not the metadata of an RO-Crate"),
    "no RO-Crate": ({METADATA: '{"@graph": [{"@id": "./"}]}'}, "not the metadata of an RO-Crate"),
}


@pytest.mark.parametrize("what", NO_CRATES)
def test_what_is_no_crate_is_refused(crate, tmp_path, what):
    content, reason = NO_CRATES[what]
    path = tmp_path / "x.zip"
    if isinstance(content, dict):
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in content.items():
                archive.writestr(name, text)
    elif content is not None:
        whole = crate().read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if content == 0.5 else content)
    assert reason in reason_against(path)


def test_an_entry_that_is_damaged_is_told(crate):
    path = crate(extra={"name": "results/x", "content": b"a good result"})
    path.write_bytes(path.read_bytes().replace(b"a good result", b"a best result"))
    with open_crate(path) as opened, pytest.raises(ValueError, match="damaged in the zip: Bad CRC"):
        opened.sha256("results/x")


def test_files_are_not_written_through_links(crate, tmp_path):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (inside / "results").symlink_to(outside)
    (inside / "configuration.yaml").symlink_to(outside / "target")
    with open_crate(crate(extra={"name": "results/x"})) as opened:
        opened.extract(["results/x", "configuration.yaml"], inside)
    assert list(outside.iterdir()) == []
    assert (inside / "results/x").read_text() == "x"
    assert (inside / "configuration.yaml").read_text() == "{}"
