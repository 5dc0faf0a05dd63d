"""The four questions at the top of the page: what is answered, from which numbers."""

import re

import pytest

TEACHER = "Is the teacher better than the student?"
GAIN = "What did distillation add over SFT?"
COST = "At what cost?"
CERTAINTY = "How sure is that?"


@pytest.fixture
def answers(build):
    return lambda *runs: build(*runs).answers()


def names(sentences):
    return [sentence.partition(":")[0] for sentence in sentences]


def test_a_small_page_reads_like_this(factory, answers):
    factory.spread = 0.0
    assert answers(factory.run("sft-1", level=2.5), factory.run("bld-1", "bld", level=2.4)) == {
        TEACHER: (
            "Yes",
            [
                "The teacher large needs 2.234 bits per byte on docs, the student small 3.034 "
                "before "
                "training. Teacher minus student: \u22120.800 bits per byte (95 % interval "
                "\u22120.800 "
                "to \u22120.800), better."
            ],
        ),
        GAIN: (
            "Up to 0.10 fewer bits per byte",
            [
                "BLD with linear heads: \u22120.100 bits per byte (95 % interval \u22120.100 to "
                "\u22120.100), better."
            ],
        ),
        COST: (
            "2.25 times the training time",
            [
                "BLD with linear heads: 2.25 times the training time of SFT, warm-up included, and "
                "1.50 times its memory."
            ],
        ),
        CERTAINTY: (
            "Documents: 200, groups: 100, seeds: 1",
            [
                "Intervals are 95 %, from resampling groups of held-out documents (those of one "
                "module, one source file or identical texts), the same for both models of a "
                "comparison. They do not cover what another seed would change: the order of the "
                "documents and the first weights of byte heads, and dropout where a model has it; "
                "all else is the same for each seed. Of comparisons without a true difference one "
                "in twenty shows one; this page makes 4. Failures and warnings: 1."
            ],
        ),
    }


@pytest.mark.parametrize(
    "scores, short",
    [(("large", 3.5), "No"), (("small", 3.0), "No difference shown")],
)
def test_a_teacher_is_better_only_where_it_is_shown_to_need_fewer_bits(
    factory, answers, scores, short
):
    run = factory.run("sft-1")
    factory.edit(run.files["teacher/bits_per_byte"], **factory.scores(*scores))
    assert answers(run)[TEACHER][0] == short


def test_teachers_of_several_settings_may_be_better_here_and_worse_there(factory, answers):
    runs = factory.run("sft-1"), factory.run("sft-2", student="medium", teacher="weak")
    factory.edit(runs[1].files["teacher/bits_per_byte"], **factory.scores("weak", 3.5))
    short, sentences = answers(*runs)[TEACHER]
    assert short == "It depends"
    assert "large" in sentences[0] and "medium" in sentences[1]


@pytest.mark.parametrize("whose", ["teacher", "student"])
def test_without_an_evaluation_nobody_knows_whether_the_teacher_is_better(factory, answers, whose):
    run = factory.run("sft-1")
    run.files[f"{whose}/bits_per_byte"].unlink()
    assert answers(run)[TEACHER][0] == "Not measured"
    assert answers(factory.run("sft-2", teacher=None))[TEACHER][0] == "Not measured"


@pytest.mark.parametrize(
    "levels, short",
    [
        ([2.4], "Up to 0.10 fewer bits per byte"),
        ([2.6], "Up to 0.10 more bits per byte"),
        ([2.497], "Up to 0.003 fewer bits per byte"),
        ([2.4, 2.2], "Up to 0.30 fewer bits per byte"),
        ([2.4, 2.6], "It depends on the method"),
    ],
)
def test_the_gain_is_the_largest_that_is_shown(factory, answers, levels, short):
    factory.spread = 0.0
    methods = [
        factory.run(name, name, level=level)
        for name, level in zip(("uld", "mined"), levels, strict=False)
    ]
    found, sentences = answers(factory.run("sft-1"), *methods)[GAIN]
    assert found == short and len(sentences) == len(levels)


def test_no_winner_is_named_where_the_interval_holds_zero(factory, answers):
    noisy = factory.run("bld-1", "bld", scores={"spread": 0.5})
    short, (sentence,) = answers(factory.run("sft-1"), noisy)[GAIN]
    assert short == "No difference shown" and "no difference shown" in sentence
    assert "better" not in sentence and "worse" not in sentence


def test_of_many_methods_the_best_are_told(factory, answers):
    methods = ["alm", "uld", "mined", "simct", "one_to_one"]
    runs = [factory.run(name, name, level=2.4 - at / 50) for at, name in enumerate(methods)]
    found = answers(factory.run("sft-1"), *runs)
    best = ["One-to-one", "SimCT", "MinED", "ULD"]
    assert names(found[GAIN][1]) == names(found[COST][1]) == best


def test_runs_of_one_method_are_told_apart_by_settings_students_and_their_sft(factory, answers):
    slow = {"steps": 60, "learning_rate": 1e-9}
    runs = [
        factory.run("sft-1"),
        factory.run("bld-1", "bld", level=2.4),
        factory.run("heavy", "bld", level=2.3, own={"kl_weight": 4.0}),
    ]
    assert names(answers(*runs)[GAIN][1]) == [
        "BLD with linear heads, kl weight 4",
        "BLD with linear heads, kl weight 1",
    ]
    runs = [factory.run("sft-1"), factory.run("slow", training=slow), factory.run("uld-1", "uld")]
    assert sorted(names(answers(*runs)[GAIN][1])) == ["ULD minus sft-1", "ULD minus slow"]
    runs = [
        factory.run(f"{method}-{student}", method, student=student)
        for method in ("sft", "uld")
        for student in ("small", "medium")
    ]
    assert sorted(names(answers(*runs)[GAIN][1])) == ["ULD on medium", "ULD on small"]


def test_plain_fine_tuning_or_a_method_alone_has_nothing_to_compare(factory, build):
    for run in (factory.run("sft-1"), factory.run("bld-1", "bld")):
        page = build(run)
        found = page.answers()
        assert (found[GAIN][0], found[COST][0]) == ("Not measured", "Not measured")
        assert page.table("comparison") == []


def test_costs_that_are_not_known_are_not_told(factory, answers):
    runs = factory.run("sft-1", costs={"peak_memory_bytes": None}), factory.run("bld-1", "bld")
    _, (sentence,) = answers(*runs)[COST]
    assert re.findall(r"(\S+) times", sentence) == ["2.25", "\u2013"]
    runs = factory.run("sft-1", costs={"train_seconds": None}), factory.run("bld-1", "bld")
    assert answers(*runs)[COST] == ("Not measured", ["No two trainings can be compared."])


def test_seeds_documents_and_groups_are_counted(factory, answers):
    runs = [
        factory.run(f"{method}-{seed}", method, seed=seed)
        for seed in (1, 2)
        for method in ("sft", "bld")
    ]
    assert answers(*runs)[CERTAINTY][0] == "Documents: 200, groups: 100, seeds: 2"
    assert answers(*runs, factory.run("uld-1", "uld"))[CERTAINTY][0].endswith("seeds: 1 to 2")


def test_what_seeds_vary_is_what_these_runs_read_a_seed_for(factory, answers):
    own = {"rank": 4}, {"on_policy": 0.5}
    lora, sampling = ({"lora": own[0]}, own[1])
    for changes, words in (
        ({}, "change: the order of the documents, and dropout"),
        ({"training": lora}, "the order of the documents and the first weights of low-rank"),
        ({"sampling": sampling}, "the order of the documents and what students write, and"),
    ):
        [text] = answers(factory.run("sft-1", **changes))[CERTAINTY][1]
        assert words in text


@pytest.mark.parametrize("documents", [2, 8])
def test_very_few_groups_of_documents_leave_the_interval_unknown(documents, factory, answers):
    factory.sizes_D = factory.sizes_D[:documents]
    factory.difficulty_D = factory.difficulty_D[:documents]
    found = answers(factory.run("sft-1"), factory.run("bld-1", "bld", level=1.5))
    assert found[GAIN][0] == "No difference shown"
    assert "95 % interval unknown from so few groups" in found[GAIN][1][0]


def test_a_failed_baseline_does_not_hide_what_its_other_seeds_show(factory, answers):
    runs = [
        factory.run(f"{method}-{seed}", method, seed=seed, level=level)
        for method, level in (("sft", 2.5), ("bld", 2.4))
        for seed in (1, 2)
    ]
    runs[0].files["run/bits_per_byte"].unlink()
    short, _ = answers(*runs)[GAIN]
    assert re.fullmatch(r"Up to 0\.\d+ fewer bits per byte", short)
