"""The house stands as it was designed: what lies where, and who may import whom."""

import ast
import re
import subprocess
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
    *(".ci", ".gitignore"),
}
# A room may import from rooms on its own level, if none imports back, and from those above it in this list.
LEVELS = [
    {
        "cluster",
        "config",
        "config_archive",
        "config_documents",
        "config_evaluation",
        "config_methods",
        "config_models",
        "files",
        "folders",
        "hub",
        "privacy",
        "progress",
        "provenance",
    },
    {"tokenization"},
    {"models"},
    {"covers", "documents"},
    {"evaluation", "planning", "reporting", "students", "teacher", "training", "watching"},
    {"archiving"},
    {"launch", "stages"},
]
# These read and explain the configuration for Snakemake and for people; no step imports them.
CONFIGURATION = {"config_checks", "config_reference", "config_run_checks", "config_words"}
LONGEST_FILE = 400


def room(module):
    return module.split(".")[1] if "." in module else module


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def imports_between_rooms():
    pairs = set()
    for path in MODULES:
        here = path.relative_to(PACKAGE).with_suffix("").parts[0]
        pairs |= {(here, room(name)) for name in imports_of(path) if re.match(r"bld\b", name)}
    return {(here, there) for here, there in pairs if here != there}


def level_of(name):
    return next(number for number, rooms in enumerate(LEVELS) if name in rooms)


def test_every_room_has_its_level():
    rooms = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in MODULES} - {"__init__"}
    assert rooms == set().union(*LEVELS, CONFIGURATION)


def test_imports_point_one_way():
    pairs = {(a, b) for a, b in imports_between_rooms() if not {a, b} & CONFIGURATION}
    assert {(a, b) for a, b in pairs if level_of(a) < level_of(b)} == set()
    assert {(a, b) for a, b in pairs if (b, a) in pairs} == set()


def test_covers_know_nothing_but_tokens_and_bytes():
    assert {there for here, there in imports_between_rooms() if here == "covers"} == {
        "tokenization",
        "models",
    }


@pytest.mark.parametrize(
    "name", ["stages", *sorted(CONFIGURATION - {"config_run_checks", "config_words"})]
)
def test_what_stands_at_the_top_is_known_to_nobody(name):
    assert {here for here, there in imports_between_rooms() if there == name} == set()


def test_only_stages_and_archives_know_of_steps():
    knowing = {here for here, there in imports_between_rooms() if there == "provenance"}
    assert knowing == {"stages", "archiving"}


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
