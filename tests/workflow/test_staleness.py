"""What an edit makes stale: exactly the jobs that Snakemake would run again.

Each edit is done to a copy of a folder in which everything was made. Which jobs it touches itself
is said here; those that follow from them are found by walking from what they make to who reads it.
"""

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
RENDERED = jobs("render_split", *(f"students swapped {where[5:]}" for where in SCORED))
SCORING = jobs("score_teacher", *SCORED) | jobs("gather_cache", *SCORED)
AUDIT = "audit_cache demo python_docs distillation"
INFORMATION = "measure_information demo python_docs distillation"
REPORTS = {"report", "report_selection"}
SHAPE = {"vocabulary": 9, "hidden": 8, "layers": 1, "heads": 1, "intermediate": 8}


def put(configuration, path, value):
    *sections, key = path.split(".")
    section = configuration
    for name in sections:
        section = section.setdefault(name, {})
    section[key] = value
    return configuration


def drop(configuration, path):
    *sections, key = path.split(".")
    section = configuration
    for name in sections:
        section = section[name]
    del section[key]
    return configuration


# The configuration as resolved lies in every crate.
ARCHIVED = {"write_crate"}


def test_moving_the_whole_folder_makes_nothing_stale(made):
    assert made.stale() == set()


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
        ("head_warmup.learning_rate", 1.0, {"warm_up bld", "report"}),
        ("head_warmup.patience", 2, {"warm_up bld", "report"}),
        ("students.swapped.initialisation", "mean", {"prepare_student swapped"}),
        ("students.swapped.pad_vocabulary_to", 64, {"prepare_student swapped"}),
        # Nothing is drawn where rows are means.
        ("students.swapped.seed", 5, set()),
        ("teachers.demo.top_k_symbols", 5, SCORING),
        ("teachers.demo.eps", 0.01, SCORING | {AUDIT, INFORMATION}),
        ("teachers.demo.beam_width", 5, set()),
        # Evaluations on the way are as those at the end.
        (
            "evaluation.window",
            99,
            OF_STUDENTS
            | OF_TEACHER_ALONE
            | DIVERGENCES
            | DISTILLATIONS
            | {"warm_up bld", "report"},
        ),
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
            | jobs("render_split", "tokenizers teacher python_docs train")
            | OF_TEACHER_ALONE
            | {AUDIT, INFORMATION}
            | SCORING
            | DIVERGENCES,
        ),
        (
            "models.other.template_arguments.date",
            "today",
            {"prepare_student swapped", "warm_up bld"}
            | RENDERED
            | DISTILLATIONS
            | OF_STUDENTS
            | DIVERGENCES,
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
        ("runs.bld.seed", 7, {"warm_up bld", "distill bld", "report"}),
    ],
)
def test_a_setting_makes_stale_what_reads_it_and_what_follows(
    made, default, with_followers, path, value, stale
):
    made.configure(put(default(), path, value))
    assert made.stale() == with_followers(stale | ARCHIVED)


def test_an_input_with_another_content_makes_stale_what_reads_it(made, with_followers):
    made.edit("results/corpora/python_docs/validation/manifest.json", lambda text: text + " ")
    judged = STUDENT_BITS | TEACHER_BITS | DIVERGENCES | TEXTS
    read = judged | jobs("build_benchmark", *BENCHMARKS)
    read |= {"measure_alignment swapped demo python_docs validation"}
    assert made.stale() == with_followers(read)


def test_what_is_deleted_is_made_again_when_somebody_needs_it(made, default, with_followers):
    (made.folder / "results/students/swapped/manifest.json").unlink()
    assert made.stale() == set()
    (made.folder / "results/report/index.html").unlink()
    assert made.stale() == with_followers({"report"})
    made.configure(put(default(), "runs.sft.training.steps", 99))
    read_by_sft = with_followers(jobs("distill", "sft") | {"report"} | ARCHIVED)
    assert made.stale() == read_by_sft | with_followers({"prepare_student swapped"})


def turned(value, path=()):
    """The same mapping with its keys in the opposite order, but for splits, whose order has a
    meaning."""
    if not isinstance(value, dict):
        return value
    keys = list(value) if path[-1:] == ("splits",) else reversed(value)
    return {key: turned(value[key], (*path, key)) for key in keys}


def test_key_order_comments_and_spellings_of_numbers_make_nothing_stale(made, default):
    rate = default()["training"]["learning_rate"]
    text = yaml.safe_dump(turned(default()), sort_keys=False)
    assert f"learning_rate: {rate}\n" in text
    spelt = f"{rate * 1e4:g}e-4"
    text = text.replace(f"learning_rate: {rate}\n", f"learning_rate: {spelt}  # a comment\n\n\n")
    (made.folder / "config/config.yaml").write_text(f"# another comment\n{text}")
    assert made.stale() == set()


def test_another_run_makes_nothing_stale_but_the_reports(made, default, with_followers):
    made.configure(put(default(), "runs.second", default()["runs"]["bld"] | {"seed": 7}))
    judged = ("evaluate_bits_per_byte", "evaluate_byte_divergence", "write_text")
    own = (
        jobs("warm_up", "second")
        | jobs("distill", "second")
        | {f"{rule} runs/second/evaluation" for rule in judged}
        | benchmarked("runs/second/evaluation")
        | jobs("write_card", "second")
    )
    stale = with_followers(REPORTS | ARCHIVED)
    assert made.stale() == own | stale


def test_a_run_less_makes_nothing_stale_but_the_reports(made, default, with_followers):
    made.configure(drop(default(), "runs.bld_marginal"))
    stale = with_followers(REPORTS | ARCHIVED)
    assert made.stale() == stale - jobs("write_card", "bld_marginal")


def test_another_number_of_shards_makes_its_split_again_and_what_follows(
    made, default, with_followers
):
    made.configure(put(default(), "corpora.python_docs.splits.distillation.shards", 3))
    assert made.plan().counts["score_teacher"] == 3
    assert made.stale() == with_followers({"build_split python_docs distillation"} | ARCHIVED)


def test_a_live_teacher_is_read_by_the_runs_that_learn_from_it(plan, default, default_plan):
    def live(**settings):
        own = default()
        own["teachers"]["demo"] |= {"mode": "live"} | settings
        return plan(own)

    before, learners = live(), {"distill bld", "distill bld_marginal"}
    differs = {job for job in before.steps if before.steps[job] != default_plan.steps[job]}
    told = {"report", "report_selection demo", "write_crate demo"}
    told |= jobs("write_card", "bld", "bld_marginal")
    assert differs == learners | told
    after = live(top_k_symbols=5).steps
    stale = {job for job, line in after.items() if line != before.steps[job]}
    assert stale == learners | {"write_crate demo"}


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
