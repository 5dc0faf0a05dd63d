"""The house stands as it was designed: what lies where, and who may import whom."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "workflow/bld"
MODULES = sorted(PACKAGE.rglob("*.py"))
TOP_LEVEL = {
    *("Snakefile", "workflow", "envs", "config", "tests", "profiles", "README.md"),
    *(
        "LICENSE",
        "CITATION.cff",
        "CHANGELOG.md",
        "Makefile",
        "pyproject.toml",
        "benchmarks",
        "slurm",
    ),
    *("docs", "mkdocs.yml", "CONTRIBUTING.md", "examples"),
    *(".ci", ".github", ".gitignore", ".pre-commit-config.yaml", ".snakemake-workflow-catalog.yml"),
}
LONGEST_FILE = 400


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def test_imports_keep_to_the_contracts_in_pyproject():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "workflow")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_says_what_it_is_for_and_imports_by_full_names(path):
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert [name for name in imports_of(path) if name.startswith(".") or name == "bld"] == []


def test_the_inits_of_folders_hold_one_line_and_so_run_nothing():
    for path in PACKAGE.rglob("__init__.py"):
        [statement] = ast.parse(path.read_text()).body
        assert isinstance(statement, ast.Expr) and statement.lineno == statement.end_lineno, path


def test_no_file_is_long():
    folders = [ROOT / "workflow", ROOT / "tests", ROOT / "benchmarks"]
    paths = [ROOT / "Snakefile", *(path for folder in folders for path in folder.rglob("*"))]
    sources = [path for path in paths if path.suffix in ("", ".py", ".smk", ".j2", ".css", ".rst")]
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in sources
        if path.is_file()
    }
    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def test_the_top_level_holds_only_what_it_is_meant_to():
    command = ["git", "ls-files"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    assert {path.split("/")[0] for path in done.stdout.splitlines()} - TOP_LEVEL == set()
