"""Every rule's environment declares what its stage imports, at the versions of the one-environment
installation."""

import ast
import re
import sys
from fnmatch import fnmatch

import pytest
import yaml

from bld.pipeline.code_digest import PACKAGE, code_modules

ENVS = PACKAGE.parents[1] / "envs"
PACKAGES = {"yaml": "pyyaml", "lm_eval": "lm-eval", "detect_secrets": "detect-secrets"}
CONDA_NAMES = {
    "pytorch": "torch",
    "matplotlib-base": "matplotlib",
    "seaborn-base": "seaborn",
    "lm_eval": "lm-eval",
    "antlr-python-runtime": "antlr4-python3-runtime",
}
HAVE_CUDA_BUILDS = {"pytorch", "deepspeed"}


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
    for module in code_modules(f"bld.stages.{stage}"):
        names |= set(imported(source(module)))
    if any(str(name).startswith("bld.config.") for name in names):  # the digest leaves these out
        names |= set(imported(source("bld.config.settings")))
    tops = {name.split(".")[0] for name in names}
    return {PACKAGES.get(name, name) for name in tops - set(sys.stdlib_module_names) - {"bld"}}


def pins(path):
    """Version and build, a pattern, of every package that an environment file pins."""
    lines = yaml.safe_load(path.read_text())["dependencies"]
    parts = [re.fullmatch(r"([\w-]+)=([\w.]+)(?:=([\w*]+))?", line).groups() for line in lines]
    return {name: (version, build or "*") for name, version, build in parts}


def declared(environment):
    """The pins of an environment file, by the names that packages have for pip."""
    found = pins(ENVS / environment)
    return {CONDA_NAMES.get(name, name): version for name, (version, _) in found.items()}


def requirements():
    lines = (ENVS / "requirements/workflow.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_every_package_that_a_stage_imports_is_in_the_environment_of_its_rule(rules):
    missing = {}
    for name, rule in rules.items():
        if rule["shell"]:
            stage = re.search(r"bld\.stages\.(\w+)", rule["shell"])[1]
            missing[name] = third_party(stage) - declared(rule["conda"]).keys()
    assert {name: packages for name, packages in missing.items() if packages} == {}


@pytest.mark.parametrize("path", sorted(ENVS.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_environment_has_the_versions_of_the_one_environment_installation(path):
    pins = {name: version for name, version in declared(path.name).items() if name != "python"}
    assert pins.items() <= requirements().items()


@pytest.mark.parametrize("path", sorted(ENVS.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_environment_takes_its_packages_from_conda_forge_alone(path):
    assert yaml.safe_load(path.read_text())["channels"] == ["conda-forge", "nodefaults"]


@pytest.mark.parametrize("path", sorted(ENVS.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_environment_has_the_builds_for_gpus_of_what_has_such(path):
    builds = {name: build for name, (_, build) in pins(path).items() if name in HAVE_CUDA_BUILDS}
    assert set(builds.values()) <= {"cuda*"}


def test_pin_files_have_what_their_environments_ask_for():
    # Snakemake prefers the pin file even where the other has changed; `make pins` makes it anew.
    missing = []
    for path in ENVS.glob("*.pin.txt"):
        listed = [line.split("#")[0].rsplit("/", 1)[-1] for line in path.read_text().splitlines()]
        for name, (version, build) in pins(ENVS / f"{path.name.split('.')[0]}.yaml").items():
            asked = f"{name}-{version}-{build}", f"{name}-{version}.*-{build}"
            if not any(fnmatch(file, pattern) for file in listed for pattern in asked):
                missing.append((path.name, name))
    assert missing == []


def test_every_environment_is_that_of_some_rule(rules):
    assert {path.name for path in ENVS.glob("*.yaml")} == {
        rule["conda"] for rule in rules.values()
    } - {None}


def test_only_rules_that_fetch_switch_the_hub_on(rules):
    # It is switched off for every job (test_standin_environments.py).
    switched = {name for name, rule in rules.items() if "HF_HUB_OFFLINE" in (rule["shell"] or "")}
    assert switched == {"fetch_model", "fetch_dataset", "fetch_benchmark"}
    online = [rules[name]["shell"].startswith("HF_HUB_OFFLINE=0 ") for name in switched]
    assert all(online)


def test_constraints_hold_for_every_build_of_a_package():
    # A local version such as 2.13.0+cpu exists on the machine that it was installed on alone.
    assert "+" not in (ENVS / "requirements/constraints.txt").read_text()
