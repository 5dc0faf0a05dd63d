import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager

import pytest

from bld.pipeline.code_digest import PACKAGE, code_digest, code_modules, plain

STAGES = [f"bld.stages.{path.stem}" for path in (PACKAGE / "stages").glob("[a-z]*.py")]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package to edit."""
    folder = tmp_path_factory.mktemp("workflow") / "bld"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def python(code, workflow):
    """What a fresh interpreter prints as JSON, with the package of that folder."""
    environment = os.environ | {"PYTHONPATH": str(workflow), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def fingerprints(package, function):
    """A function of the fingerprint module for every stage."""
    code = (
        f"import json; from bld.pipeline.code_digest import {function}\n"
        f"print(json.dumps({{stage: {function}(stage) for stage in {STAGES!r}}}, default=sorted))"
    )
    return python(code, package.parent)


@contextmanager
def edited(package, name, edit):
    path = package / name
    text = path.read_text()
    assert edit(text) != text, "nothing was there to be edited"
    path.write_text(edit(text))
    yield
    path.write_text(text)


def changed_by(package, name, edit):
    """The stages whose digest changes when `edit` is done to the text of one file."""
    before = fingerprints(package, "code_digest")
    with edited(package, name, edit):
        after = fingerprints(package, "code_digest")
    return {short(stage) for stage in STAGES if after[stage] != before[stage]}


def short(stage):
    return stage.removeprefix("bld.stages.")


def add_code(text):
    return f"{text}\n\nADDED = 1\n"


def test_the_digest_is_the_same_in_every_interpreter_and_folder(package):
    assert fingerprints(package, "code_digest") == {stage: code_digest(stage) for stage in STAGES}


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: f"# a comment\n{text}\n\n# another\n",
        lambda text: text.replace('"""', '"""Said otherwise. ', 1),
        lambda text: text.replace("    end = 0.0\n", "\n    # why\n    end = 0.0\n"),
        lambda text: text.replace("The split of `group`", "Of `group`, the split"),
    ],
    ids=["comment", "docstring of the module", "blank line and comment", "docstring of a function"],
)
def test_comments_docstrings_and_blank_lines_change_no_digest(package, edit):
    assert changed_by(package, "documents/splits.py", edit) == set()


def test_code_changes_the_digest_of_the_stages_that_run_it_and_of_no_other(package):
    def edit(text):
        return text.replace("end = 0.0", "end = 0.5")

    stages = {short(s) for s in STAGES if "bld.documents.splits" in code_modules(s)}
    assert {"build_split"} <= stages < set(map(short, STAGES))
    assert changed_by(package, "documents/splits.py", edit) == stages


@pytest.mark.parametrize(
    "name, stages",
    [
        ("stages/link.py", {"link"}),
        # A file of data is part of the module that names it, not of others in its folder.
        ("reporting/page.css", {"report"}),
        ("reporting/page.html.j2", {"report"}),
        ("reporting/figures/loss.py", {"report"}),
        # Cards write numbers as the report does.
        ("reporting/words.py", {"report", "write_card"}),
        ("evaluation/benchmarks/next_word.yaml", {"build_benchmark"}),
        ("publishing/card/card.md.j2", {"write_card"}),
        ("config/settings.py", set()),
        ("config/documents.py", set()),
        ("config/models.py", set()),
        ("config/checks.py", set()),
        ("pipeline/step.py", set()),
    ],
)
def test_a_file_is_part_of_the_digest_of_the_stages_that_use_it(package, name, stages):
    assert changed_by(package, name, add_code) == stages


@pytest.mark.parametrize("stage", ["link", "build_split", "gather_cache"])
def test_nothing_that_a_stage_really_imports_is_missing_from_its_closure(stage):
    code = (
        f"import json, sys, bld.stages.{stage}\n"
        "modules = [m for m in sys.modules.values() if m.__name__.startswith('bld.')]\n"
        "print(json.dumps([m.__name__ for m in modules if not hasattr(m, '__path__')]))"
    )
    imported = set(python(code, PACKAGE.parent))
    # Steps alone import what checks their folders, records what keeps people out of them.
    aside = ("bld.config", "bld.folders", "bld.pipeline", "bld.privacy")
    effective = {name for name in imported if not name.startswith(aside)}
    assert effective <= code_modules(f"bld.stages.{stage}").keys()


def test_a_module_that_is_imported_inside_a_function_is_part_of_the_closure(package):
    def edit(text):
        return text.replace("() -> None:\n", "() -> None:\n    import bld.documents.cutting\n\n")

    with edited(package, "stages/link.py", edit):
        closure = fingerprints(package, "code_modules")["bld.stages.link"]
    assert "bld.documents.cutting" in closure
    assert "bld.documents.cutting" not in code_modules("bld.stages.link")


def test_a_module_that_is_imported_for_its_types_alone_is_not_part_of_the_closure():
    assert "bld.training.batches" in code_modules("bld.stages.pretrain")
    assert "bld.training.histories" not in code_modules("bld.stages.pretrain")


def test_what_tells_of_steps_is_part_of_none():
    assert not {name for s in STAGES for name in code_modules(s) if "provenance" in name}


def test_the_digest_of_the_whole_follows_from_those_of_its_modules():
    modules = code_modules("bld.stages.link")
    lines = "".join(f"{name} {modules[name]}\n" for name in sorted(modules))
    assert code_digest("bld.stages.link") == hashlib.sha256(lines.encode()).hexdigest()


def test_what_newer_versions_of_python_add_to_a_tree_changes_no_digest():
    tree = ast.parse("def f(x: int = 0) -> None:\n    return x\n")
    before = plain(tree)
    # Python 3.12 gave functions and classes type parameters.
    tree.body[0]._fields = (*tree.body[0]._fields, "type_params")
    tree.body[0].type_params = []
    assert plain(tree) == before
    tree.body[0].type_params = [ast.Name("T")]
    assert plain(tree) != before
