import copy
import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from bld.config.checks import ConfigError, read_settings
from bld.config.documents import UnknownEntryError, hint
from bld.config.settings import Methods, Settings
from bld.pipeline.targets import MAPS

CONFIG = Path(__file__).parents[3] / "config"
DEFAULT = yaml.safe_load((CONFIG / "config.yaml").read_text())


def settings(**sections):
    return read_settings(copy.deepcopy(DEFAULT) | sections)


def run(**own):
    return {
        "method": "bld",
        "student": "swapped",
        "teacher": "demo",
        "corpus": "python_docs",
        **own,
    }


def test_a_run_takes_what_it_does_not_say_from_the_common_sections():
    made = settings(
        training={"steps": 7, "batch_size": 6, "micro_batch_size": 3},
        bld={"kl_weight": 0.5},
        runs={"own": run(training={"steps": 9}, bld={"byte_weight": 2.0}), "common": run()},
    )
    own, common = made.runs["own"], made.runs["common"]
    assert (own.training.steps, own.training.batch_size) == (9, 6)
    assert (own.bld.byte_weight, own.bld.kl_weight) == (2.0, 0.5)
    assert (common.training, common.bld, common.head_warmup) == (
        made.training,
        made.bld,
        made.head_warmup,
    )


def test_a_run_overrides_single_settings_however_deep():
    lora = {"rank": 4, "alpha": 8, "targets": ["q_proj"], "embeddings": True}
    made = settings(
        training={"lora": lora},
        runs={
            "own": run(training={"lora": {"rank": 2}}),
            "without": run(training={"lora": None}),
        },
    )
    assert made.runs["own"].training.lora.model_dump() == lora | {"rank": 2}
    assert made.runs["without"].training.lora is None


@pytest.mark.parametrize(
    "section, name, told",
    [
        ("runs", "blt", "there is no `blt` under `runs`; did you mean `bld`?"),
        ("teachers", "demon", "there is no `demon` under `teachers`; did you mean `demo`?"),
        ("students", "x", "there is no `x` under `students`; there are `swapped`"),
    ],
)
def test_an_entry_that_is_not_there_is_told_with_the_one_that_is_meant(section, name, told):
    with pytest.raises(UnknownEntryError, match=re.escape(told)):
        getattr(settings(), section)[name]


def test_a_runs_own_settings_are_those_of_its_method_and_of_no_other():
    made = settings(training={}, runs={"a": run(alm={"token_weight": 0.5}), "s": run(method="sft")})
    whole = made.runs["a"].model_dump()
    assert made.runs["a"].own().keys() == whole.keys() - (Methods.model_fields.keys() - {"bld"})
    assert not made.runs["s"].own().keys() & Methods.model_fields.keys()
    assert "alm" not in made.runs["a"].own(exclude_defaults=True)


def test_every_map_that_a_method_reads_has_a_module_that_makes_it():
    assert MAPS == ["mined", "x_token"]
    assert all(callable(import_module(f"bld.tokenization.maps.{kind}").make_map) for kind in MAPS)


def test_old_names_are_accepted_with_one_hint_each(capsys):
    hint.cache_clear()
    old, new = copy.deepcopy(DEFAULT), copy.deepcopy(DEFAULT)
    for split in old["corpora"]["python_docs"]["splits"].values():
        split["share"] = split.pop("fraction")
    old["warmup"] = old.pop("head_warmup")
    teacher = old["teachers"]["demo"]
    teacher["keep_mass"], teacher["keep_symbols"] = (
        teacher.pop("top_p"),
        teacher.pop("top_k_symbols"),
    )
    teacher["keep_tokens"] = new["teachers"]["demo"]["top_k_tokens"] = 8
    old["runs"]["bld"]["warmup"] = new["runs"]["bld"]["head_warmup"] = {"steps": 3}
    assert read_settings(old) == read_settings(new)
    hints = capsys.readouterr().err.splitlines()
    assert len(hints) == 5
    assert (
        "Configuration: `share` is now called `fraction`; the old name is accepted until 0.3."
        in hints
    )


def test_an_old_name_beside_the_new_one_is_a_mistake():
    with pytest.raises(ConfigError, match=r"head_warmup") as caught:
        settings(warmup={"steps": 3})
    assert len(str(caught.value).splitlines()) == 2


def test_a_run_and_the_common_section_may_use_different_names():
    common = DEFAULT | {"warmup": {"steps": 3}, "training": {}}
    del common["head_warmup"]
    made = read_settings(common | {"runs": {"bld": run(head_warmup={"train_body": True})}})
    assert made.runs["bld"].head_warmup == made.head_warmup.model_copy(update={"train_body": True})


def test_what_is_left_out_has_its_default():
    bare = {key: DEFAULT[key] for key in ("corpora", "models", "students")}
    made = Settings.model_validate(bare | {"runs": {"bld": run()}})
    assert (made.training, made.teachers) == (Settings.model_fields["training"].default, {})
    assert made.runs["bld"].train_split == "train"


@pytest.mark.parametrize("written", ["3e-4", "3.0e-4", "0.0003", "'3e-4'"])
def test_a_number_means_the_same_however_it_is_written(written):
    assert (
        settings(training=yaml.safe_load(f"learning_rate: {written}")).training.learning_rate
        == 3e-4
    )


def test_settings_cannot_be_changed_once_they_are_read():
    with pytest.raises(ValueError, match="frozen"):
        settings().training.steps = 3


def test_teachers_and_evaluations_sum_prefix_histories_and_the_audit_all_of_them():
    made = Settings.model_validate(
        {key: DEFAULT[key] for key in ("corpora", "models", "students")}
        | {"runs": {"bld": run()}, "teachers": {"demo": {"model": "teacher"}}}
    )
    policies = [made.teachers["demo"], made.evaluation, made.audit]
    assert [one.histories for one in policies] == ["prefix"] * 3
    assert [one.eps for one in policies] == [1e-3, 0, 0]


@pytest.mark.parametrize("mistake", [{"steps": 0}, {"micro_batch_size": 10**6}])
def test_one_mistake_in_a_common_section_is_told_once_and_not_for_every_run(mistake):
    with pytest.raises(ConfigError, match="1 problem in the configuration") as caught:
        settings(training=DEFAULT["training"] | mistake)
    assert len(str(caught.value).splitlines()) == 2


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ConfigError, match="3 problems in the configuration") as caught:
        settings(training={"steps": 0}, runs={"sft": run(method="stf")}, nonsense=1)
    assert len(str(caught.value).splitlines()) == 4


DEVELOPED = {"development_split": "development", "training": {"evaluate_every": 10}}
FINE = {
    "offload at the stages that can": [
        run(training={"offload": "optimizer", "zero_stage": stage}) for stage in (1, 2, 3)
    ]
    + [run(training={"offload": "parameters", "zero_stage": 3})],
    "a head for a student with tokens": [
        run(bld={"head": head}) for head in ("linear", "causal", "marginal")
    ],
    "the histories of a headless student": [
        run(bld={"head": "marginal", "histories": histories}) for histories in ("trunk", "prefix")
    ],
    "one weight that is left": [
        run(bld=dict.fromkeys(("token_weight", "byte_weight", "kl_weight"), 0) | {weight: 1})
        for weight in ("token_weight", "byte_weight", "kl_weight")
    ],
    "an evaluation on the way": [run(**DEVELOPED), run(**DEVELOPED, head_warmup={"patience": 2})],
    # Common sections hold for runs that do not read all of them.
    "a patience of nobody": [
        run(method="sft", head_warmup={"patience": 2}),
        run(bld={"head": "marginal"}, head_warmup={"patience": 2}),
    ],
    "histories of nobody": [run(method="sft", bld={"histories": "prefix"})],
    "low-rank updates": [run(training={"lora": {}}), run(training={"lora": None})],
}


@pytest.mark.parametrize("runs", FINE.values(), ids=FINE)
def test_settings_that_fit_each_other_are_no_mistakes(runs):
    common = {section: {} for section in ("training", "head_warmup", "bld")}
    settings(runs={f"run-{i}": one for i, one in enumerate(runs)}, **common)


@pytest.mark.parametrize(
    "student",
    [
        {"tokenizer": tokenizer, "initialisation": initialisation, "pad_vocabulary_to": 64}
        for tokenizer in ("bytes", "other")
        for initialisation in ("fvt", "mean", "random")
    ],
    ids=lambda student: f"{student['tokenizer']}-{student['initialisation']}",
)
def test_a_new_vocabulary_starts_and_is_padded_as_wanted(student):
    head = "output" if student["tokenizer"] == "bytes" else "linear"
    made = settings(
        students={"swapped": {"model": "teacher"} | student},
        training={},
        runs={"bld": run(bld={"head": head})},
    )
    assert made.students["swapped"].initialisation == student["initialisation"]


def test_a_live_teacher_is_fine_for_every_run():
    teacher = DEFAULT["teachers"]["demo"] | {"mode": "live"}
    assert settings(teachers={"demo": teacher}).teachers["demo"].mode == "live"


def test_the_default_and_the_experiments_have_no_mistakes():
    for path in [CONFIG / "config.yaml", *sorted((CONFIG / "experiments").rglob("*.yaml"))]:
        read_settings(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize("name", ["t1", "t3"])
def test_every_method_can_be_laid_over_an_experiment_of_the_paper(name):
    base, over = (
        yaml.safe_load((CONFIG / folder / f"{name}.yaml").read_text())
        for folder in ("experiments", "methods")
    )
    teacher = next(iter(over["teachers"]))
    base["teachers"][teacher] |= over["teachers"][teacher]
    found = read_settings(base | {"runs": base["runs"] | over["runs"]})
    assert {run.method for run in found.runs.values()} == {"sft", *Methods.model_fields}
    assert {run.seed for run in found.runs.values()} == {0, 1, 2}


def test_all_methods_are_compared_over_three_seeds():
    found = read_settings(yaml.safe_load((CONFIG / "experiments/compare.yaml").read_text()))
    assert {run.method for run in found.runs.values()} == {"sft", *Methods.model_fields}
    assert len(found.runs) == 3 * len({name.rpartition("_")[0] for name in found.runs})
