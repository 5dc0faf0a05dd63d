"""Run one benchmark on one model, with lm-eval and without network."""

from __future__ import annotations

from pathlib import Path

from bld.evaluation.benchmarks.harness import run_benchmark
from bld.evaluation.results import write_evaluation
from bld.folders import whole_folder
from bld.models import memory_explained
from bld.provenance.step import step_parser


@memory_explained("lower `batch_size` of the benchmark, or `window` under `evaluation`")
def main() -> None:
    """Write the results of one benchmark on one model."""
    parser = step_parser(__doc__)
    parser.add_argument("--data", type=whole_folder, required=True, help="manifest of its data")
    parser.add_argument("--model", type=whole_folder, required=True)
    parser.add_argument("--evaluation", type=Path, required=True)
    arguments = parser.parse_args()
    result = run_benchmark(arguments.data, arguments.model, arguments.step.settings)
    write_evaluation(arguments.evaluation, result, arguments.model)
    error = "" if result["stderr"] is None else f" ± {result['stderr']:.4f}"
    print(
        f"{result['task']}: {result['metric']} {result['value']:.4f}{error} over "
        f"{result['documents']:,} documents"
    )


if __name__ == "__main__":
    main()
