"""Measure what a teacher's byte distributions tell of its tokens, on a sample of documents."""

from __future__ import annotations

from bld.config.settings import Histories
from bld.evaluation.bits_per_byte import open_model
from bld.evaluation.files import sample_documents
from bld.evaluation.information import byte_entropies, information, token_entropies
from bld.files import write_json
from bld.folders import whole_folder
from bld.models import memory_explained
from bld.pipeline.step import StepParser
from bld.progress import progress
from bld.scoring.scorer import open_scorer


@memory_explained("lower `batch_tokens` or `window` of the teacher")
def main() -> None:
    """Write the measure of one teacher on one split."""
    parser = StepParser(__doc__)
    parser.reads("--documents", help="manifest of a split")
    parser.reads("--teacher", type=whole_folder)
    parser.writes("--information")
    with parser.recorded() as arguments:
        settings = arguments.step.settings
        limits = settings["window"], settings["batch_tokens"], settings["precision"]
        corpus = arguments.documents.parent
        documents = sample_documents(corpus, settings["documents"], settings["seed"])

        # One after the other, so that the teacher is in memory once.
        scorer = open_scorer(
            arguments.teacher, settings["reading"], Histories(**settings["policy"]), *limits
        )
        scored = scorer.distributions(documents)
        bar = progress("bytes", len(documents), "documents", iterable=scored)
        of_bytes = list(byte_entropies(bar))
        del scorer, scored, bar
        renderer, reader = open_model(arguments.teacher, settings["reading"], *limits)
        rendered = [renderer.render(d.segments, f"document {d.id}") for d in documents]
        of_tokens = token_entropies(rendered, renderer.vocabulary, reader)
        result = information(rendered, of_tokens, of_bytes)
        result |= {"ids": [document.id for document in documents], "settings": settings}
        write_json(arguments.information, result)
        print(
            f"{result['token_bits']:.3f} bits a token, {result['byte_bits']:.3f} in its bytes, over "
            f"{result['tokens']:,} tokens"
        )


if __name__ == "__main__":
    main()
