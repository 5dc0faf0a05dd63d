"""The paper's benchmarks, as the experiments state them, against lm-eval's own definitions."""

from pathlib import Path

import pytest
import yaml

from bld.evaluation.benchmarks.tasks import data_of

EXPERIMENTS = Path(__file__).parents[3] / "config/experiments"
PAPER = {
    "t1": ["piqa", "arc_challenge", "boolq", "mmlu", "agieval_en", "agieval_zh", "ifeval"],
    "t2": ["piqa", "arc_challenge", "boolq", "mmlu", "agieval_en", "agieval_zh", "ifeval"],
    "t3": ["gsm8k", "math"],
}


@pytest.mark.parametrize("name", PAPER)
def test_the_paper_s_benchmarks_name_the_data_that_their_tasks_read(name):
    benchmarks = yaml.safe_load((EXPERIMENTS / f"{name}.yaml").read_text())["benchmarks"]
    assert list(benchmarks) == PAPER[name]
    for benchmark in benchmarks.values():
        assert benchmark["data"].keys() == data_of(benchmark["task"])
        # Stated for every task, and not left to what the harness happens to do.
        assert {"few_shot", "chat_template", "metric"} <= benchmark.keys()


def test_the_first_two_experiments_are_judged_alike():
    first, second = (
        yaml.safe_load((EXPERIMENTS / f"{name}.yaml").read_text())["benchmarks"]
        for name in ("t1", "t2")
    )
    assert first == second
