"""Write what a person wants to see of a model: completions, and the surprise of each byte of a
passage."""

from __future__ import annotations

from bld.documents.shards import read_split
from bld.evaluation.files import write_evaluation
from bld.evaluation.text import Writer, find_passage, surprise
from bld.models import memory_explained
from bld.pipeline.step import File, Files, Folder, stage
from bld.pipeline.step_settings import WriteText
from bld.scoring.scorer import open_scorer


class Inputs(Files):
    documents: File
    model: Folder


class Outputs(Files):
    evaluation: File


@memory_explained("lower `batch_tokens` or `window` under `evaluation`")
def main() -> None:
    """Write the texts of one model."""
    with stage(WriteText, Inputs, Outputs) as step:
        settings = step.settings
        passage = find_passage(read_split(step.inputs.documents.parent), settings.passage_bytes)
        common = settings.policy, settings.window, settings.batch_tokens
        scorer = open_scorer(step.inputs.model, settings.rendering, *common)
        bits = surprise(passage, scorer)
        writer = Writer(scorer.renderer, scorer.lm, scorer.renderer.has_chats)
        result = {
            "task": "text",
            "completions": [
                writer.complete(prompt, settings.completion_bytes, settings.temperature)
                for prompt in settings.prompts
            ],
            "passage": {
                "id": passage.document.id,
                "kind": passage.document.kind,
                "text": passage.text,
                "bits": bits,
            },
        }
        write_evaluation(step.outputs.evaluation, result, step.inputs.model)
        print(f"{len(settings.prompts)} completions and a passage of {len(bits)} bytes")


if __name__ == "__main__":
    main()
