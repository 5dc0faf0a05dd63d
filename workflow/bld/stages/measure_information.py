"""Measure what a teacher's byte distributions reveal of its tokens, on a sample of documents."""

from __future__ import annotations

from bld.evaluation.files import sample_documents
from bld.evaluation.information import byte_entropies, information, token_entropies
from bld.evaluation.reader import open_model
from bld.files import write_json
from bld.models import memory_explained
from bld.pipeline.step import File, Files, Folder, stage
from bld.pipeline.step_settings import MeasureInformation
from bld.progress import progress
from bld.scoring.scorer import open_scorer


class Inputs(Files):
    documents: File
    teacher: Folder


class Outputs(Files):
    information: File


@memory_explained("lower `batch_tokens` or `window` of the teacher")
def main() -> None:
    """Write the measure of one teacher on one split."""
    with stage(MeasureInformation, Inputs, Outputs) as step:
        settings = step.settings
        limits = settings.window, settings.batch_tokens, settings.precision
        corpus = step.inputs.documents.parent
        documents = sample_documents(corpus, settings.documents, settings.seed)

        # One after the other, so that the teacher is in memory once.
        scorer = open_scorer(step.inputs.teacher, settings.rendering, settings.policy, *limits)
        scored = scorer.distributions(documents)
        bar = progress("bytes", len(documents), "documents", iterable=scored)
        of_bytes = list(byte_entropies(bar))
        del scorer, scored, bar
        renderer, reader = open_model(step.inputs.teacher, settings.rendering, *limits)
        rendered = [renderer.render(d.segments, f"document {d.id}") for d in documents]
        of_tokens = token_entropies(rendered, reader)
        result = information(rendered, of_tokens, of_bytes)
        result |= {"ids": [document.id for document in documents], "settings": settings.dump()}
        write_json(step.outputs.information, result)
        print(
            f"{result['token_bits']:.3f} bits a token, {result['byte_bits']:.3f} in its bytes, "
            f"over {result['tokens']:,} tokens"
        )


if __name__ == "__main__":
    main()
