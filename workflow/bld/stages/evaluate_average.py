"""Measure the bits per byte of several models averaged, which have no tokens in common, by their byte
distributions."""

from __future__ import annotations

from functools import partial

from bld.config.settings import Histories
from bld.documents.shards import read_split
from bld.evaluation.average import average_bits_per_byte
from bld.evaluation.files import write_evaluation
from bld.folders import whole_folder
from bld.models import memory_explained
from bld.pipeline.step import StepParser
from bld.scoring.averaging import open_models
from bld.scoring.scorer import open_scorer


@memory_explained("lower `batch_tokens` or `window` under `evaluation`")
def main() -> None:
    """Write the evaluation of one average."""
    parser = StepParser(__doc__)
    parser.reads("--documents", help="manifest of a split")
    parser.reads("--models", type=whole_folder, nargs="+")
    parser.writes("--evaluation")
    with parser.recorded() as arguments:
        settings = arguments.step.settings
        limits = {key: settings[key] for key in ("window", "batch_tokens")}
        open_one = partial(open_scorer, policy=Histories(**settings["policy"]), **limits)
        read_as = settings["reading"], settings["average"]
        scorer = open_models(arguments.models, *read_as, open_one)
        result = average_bits_per_byte(list(read_split(arguments.documents.parent)), scorer)
        write_evaluation(arguments.evaluation, result, *arguments.models)
        bits = result["bits_per_byte"]
        found = "infinitely many" if bits is None else f"{bits:.4f}"
        print(f"{found} bits per byte over {result['bytes']:,} bytes")


if __name__ == "__main__":
    main()
