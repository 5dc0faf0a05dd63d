"""Runs are called by their method, and by what tells runs of one method apart."""

import pytest

from bld.reporting.series import label, series_of


def settings(method, teacher="large", student="small", sampling=None, **own):
    about = {"method": method, "teacher": teacher, "student": student, "corpus": "docs"}
    return about | {method: own, "sampling": sampling or {"on_policy": 0.0}}


def named(*runs):
    return list(series_of({str(at): run for at, run in enumerate(runs)}).values())


@pytest.mark.parametrize(
    "run, series, words",
    [
        ({"method": "sft"}, "sft", "SFT"),
        ({"method": "bld", "head": "causal"}, "bld causal", "BLD with causal heads"),
        (
            {"method": "bld", "head": "marginal", "shared_weight": 1.0},
            "bld marginal + one_to_one",
            "BLD and one-to-one",
        ),
        (
            {"method": "bld", "head": "linear", "shared_weight": 0.5},
            "bld linear + one_to_one",
            "BLD with linear heads and one-to-one",
        ),
        ({"method": "alm", "token_weight": 1.0}, "alm", "ALM with SFT"),
        ({"method": "alm", "token_weight": 0.0}, "alm plain", "ALM"),
        ({"method": "uld", "token_weight": 0.0}, "uld plain", "ULD, plain"),
        ({"method": "mined"}, "mined", "MinED"),
        ({"method": "one_to_one"}, "one_to_one", "One-to-one"),
        ({"method": "x_token", "loss": "p_kl"}, "x_token p-kl", "X-Token, P-KL"),
        ({"method": "x_token", "loss": "h_kl"}, "x_token h-kl", "X-Token, H-KL"),
        (
            {"method": "simct", "sampling": {"on_policy": 0.5}, "token_weight": 0.0},
            "simct plain on-policy",
            "SimCT, on-policy",
        ),
        (
            {"method": "uld", "sampling": {"on_policy": 1.0}, "token_weight": 0.0},
            "uld plain on-policy",
            "ULD, plain, on-policy",
        ),
        ({"method": "brand_new"}, "brand_new", "brand_new"),
    ],
)
def test_a_run_by_itself_is_called_by_its_method(run, series, words):
    assert named(settings(**run)) == [series]
    assert label(series) == words


def test_settings_of_the_method_that_differ_are_said_and_no_others():
    runs = [
        settings("uld", weight=1.0, top=4, exact=True),
        settings("uld", weight=1.5, top=4, exact=False),
        settings("mined", weight=3.0, top=9, exact=True),
    ]
    assert named(*runs) == ["uld, weight 1, exact on", "uld, weight 1.5, exact off", "mined"]
    assert label("uld, weight 1.5, exact off") == "ULD, weight 1.5, exact off"


def test_settings_that_two_kinds_differ_in_by_nature_are_not_said_again():
    heads = [settings("bld", head=head, kl_weight=0.1) for head in ("linear", "marginal")]
    assert named(*heads) == ["bld linear", "bld marginal"]


def test_settings_of_other_methods_and_seeds_tell_nothing_apart():
    first, second = settings("sft") | {"seed": 1}, settings("sft") | {"seed": 2}
    second["uld"] = {"weight": 4.0}
    assert named(first, second) == ["sft", "sft"]


def test_nested_settings_have_dotted_names():
    runs = [settings("mined", map={"distance": far}) for far in (1, 2)]
    assert named(*runs) == ["mined, map.distance 1", "mined, map.distance 2"]


def test_on_policy_runs_are_told_apart_by_how_they_sample():
    runs = [settings("uld", sampling={"on_policy": 0.5, "prompt_bytes": x}) for x in (32, 64)]
    assert named(*runs, settings("uld")) == [
        "uld on-policy, sampling.prompt bytes 32",
        "uld on-policy, sampling.prompt bytes 64",
        "uld",
    ]


def test_a_temperature_of_sampling_is_not_that_of_the_method():
    sampling = {"on_policy": 0.5, "temperature": 0.6}
    both = [settings("alm", temperature=x, sampling=sampling) for x in (100, 50)]
    assert named(*both) == ["alm on-policy, temperature 100", "alm on-policy, temperature 50"]
    assert named(both[0]) == ["alm on-policy"]


def test_how_runs_of_one_student_are_trained_is_told_where_they_differ_but_for_sft():
    slow, fast = ({"training": {"learning_rate": x, "steps": 2}} for x in (0.001, 0.002))
    runs = [settings("uld") | one for one in (slow, fast)]
    elsewhere = settings("uld", student="medium") | fast
    of_sft = [settings("sft") | one for one in (slow, fast)]
    assert named(*runs, elsewhere, *of_sft) == [
        "uld, learning rate 0.001",
        "uld, learning rate 0.002",
        "uld",
        "sft",
        "sft",
    ]


def test_teachers_are_named_where_several_teach_one_student_and_never_for_sft():
    runs = [settings("uld", teacher="one"), settings("uld", teacher="both")]
    elsewhere = settings("uld", teacher="third", student="medium")
    of_sft = [settings("sft", teacher="one"), settings("sft", teacher="both")]
    assert named(*runs, elsewhere, *of_sft) == [
        "uld, teacher one",
        "uld, teacher both",
        "uld",
        "sft",
        "sft",
    ]


def test_the_order_of_runs_changes_no_name():
    runs = {"a": settings("uld", weight=1.0), "b": settings("uld", weight=2.0)}
    assert series_of(runs) == series_of(dict(reversed(runs.items())))
