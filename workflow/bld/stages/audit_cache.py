"""Audit a teacher's byte cache: sum a sample of its documents again, under a stricter policy."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from bld.cache.reading import ByteCache
from bld.config.settings import Histories
from bld.evaluation.audit import ROUNDING, Stored, audit, audit_table
from bld.evaluation.files import sample_documents
from bld.files import MANIFEST, read_manifest, write_json
from bld.folders import whole_folder
from bld.models import memory_explained
from bld.pipeline.step import StepParser
from bld.progress import progress
from bld.scoring.averaging import open_models
from bld.scoring.scorer import Scored, open_scorer


@memory_explained("lower `batch_tokens` or `window` of the teacher")
def main() -> None:
    """Write the audit of one cache."""
    parser = StepParser(__doc__)
    parser.reads("--documents", help="manifest of a split")
    parser.reads("--teacher", type=whole_folder, nargs="+", help="its model, or several to average")
    parser.reads("--cache", help="manifest of the byte cache")
    parser.writes("--audit")
    with parser.recorded() as arguments:
        settings = arguments.step.settings
        corpus, folder = arguments.documents.parent, arguments.cache.parent
        cache = ByteCache(folder, corpus)
        documents = sample_documents(corpus, settings["documents"], settings["seed"])

        def scored(which: str) -> Iterable[Scored]:
            limits = {key: settings[key] for key in ("window", "batch_tokens", "precision")}
            open_one = partial(open_scorer, policy=Histories(**settings[which]), **limits)
            read_as = settings["reading"], settings.get("average")
            scorer = open_models(arguments.teacher, *read_as, open_one)
            found = scorer.distributions(documents)
            return progress(f"{which} policy", len(documents), "documents", iterable=found)

        # One after the other, so that the teacher is in memory once.
        own = list(scored("own"))
        stored = (Stored(cache.read_dense(d.id), cache.read(d.id).lost_mass_N) for d in documents)
        result = audit(stored, own, scored("strict"), ROUNDING[settings["precision"]])
        result |= {
            "ids": [document.id for document in documents],
            "settings": settings,
            "bytes_on_disk": read_manifest(folder / MANIFEST)["bytes_on_disk"],
            "supervised_bytes": read_manifest(corpus / MANIFEST)["supervised_bytes"],
        }
        write_json(arguments.audit, result)
        print(audit_table(result))


if __name__ == "__main__":
    main()
