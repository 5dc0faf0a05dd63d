"""Audit a teacher's byte cache: sum a sample of its documents again, under a stricter policy."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from bld.cache.reading import ByteCache
from bld.evaluation.audit import ROUNDING, Stored, audit, audit_table
from bld.evaluation.files import sample_documents
from bld.files import MANIFEST, read_manifest, write_json
from bld.models import memory_explained
from bld.pipeline.step import File, Files, Folder, stage
from bld.pipeline.step_settings import AuditCache
from bld.progress import progress
from bld.scoring.averaging import open_models
from bld.scoring.scorer import Scored, open_scorer


class Inputs(Files):
    """`teacher`: its model, or several to average."""

    documents: File
    teacher: list[Folder]
    cache: File


class Outputs(Files):
    audit: File


@memory_explained("lower `batch_tokens` or `window` of the teacher")
def main() -> None:
    """Write the audit of one cache."""
    with stage(AuditCache, Inputs, Outputs) as step:
        settings = step.settings
        corpus, folder = step.inputs.documents.parent, step.inputs.cache.parent
        cache = ByteCache(folder, corpus)
        documents = sample_documents(corpus, settings.documents, settings.seed)

        def scored(which: str) -> Iterable[Scored]:
            open_one = partial(
                open_scorer,
                policy=getattr(settings, which),
                window=settings.window,
                batch_tokens=settings.batch_tokens,
                precision=settings.precision,
            )
            models = settings.rendering, settings.average
            found = open_models(step.inputs.teacher, *models, open_one).distributions(documents)
            shown: Iterable[Scored] = progress(
                f"{which} policy", len(documents), "documents", iterable=found
            )
            return shown

        # One after the other, so that the teacher is in memory once.
        own = list(scored("own"))
        stored = (Stored(cache.read_dense(d.id), cache.read(d.id).lost_mass_N) for d in documents)
        result = audit(stored, own, scored("strict"), ROUNDING[settings.precision])
        result |= {
            "ids": [document.id for document in documents],
            "settings": settings.dump(),
            "bytes_on_disk": read_manifest(folder / MANIFEST)["bytes_on_disk"],
            "supervised_bytes": read_manifest(corpus / MANIFEST)["supervised_bytes"],
        }
        write_json(step.outputs.audit, result)
        print(audit_table(result))


if __name__ == "__main__":
    main()
