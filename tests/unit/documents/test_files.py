import hashlib
import json

import pytest

from bld.files import read_manifest, sha256_of, write_json


def test_json_is_sorted_indented_and_ends_in_a_newline(tmp_path):
    write_json(tmp_path / "new" / "a.json", {"b": [1], "a": "\u00e9"})
    assert (
        tmp_path / "new" / "a.json"
    ).read_text() == '{\n  "a": "\u00e9",\n  "b": [\n    1\n  ]\n}\n'


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    write_json(tmp_path / "a.json", {"loss": 1.5})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"loss": 1.5}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_the_digest_is_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"\x00" * 3_000_000)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"\x00" * 3_000_000).hexdigest()


def test_a_manifest_comes_back(tmp_path):
    write_json(tmp_path / "manifest.json", {"documents": 3})
    assert read_manifest(tmp_path / "manifest.json") == {"documents": 3}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such manifest.*run it first"),
        (b'{"documents": ', "must be JSON"),
        (b'{"a": "\xff"}', "must be JSON"),
        (b"[1]", "must be a JSON object, found list"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_named(tmp_path, content, message):
    path = tmp_path / "manifest.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"manifest\.json: .*{message}"):
        read_manifest(path)
