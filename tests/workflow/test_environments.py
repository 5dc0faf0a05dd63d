"""Every rule's environment declares what its stage imports, at the versions of the one-environment installation."""

import ast
import re
import sys

import pytest
import yaml

from bld.provenance.fingerprint import DEFINITIONS_ONLY, PACKAGE, import_closure

ENVS = PACKAGE.parents[1] / "envs"
PACKAGES = {"yaml": "pyyaml"}
CONDA_NAMES = {"pytorch": "torch"}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def source(module):
    path = PACKAGE.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def third_party(stage):
    """The packages that a stage imports, by itself or through the modules of this project."""
    names = set()
    for module in import_closure(f"bld.stages.{stage}"):
        names |= set(imported(source(module)))
    if "bld.config" in names:  # which the closure leaves out, with what it is made of
        names |= {name for module in DEFINITIONS_ONLY for name in imported(source(module))}
    tops = {name.split(".")[0] for name in names}
    return {PACKAGES.get(name, name) for name in tops - set(sys.stdlib_module_names) - {"bld"}}


def declared(environment):
    """The pins of an environment file by package, those of its pip section too."""
    lines = []
    for part in yaml.safe_load((ENVS / environment).read_text())["dependencies"]:
        lines += part["pip"] if isinstance(part, dict) else [part]
    pins = dict(re.fullmatch(r"([\w-]+)==?([\w.]+)", line).groups() for line in lines)
    return {CONDA_NAMES.get(name, name): version for name, version in pins.items()}


def requirements():
    lines = (ENVS / "requirements/workflow.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_every_package_that_a_stage_imports_is_in_the_environment_of_its_rule(rules):
    missing = {}
    for name, rule in rules.items():
        if name != "all":
            stage = re.search(r"bld\.stages\.(\w+)", rule["shell"])[1]
            missing[name] = third_party(stage) - declared(rule["conda"]).keys()
    assert {name: packages for name, packages in missing.items() if packages} == {}


@pytest.mark.parametrize("path", sorted(ENVS.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_environment_has_the_versions_of_the_one_environment_installation(path):
    pins = {
        name: version
        for name, version in declared(path.name).items()
        if name not in ("python", "pip")
    }
    assert pins.items() <= requirements().items()


@pytest.mark.parametrize("path", sorted(ENVS.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_environment_takes_its_packages_from_conda_forge_alone(path):
    assert yaml.safe_load(path.read_text())["channels"] == ["conda-forge", "nodefaults"]


def test_every_environment_is_that_of_some_rule(rules):
    assert {path.name for path in ENVS.glob("*.yaml")} == {
        rule["conda"] for rule in rules.values()
    } - {None}


def test_constraints_hold_for_every_build_of_a_package():
    # A local version such as 2.13.0+cpu exists on the machine that it was installed on alone.
    assert "+" not in (ENVS / "requirements/constraints.txt").read_text()
