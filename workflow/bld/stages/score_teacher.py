"""Score one shard of documents: the teacher's byte distributions into the byte cache."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bld.cache.shards import Origin
from bld.cache.writing import ScoredPart, score_part, score_shard
from bld.config.settings import Scoring
from bld.documents.document import Document
from bld.documents.shards import checked_digest
from bld.files import MANIFEST, sha256_of_all
from bld.folders import whole_folder
from bld.models import memory_explained
from bld.pipeline.step import StepParser
from bld.scoring.averaging import open_models
from bld.scoring.scorer import open_teacher


@memory_explained(
    "lower `batch_tokens` or `window` of the teacher, or let it run in `precision: bf16`"
)
def main() -> None:
    """Write the shard of the cache that belongs to a shard of documents."""
    parser = StepParser(__doc__)
    parser.add_argument("--documents", type=Path, required=True, help="a shard of documents")
    parser.reads("--teacher", type=whole_folder, nargs="+", help="its model, or several to average")
    parser.writes("--shard")
    parser.add_argument(
        "--checkpoints", type=Path, required=True, help="folder for what an interrupted run left"
    )
    with parser.recorded() as arguments:
        step, documents_sha256 = arguments.step, checked_digest(arguments.documents)
        arguments.record.reads([arguments.documents.parent / MANIFEST])
        arguments.record.knows({arguments.documents: documents_sha256})
        scoring = Scoring.model_validate(step.settings["scoring"])
        read_as = step.settings["reading"], step.settings.get("average")
        open_one = partial(open_teacher, scoring=scoring)
        scorer = open_models(arguments.teacher, *read_as, open_one)
        for note in scorer.notes:
            print(f"tokenizer: {note}")

        def score(documents: Sequence[Document]) -> ScoredPart:
            found = scorer.distributions(documents)
            return score_part(found, scoring.top_p, scoring.top_k_symbols)

        origin = Origin(
            documents_sha256=documents_sha256,
            teacher_sha256=sha256_of_all(folder / MANIFEST for folder in arguments.teacher),
            step=step.identity,
            settings=step.settings,
        )
        score_shard(arguments.shard, arguments.documents, origin, arguments.checkpoints, score)


if __name__ == "__main__":
    main()
