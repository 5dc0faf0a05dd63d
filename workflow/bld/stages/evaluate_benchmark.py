"""Run one benchmark on one model, with lm-eval and without network."""

from __future__ import annotations

from bld.evaluation.benchmarks.harness import run_benchmark
from bld.evaluation.files import write_evaluation
from bld.models import memory_explained
from bld.pipeline.step import File, Files, Folder, OptionalFolder, stage
from bld.pipeline.step_settings import EvaluateBenchmark


class Inputs(Files):
    """`source`: the model that a student with another tokenizer was made from."""

    data: Folder
    model: Folder
    source: OptionalFolder


class Outputs(Files):
    evaluation: File


@memory_explained("lower `batch_size` of the benchmark, or `window` under `evaluation`")
def main() -> None:
    """Write the results of one benchmark on one model."""
    with stage(EvaluateBenchmark, Inputs, Outputs) as step:
        inputs = step.inputs
        result = run_benchmark(inputs.data, inputs.model, step.settings, inputs.source)
        write_evaluation(step.outputs.evaluation, result, inputs.model)
        error = "" if result["stderr"] is None else f" ± {result['stderr']:.4f}"
        print(
            f"{result['task']}: {result['metric']} {result['value']:.4f}{error} over "
            f"{result['documents']:,} documents"
        )
        if result["cut_prompts"]:
            print(
                f"{result['cut_prompts']:,} prompts were read without their beginning, which the "
                "window does not hold: see `evaluation.window`"
            )


if __name__ == "__main__":
    main()
