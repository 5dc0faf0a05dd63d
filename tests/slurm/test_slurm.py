"""The path of a researcher on a cluster: `snakemake --profile slurm`, on a real SLURM of emulated
nodes, every job in a conda environment (by the stand-in), and what happens to jobs there."""

import json
import subprocess
from itertools import pairwise

import pandas as pd
import pytest
from safetensors.torch import load_file

NAMES = ["whole", "limited", "forsaken", "on_two_nodes", "lost_its_node", "lost_its_turn"]
STEPS = 700  # more than fit into a minute, with what comes before and after them
TRAINED = "results/runs/{}/model/manifest.json"


@pytest.fixture(scope="module")
def site(cluster, new_site, tiny):
    """The chain, run to its end by the user's own command."""
    site = new_site(tiny)
    site.first = site.snakemake()
    training = {"steps": STEPS, "precision": "fp32", "evaluate_every": 0, "micro_batch_size": 1}
    # At ten times the rate, differences of rounding grow from step to step.
    training["learning_rate"] = 1e-4
    # The same training under several names: what is not read differs.
    runs = {
        name: tiny["runs"]["t1_sft"]
        | {"seed": 1, "training": training | {"evaluate_documents": number}}
        for number, name in enumerate(NAMES, start=1)
    }
    configuration = tiny | {"runs": tiny["runs"] | runs}
    site.configuration.write_text(json.dumps(configuration))
    return site


def weights(site, run):
    return load_file(site.folder / f"results/runs/{run}/model/model.safetensors")


def seconds(job, name):
    return pd.Timestamp(job[name]).timestamp()


@pytest.fixture(scope="module")
def whole(site):
    """A training that nothing interrupts."""
    site.snakemake(TRAINED.format("whole"))
    [job] = site.jobs("distill_wildcards_whole")
    assert job["JobState"] == "COMPLETED"
    return weights(site, "whole")


def equal(found, expected):
    return found.keys() == expected.keys() and all(
        found[name].equal(expected[name]) for name in expected
    )


def test_the_command_as_typed_makes_everything_by_jobs_with_what_their_rules_ask_for(site):
    for made in ("report/index.html", "archive/t1.crate.zip", "runs/t1_bld/model/README.md"):
        assert (site.folder / "results" / made).exists()
    rules = [path.name for path in (site.folder / "logs").iterdir()]
    of_cpus = ("build_split", "train_tokenizer", "prepare_student", "render_split")
    for rule in (*of_cpus, "gather_cache", "report"):
        for job in site.jobs(rule):
            assert (job["Partition"], job["Account"]) == ("cpu", "ci")
            assert "TresPerJob" not in job
    for rule in (
        "pretrain",
        "score_teacher",
        "warm_up",
        "distill",
        "evaluate_bits_per_byte",
        "audit_cache",
    ):
        assert rule in rules
        for job in site.jobs(rule):
            assert (job["Partition"], job["TresPerJob"]) == ("gpu", "gres:gpu:1")


def test_the_shards_of_a_scoring_are_one_job_array(site):
    jobs = site.jobs("score_teacher")
    assert len(jobs) == 5  # four shards to train on and one to look at on the way
    assert len({job["ArrayJobId"] for job in jobs}) == 1


def test_without_accounts_the_state_of_jobs_is_asked_of_squeue_and_said(site):
    assert "This cluster keeps no accounts: squeue tells how jobs are" in site.first


def test_no_job_tries_to_reach_another_machine(site, network_log):
    assert not network_log.exists()


@pytest.mark.parametrize(
    "before, after",
    [
        ("'gpu'", "'other-partition'"),
        ("'ci'", "'other-account'"),
        ("gpu: 1", "gpu: 8"),
        ("gpu: 1", "{gpu: 8, nodes: 2, tasks: 2, tasks_per_gpu: 0, mpi: srun}"),
        ("runtime: 1440 * attempt", "runtime: 60"),
        ("64000 * attempt", "1000"),
        ("retries: 3", "retries: 9"),
    ],
)
def test_where_and_how_jobs_run_makes_nothing_stale(site, tiny, before, after):
    profile, configuration = site.profile.read_text(), site.configuration.read_text()
    assert before in profile
    if after.startswith("{"):
        after = after.strip("{}").replace(", ", "\n    ")
    site.profile.write_text(profile.replace(before, after))
    site.configuration.write_text(json.dumps(tiny))
    try:
        assert "Nothing to be done" in site.snakemake("--dry-run")
    finally:
        site.profile.write_text(profile)
        site.configuration.write_text(configuration)


# On a busy machine little of each minute is left for steps.
@pytest.mark.timeout(3600)
def test_a_training_with_too_little_time_is_sent_again_and_ends_in_the_same_weights(site, whole):
    profile = site.profile.read_text()
    site.edit_profile(rules={"distill": {"runtime": "1 * attempt"}}, retries=0)
    try:
        site.snakemake(TRAINED.format("limited"))
    finally:
        site.profile.write_text(profile)
    jobs = site.jobs("distill_wildcards_limited")
    assert len(jobs) > 1 and {job["TimeLimit"] for job in jobs} == {"00:01:00"}
    assert {job["MinMemoryNode"] for job in jobs} == {"125G"}
    assert [job["JobState"] for job in jobs] == ["FAILED"] * (len(jobs) - 1) + ["COMPLETED"]
    assert equal(weights(site, "limited"), whole)
    record = json.loads(
        (site.folder / TRAINED.format("limited")).with_suffix(".record.json").read_text()
    )
    assert record["scheduler"] == "slurm"
    assert [attempt["job"] for attempt in record["attempts"]] == [job["JobId"] for job in jobs]


def test_a_killed_snakemake_and_a_cancelled_job_lose_nothing_and_never_make_two_trainers(
    site, whole
):
    log = "logs/distill/forsaken.log"
    profile = site.profile.read_text()
    site.edit_profile(slurm_jobname_prefix="my-project")
    process = site.start(TRAINED.format("forsaken"))
    site.wait_for(log, rf"distill: .* 0/{STEPS}", process)
    site.kill(process)
    [first] = site.jobs("distill_wildcards_forsaken")
    assert first["JobState"] == "RUNNING"
    site.snakemake("--unlock")

    (site.folder / log).unlink()
    process = site.start(TRAINED.format("forsaken"))
    site.wait_for("snakemake.log", f"asked to save and to end: {first['JobId']}", process)
    site.wait_for(
        log, rf"distill: .* [1-9]\d*/{STEPS}", process
    )  # it goes on where the first saved
    second = site.jobs("distill_wildcards_forsaken")[-1]
    subprocess.run(["scancel", second["JobId"]], check=True)
    assert process.wait() == 0, site.printed()
    site.profile.write_text(profile)
    jobs = site.jobs("distill_wildcards_forsaken")
    assert [job["JobState"] for job in jobs] == ["CANCELLED", "CANCELLED", "COMPLETED"]
    for job, following in pairwise(jobs):
        assert seconds(job, "EndTime") <= seconds(following, "StartTime")
    assert equal(weights(site, "forsaken"), whole)


def test_two_nodes_by_an_edit_of_the_profile_train_as_one_does(site, whole):
    profile = site.profile.read_text()
    several = {"gpu": 2, "nodes": 2, "tasks": 2, "tasks_per_gpu": 0, "mpi": "srun"}
    site.edit_profile(rules={"distill": several})
    site.snakemake(TRAINED.format("on_two_nodes"))
    site.profile.write_text(profile)
    [job] = site.jobs("distill_wildcards_on_two_nodes")
    assert (job["NumNodes"], job["TresPerJob"]) == ("2", "gres:gpu:2")
    metrics = {
        run: pd.read_parquet(site.folder / f"results/runs/{run}/metrics.parquet")
        for run in ("whole", "on_two_nodes")
    }
    losses = [table["loss"].to_numpy() for table in metrics.values()]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_a_job_that_is_killed_for_its_memory_is_sent_again_with_more(cluster, new_site, tiny):
    site = new_site(tiny)
    site.edit_profile(
        default_resources={
            "slurm_account": "ci",
            "slurm_partition": "cpu",
            "mem_mb": "150 * attempt ** 4",
            "runtime": 10,
        }
    )
    split = "results/corpora/python_docs/validation/manifest.json"
    site.snakemake(split)
    killed, *_, last = site.jobs("build_split")
    assert (killed["JobState"], last["JobState"]) == ("OUT_OF_MEMORY", "COMPLETED")
    assert killed["MinMemoryNode"] == "150M" and last["MinMemoryNode"] == "2400M"


@pytest.mark.long
@pytest.mark.parametrize("how", ["node", "turn"])
def test_a_training_whose_node_failed_or_that_was_preempted_goes_on(site, whole, how):
    """SLURM itself sends the job again, some two minutes later."""
    name = f"lost_its_{how}"
    process = site.start(TRAINED.format(name))
    site.wait_for(f"logs/distill/{name}.log", rf"distill: .* 0/{STEPS}", process)
    [job] = site.jobs(f"distill_wildcards_{name}")
    if how == "node":  # which comes back by itself
        control("update", f"NodeName={job['NodeList']}", "State=DOWN", "Reason=test")
    else:
        control("requeue", job["JobId"])
    assert process.wait() == 0, site.printed()
    jobs = site.jobs(f"distill_wildcards_{name}")
    assert jobs[-1]["JobState"] == "COMPLETED" and (len(jobs) > 1 or jobs[0]["Restarts"] == "1")
    assert equal(weights(site, name), whole)


def control(*command):
    subprocess.run(["scontrol", *command], check=True)
