"""Score shards of documents: the teacher's byte distributions into the byte cache.

Each shard has its record, its checkpoints and its finished file; the teacher is read once for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from itertools import chain
from pathlib import Path

from bld.cache.shards import Origin
from bld.cache.writing import ScoredPart, is_finished, score_part, score_shard
from bld.documents.document import Document
from bld.documents.shards import checked_digest, read_shard
from bld.files import MANIFEST, read_manifest, sha256_of_all
from bld.models import memory_explained
from bld.pipeline.step import File, Files, Folder, Listed, stage
from bld.pipeline.step_settings import ScoreTeacher
from bld.scoring.averaging import Scorer, check_documents, open_models
from bld.scoring.scorer import open_teacher


class Inputs(Files):
    documents: File
    teacher: list[Folder]


class Outputs(Files):
    """One shard, or several, each with its record."""

    shard: Listed


@memory_explained(
    "lower `batch_tokens` or `window` of the teacher, or let it run in `precision: bf16`"
)
def main() -> None:
    """Write the shards of the cache that belong to shards of documents."""
    with stage(ScoreTeacher, Inputs, Outputs) as step:
        shards, scoring = step.outputs.shard, step.settings.scoring
        documents = [step.inputs.documents.with_name(shard.name) for shard in shards]
        split = read_manifest(step.inputs.documents.with_name(MANIFEST))
        teacher_sha256 = sha256_of_all(folder / MANIFEST for folder in step.inputs.teacher)

        def origin_of(path: Path) -> Origin:
            digest = checked_digest(path, split)
            return Origin(digest, teacher_sha256, step.identity, step.settings.dump())

        origins = [origin_of(path) for path in documents]
        checkpoints = [step.checkpoints / shard.stem for shard in shards]
        jobs = list(zip(shards, documents, origins, checkpoints, strict=True))
        unscored = [
            source for shard, source, origin, parts in jobs if not is_finished(shard, origin, parts)
        ]
        if unscored:
            texts = chain.from_iterable(map(read_shard, unscored))
            check_documents(step.inputs.teacher, step.settings.rendering, texts)

        @cache
        def scorer() -> Scorer:
            read_as = step.settings.rendering, step.settings.average
            open_one = partial(open_teacher, scoring=scoring)
            opened = open_models(step.inputs.teacher, *read_as, open_one)
            for note in opened.notes:
                print(f"teacher: {note}")
            return opened

        def score(part: Sequence[Document]) -> ScoredPart:
            found = scorer().distributions(part)
            return score_part(found, scoring.top_p, scoring.top_k_symbols)

        for number, (shard, source, origin, parts) in enumerate(jobs):
            record = step.record if number == 0 else step.record_of(number)
            record.knows({source: origin.documents_sha256})
            if len(jobs) > 1:
                print(f"{shard}: {number + 1} of {len(jobs)}")
            score_shard(shard, source, origin, parts, score, step.record.saved)
            # The first record is the job's own: until the last shard it tells of attempts.
            if number == 0:
                record.finish()
            else:
                record.write()


if __name__ == "__main__":
    main()
