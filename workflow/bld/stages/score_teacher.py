"""Score one shard of documents: the teacher's byte distributions into the byte cache."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from bld.cache.shards import Origin
from bld.cache.writing import ScoredPart, score_part, score_shard
from bld.documents.document import Document
from bld.documents.shards import checked_digest, read_shard
from bld.files import MANIFEST, sha256_of_all
from bld.models import memory_explained
from bld.pipeline.step import File, Files, Folder, stage
from bld.pipeline.step_settings import ScoreTeacher
from bld.scoring.averaging import check_documents, open_models
from bld.scoring.scorer import open_teacher


class Inputs(Files):
    documents: File
    teacher: list[Folder]


class Outputs(Files):
    shard: File


@memory_explained(
    "lower `batch_tokens` or `window` of the teacher, or let it run in `precision: bf16`"
)
def main() -> None:
    """Write the shard of the cache that belongs to a shard of documents."""
    with stage(ScoreTeacher, Inputs, Outputs) as step:
        shard, scoring = step.outputs.shard, step.settings.scoring
        documents = step.inputs.documents.with_name(shard.name)
        documents_sha256 = checked_digest(documents)
        step.record.knows({documents: documents_sha256})
        read_as = step.settings.rendering, step.settings.average
        check_documents(step.inputs.teacher, step.settings.rendering, read_shard(documents))
        open_one = partial(open_teacher, scoring=scoring)
        scorer = open_models(step.inputs.teacher, *read_as, open_one)
        for note in scorer.notes:
            print(f"teacher: {note}")

        def score(part: Sequence[Document]) -> ScoredPart:
            found = scorer.distributions(part)
            return score_part(found, scoring.top_p, scoring.top_k_symbols)

        origin = Origin(
            documents_sha256=documents_sha256,
            teacher_sha256=sha256_of_all(folder / MANIFEST for folder in step.inputs.teacher),
            step=step.identity,
            settings=step.settings.dump(),
        )
        score_shard(shard, documents, origin, step.checkpoints, score, step.record.saved)


if __name__ == "__main__":
    main()
