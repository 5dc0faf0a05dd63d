"""Which files a manifest stands for."""

import pytest

from bld.publishing.manifests import Manifests, parts


def test_a_manifest_stands_for_files_of_its_folder_and_for_shards():
    content = {
        "files": {"a/b.json": {"bytes": 2, "sha256": "00"}},
        "shards": [{"name": "00000-of-00001", "sha256": "11", "documents": 3}],
    }
    assert parts("x/manifest.json", content) == {
        "x/a/b.json": {"bytes": 2, "sha256": "00"},
        "x/00000-of-00001.parquet": {"sha256": "11"},
    }


@pytest.mark.parametrize(
    "content", [[], {"files": []}, {"files": {"a": None}}, {"shards": [{}]}, {"shards": {"a": 1}}]
)
def test_what_is_no_manifest_is_named(content):
    with pytest.raises(ValueError, match=r"x/manifest\.json: expected a manifest"):
        parts("x/manifest.json", content)


def test_the_nearest_manifest_above_a_file_names_it():
    told = {"a/manifest.json": {"files": {"b/c": {"sha256": "00"}}}}
    manifests = Manifests(lambda name: told.get(name, {}))
    assert manifests.naming("a/b/c") == "a/manifest.json"
    assert manifests.naming("a/b/d") is None
