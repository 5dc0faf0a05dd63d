"""A figure is one file: rules, page and Snakemake's report read it from the registry."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bld
from bld.config.settings import Run
from bld.reporting.registry import SECTIONS, Reported, all_figures, figures_of
from bld.reporting.words import COLUMNS

FIGURE = '''"""Documents of the corpora."""

from bld.reporting.plotting import dots, stacked
from bld.reporting.registry import Figure


def draw(frames, palette):
    rows = frames["bits_per_byte"].assign(low=0, high=0)
    figure, (ax,) = stacked({"all": len(rows)})
    dots(ax, rows, "documents", range(len(rows)), palette)
    return figure, "Documents of every model."


FIGURE = Figure(
    title="Documents",
    caption="How many documents there are.",
    section="SECTION",
    tables=["bits_per_byte"],
    draw=draw,
)
'''


@pytest.fixture
def package(tmp_path):
    """A copy of the package to which figures are added."""
    shutil.copytree(
        Path(bld.__path__[0]), tmp_path / "bld", ignore=shutil.ignore_patterns("__pycache__")
    )
    return tmp_path


def python(package, code):
    environment = os.environ | {"PYTHONPATH": str(package)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )


def test_a_new_figure_is_one_file(package, factory):
    (package / "bld/reporting/figures/documents.py").write_text(FIGURE.replace("SECTION", "models"))
    run = factory.run("sft-1")
    files = {key: str(path) for key, path in run.files.items()}
    code = f"""
from pathlib import Path
from bld.config.settings import Run
from bld.pipeline.code_digest import code_modules
from bld.reporting.inputs import RunInputs
from bld.reporting.registry import all_figures
from bld.reporting.report_page import build_report
files = {{key: Path(path) for key, path in {files!r}.items()}}
own = Run.model_validate({run.settings.own()!r})
run = RunInputs("sft-1", own, files)
build_report([run], [], list(all_figures()), "A title", Path({str(package / "report")!r}))
assert "bld.reporting.figures.documents" in code_modules("bld.stages.report")
assert "bld.reporting.figures.documents" not in code_modules("bld.stages.write_card")
print(*all_figures())
"""
    done = python(package, code)
    assert done.returncode == 0, done.stderr
    assert "documents" in done.stdout.split()
    report = package / "report"
    page = (report / "index.html").read_text()
    section = page[page.index('<h2 id="models">') : page.index('<h2 id="training">')]
    assert '<h3 id="figure-documents">Documents</h3>' in section
    assert "How many documents there are." in section
    assert (report / "documents.svg").exists()
    assert (report / "documents.rst").read_text() == "How many documents there are.\n"


def test_a_figure_of_an_unknown_section_is_refused_with_its_file(package):
    (package / "bld/reporting/figures/documents.py").write_text(FIGURE.replace("SECTION", "else"))
    done = python(package, "from bld.reporting.registry import all_figures; all_figures()")
    assert "ValueError: figures/documents.py: no section 'else'; there are models" in done.stderr


def test_listing_the_figures_imports_nothing_that_draws(package):
    heavy = ("torch", "pandas", "numpy", "matplotlib", "seaborn", "jinja2")
    code = "from bld.reporting.registry import all_figures; import json, sys; all_figures()\n"
    done = python(package, code + f"print(json.dumps([x for x in {heavy} if x in sys.modules]))")
    assert json.loads(done.stdout) == []


def test_every_figure_draws_tables_that_there_are_and_has_words_of_its_own():
    figures = all_figures().values()
    assert all(set(figure.tables) <= COLUMNS.keys() for figure in figures)
    assert {figure.section for figure in figures} <= SECTIONS.keys()
    for words in (lambda figure: figure.title, lambda figure: figure.caption):
        assert len({words(figure) for figure in figures}) == len(figures)
    assert all(len(figure.caption) > 80 for figure in figures)


def run(method, **changes):
    """As much of a run's settings as the figures ask for."""
    names = {"method": method, "student": "small", "teacher": "large", "corpus": "docs", "seed": 1}
    return Run.model_construct(**{**names, "validation_split": "validation", **changes})


ALWAYS = {"bits_per_byte", "bits_per_byte_by_kind", "costs", "loss"}


@pytest.mark.parametrize(
    "runs, measures, benchmarks, caches, expected",
    [
        ([run("sft")], ["bits_per_byte"], [], [], set()),
        ([run("sft"), run("uld")], [], [], [], {"comparison"}),
        ([run("sft"), run("uld", seed=2)], [], [], [], set()),
        ([run("sft"), run("uld", student="medium")], [], [], [], set()),
        ([run("alm"), run("uld"), run("mined")], [], [], [], {"ranks"}),
        ([run("alm"), run("uld"), run("mined", validation_split="other")], [], [], [], set()),
        ([run("sft")], [], ["recall"], [], {"benchmarks"}),
        ([run("sft")], ["byte_divergence"], [], [], {"divergence", "reliability"}),
        ([run("sft", teacher=None)], ["byte_divergence"], [], [], set()),
        ([run("bld")], [], [], ["audit"], {"audit"}),
        ([run("bld")], [], [], ["audit", "information"], {"audit", "information"}),
    ],
)
def test_a_report_has_the_figures_that_its_runs_have_data_for(
    runs, measures, benchmarks, caches, expected
):
    found = figures_of(Reported(runs, measures, benchmarks, caches))
    assert found.keys() - ALWAYS == expected and found.keys() >= ALWAYS
