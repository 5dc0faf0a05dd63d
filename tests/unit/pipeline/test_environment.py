"""What a record says of the software."""

import hashlib
import os
import shutil
import subprocess
from importlib.metadata import version

import pytest

from bld.pipeline.environment import (
    LARGE_BYTES,
    conda_digest,
    environment,
    imported_packages,
    project_version,
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project in a repository of its own, with one commit."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Snakefile").write_text("rule all:\n")
    (folder / ".gitignore").write_text("results/\n")
    for command in ("init -q", "add .", "-c user.name=n -c user.email=e commit -q -m first"):
        subprocess.run(["git", *command.split()], cwd=folder, check=True)
    return folder


def git(folder, *command):
    return subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True).stdout


def test_a_clean_project_is_its_commit(project):
    (project / "results").mkdir()
    (project / "results/x").write_text("ignored")
    commit = git(project, "rev-parse", "HEAD").strip()
    assert project_version(project) == {"commit": commit, "uncommitted": None}


def test_what_differs_from_the_commit_has_a_digest_of_its_own(project):
    def digest():
        return project_version(project)["uncommitted"]

    def edit(name, text):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(text)
        return digest()

    (project / "my notes.txt").write_text("no code")
    assert digest() is None
    found = [
        edit("Snakefile", "rule any:\n"),
        edit("Snakefile", "rule some:\n"),
        edit("workflow/new.txt", "one"),
        edit("workflow/new.txt", "two"),
        edit("workflow/large.bin", "x" * (LARGE_BYTES + 1)),
    ]
    (project / "workflow/new.txt").rename(project / "workflow/newer.txt")
    (project / "workflow/broken").symlink_to("nowhere")
    found += [digest()]
    assert len(set(found)) == len(found) and None not in found
    assert digest() == found[-1]
    git(project, "add", "Snakefile")
    assert digest() == found[-1]  # staged or not is the same
    for name in ("newer.txt", "large.bin", "broken"):
        (project / "workflow" / name).unlink()
    git(project, "commit", "-q", "-a", "-m", "x")


def test_asking_takes_no_lock(project):
    (project / ".git/index.lock").touch()
    assert project_version(project)["commit"]


def test_without_a_repository_or_without_git_there_is_no_commit(project, tmp_path, monkeypatch):
    nothing = {"commit": None, "uncommitted": None}
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    shutil.copytree(project, tmp_path / "copy", ignore=shutil.ignore_patterns(".git"))
    assert project_version(tmp_path / "copy") == nothing
    monkeypatch.setenv("PATH", "")
    assert project_version(project) == nothing


def test_the_commit_of_a_repository_around_the_project_is_not_its_own(project):
    (project / "results/copy").mkdir(parents=True)
    (project / "results/copy/Snakefile").write_text("rule all:\n")
    assert project_version(project / "results/copy")["commit"] is None


def test_a_git_that_hangs_is_not_waited_for(project, tmp_path, monkeypatch):
    (tmp_path / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("bld.pipeline.environment.GIT_SECONDS", 0.2)
    assert project_version(project)["commit"] is None


def test_the_conda_environment_is_the_names_of_its_packages(tmp_path, monkeypatch):
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    assert conda_digest() is None
    monkeypatch.setenv("CONDA_PREFIX", str(tmp_path))
    assert conda_digest() is None
    (tmp_path / "conda-meta").mkdir()
    for name in ("zlib-1.3-h_0.json", "numpy-2.4.6-py311_0.json", "history"):
        (tmp_path / "conda-meta" / name).touch()
    names = b"numpy-2.4.6-py311_0.json\nzlib-1.3-h_0.json"
    assert conda_digest() == hashlib.sha256(names).hexdigest()


def test_only_what_is_imported_counts_and_by_the_name_that_it_is_installed_by():
    import yaml  # noqa: F401, by another name than its distribution

    packages = imported_packages()
    assert packages["PyYAML"] == version("PyYAML")
    assert packages["pytest"] == pytest.__version__
    assert "bld" not in packages and "pip" not in packages


def test_torch_is_told_of_where_it_is_imported():
    import torch

    found = environment()
    assert (found["torch"], found["cuda"]) == (torch.__version__, torch.version.cuda)
