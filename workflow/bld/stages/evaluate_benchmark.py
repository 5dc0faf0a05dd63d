"""Run one benchmark on one model, with lm-eval and without network."""

from __future__ import annotations

from bld.evaluation.benchmarks.harness import run_benchmark
from bld.evaluation.files import write_evaluation
from bld.folders import whole_folder
from bld.models import memory_explained
from bld.pipeline.step import StepParser


@memory_explained("lower `batch_size` of the benchmark, or `window` under `evaluation`")
def main() -> None:
    """Write the results of one benchmark on one model."""
    parser = StepParser(__doc__)
    parser.reads("--data", type=whole_folder, help="manifest of its data")
    parser.reads("--model", type=whole_folder)
    parser.writes("--evaluation")
    with parser.recorded() as arguments:
        result = run_benchmark(arguments.data, arguments.model, arguments.step.settings)
        write_evaluation(arguments.evaluation, result, arguments.model)
        error = "" if result["stderr"] is None else f" ± {result['stderr']:.4f}"
        print(
            f"{result['task']}: {result['metric']} {result['value']:.4f}{error} over "
            f"{result['documents']:,} documents"
        )


if __name__ == "__main__":
    main()
