"""`snakemake plan`, as a user would call it: what it prints is what one works out by hand."""

import math
import re
from pathlib import Path

import pytest
import yaml

from bld.pipeline.plan.costs import REPORT_FILES

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "config/experiments"
# Of an A100: 312 TFLOP/s in bfloat16, of which 35 % are assumed.
PER_SECOND = 312e12 * 0.35
GIB = 2**30
FETCHING = {"fetch_model", "fetch_dataset", "fetch_benchmark", "link_model", "link_dataset"}
LOCAL = FETCHING | {"write_crate", "write_card", "all"}
PROFILE = {
    "executor": "local",
    "cores": 1,
    "retries": 2,
    "set-resources": {
        "score_teacher": {"runtime": 720},
        # As a profile may say it: growing with the attempt, and in words.
        "warm_up": {"runtime": "60 * attempt"},
        "distill": {"runtime": "1d", "gpu": 1, "mem_mb": 64000},
    },
    "quiet": ["host", "progress"],
}


class Page:
    """What was printed: `rows` of all tables by what stands first in them, and the whole text in
    one line."""

    def __init__(self, done):
        self.returncode, self.text = done.returncode, done.stdout + done.stderr
        self.words = " ".join(self.text.split())
        self.rows = {}
        for line in done.stdout.splitlines():
            name, *cells = re.split(r"\s{2,}", line.strip())
            self.rows.setdefault(name, cells)


@pytest.fixture(scope="session")
def cost_plan(snakemake, tmp_path_factory):
    def make(configuration, profile=PROFILE, folder=None):
        folder = folder or tmp_path_factory.mktemp("cost")
        (folder / "profile").mkdir(exist_ok=True)
        (folder / "profile/config.yaml").write_text(yaml.safe_dump(profile))
        if not isinstance(configuration, Path):
            (folder / "own.yaml").write_text(yaml.safe_dump(configuration))
            configuration = folder / "own.yaml"
        where = ["--profile", folder / "profile", "--configfile", configuration]
        return Page(snakemake(folder, "plan", *where))

    return make


@pytest.fixture(scope="module")
def t1(cost_plan):
    return cost_plan(EXPERIMENTS / "t1.yaml")


def three(value):
    return f"{value:.3g}"


def llama_layer(hidden, narrow, intermediate):
    return 2 * hidden * hidden + 2 * hidden * narrow + 3 * hidden * intermediate


def test_documents_are_those_expected_and_cut_by_share_and_limit(t1):
    documents = 0.99 * 939_343
    content = documents * 3100 / 1e9
    train, validation = (
        next(line.split() for line in t1.text.splitlines() if line.split()[:2] == ["tulu_3", split])
        for split in ("train", "validation")
    )
    assert train[2:7] == [f"{documents:,.0f}", three(content), "GB", three(0.6 * content), "GB"]
    assert validation[2:5] == ["2,000", "6.2", "MB"]  # 2,000 * 3,100 bytes


def test_the_byte_cache_of_t1_by_hand(t1):
    entries = 28 * llama_layer(3072, 1024, 8192) + 128_256 * 3072
    content = 0.99 * 939_343 * 3100
    positions = 2.5 * content / 4
    context = 3100 / 4
    flops = positions * (2 * entries + 4 * 28 * 3072 * context)
    cache = 0.6 * content * (16 * 19 + 28) / 8
    hours = flops / PER_SECOND / 3600
    assert t1.rows["llama_3b"][-1] == "6.43 GB"  # 3.21 B weights of two bytes
    cells = next(
        line for line in t1.text.splitlines() if line.split()[:2] == ["llama_3b", "tulu_3"]
    )
    assert re.split(r"\s{2,}", cells.strip())[2:7] == [
        f"{three(positions / 1e9)} B",
        f"{three(cache / 1e9)} GB",
        f"{hours:.1f}",
        "128",
        f"{hours / 128:.2f}",
    ]


def tokens_read(mean, row):
    """Of a document of so many tokens on average, exponentially spread, each half row beyond the
    first row is read behind half a row that is read again."""
    further = sum(math.exp(-(row + number * row / 2) / mean) for number in range(1000))
    return mean + further * row / 2


def test_the_distillation_of_t1_by_hand(t1):
    head = 10 * 260 * (3072 + 1)
    updates = 28 * 64 * ((3072 + 3072) + (3072 + 1024))
    table = 151_646 * 3072
    body = 28 * llama_layer(3072, 1024, 8192)
    per_token = 4 * (body + table) + 2 * table + 6 * (updates + head) + 12 * 28 * 3072 * 512
    tokens = 64 * 512
    seconds = tokens * per_token / PER_SECOND
    passes = 20_000 * tokens / (0.99 * 939_343 * tokens_read(3100 / 4, 512))
    assert t1.rows["distill t1_bld"] == [
        "1",
        "20,000",
        "32,768",
        "655 M",  # 20,000 * 32,768
        f"{passes:.2g}",
        f"{three(tokens * per_token / 1e12)} TFLOP",
        f"{seconds:.2f}",
        f"{20_000 * seconds / 3600:.1f}",
        "2",  # a day, less a quarter of an hour, is too short for it
    ]
    parameters = table + body + 28 * 2 * 3072 + 3072
    trained = table + updates + head
    memory = next(
        line.split()
        for line in t1.text.split("Memory of one GPU")[1].splitlines()
        if line.split()[:2] == ["distill", "t1_bld"]
    )
    states = [2 * (parameters + updates + head), 2 * trained, 12 * trained]
    assert memory[2:5] == [f"{part / GIB:.1f}" for part in states]
    assert t1.rows["3 checkpoints of distill t1_bld"][0] == f"{three(3 * 14 * trained / 1e9)} GB"
    assert t1.rows["trained t1_bld"][0] == f"{three(2 * parameters / 1e9)} GB"


def test_the_byte_student_of_t2_by_hand(cost_plan):
    page = cost_plan(EXPERIMENTS / "t2.yaml")
    table, updates = 512 * 3072, 28 * 64 * ((3072 + 3072) + (3072 + 1024))
    body = 28 * llama_layer(3072, 1024, 8192)
    per_token = 4 * (body + table) + 2 * table + 6 * updates + 12 * 28 * 3072 * 2048
    tokens = 32 * 2048
    passes = 20_000 * tokens / (0.99 * 939_343 * tokens_read(3100, 2048))
    cells = page.rows["distill t2_bld"]
    assert cells[2:6] == [
        "65,536",
        "1.31 B",
        f"{passes:.2g}",
        f"{three(tokens * per_token / 1e12)} TFLOP",
    ]
    assert cells[7] == f"{20_000 * tokens * per_token / PER_SECOND / 3600:.1f}"
    # No head is added to a byte student, and none warmed up.
    assert not any(name.startswith("warm_up") for name in page.rows)
    assert page.rows["distill t2_sft"] == cells


def test_gemma_and_a_teacher_of_another_family_in_t3_by_hand(cost_plan):
    page = cost_plan(EXPERIMENTS / "t3.yaml")
    # Heads of 256, eight of queries and four of keys and values.
    layer = 2 * 2304 * 2048 + 2 * 2304 * 1024 + 3 * 2304 * 9216
    gemma = 256_000 * 2304 + 26 * (layer + 4 * 2304) + 2304
    llama = 2 * 128_256 * 4096 + 32 * (llama_layer(4096, 1024, 14_336) + 2 * 4096) + 4096
    assert page.rows["openmath_8b"] == [
        f"{three(llama / 1e9)} B",
        "128,256",
        "32",
        "4,096",
        "16.1 GB",
    ]
    assert page.rows["student gemma_2b"][0] == f"{three(gemma / 1e9)} B"
    head, updates = 10 * 260 * 2305, 26 * 64 * ((2304 + 2048) + (2304 + 1024))
    entries = 26 * layer + 256_000 * 2304
    per_token = 4 * entries + 6 * (updates + head) + 12 * 26 * 2048 * 1024
    tokens = 64 * 1024
    hours = 5_000 * tokens * per_token / PER_SECOND / 3600
    assert page.rows["distill t3_bld"][7] == f"{hours:.2f}"
    assert page.rows["warm_up t3_bld"][1] == "1,000"


def test_every_assumption_is_said(t1):
    for said in (
        "312 TFLOP/s at best in bf16",
        "of which 35% are reached",
        "939,343 of 3,100 bytes, 60% of them supervised, 4 bytes per token",
        "2.5 positions per token",
        "at most 42 bytes of cache per supervised byte",
        "15 minutes (`plan.job_minutes`)",
        "no more than 3 checkpoints of each training",
    ):
        assert said in t1.words


@pytest.mark.parametrize(
    "name",
    [
        "config.yaml",
        *(f"experiments/{x}.yaml" for x in ("t1", "t3", "two_teachers", "compare", "on_policy")),
    ],
)
def test_as_many_jobs_are_planned_as_are_run(cost_plan, plan, name):
    endless = PROFILE | {"set-resources": {}, "default-resources": {"runtime": 100_000}}
    endless["set-resources"] = {
        rule: {"runtime": 0} for rule in ("score_teacher", "pretrain", "warm_up", "distill")
    }
    page = cost_plan(ROOT / "config" / name, endless)
    planned = plan(ROOT / "config" / name)
    jobs = sum(count for rule, count in planned.counts.items() if rule not in LOCAL)
    assert f"{jobs} queue slots" in page.words
    assert len(planned.makes["report"]) <= REPORT_FILES
    pairs = planned.counts.get("map_vocabulary", 0) + planned.counts.get("measure_alignment", 0)
    assert page.rows.get("maps of vocabularies, alignments", ["", "0"])[1] == str(2 * pairs)
    assert ("Text of the students' own" in page.words) == ("on_policy" in name)


def test_it_is_said_again_each_time_and_nothing_is_made(cost_plan, tmp_path):
    first, second = (cost_plan(ROOT / "config/config.yaml", folder=tmp_path) for _ in range(2))
    assert "In all" in first.text and "In all" in second.text
    assert first.returncode == second.returncode == 0
    assert "It fits." in second.text
    assert not (tmp_path / "results").exists() and not (tmp_path / "resources").exists()


def test_what_cannot_work_ends_in_an_error_said_once(cost_plan, default, tmp_path):
    small = default() | {"plan": {"gpu": "toy", "tflops": 1, "memory_gib": 4.5}}
    page = cost_plan(small, folder=tmp_path)
    assert page.returncode == 1
    assert "demo" in page.text and "Cannot work" in page.text
    assert "GiB on each GPU, and toy has 4.5 GiB" in page.words
    log = (tmp_path / "logs/plan.log").read_text()
    assert log.count("Cannot work") == 1


def test_a_time_limit_that_leaves_no_time_to_work_is_refused(cost_plan):
    short = PROFILE | {"set-resources": {"distill": {"runtime": "15 * attempt"}}}
    page = cost_plan(EXPERIMENTS / "t1.yaml", short)
    assert page.returncode == 1
    assert "distill t1_bld: its `runtime` is 15 minutes, and it needs 15 to start" in page.words


def test_what_is_not_known_is_asked_for_with_both_ways_out(cost_plan):
    bare = yaml.safe_load((EXPERIMENTS / "t1.yaml").read_text())
    del bare["models"]["llama_3b"]["shape"]
    page = cost_plan(bare)
    assert page.returncode == 1
    assert "`snakemake fetch`" in page.words
    assert "`models.llama_3b.shape`" in page.words


def test_a_gpu_that_nobody_knows_is_a_mistake_of_the_configuration(cost_plan, default):
    page = cost_plan(default() | {"plan": {"gpu": "H10"}})
    assert 'plan.gpu: found "H10"' in page.words and "did you mean `H100`?" in page.words


def test_it_needs_a_profile_or_a_number_of_cores(snakemake, tmp_path):
    done = snakemake(tmp_path, "plan", "--configfile", ROOT / "config/config.yaml")
    assert done.returncode != 0 and "cores have to be specified" in done.stdout + done.stderr
