"""Score one shard of documents: the teacher's byte distributions into the byte cache."""

from __future__ import annotations

from pathlib import Path

from bld.config import Scoring
from bld.documents.parquet import open_parquet
from bld.documents.shards import read_shard
from bld.files import MANIFEST, sha256_of
from bld.folders import whole_folder
from bld.models import open_model
from bld.progress import progress
from bld.provenance.step import step_parser
from bld.teacher.cache import keep_most_probable, write_shard
from bld.teacher.scoring import byte_distributions


def main() -> None:
    """Write the shard of the cache that belongs to a shard of documents."""
    parser = step_parser(__doc__)
    parser.add_argument("--documents", type=Path, required=True, help="a shard of documents")
    parser.add_argument("--teacher", type=whole_folder, required=True)
    parser.add_argument("--shard", type=Path, required=True)
    arguments = parser.parse_args()
    settings = arguments.step.settings
    scoring = Scoring.model_validate(settings["scoring"])
    renderer, reader = open_model(
        arguments.teacher,
        settings["reading"],
        scoring.window,
        scoring.batch_tokens,
        scoring.precision,
    )
    for note in renderer.notes:
        print(f"tokenizer: {note}")
    with open_parquet(arguments.documents) as file:
        total = file.metadata.num_rows
    scored = byte_distributions(read_shard(arguments.documents), renderer, reader)
    rows = (
        (document.id, keep_most_probable(log_probs, lost, scoring.keep_mass, scoring.keep_symbols))
        for document, log_probs, lost in progress("score", total, "documents", iterable=scored)
    )
    key = f"{arguments.step.identity} {sha256_of(arguments.teacher / MANIFEST)}"
    write_shard(arguments.shard, rows, arguments.documents, key)


if __name__ == "__main__":
    main()
