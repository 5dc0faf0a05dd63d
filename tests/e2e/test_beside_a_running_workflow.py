"""What may be asked for while the workflow runs: a view of its trainings, and a page of what there is."""

import os
import signal
import subprocess
import time

import pytest
import yaml


@pytest.fixture(scope="module")
def training(copied):
    """A training that goes on for long in the folder of the demo, under another name than its runs have."""
    configuration = yaml.safe_load((copied.folder / "config/config.yaml").read_text())
    long = configuration["runs"]["sft"] | {"training": {"steps": 5000}, "seed": 7}
    configuration["runs"]["long"] = long
    (copied.folder / "long.yaml").write_text(yaml.safe_dump(configuration, sort_keys=False))
    command = ["snakemake", "results/runs/long/model/manifest.json", "--cores", "1"]
    with (copied.folder / "long.log").open("w") as log:
        running = subprocess.Popen(
            [*command, "--configfile", "long.yaml"],
            cwd=copied.folder,
            env=copied.env,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    for _ in range(120):
        if list(copied.folder.glob("checkpoints/distill/long/*/live.jsonl")):
            break
        assert running.poll() is None, (copied.folder / "long.log").read_text()
        time.sleep(1)
    yield copied
    os.killpg(running.pid, signal.SIGINT)
    running.wait(120)


def test_its_trainings_are_watched(training):
    screen = training.folder / "screen.txt"
    with screen.open("w") as output:
        watching = subprocess.Popen(
            ["snakemake", "watch", "--cores", "1", "--quiet", "all"],
            cwd=training.folder,
            env=training.env | {"COLUMNS": "100"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        for _ in range(120):
            if "distill/long" in screen.read_text():
                break
            assert watching.poll() is None, screen.read_text()
            time.sleep(1)
        os.killpg(watching.pid, signal.SIGINT)
        watching.wait(60)
    finally:
        if watching.poll() is None:
            os.killpg(watching.pid, signal.SIGKILL)
    shown = screen.read_text()
    assert "distill/long" in shown and "of 5,000 steps" in shown


def test_a_page_is_made_of_what_there_is_and_names_the_run_that_has_not_ended(training):
    training.run(
        *["snakemake", "report_so_far", "--cores", "1", "--configfile", "long.yaml"],
    )
    text = (training.folder / "results/report/index.html").read_text()
    assert "long has not been trained to the end" in text
    assert "BLD without a head" in text
