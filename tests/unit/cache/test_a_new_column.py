"""The worked example of the docs: a column is added by editing one file of a copy of the
package."""

import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import bld
from bld.cache import schema
from bld.cache.schema import StoredBytes, bits_of

PACKAGE = Path(bld.__file__).parent
EXAMPLE = Path(__file__).parents[2] / "worked_examples/cache_column"


def with_the_column(text: str) -> str:
    """The text of `schema.py` with the function and the field of the example in it."""
    _, code = (EXAMPLE / "entropy.py").read_text().split("from bld.cache.schema import Column\n")
    function, field = code.split("class StoredBytes(NamedTuple):\n")
    record = inspect.getsource(StoredBytes)
    assert text.count(record) == 1
    return text.replace(record, function.lstrip() + record + field)


def test_a_column_that_is_added_in_one_file_is_written_gathered_and_read(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "bld", ignore=shutil.ignore_patterns("__pycache__"))
    edited = tmp_path / "bld/cache/schema.py"
    edited.write_text(with_the_column(Path(schema.__file__).read_text()))
    found = subprocess.run(
        [sys.executable, EXAMPLE / "use.py", tmp_path],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    assert f"in the plan: {bits_of(StoredBytes, 'N') + 15}" in found.stdout
