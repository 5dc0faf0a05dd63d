"""What an edit makes stale: a job reruns when its step line, which Snakemake compares, is another."""

import re
from pathlib import Path

import pytest
import yaml

LOCAL = Path(__file__).parents[2] / "profiles/local"


def jobs(rule, *names):
    return {f"{rule} {name}" for name in names}


RUNS = ("sft", "bld", "bld_marginal")
DISTILLATIONS = jobs("distill", *RUNS)
OF_RUNS = {f"runs/{name}/evaluation" for name in RUNS}
OF_STUDENT = "evaluation/students/swapped"
OF_TEACHER = "evaluation/teachers/demo"
THERE = "/python_docs/validation"
BENCHMARKS = ("documentation", "next_line", "next_word", "harness_bits")


def benchmarked(*folders, benchmarks=BENCHMARKS):
    return {f"evaluate_benchmark {where} {name}" for where in folders for name in benchmarks}


DIVERGENCES = jobs("evaluate_byte_divergence", *OF_RUNS, f"{OF_STUDENT}{THERE}/demo")
TEXTS = jobs("write_text", *OF_RUNS, OF_STUDENT + THERE, OF_TEACHER + THERE)
STUDENT_BITS = jobs("evaluate_bits_per_byte", *OF_RUNS, OF_STUDENT + THERE)
TEACHER_BITS = jobs("evaluate_bits_per_byte", OF_TEACHER + THERE)
TEACHER_TEXT = jobs("write_text", OF_TEACHER + THERE)
OF_TEACHER_ALONE = TEACHER_BITS | TEACHER_TEXT | benchmarked(OF_TEACHER)
OF_STUDENTS = (STUDENT_BITS | TEXTS | benchmarked(*OF_RUNS, OF_STUDENT)) - TEACHER_TEXT
SCORED = ("demo python_docs distillation", "demo python_docs development")
SCORING = jobs("score_teacher", *SCORED) | jobs("gather_cache", *SCORED)
AUDIT = "audit_cache demo python_docs distillation"
INFORMATION = "measure_information demo python_docs distillation"
SHAPE = {"vocabulary": 9, "hidden": 8, "layers": 1, "heads": 1, "intermediate": 8}


def changed(before, after):
    """The jobs whose step line differs; the shards of a split count as one."""
    assert before.steps.keys() == after.steps.keys()
    jobs = {job for job in before.steps if before.steps[job] != after.steps[job]}
    return {re.sub(r" \d{5}-of-\d{5}$", "", job) for job in jobs}


def put(configuration, path, value):
    *sections, key = path.split(".")
    section = configuration
    for name in sections:
        section = section.setdefault(name, {})
    section[key] = value
    return configuration


@pytest.mark.parametrize(
    "path, value, stale",
    [
        ("bld.kl_weight", 0.7, {"distill bld", "report"}),
        ("bld.byte_weight", 0.7, {"warm_up bld", "distill bld", "report"}),
        # The other runs say their own.
        ("training.learning_rate", 1.0, {"distill sft", "report"}),
        ("training.steps", 99, DISTILLATIONS | {"report"}),
        ("training.schedule", "constant", DISTILLATIONS | {"warm_up bld", "report"}),
        ("runs.sft.training.steps", 99, {"distill sft", "report"}),
        ("training.evaluate_every", 50, DISTILLATIONS | {"warm_up bld", "report"}),
        ("training.evaluate_documents", 5, DISTILLATIONS | {"warm_up bld", "report"}),
        ("warmup.learning_rate", 1.0, {"warm_up bld", "report"}),
        ("warmup.patience", 2, {"warm_up bld", "report"}),
        ("students.swapped.initialisation", "mean", {"prepare_student swapped"}),
        ("students.swapped.pad_vocabulary_to", 64, {"prepare_student swapped"}),
        # Nothing is drawn where rows are means.
        ("students.swapped.seed", 5, set()),
        ("teachers.demo.keep_symbols", 5, SCORING),
        ("teachers.demo.eps", 0.01, SCORING | {AUDIT, INFORMATION}),
        ("teachers.demo.beam_width", 5, set()),
        ("evaluation.window", 99, OF_STUDENTS | OF_TEACHER_ALONE | DIVERGENCES),
        ("evaluation.prompts", ["Why?"], TEXTS),
        ("evaluation.passage_bytes", 99, TEXTS),
        ("evaluation.eps", 0.01, DIVERGENCES | TEXTS),
        ("evaluation.histories", "beam", DIVERGENCES | TEXTS),
        ("evaluation.beam_width", 5, set()),
        ("audit.documents", 5, {AUDIT, INFORMATION}),
        ("audit.eps", 1e-4, {AUDIT}),
        ("audit.histories", "beam", {AUDIT}),
        ("evaluation.divergence_documents", 5, DIVERGENCES),
        (
            "benchmarks.next_word.limit",
            3,
            benchmarked(*OF_RUNS, OF_STUDENT, OF_TEACHER, benchmarks=["next_word"]),
        ),
        ("benchmarks.next_word.local.documents", 9, {"build_benchmark next_word"}),
        ("report.title", "Another", {"report"}),
        # Read by `snakemake plan` alone.
        ("plan.gpu", "A100-80", set()),
        ("plan.utilisation", 0.1, set()),
        ("corpora.python_docs.expected", {"documents": 9, "bytes_per_document": 9}, set()),
        ("models.teacher.shape", SHAPE, set()),
        ("models.other.shape", {"vocabulary": 9}, set()),
        (
            "models.teacher.template_arguments.date",
            "today",
            {"pretrain teacher", "prepare_student swapped"}
            | OF_TEACHER_ALONE
            | {AUDIT, INFORMATION}
            | SCORING
            | DIVERGENCES,
        ),
        (
            "models.other.template_arguments.date",
            "today",
            {"prepare_student swapped", "warm_up bld"} | DISTILLATIONS | OF_STUDENTS | DIVERGENCES,
        ),
        (
            "models.teacher.scratch.tokenizer.vocabulary",
            999,
            {"train_tokenizer teacher", "pretrain teacher"},
        ),
        ("models.other.scratch.tokenizer.vocabulary", 999, {"train_tokenizer other"}),
        (
            "corpora.python_docs.splits.validation.documents",
            99,
            {"build_split python_docs validation"},
        ),
        (
            "corpora.python_docs.splits.development.documents",
            9,
            {"build_split python_docs development"},
        ),
    ],
)
def test_an_edit_makes_stale_what_reads_it_and_nothing_else(
    plan, default, default_plan, path, value, stale
):
    assert changed(default_plan, plan(put(default(), path, value))) == stale


def test_a_live_teacher_is_read_by_the_runs_that_learn_from_it(plan, default, default_plan):
    def live(**settings):
        own = default()
        own["teachers"]["demo"] |= {"mode": "live"} | settings
        return plan(own)

    before, learners = live(), {"distill bld", "distill bld_marginal"}
    differs = {job for job in before.steps if before.steps[job] != default_plan.steps[job]}
    assert differs == learners | {"report"}
    assert changed(before, live(keep_symbols=5)) == learners


@pytest.mark.parametrize(
    "arguments",
    [
        [f"{rule}:checkpoint_minutes=3" for rule in ("pretrain", "warm_up", "distill")],
        ["distill:runtime=90", "distill:nodes=2"],
    ],
    ids=["checkpoint_minutes", "runtime and nodes"],
)
def test_how_and_where_a_training_runs_makes_nothing_stale(plan, default, default_plan, arguments):
    there = plan(default(), arguments=["--profile", LOCAL, "--set-resources", *arguments])
    assert changed(default_plan, there) == set()


def turned(value, path=()):
    """The same mapping with its keys in the opposite order, but for splits, whose order has a meaning."""
    if not isinstance(value, dict):
        return value
    keys = list(value) if path[-1:] == ("splits",) else reversed(value)
    return {key: turned(value[key], (*path, key)) for key in keys}


def test_key_order_comments_and_spellings_of_numbers_make_nothing_stale(
    plan, default, default_plan
):
    rate = default()["training"]["learning_rate"]
    text = yaml.safe_dump(turned(default()), sort_keys=False)
    assert f"learning_rate: {rate}\n" in text
    spelt = f"{rate * 1e4:g}e-4"
    text = text.replace(f"learning_rate: {rate}\n", f"learning_rate: {spelt}  # a comment\n\n\n")
    assert changed(default_plan, plan(f"# another comment\n{text}")) == set()


def test_another_run_makes_nothing_stale_but_the_report(plan, default, default_plan):
    more = put(default(), "runs.second", default()["runs"]["bld"] | {"seed": 7})
    steps = plan(more).steps
    assert {job for job, step in default_plan.steps.items() if steps[job] != step} == {"report"}
    judged = ("evaluate_bits_per_byte", "evaluate_byte_divergence", "write_text")
    assert steps.keys() - default_plan.steps.keys() == (
        jobs("warm_up", "second")
        | jobs("distill", "second")
        | {f"{rule} runs/second/evaluation" for rule in judged}
        | benchmarked("runs/second/evaluation")
    )


def test_a_finished_corpus_is_made_again_for_other_text_only(
    snakemake, default, write_default, tmp_path
):
    own = default()
    own["corpora"]["python_docs"]["source"] = {"kind": "files", "paths": ["text"], "format": "text"}
    del own["benchmarks"]
    write_default(tmp_path, own)
    (tmp_path / "text").mkdir()
    for number in range(20):
        (tmp_path / f"text/{number}.txt").write_text(f"Document {number}.")
    target = "results/corpora/python_docs/train/manifest.json"

    def is_finished(*arguments):
        done = snakemake(tmp_path, "--dry-run", target, *arguments)
        assert done.returncode == 0, done.stderr
        return "Nothing to be done" in done.stdout + done.stderr

    made = snakemake(tmp_path, "--cores", "1", target)
    assert made.returncode == 0, made.stderr
    assert is_finished()
    assert is_finished("--set-resources", "build_split:mem_mb=100")
    (tmp_path / "text/3.txt").touch()
    write_default(tmp_path, "# a comment\n" + yaml.safe_dump(turned(own), sort_keys=False))
    assert is_finished()
    (tmp_path / "text/3.txt").write_text("Another text.")
    assert not is_finished()
