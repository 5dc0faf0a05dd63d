import copy
from pathlib import Path

import pytest
import yaml

from bld.config import Settings
from bld.config_checks import ConfigError, read_settings

CONFIG = Path(__file__).parents[2] / "config"
DEFAULT = yaml.safe_load((CONFIG / "config.yaml").read_text())


def settings(**sections):
    return read_settings(copy.deepcopy(DEFAULT) | sections)


def run(**own):
    return {"method": "bld", "student": "demo", "teacher": "demo", "corpus": "python_docs", **own}


def test_a_run_takes_what_it_does_not_say_from_the_common_sections():
    made = settings(
        training={"steps": 7, "batch_size": 6, "micro_batch_size": 3},
        bld={"kl_weight": 0.5},
        runs={"own": run(training={"steps": 9}, bld={"byte_weight": 2.0}), "common": run()},
    )
    own, common = made.runs["own"], made.runs["common"]
    assert (own.training.steps, own.training.batch_size) == (9, 6)
    assert (own.bld.byte_weight, own.bld.kl_weight) == (2.0, 0.5)
    assert (common.training, common.bld, common.warmup) == (made.training, made.bld, made.warmup)


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


def test_the_default_and_the_experiments_have_no_mistakes():
    for path in [CONFIG / "config.yaml", *sorted((CONFIG / "experiments").glob("*.yaml"))]:
        read_settings(yaml.safe_load(path.read_text()))
