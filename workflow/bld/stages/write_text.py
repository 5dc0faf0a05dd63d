"""Write what a person wants to see of a model: completions, and the surprise of each byte of a passage."""

from __future__ import annotations

from bld.config.settings import Histories
from bld.documents.shards import read_split
from bld.evaluation.files import write_evaluation
from bld.evaluation.text import Writer, find_passage, surprise
from bld.folders import whole_folder
from bld.models import memory_explained
from bld.pipeline.step import StepParser
from bld.scoring.scorer import open_scorer


@memory_explained("lower `batch_tokens` or `window` under `evaluation`")
def main() -> None:
    """Write the texts of one model."""
    parser = StepParser(__doc__)
    parser.reads("--documents", help="manifest of a split")
    parser.reads("--model", type=whole_folder)
    parser.writes("--evaluation")
    with parser.recorded() as arguments:
        settings = arguments.step.settings
        passage = find_passage(read_split(arguments.documents.parent), settings["passage_bytes"])
        common = Histories(**settings["policy"]), settings["window"], settings["batch_tokens"]
        scorer = open_scorer(arguments.model, settings["reading"], *common)
        bits = surprise(passage, scorer)
        writer = Writer(scorer.renderer, scorer.lm, scorer.renderer.has_chats)
        result = {
            "task": "text",
            "completions": [
                writer.complete(prompt, settings["completion_bytes"], settings["temperature"])
                for prompt in settings["prompts"]
            ],
            "passage": {
                "id": passage.document.id,
                "kind": passage.document.kind,
                "text": passage.text,
                "bits": bits,
            },
        }
        write_evaluation(arguments.evaluation, result, arguments.model)
        print(f"{len(settings['prompts'])} completions and a passage of {len(bits)} bytes")


if __name__ == "__main__":
    main()
