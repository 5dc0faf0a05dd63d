"""The package by itself, as somebody installs it, its example, and the pages of docs/."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command, cwd=ROOT, **env):
    return subprocess.check_output(
        [sys.executable, *command], cwd=cwd, env=os.environ | env, text=True
    )


def test_a_wheel_holds_every_module_and_what_they_read(tmp_path):
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "workflow/bld", tmp_path / "workflow/bld", ignore=ignored)
    run("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", ".", cwd=tmp_path)
    [wheel] = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("bld/")}
    package = tmp_path / "workflow/bld"
    files = {str(path.relative_to(package.parent)) for path in package.rglob("*.*")}
    assert held == files


def test_the_example_of_a_trainer_of_one_s_own_learns():
    printed = run("examples/own_trainer.py", PYTHONPATH="workflow")
    losses = [float(loss) for loss in re.findall(r"\bloss ([\d.]+)", printed)]
    assert losses[-1] < 0.7 * losses[0]


def test_the_pages_build_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="`make docs` installs it")
    run("-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site"))
    assert (tmp_path / "site/how-to/method/index.html").exists()
