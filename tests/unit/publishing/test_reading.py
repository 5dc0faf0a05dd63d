"""Zip files from anybody: what could do harm is refused by its name, before anything is read."""

import json
import stat
import zipfile

import pytest

from bld.publishing.reading import METADATA, NotACrate, open_crate

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


def reasons_against(path):
    with pytest.raises(NotACrate) as refused, open_crate(path):
        pass
    return refused.value.reasons


def test_a_crate_is_read_by_names(crate):
    with open_crate(crate(extra={"name": "results/é.json", "content": b'{"a": 1}'})) as opened:
        assert opened.names == ["configuration.yaml", "results/é.json", METADATA]
        assert opened.json("results/é.json") == {"a": 1}


DANGEROUS = {
    "climbs out": ({"name": "results/../../x"}, "climbs out of its folder"),
    "absolute": ({"name": "/etc/x"}, "is no path inside a folder"),
    "a drive": ({"name": "C:x"}, "is no path inside a folder"),
    "backslashes": ({"name": "results\\..\\x"}, "is no path inside a folder"),
    "no name": ({"name": "results//x"}, "climbs out of its folder, or has an empty part"),
    "a repository": ({"name": "sub/.GIT/hooks/post-checkout"}, "would change a git repository"),
    "control characters": ({"name": "results/\x1b[2J"}, "has control characters in its name"),
    "a link": (
        {"name": "results/link", "external_attr": (stat.S_IFLNK | 0o777) << 16},
        "is a link or another special file",
    ),
    "a duplicate": ({"name": "configuration.yaml"}, "'configuration.yaml' is there twice"),
    "another case": ({"name": "Configuration.yaml"}, "are one file on systems that fold case"),
    "a file in a file": ({"name": "configuration.yaml/x"}, "lies in 'configuration.yaml', which is a file"),
    "a bomb": (
        {"name": "results/x", "content": bytes(2**21), "compress_type": zipfile.ZIP_DEFLATED},
        "to 2097152 bytes, which no result does",
    ),
    "another compression": (
        {"name": "results/x", "compress_type": zipfile.ZIP_LZMA},
        "is compressed in another way than deflate",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("what", DANGEROUS)
def test_a_zip_that_could_do_harm_is_refused_before_anything_is_read(crate, what):
    about, reason = DANGEROUS[what]
    found = reasons_against(crate(extra=about))
    assert any(reason in one for one in found), found


def test_an_encrypted_entry_is_refused(crate):
    path = crate()
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # the first of the flags of the last entry
    path.write_bytes(content)
    assert reasons_against(path) == ["'configuration.yaml' is encrypted"]


def test_a_name_that_is_no_text_is_refused(crate):
    path = crate(extra={"name": "results/é"})
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xff"))
    [reason] = reasons_against(path)
    assert reason.startswith("not a zip file, or cut off: 'utf-8' codec can't decode")


NO_CRATES = {
    "nothing": (None, "no such file"),
    "a text": (b"not a zip", "not a zip file, or cut off"),
    "half": (0.5, "not a zip file, or cut off"),
    "no metadata": ({}, f"{METADATA}: not in the crate"),
    "no JSON": ({METADATA: "{"}, f"{METADATA}: expected JSON"),
    "a key twice": ({METADATA: '{"@graph": [], "@graph": []}'}, "a key is there twice"),
    "no graph": ({METADATA: "[]"}, "expected a `@graph` of entities"),
    "an entity twice": (
        {METADATA: '{"@graph": [{"@id": "a b"}, {"@id": "a%20b"}]}'},
        "describes 'a b' twice",
    ),
    "no RO-Crate": ({METADATA: '{"@graph": [{"@id": "./"}]}'}, "does not say that it is an RO-Crate"),
}  # fmt: skip


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
    [found] = reasons_against(path)
    assert reason in found


def test_an_entry_that_is_damaged_is_told(crate):
    path = crate(extra={"name": "results/x", "content": b"a good result"})
    path.write_bytes(path.read_bytes().replace(b"a good result", b"a best result"))
    with open_crate(path) as opened, pytest.raises(ValueError, match="damaged in the zip: Bad CRC"):
        opened.sha256("results/x")


def test_a_yaml_file_that_grows_beyond_measure_is_not_read(crate):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 10)}]" for at in range(1, 9)]
    path = crate(extra={"name": "bomb.yaml", "content": "\n".join(lines).encode()})
    with open_crate(path) as opened, pytest.raises(ValueError, match="values, expected 1000000"):
        opened.yaml("bomb.yaml")


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
