import pytest

TEACHER = "Is the teacher better than the student?"
GAIN = "What did distillation add over SFT?"
COST = "At what cost?"
CERTAINTY = "How sure is that?"


@pytest.fixture
def answers(build):
    return lambda *runs: build(*runs).answers()


def test_a_teacher_that_needs_fewer_bits_is_better(factory, answers):
    short, sentences = answers(factory.run("sft-1"))[TEACHER]
    assert short == "Yes"
    (sentence,) = sentences
    assert sentence.startswith("On the held-out documents of docs, the teacher large needs 2.2")
    assert "and the student small 3.0" in sentence
    assert "before training: 0.796 fewer bits per byte (95 % interval 0.7" in sentence


def test_a_teacher_that_needs_more_bits_is_not_better(factory, answers):
    run = factory.run("sft-1")
    worse = factory.scores("large", 3.5)
    factory.edit(run.files["teacher/bits_per_byte"], **worse)
    short, (sentence,) = answers(run)[TEACHER]
    assert short == "No"
    assert "more bits per byte (95 % interval" in sentence


def test_a_teacher_whose_lead_cannot_be_seen_is_not_called_better(factory, answers):
    run = factory.run("sft-1")
    alike = factory.scores("small", 3.0)
    factory.edit(run.files["teacher/bits_per_byte"], **alike)
    short, (sentence,) = answers(run)[TEACHER]
    assert short == "That cannot be seen"
    assert "no difference that this data can show" in sentence


def test_teachers_of_several_settings_may_be_better_here_and_worse_there(factory, answers):
    runs = factory.run("sft-1"), factory.run("sft-2", student="medium", teacher="weak")
    factory.edit(runs[1].files["teacher/bits_per_byte"], **factory.scores("weak", 3.5))
    short, sentences = answers(*runs)[TEACHER]
    assert short == "It depends"
    assert "the teacher large" in sentences[0] and "the student medium" in sentences[1]


@pytest.mark.parametrize("whose, who", [("teacher", "large was not"), ("student", "small was not")])
def test_without_an_evaluation_nobody_knows_how_far_ahead_the_teacher_is(
    factory, answers, whose, who
):
    run = factory.run("sft-1")
    run.files[f"{whose}/bits_per_byte"].unlink()
    short, (sentence,) = answers(run)[TEACHER]
    assert short == "Not measured"
    assert sentence == (f"{who} evaluated on docs: how far ahead the teacher starts is not known.")


def test_a_student_without_a_teacher_is_told_as_such(factory, answers):
    short, sentences = answers(factory.run("sft-1", teacher=None))[TEACHER]
    assert (short, sentences) == ("Not measured", ["The student small has no teacher on docs."])


def test_a_run_without_a_teacher_beside_one_with_is_not_mentioned(factory, answers):
    runs = factory.run("sft-1", teacher=None), factory.run("bld-1", "bld")
    short, sentences = answers(*runs)[TEACHER]
    assert short == "Yes" and len(sentences) == 1


def test_a_clear_gain_is_told_with_its_interval_and_its_seeds(factory, answers):
    factory.spread = 0.0
    runs = factory.run("sft-1", level=2.5), factory.run("bld-1", "bld", level=2.4)
    short, (sentence,) = answers(*runs)[GAIN]
    assert short == "0.10 fewer bits per byte"
    assert sentence.startswith(
        "BLD with linear heads: 0.100 fewer bits per byte (95 % interval 0.100 to 0.100; seed 1) "
        "than SFT"
    )


def test_a_clear_loss_is_told_as_more_bits(factory, answers):
    short, (sentence,) = answers(factory.run("sft-1"), factory.run("bld-1", "bld", level=2.6))[GAIN]
    assert short.endswith("more bits per byte")
    assert " more bits per byte (95 % interval " in sentence and " than SFT" in sentence


def test_bounds_of_a_gain_are_told_smallest_first(factory, answers):
    _, (sentence,) = answers(factory.run("sft-1"), factory.run("bld-1", "bld", level=2.4))[GAIN]
    words = sentence.split()
    low, high = (float(words[words.index("interval") + place].strip(";")) for place in (1, 3))
    assert 0 < low < high


def test_no_winner_is_named_where_the_interval_holds_zero(factory, answers):
    noisy = factory.run("bld-1", "bld", scores={"spread": 0.5})
    short, (sentence,) = answers(factory.run("sft-1"), noisy)[GAIN]
    assert short == "Nothing that this data can show"
    assert sentence.startswith("BLD with linear heads: no difference that this data can show (")
    assert " against SFT" in sentence and "fewer bits" not in sentence


def test_a_small_gain_that_is_clear_does_not_read_as_none(factory, answers):
    factory.spread = 0.0
    short, _ = answers(factory.run("sft-1"), factory.run("bld-1", "bld", level=2.497))[GAIN]
    assert short == "0.003 fewer bits per byte"


def test_gains_of_several_methods_are_told_from_the_smallest_to_the_largest(factory, answers):
    factory.spread = 0.0
    runs = [factory.run("sft-1"), factory.run("bld-1", "bld", level=2.4),
            factory.run("bld-2", "bld", head="causal", level=2.2)]  # fmt: skip
    short, sentences = answers(*runs)[GAIN]
    assert short == "0.10 to 0.30 fewer bits per byte"
    assert len(sentences) == 2


def test_one_method_that_gains_and_one_that_loses_depend(factory, answers):
    runs = [factory.run("sft-1"), factory.run("bld-1", "bld", level=2.4),
            factory.run("bld-2", "bld", head="causal", level=2.6)]  # fmt: skip
    assert answers(*runs)[GAIN][0] == "It depends on the method"


def test_other_measures_are_told_in_words(factory, answers):
    runs = factory.run("sft-1", level=2.5), factory.run("bld-1", "bld", level=2.2)
    _, (sentence,) = answers(*runs)[GAIN]
    assert "; better in closeness to the teacher, recall and prose." in sentence


def test_other_measures_are_of_the_sft_run_that_the_sentence_is_about(factory, answers):
    slow = {"steps": 60, "learning_rate": 1e-9}
    runs = [factory.run("sft-1", level=2.5, questions=1.0),
            factory.run("sft-slow", level=2.9, questions=3.9, training=slow),
            factory.run("bld-1", "bld", level=2.4, questions=2.4)]  # fmt: skip
    _, sentences = answers(*runs)[GAIN]
    assert [sentence.count("recall") for sentence in sentences] == [1, 1]


def test_runs_of_one_method_with_other_settings_of_it_are_told_apart_by_them(factory, answers):
    runs = [factory.run("sft-1"), factory.run("bld-1", "bld", level=2.4),
            factory.run("heavy", "bld", level=2.3, own={"kl_weight": 4.0})]  # fmt: skip
    _, sentences = answers(*runs)[GAIN]
    assert [sentence.partition(":")[0] for sentence in sentences] == [
        "BLD with linear heads, kl weight 1", "BLD with linear heads, kl weight 4",
    ]  # fmt: skip


def test_runs_of_one_method_with_another_training_are_told_apart_by_it(factory, answers):
    longer = {"steps": 90, "learning_rate": 5e-4}
    runs = [factory.run("sft-1"), factory.run("bld-1", "bld", level=2.4),
            factory.run("long", "bld", level=2.3, training=longer)]  # fmt: skip
    _, sentences = answers(*runs)[GAIN]
    assert [sentence.partition(":")[0] for sentence in sentences] == [
        "BLD with linear heads, steps 60", "BLD with linear heads, steps 90",
    ]  # fmt: skip


def test_of_many_methods_the_best_are_told_and_the_others_pointed_at(factory, answers):
    methods = ["alm", "uld", "mined", "simct", "one_to_one"]
    runs = [factory.run(name, name, level=2.4 - at / 50) for at, name in enumerate(methods)]
    found = answers(factory.run("sft-1"), *runs)
    _, gains = found[GAIN]
    _, costs = found[COST]
    best = ["One-to-one", "SimCT with SFT", "MinED", "ULD"]
    assert [one.partition(":")[0] for one in gains[:-1]] == best
    assert [one.partition(" took")[0] for one in costs[:-2]] == best
    assert gains[-1] == costs[-2] == "The others stand in the table of methods."


def test_students_are_named_where_there_are_several(factory, answers):
    runs = [factory.run("sft-1"), factory.run("bld-1", "bld"),
            factory.run("sft-2", student="medium"), factory.run("bld-2", "bld", student="medium")]  # fmt: skip
    _, sentences = answers(*runs)[GAIN]
    assert ["on small" in one for one in sentences] == [True, False]
    assert "on medium" in sentences[1]


def test_plain_fine_tuning_alone_distils_nothing(factory, answers):
    found = answers(factory.run("sft-1"), factory.run("sft-2", seed=2))
    assert found[GAIN] == (
        "Not measured", ["Nothing was distilled: all runs are plain fine-tuning."],
    )  # fmt: skip
    assert found[COST] == ("Not measured", ["No two trainings can be compared."])
    assert found[CERTAINTY][0] == "1 seed, 200 documents"


def test_a_method_without_sft_cannot_be_compared(factory, build):
    page = build(factory.run("bld-1", "bld"))
    short, (sentence,) = page.answers()[GAIN]
    assert short == "Not measured"
    assert sentence == (
        "bld-1 cannot be compared: there is no evaluated SFT run with its student, corpus and seed."
    )
    assert "No two runs can be compared" in page.words()
    assert page.table("comparison") == []


def test_costs_are_told_as_ratios(factory, answers):
    short, (sentence, other) = answers(factory.run("sft-1"), factory.run("bld-1", "bld"))[COST]
    assert short == "2.25 times the training time"
    assert sentence == (
        "BLD with linear heads took 2.25 times as long to train as SFT and 1.50 times the memory, "
        "warm-up included."
    )
    assert other == "Scoring the teacher ahead of training, which runs share, is not in it."


def test_memory_is_left_out_where_it_was_not_noted(factory, answers):
    runs = factory.run("sft-1", costs={"peak_memory_bytes": None}), factory.run("bld-1", "bld")
    _, (sentence, _) = answers(*runs)[COST]
    assert "2.25 times as long" in sentence and "memory" not in sentence


def test_one_seed_is_said_to_be_one(factory, answers):
    short, sentences = answers(factory.run("sft-1"), factory.run("bld-1", "bld"))[CERTAINTY]
    assert short == "1 seed, 200 documents"
    assert "each comparison has one seed only" in sentences[0]
    assert sentences[1].startswith(
        "Of comparisons in which there is nothing to find, one in twenty"
    )
    assert sentences[1].endswith("here are 4.")
    assert sentences[2] == "One warning on this page."


def test_several_seeds_are_counted(factory, answers):
    runs = [factory.run(f"{method}-{seed}", method, seed=seed)
            for seed in (1, 2) for method in ("sft", "bld")]  # fmt: skip
    short, sentences = answers(*runs)[CERTAINTY]
    assert short == "2 seeds, 200 documents"
    assert len(sentences) == 2 and "one seed only" not in sentences[0]


def test_one_document_leaves_the_interval_unknown(factory, answers):
    factory.sizes_D, factory.difficulty_D = factory.sizes_D[:1], factory.difficulty_D[:1]
    found = answers(factory.run("sft-1"), factory.run("bld-1", "bld", level=1.5))
    assert found[GAIN][0] == "Nothing that this data can show"
    assert "95 % interval unknown from one document" in found[GAIN][1][0]


def test_a_run_that_cannot_be_compared_is_told_with_the_reason(factory, answers):
    ids = [f"other-{number}" for number in range(len(factory.sizes_D))]
    runs = [factory.run("sft-1"), factory.run("failed", "uld"),
            factory.run("elsewhere", "bld", scores={"ids": ids}),
            factory.run("alone", "mined", seed=2)]  # fmt: skip
    runs[1].files["run/bits_per_byte"].unlink()
    assert answers(*runs)[GAIN][1] == [
        "failed cannot be compared: it was not evaluated.",
        "elsewhere cannot be compared: sft-1 was evaluated on other documents.",
        "alone cannot be compared: there is no evaluated SFT run with its student, corpus and seed.",
    ]


def test_a_failed_baseline_does_not_hide_what_its_other_seeds_show(factory, answers):
    runs = [factory.run(f"{method}-{seed}", method, seed=seed, level=level)
            for method, level in (("sft", 2.5), ("bld", 2.4)) for seed in (1, 2)]  # fmt: skip
    runs[0].files["run/bits_per_byte"].unlink()
    gain, left_out = answers(*runs)[GAIN][1]
    assert "fewer bits per byte" in gain and "seed 2)" in gain
    assert left_out.startswith("bld-1 cannot be compared: there is no evaluated SFT run")


def test_an_average_of_teachers_is_told_to_be_judged_by_bytes(factory, build):
    run, other = factory.run("sft-1"), factory.run("sft-2", seed=2)
    plain = build(run, other)
    for one in (run, other):
        del one.files["alignment"]
    page = build(run, other)
    (sentence,) = page.answers()[TEACHER][1]
    assert " bits per byte (by bytes, as it averages models) and the student small" in sentence
    (note,) = [one for one in page.notes() if "averages several models" in one]
    assert note.startswith("The teacher large") and "By bytes" in note
    assert "but for teachers that average several" in page.words()
    assert "averag" not in " ".join([*plain.notes(), *plain.answers()[TEACHER][1]])
    assert "for every model on this page. " in plain.words()


def test_many_runs_that_were_not_evaluated_share_a_sentence(build, factory):
    runs = [factory.run("sft-1"), *(factory.run(f"bld-{n}", "bld", seed=n) for n in range(1, 7))]
    for run in runs[2:]:
        run.files["run/bits_per_byte"].unlink()
    page = build(*runs)
    said = page.words(page.root)
    assert "5 runs cannot be compared, bld-2 among them: it was not evaluated." in said
