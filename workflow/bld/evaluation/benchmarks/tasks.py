"""What a task of lm-eval is, reads and reports: known, and checked, before a model is loaded; and
how it runs on data that lies in a folder, with no way to the network.

A task names its data set as the hub does, owner/name. Where the working directory holds a folder of
that name, `datasets` reads that instead; so the tasks need no change, and data that is not there is
an error.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir, contextmanager
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import datasets
import huggingface_hub
import nltk
from lm_eval.api.group import Group
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager

NLTK_DATA = "nltk_data"
CODE_IS_ALLOWED = "HF_ALLOW_CODE_EVAL"
"""The variable that the hub's metric asks before it runs what a model has written."""
CACHES = ("HF_DATASETS_CACHE", "DOWNLOADED_DATASETS_PATH", "EXTRACTED_DATASETS_PATH")
LOADERS = {"arrow", "csv", "json", "parquet", "text"}
"""Ways of `datasets` to read files, which a definition names in place of a data set."""

WHOLE_SET = {
    *("f1", "mcc", "bleu", "chrf", "chrf++", "ter"),
    *("brier_score", "likelihood", "perplexity", "word_perplexity", "byte_perplexity"),
}
"""Metrics that are no mean over documents, so that there is no value of one document to compare."""

DEFAULT_GENERATED = 256
"""How many tokens lm-eval lets a model write where the task does not say."""


@contextmanager
def offline(data: Path, name: str, runs_code: bool = False) -> Iterator[None]:
    """Work in the folder `data` of the benchmark `name`; relative paths mean something else inside.
    `runs_code`: what models write may be run.

    What `datasets` makes of the files is kept in a folder of this process alone, so that another
    revision is never taken for this one, jobs do not meet, and `data` may be read-only. The offline
    switches of the libraries are read from the environment when they are imported, which has
    happened by now, so they are set where they are read from.
    """

    def refuse(resource: str, *_: Any, **__: Any) -> NoReturn:
        raise ValueError(
            f"benchmark {name} needs NLTK's {resource}, which is not in {data / NLTK_DATA}: write "
            f"`nltk: [{resource}]` under benchmarks.{name}"
        )

    with ExitStack() as stack:
        stack.enter_context(chdir(data))
        cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="bld_datasets_"))
        for where, what, value in (
            *((datasets.config, place, Path(cache)) for place in CACHES),
            (datasets.config, "HF_HUB_OFFLINE", True),
            (huggingface_hub.constants, "HF_HUB_OFFLINE", True),
            (nltk.data, "path", [str(Path.cwd() / NLTK_DATA)]),
            (nltk, "download", refuse),
        ):
            stack.callback(setattr, where, what, getattr(where, what))
            setattr(where, what, value)
        if runs_code:
            os.environ[CODE_IS_ALLOWED] = "1"
            stack.callback(os.environ.pop, CODE_IS_ALLOWED)
        yield


@cache
def packaged() -> TaskManager:
    """The tasks that come with lm-eval; reading their definitions takes some seconds."""
    return TaskManager()


def data_of(task: str) -> set[str]:
    """The data sets of the hub that a task, group or tag of lm-eval reads.

    Tasks that are programs of their own do not say theirs. Raises ValueError for an unknown name.
    """
    return {leaf.data for leaf in _leaves_of(task) if leaf.data and leaf.data not in LOADERS}


def check_code(name: str, task: str, is_allowed: bool) -> None:
    """Raise ValueError for a task of the benchmark `name` that runs what models write, unless that
    `is_allowed`."""
    if not is_allowed and any(leaf.runs_code for leaf in _leaves_of(task)):
        raise ValueError(
            f"benchmark {name}: the task {task} runs the code that models write, in the job and "
            f"with its rights; if that is wanted, write `unsafe_code: true` under benchmarks.{name}"
        )


def check_name(task: str) -> None:
    """Raise ValueError, with names that are close, unless lm-eval has a task, group or tag of this
    name."""
    known = packaged().all_tasks
    if task not in known:
        close = get_close_matches(task, known, n=5)
        raise ValueError(
            f"lm-eval has no task {task!r}"
            + (f"; close are {', '.join(close)}" if close else "")
            + "; `lm-eval ls tasks` lists them all"
        )


class _Leaf(NamedTuple):
    data: str | None
    runs_code: bool


def _leaves_of(task: str) -> Iterator[_Leaf]:
    index = packaged().task_index
    check_name(task)
    return _leaves(task, index, None)


def _leaves(
    member: str | Mapping[str, Any], index: Mapping[str, Any], above: str | None
) -> Iterator[_Leaf]:
    """The tasks below a member of a group; what stands above may set another data set."""
    settings = {"task": member} if isinstance(member, str) else member
    path = settings.get("dataset_path", above)
    below = settings.get("task")
    entry = None if isinstance(below, list) else index.get(str(settings.get("group", below)))
    if isinstance(below, list):
        for child in below:
            yield from _leaves(child, index, path)
    elif entry is None:
        yield _Leaf(path, bool(settings.get("unsafe_code")))
    elif entry.cfg is None:
        for child in sorted(entry.tags):
            yield from _leaves(child, index, path)
    elif "group" in entry.cfg:
        here = path or entry.cfg.get("dataset_path")
        yield from _leaves({"task": entry.cfg["task"]}, index, here)
    else:
        yield _Leaf(path or entry.cfg.get("dataset_path"), bool(entry.cfg.get("unsafe_code")))


def load(name: str, task: str | None, data: Path) -> tuple[dict[str, Task], Group | None]:
    """The tasks below `task`, by name, and the group that it is, if it is one; `data` is the
    working directory.

    Without `task`, the one whose definition lies there. Raises ValueError if a data set is missing.
    """
    if task is None:
        manager = TaskManager(include_path=".", include_defaults=False)
        (task,) = manager.all_subtasks
    else:
        manager = packaged()
        missing = sorted(s for s in data_of(task) if not Path(s).is_dir())
        if missing:
            raise ValueError(
                f"benchmark {name}: the task {task} reads {', '.join(missing)}, which is not in "
                f"{data}: write each under benchmarks.{name}.data with its revision, as "
                f"`{missing[0]}: main`"
            )
    try:
        loaded = manager.load(task)
    except FileNotFoundError as error:
        raise ValueError(
            f"benchmark {name}: the task {task} loads more than data sets, and it is not in {data} "
            f"({error}); where that is a metric of the hub, write it under benchmarks.{name}.data "
            "as `evaluate-metric/code_eval: main`"
        ) from error
    return dict(sorted(loaded["tasks"].items())), loaded.get("groups", {}).get(task)


def reported_by(task: Task) -> list[str]:
    """The metrics of a task; "metric,filter" where answers go through filters of its own."""
    filters = [one["name"] for one in task.config.filter_list or [{"name": "none"}]]
    return [plain(f"{metric},{one}") for one in filters for metric in task.aggregation()]


def plain(key: str) -> str:
    """A metric as lm-eval writes it, without the filter if that is none."""
    return key.removesuffix(",none")


def common_metrics(tasks: Mapping[str, Task]) -> list[str]:
    """The metrics that all the tasks report."""
    first, *others = (reported_by(task) for task in tasks.values())
    return [metric for metric in first if all(metric in other for other in others)]


def check_metric(name: str, tasks: Mapping[str, Task], wanted: str | None) -> str:
    """The primary metric: `wanted`, or the first that has a value for every document.

    Raises ValueError, with those that there are, unless every task reports it and it has one.
    """
    metrics = [metric for metric in common_metrics(tasks) if metric not in WHOLE_SET]
    if wanted in metrics or (wanted is None and metrics):
        return wanted or metrics[0]
    if wanted in WHOLE_SET:
        found = (
            f"{wanted} has no value for a single document, so that models could not be compared by "
            "documents"
        )
    elif wanted is None:
        found = "its tasks report no metric in common"
    else:
        without = [task for task, of in tasks.items() if wanted not in reported_by(of)]
        found = f"{wanted} is not reported by {_some(without)}"
    each = {metric for task in tasks.values() for metric in reported_by(task)} - WHOLE_SET
    there = (
        f"choose one of {', '.join(metrics)} under benchmarks.{name}.metric"
        if metrics
        else f"make a benchmark of each kind of task ({', '.join(sorted(each))})"
    )
    raise ValueError(f"benchmark {name}: {found}; {there}")


def check_few_shot(name: str, tasks: Mapping[str, Task], few_shot: int | None) -> None:
    """Raise ValueError if a number of examples is asked for that lm-eval would pass over in
    silence."""
    fixed = [task for task, of in tasks.items() if of.get_config("num_fewshot") == 0]
    if few_shot and fixed:
        raise ValueError(
            f"benchmark {name}: few_shot is {few_shot}, but {_some(fixed)} is defined without "
            f"examples and stays so; write `few_shot: null` under benchmarks.{name}, or choose "
            "another task"
        )


def check_room(name: str, tasks: Mapping[str, Task], max_length: int) -> None:
    """Raise ValueError if a task may write so much that no room is left for its question."""
    for task, of in tasks.items():
        if of.OUTPUT_TYPE == "generate_until":
            room = (of.get_config("generation_kwargs") or {}).get("max_gen_toks", DEFAULT_GENERATED)
            if room >= max_length:
                raise ValueError(
                    f"benchmark {name}: {task} may write {room} tokens, and the window is "
                    f"{max_length}; raise evaluation.window, or leave the benchmark out where the "
                    "model has fewer positions"
                )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
