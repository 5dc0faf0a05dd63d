"""Files of rows of every format, plain and packed, whole and broken."""

import gzip
import json
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bld.config.documents import Columns
from bld.documents.sources.files import read_files

ROWS = [{"prompt": f'"{i}",\n', "response": f"{i}\t\u20ac"} for i in range(1000)]


def as_json(rows):
    return json.dumps(rows, indent=1).encode()


def as_lines(rows):
    return "".join(json.dumps(row) + "\r\n" for row in rows).encode()


def as_parquet(rows):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


def as_table(delimiter):
    def written(rows):
        quoted = [[f'"{x}"' for x in (y.replace('"', '""') for y in r.values())] for r in rows]
        lines = [["prompt", "response"], *quoted]
        return "".join(delimiter.join(line) + "\n" for line in lines).encode()

    return written


WRITTEN = {
    "json": as_json,
    "jsonl": as_lines,
    "parquet": as_parquet,
    "csv": as_table(","),
    "tsv": as_table("\t"),
}
PACKED = {
    "": bytes,
    ".gz": lambda raw: gzip.compress(raw[:99]) + gzip.compress(raw[99:]),
    ".zst": lambda raw: pa.compress(raw, codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("format", WRITTEN)
def test_files_of_every_format_are_read_plain_and_packed(tmp_path, format, packed):
    path = tmp_path / f"rows.{format}{packed}"
    path.write_bytes(PACKED[packed](WRITTEN[format](ROWS)))
    documents = list(read_files([str(path)]))
    assert [[s.text.decode() for s in d.segments] for d in documents] == [
        list(row.values()) for row in ROWS
    ]
    # A name says nothing if the format is named.
    path.rename(tmp_path / "rows")
    assert len(list(read_files([str(tmp_path / "rows")], format))) == len(ROWS)
    with pytest.raises(ValueError, match=r"rows: expected a name that ends in one of \.jsonl"):
        list(read_files([str(tmp_path / "rows")]))


@pytest.mark.parametrize("format", WRITTEN)
def test_a_packed_file_that_is_cut_is_an_error(tmp_path, format):
    path = tmp_path / f"rows.{format}.gz"
    path.write_bytes(PACKED[".gz"](WRITTEN[format](ROWS))[:-500])
    with pytest.raises(ValueError, match=rf"rows\.{format}\.gz: not a whole file"):
        list(read_files([str(path)]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'prompt,response\na,"b\nc,d\n', "line 2: broken table .*unexpected end of data"),
        (b"prompt,prompt\na,b\n", "line 1: expected a header with a name of its own"),
        (b"prompt,response\na\n", "row 1: expected 2 fields as in the header, found 1"),
        (b'prompt,response\na,"b"c\n', "line 2: broken row"),
        (b"prompt,response\na,\xff\n", "row 1: not valid UTF-8"),
    ],
)
def test_a_broken_table_is_an_error_that_says_where(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.csv, {message}"):
        list(read_files([str(tmp_path / "a.csv")]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[{"text": "a"}, ]', r"a\.json: broken JSON array"),
        (b'[{"text": "a"}, 3]', r"a\.json, row 2: every row must be one JSON object, found int"),
        (b'[{"text": "\xff"}]', r"a\.json: not valid UTF-8 at byte offset 11"),
        (b'{\n"text": "a"\n}', r"a\.json, line 1: broken JSON"),
    ],
)
def test_a_broken_array_is_an_error_that_says_where(tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read_files([str(tmp_path / "a.json")]))


def test_a_folder_of_several_formats_asks_for_one(tmp_path):
    for name in ("a.jsonl", "b.csv.gz", "notes.md"):
        (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match="files of several formats, csv, jsonl; name one"):
        list(read_files([str(tmp_path)]))


@pytest.mark.parametrize("format", ["jsonl", "parquet", "csv"])
def test_memory_does_not_grow_with_the_file(tmp_path, format):
    def peak(copies):
        path = tmp_path / f"rows.{format}.gz"
        path.write_bytes(gzip.compress(WRITTEN[format](ROWS * copies), 1))
        columns = Columns(prompt="prompt", response="response")
        tracemalloc.start()
        read = sum(1 for _ in read_files([str(path)], columns=columns))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert read == len(ROWS) * copies
        return found

    few, many = peak(3), peak(15)
    assert many < 1.2 * few + 200_000
