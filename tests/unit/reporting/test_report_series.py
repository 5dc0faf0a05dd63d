"""Runs are called by their method, and by what tells runs of one method apart."""

import pytest

from bld.config.settings import Run
from bld.reporting.series import flat, label, series_of


def run_of(method, teacher="large", student="small", sampling=None, training=None, **own):
    about = {"method": method, "teacher": teacher, "student": student, "corpus": "docs"}
    about |= {"sampling": sampling or {}, "training": training or {}}
    return Run.model_validate(about | ({method: own} if own else {}))


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
    ],
)
def test_a_run_by_itself_is_called_by_its_method(run, series, words):
    assert named(run_of(**run)) == [series]
    assert label(series) == words


def test_settings_of_the_method_that_differ_are_said_and_no_others():
    runs = [
        run_of("uld", distance_weight=1.0, token_weight=4.0, mask_end=True),
        run_of("uld", distance_weight=1.5, token_weight=4.0, mask_end=False),
        run_of("mined", token_weight=3.0),
    ]
    assert named(*runs) == [
        "uld, distance weight 1, mask end on",
        "uld, distance weight 1.5, mask end off",
        "mined",
    ]
    words = "ULD, distance weight 1.5, mask end off"
    assert label("uld, distance weight 1.5, mask end off") == words


def test_a_series_without_a_label_keeps_its_name():
    assert label("brand_new") == "brand_new"


def test_settings_that_two_kinds_differ_in_by_nature_are_not_said_again():
    heads = [run_of("bld", head=head, kl_weight=0.1) for head in ("linear", "marginal")]
    assert named(*heads) == ["bld linear", "bld marginal"]


def test_settings_of_other_methods_and_seeds_tell_nothing_apart():
    about = {"method": "sft", "student": "small", "corpus": "docs"}
    second = about | {"seed": 2, "uld": {"distance_weight": 4.0}}
    assert named(*map(Run.model_validate, (about, second))) == ["sft", "sft"]


def test_nested_settings_have_dotted_names():
    runs = [run_of("mined", training={"lora": {"rank": rank, "alpha": 8}}) for rank in (1, 2)]
    assert named(*runs) == ["mined, lora.rank 1", "mined, lora.rank 2"]
    assert dict(flat({"map": {"size": 3}})) == {"map.size": 3}


def test_on_policy_runs_are_told_apart_by_how_they_sample():
    runs = [run_of("uld", sampling={"on_policy": 0.5, "prompt_bytes": x}) for x in (32, 64)]
    assert named(*runs, run_of("uld")) == [
        "uld on-policy, sampling.prompt bytes 32",
        "uld on-policy, sampling.prompt bytes 64",
        "uld",
    ]


def test_a_temperature_of_sampling_is_not_that_of_the_method():
    sampling = {"on_policy": 0.5, "temperature": 0.6}
    both = [run_of("alm", temperature=x, sampling=sampling) for x in (100, 50)]
    assert named(*both) == ["alm on-policy, temperature 100", "alm on-policy, temperature 50"]
    assert named(both[0]) == ["alm on-policy"]


def test_how_runs_of_one_student_are_trained_is_told_where_they_differ_but_for_sft():
    slow, fast = ({"learning_rate": x, "steps": 2} for x in (0.001, 0.002))
    runs = [run_of("uld", training=one) for one in (slow, fast)]
    elsewhere = run_of("uld", student="medium", training=fast)
    of_sft = [run_of("sft", training=one) for one in (slow, fast)]
    assert named(*runs, elsewhere, *of_sft) == [
        "uld, learning rate 0.001",
        "uld, learning rate 0.002",
        "uld",
        "sft",
        "sft",
    ]


def test_teachers_are_named_where_several_teach_one_student_and_never_for_sft():
    runs = [run_of("uld", teacher="one"), run_of("uld", teacher="both")]
    elsewhere = run_of("uld", teacher="third", student="medium")
    of_sft = [run_of("sft", teacher="one"), run_of("sft", teacher="both")]
    assert named(*runs, elsewhere, *of_sft) == [
        "uld, teacher one",
        "uld, teacher both",
        "uld",
        "sft",
        "sft",
    ]


def test_the_order_of_runs_changes_no_name():
    runs = {"a": run_of("uld", distance_weight=1.0), "b": run_of("uld", distance_weight=2.0)}
    assert series_of(runs) == series_of(dict(reversed(runs.items())))
