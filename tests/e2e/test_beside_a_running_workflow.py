"""What may be asked for while the workflow runs: its trainings, and a page of what there is."""

import os
import signal
import subprocess
import time

import pytest
import yaml


@pytest.fixture(scope="module")
def training(copied):
    """A training that goes on for long in the folder of the demo, under another name than its runs
    have."""
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
            # A shell lets what it starts in the background ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    for _ in range(120):
        if list(copied.folder.glob("logs/tensorboard/distill/long/*")):
            break
        assert running.poll() is None, (copied.folder / "long.log").read_text()
        time.sleep(1)
    yield copied
    os.killpg(running.pid, signal.SIGINT)
    running.wait(120)


def test_its_trainings_are_shown(training):
    [events] = (training.folder / "logs/tensorboard/distill/long").iterdir()
    assert events.stat().st_size > 0


def test_a_page_is_made_of_what_there_is_and_names_the_run_that_has_not_ended(training):
    training.run(
        *["snakemake", "report_so_far", "--cores", "1", "--configfile", "long.yaml"],
    )
    text = (training.folder / "results/report/index.html").read_text()
    assert "long was not trained to its end" in text
    assert "BLD without a head" in text
