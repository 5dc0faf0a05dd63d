"""One benchmark on one model: lm-eval's own evaluation of a folder of ours, and what is kept of
it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lm_eval
import torch
from lm_eval.api.group import Group
from lm_eval.api.metrics import aggregate_subtask_metrics, pooled_sample_stderr
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager
from lm_eval.utils import hash_string

from bld.config.template_checks import has_chat_template
from bld.evaluation.benchmarks import tasks as checks
from bld.evaluation.benchmarks.limits import Limited, LimitedAsSource
from bld.evaluation.benchmarks.tasks import offline
from bld.models import context_of, load_language_model
from bld.pipeline.step_settings import EvaluateBenchmark
from bld.tokenization.chat_template import FIXED_DAY
from bld.tokenization.loading import load_tokenizer
from bld.tokenization.rendering import Renderer, load_renderer

ROLLING = "bits_per_byte"


def run_benchmark(
    data: Path, model: Path, settings: EvaluateBenchmark, source: Path | None = None
) -> dict[str, Any]:
    """The results of a benchmark whose data lies in `data` on the model in `model`. `source`: the
    one that it was made from, where it was given another tokenizer; limits count its tokens.

    The metrics of a group or tag are means over the documents of all its tasks. Raises ValueError
    before the model is loaded if the task is unknown, its data is missing, or it does not report
    the metric.
    """
    name, few_shot = settings.name, settings.few_shot
    in_template = settings.chat_template
    if in_template == "auto":
        in_template = settings.rendering.template == "auto" and has_chat_template(model)
    settings = settings.model_copy(update={"chat_template": in_template})
    data, model, source = data.resolve(), model.resolve(), source and source.resolve()
    if settings.task is not None:
        checks.check_code(name, settings.task, settings.unsafe_code)
    with offline(data, name, settings.unsafe_code):
        tasks, group = checks.load(name, settings.task, data)
        metric = checks.check_metric(name, tasks, settings.metric)
        checks.check_few_shot(name, tasks, few_shot)
        lm = open_for_harness(model, tasks, settings, source)
        results = lm_eval.simple_evaluate(
            lm,
            tasks=[group] if group else list(tasks.values()),
            num_fewshot=few_shot,
            limit=settings.limit,
            apply_chat_template=settings.chat_template,
            confirm_run_unsafe_code=settings.unsafe_code,
            # The tasks are loaded: without this it would read all definitions for itself.
            task_manager=TaskManager(include_defaults=False),
        )
    return {
        "task": name,
        **summary(results, tasks, group, metric, has_groups=settings.task is None),
        "chat_template": settings.chat_template,
        "limit": settings.limit,
        "cut_prompts": lm.cut,
    }


def open_for_harness(
    model: Path, tasks: Mapping[str, Task], settings: EvaluateBenchmark, source: Path | None = None
) -> Limited:
    """A model folder as lm-eval runs it, reading text as `settings.rendering` says, within limits
    that count tokens of the model in `source` where there is one.

    Questions go through the tokenizer as anybody would load it. Raises ValueError for a chat
    template that there is not, and for a task that may write more than the window holds.
    """
    name, rendering = settings.name, settings.rendering
    tokenizer = load_tokenizer(model, rendering.trust_remote_code)
    if settings.chat_template:
        if rendering.template == "plain" or not tokenizer.chat_template:
            raise ValueError(
                f"benchmark {name} asks for a chat template, and the tokenizer in {model} has none "
                f"to use (template: {rendering.template}); write `chat_template: false` or "
                f"`auto` under benchmarks.{name}, or give the model a template"
            )
        if "strftime_now" in tokenizer.chat_template:
            tokenizer.chat_template = FIXED_DAY + tokenizer.chat_template
    lm = load_language_model(model, settings.precision, rendering.trust_remote_code)
    positions = context_of(lm)
    max_length = min(settings.max_length, positions or settings.max_length)
    checks.check_room(name, tasks, max_length)
    arguments: dict[str, Any] = {
        "pretrained": lm,
        "tokenizer": tokenizer,
        "batch_size": settings.batch_size,
        "max_length": max_length,
        "softmax_dtype": torch.float32,
        "chat_template_args": dict(rendering.template_arguments),
    }
    if source:
        arguments["source"] = load_tokenizer(source, rendering.trust_remote_code)
        arguments["positions"] = positions
    if {task.OUTPUT_TYPE for task in tasks.values()} != {"loglikelihood_rolling"}:
        return LimitedAsSource(**arguments) if source else Limited(**arguments)
    arguments["renderer"] = load_renderer(model, **dict(rendering))
    return WholeTextsAsSource(**arguments) if source else WholeTexts(**arguments)


class WholeTexts(Limited):
    """lm-eval's model for texts by themselves, cut into tokens whose bytes are exactly the text.

    So no space is put in front and counted, no start token follows the one that lm-eval puts in
    front, and the figures are those of `bld.evaluation.bits_per_byte`, but for two cases: there
    documents longer than the window are cut into other windows, and logits without a token get no
    probability.
    """

    def __init__(self, renderer: Renderer, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._content = renderer.content

    def tok_encode(self, string: str, *_: Any, **__: Any) -> list[int]:
        """Token ids of a text, without special tokens."""
        return self._content.encode(string, "a text of the benchmark")


class WholeTextsAsSource(WholeTexts, LimitedAsSource):
    """The same, within limits that count tokens of the source."""


def summary(
    results: Mapping[str, Any],
    tasks: Mapping[str, Task],
    group: Group | None,
    metric: str,
    has_groups: bool,
) -> dict[str, Any]:
    """What is kept of lm-eval's results; `metric` is the primary one. `has_groups`: the questions
    were made from documents and name their groups; else each is a group by itself.

    A group or tag for which lm-eval gives no value gets the mean over all documents of its tasks
    and the pooled standard error, as lm-eval gives for other groups. Bits per byte have no standard
    error there: here it is that of a ratio of sums.
    """
    higher_is_better = _higher_is_better(tasks, metric)
    metric = _as_given(metric, next(iter(results["samples"].values()))[0])
    rows = [
        row for task in tasks for row in _rows(task, results["samples"][task], metric, has_groups)
    ]
    subtasks = {task: _numbers(results["results"][task]) for task in tasks}
    sizes = [results["n-samples"][task]["effective"] for task in tasks]
    metrics = _pooled(subtasks, sizes, [*checks.common_metrics(tasks), metric])
    if group:
        metrics |= _numbers(results["results"][group.name])
    if metric == ROLLING:
        metrics |= ratio_of_sums(rows)
    shots = {task: results["n-shot"][task] for task in tasks}
    return {
        "metric": metric,
        "value": metrics[metric],
        "stderr": metrics.get(stderr_of(metric)),
        "higher_is_better": higher_is_better,
        "metrics": metrics,
        "documents": sum(sizes),
        "per_document": rows,
        "subtasks": subtasks,
        "few_shot": next(iter(shots.values())) if len({*shots.values()}) == 1 else shots,
        "harness": {
            "lm_eval": lm_eval.__version__,
            "versions": {task: str(results["versions"][task]) for task in tasks},
            "task_hashes": {task: _task_hash(results["samples"][task]) for task in tasks},
        },
    }


def stderr_of(metric: str) -> str:
    """The key of a metric's standard error: "acc" gives "acc_stderr", a filter stays behind it."""
    name, comma, chosen = metric.partition(",")
    return f"{name}_stderr{comma}{chosen}"


def ratio_of_sums(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Bits per byte of all rows, and its standard error over documents by linearisation (Cochran,
    Sampling Techniques, Eq. 6.13)."""
    total = sum(row["bytes"] for row in rows)
    ratio = sum(row["value"] for row in rows) / total
    squares = sum((row["value"] - ratio * row["bytes"]) ** 2 for row in rows)
    found = {ROLLING: ratio / math.log(2)}
    if len(rows) > 1:
        error = math.sqrt(squares * len(rows) / (len(rows) - 1)) / total
        found[stderr_of(ROLLING)] = error / math.log(2)
    return found


def _numbers(entry: Mapping[str, Any]) -> dict[str, float]:
    """The metrics in lm-eval's entry of a task; it holds names and counts as well."""
    return {
        checks.plain(key): float(value)
        for key, value in entry.items()
        if "," in key and isinstance(value, int | float) and math.isfinite(value)
    }


def _pooled(
    subtasks: Mapping[str, Mapping[str, float]], sizes: Sequence[int], metrics: Sequence[str]
) -> dict[str, float]:
    """Means over all documents, with standard errors where every task has one."""
    pooled = {}
    for key in metrics:
        values = [of[key] for of in subtasks.values() if key in of]
        errors = [of[stderr_of(key)] for of in subtasks.values() if stderr_of(key) in of]
        if len(values) == len(sizes):
            pooled[key] = float(aggregate_subtask_metrics(values, sizes))
        if len(errors) == len(sizes):
            pooled[stderr_of(key)] = float(pooled_sample_stderr(errors, sizes))
    return pooled


def _rows(
    task: str, samples: Sequence[Mapping[str, Any]], metric: str, has_groups: bool
) -> list[dict[str, Any]]:
    """The primary metric of every document: nats and bytes for bits per byte, the mean of a
    list."""
    name, _, chosen = metric.partition(",")
    rows: list[dict[str, Any]] = []
    for sample in samples:
        if sample["filter"] != (chosen or "none"):
            continue
        value, question = sample[name], f"{task}:{sample['doc_id']}"
        identity = {"id": question, "group": sample["doc"]["group"] if has_groups else question}
        if name == ROLLING:
            log_likelihood, size = value
            rows.append({**identity, "value": -float(log_likelihood), "bytes": size})
        else:
            each = value if isinstance(value, list) else [value]
            rows.append({**identity, "value": sum(map(float, each)) / len(each)})
    return rows


def _as_given(metric: str, sample: Mapping[str, Any]) -> str:
    """A metric by the name that its figure has: one that gives several names them itself, and the
    first counts (`pass_at_k` gives `pass@1`)."""
    name, comma, chosen = metric.partition(",")
    return metric if name in sample else f"{sample['metrics'][0]}{comma}{chosen}"


def _higher_is_better(tasks: Mapping[str, Task], metric: str) -> bool | None:
    """None if the tasks differ or do not say."""
    directions = {task.higher_is_better().get(metric.partition(",")[0]) for task in tasks.values()}
    return directions.pop() if len(directions) == 1 else None


def _task_hash(samples: Sequence[Mapping[str, Any]]) -> str:
    """As lm-eval's command line has it: over documents, prompts and targets."""
    each = (s["doc_hash"] + s["prompt_hash"] + s["target_hash"] for s in samples)
    return str(hash_string("".join(each)))
