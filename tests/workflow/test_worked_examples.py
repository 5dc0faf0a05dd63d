"""Adding one of a kind touches no other file: the examples of the docs, in a copy of the
package."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bld.config.registry import METHODS, SOURCES
from bld.pipeline.code_digest import code_digest, loaded_modules

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "tests/worked_examples"
HELPERS = ROOT / "tests/unit/training/objectives"

METHOD = {
    "settings.py": "config/methods/first_choice.py",
    "objective.py": "training/objectives/first_choice.py",
}
SOURCE = {
    "settings.py": "config/sources/mailbox.py",
    "reader.py": "documents/sources/mailbox.py",
}


def used(example, files, folder):
    """What the example's `use.py` prints in a copy of the package that has its files."""
    shutil.copytree(
        ROOT / "workflow/bld", folder / "bld", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name, place in files.items():
        assert not (folder / "bld" / place).exists()
        shutil.copy(EXAMPLES / example / name, folder / "bld" / place)
    finished = subprocess.run(
        [sys.executable, EXAMPLES / example / "use.py"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{folder}:{HELPERS}"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "example, files, stage, settings",
    [
        ("method", METHOD, "distill", {x: {"method": x} for x in METHODS}),
        (
            "source",
            SOURCE,
            "build_split",
            {x: {"corpus": {"source": {"kind": x}}} for x in SOURCES},
        ),
    ],
    ids=["method", "source"],
)
def test_two_files_add_one_and_make_nothing_else_stale(tmp_path, example, files, stage, settings):
    digests = used(example, files, tmp_path)
    before = {
        name: code_digest(f"bld.stages.{stage}", loaded=loaded_modules(own))
        for name, own in settings.items()
    }
    assert {name: digests[name] for name in before} == before
    assert len(digests) == len(before) + 1


def test_one_class_adds_a_family_of_tokenizers(tmp_path):
    shutil.copytree(ROOT / "workflow/bld", tmp_path / "bld")
    _, code = (EXAMPLES / "family/family.py").read_text().split("components\n", 1)
    with (tmp_path / "bld/tokenization/families.py").open("a") as families:
        families.write(code)
    finished = subprocess.run(
        [sys.executable, EXAMPLES / "family/use.py"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
