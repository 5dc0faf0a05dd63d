"""What an edit of code, commands, environments and files makes stale: exactly the jobs that run it
or read it, and what follows from them, as in test_staleness.py."""

import re

import pytest

# By what they run: a model, sums over token histories, the documents of a split.
TRAINING = {"pretrain", "warm_up", "distill"}
JUDGING = {"evaluate_bits_per_byte", "evaluate_byte_divergence", "write_text"}
TEACHER_BYTES = {"score_teacher", "audit_cache", "measure_information"}
RUN_MODELS = TRAINING | JUDGING | TEACHER_BYTES | {"evaluate_benchmark", "prepare_student"}
SUM = TEACHER_BYTES | {"warm_up", "distill", "evaluate_byte_divergence", "write_text"}
READ_DOCUMENTS = (
    TRAINING
    | JUDGING
    | TEACHER_BYTES
    | {"build_split", "render_split", "train_tokenizer", "build_benchmark"}
)
REPORTS = {"report", "report_selection"}


def edit_body(text):
    """Another statement in the body of a function."""
    return re.sub(r"^( +)(return|with) ", r"\1edited = 0\n\1\2 ", text, count=1, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "module, stale",
    [
        ("tokenization/rendering.py", RUN_MODELS | {"render_split"}),
        ("documents/rendering.py", {"render_split"}),
        ("documents/renderings.py", TRAINING | {"render_split"}),
        ("scoring/mixture.py", SUM),
        ("documents/splits.py", READ_DOCUMENTS),
        ("cache/gathering.py", {"gather_cache"}),
        ("training/export.py", TRAINING | {"prepare_student"}),
        ("training/batches.py", TRAINING),
        ("evaluation/bits_per_byte.py", {"evaluate_bits_per_byte"}),
        ("evaluation/benchmarks/harness.py", {"evaluate_benchmark"}),
        ("reporting/statistics.py", REPORTS),
        ("stages/prepare_student.py", {"prepare_student"}),
        # They tell of steps, of plans and of running trainings, and make none of what the steps
        # make.
        ("pipeline/stale.py", set()),
        ("pipeline/plan/memory.py", set()),
        ("config/settings.py", set()),
        ("config/checks.py", set()),
    ],
)
def test_the_body_of_a_function_makes_stale_the_steps_that_run_it(
    made, with_followers, module, stale
):
    made.edit(f"workflow/bld/{module}", edit_body)
    assert made.stale() == with_followers(stale)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: f"# a comment\n{text}",
        lambda text: text.replace('"""', '"""Said otherwise. ', 1),
        lambda text: re.sub(r'^( +)"""(?=\w)', r'\1"""Said otherwise. ', text, flags=re.MULTILINE),
        lambda text: text.replace("\n\n\n", "\n\n\n\n\n"),
    ],
    ids=["comments", "docstrings of modules", "docstrings of functions", "blank lines"],
)
def test_comments_and_docstrings_of_all_modules_make_nothing_stale(made, change):
    for path in (made.folder / "workflow/bld").rglob("*.py"):
        path.write_text(change(path.read_text()))
    assert made.stale() == set()


def test_the_command_of_a_rule_makes_its_jobs_stale(made, with_followers):
    def other_command(text):
        rule = text.index("rule prepare_student")
        return text[:rule] + text[rule:].replace("RUN", '"nice " + RUN', 1)

    made.edit("workflow/rules/models.smk", other_command)
    assert made.stale() == with_followers({"prepare_student"})


def test_the_name_of_a_log_makes_nothing_stale(made):
    def other_name(text):
        return text.replace("logs/prepare_student/{student}.log", "logs/prepared/{student}.log")

    made.edit("workflow/rules/models.smk", other_name)
    assert made.stale() == set()


def test_a_caption_makes_the_reports_stale(made, with_followers):
    loss = "workflow/bld/reporting/figures/loss.py"
    made.edit(loss, lambda text: text.replace('title="', 'title="More: ', 1))
    assert made.stale() == with_followers(REPORTS)


def test_how_and_where_steps_run_makes_nothing_stale(made):
    made.edit("profiles/local/config.yaml", lambda text: text.replace("runtime: 0", "runtime: 90"))
    made.edit("profiles/slurm/config.yaml", lambda text: text.replace("64000", "32000"))
    resources = [f"{rule}:checkpoint_minutes=3" for rule in ("pretrain", "warm_up", "distill")]
    resources += ["distill:nodes=2", "distill:gpu=2"]
    assert made.stale("--set-resources", *resources) == set()
    assert made.stale("--set-threads", "distill=1") == set()


def test_environments_that_are_not_used_make_nothing_stale(made):
    for path in (made.folder / "envs").glob("*.yaml"):
        path.write_text(path.read_text().replace("numpy=2.4.6", "numpy=2.4.5"))
    assert made.stale() == set()


def test_a_pin_of_an_environment_makes_stale_the_steps_in_it_and_moving_the_folder_does_not(
    made_in_environments, conda, with_followers
):
    assert made_in_environments.stale("--sdm", "conda", env=conda) == set()
    made_in_environments.edit("envs/report.yaml", lambda text: text.replace("2.4.6", "2.4.5"))
    assert made_in_environments.stale("--sdm", "conda", env=conda) == with_followers(REPORTS)


def test_another_python_makes_stale_what_is_made_from_its_documentation(
    made, with_followers, tmp_path
):
    (tmp_path / "sitecustomize.py").write_text(
        "import platform\nplatform.python_version = lambda: '3.12.9'\n"
    )
    stale = made.stale(env=made.env | {"PYTHONPATH": str(tmp_path)})
    assert stale == with_followers({"build_split"})


def test_touching_every_file_makes_nothing_stale(made):
    for path in made.folder.rglob("*"):
        if ".snakemake" not in path.parts:
            path.touch()
    assert made.stale() == set()
