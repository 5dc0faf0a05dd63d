"""Write what a person wants to see of a model: completions, and the surprise of each byte of a passage."""

from __future__ import annotations

from pathlib import Path

from bld.covers.policy import Policy
from bld.documents.shards import read_split
from bld.evaluation.text import Writer, find_passage, has_chat_template, surprise
from bld.files import MANIFEST, sha256_of, write_json
from bld.folders import whole_folder
from bld.models import load_language_model, memory_explained
from bld.provenance.step import step_parser
from bld.teacher.scoring import ByteScorer
from bld.tokenization.rendering import load_renderer


@memory_explained("lower `batch_tokens` or `window` under `evaluation`")
def main() -> None:
    """Write the texts of one model."""
    parser = step_parser(__doc__)
    parser.add_argument("--documents", type=Path, required=True, help="manifest of a split")
    parser.add_argument("--model", type=whole_folder, required=True)
    parser.add_argument("--evaluation", type=Path, required=True)
    arguments = parser.parse_args()
    settings = arguments.step.settings
    reading = settings["reading"]
    renderer = load_renderer(arguments.model, **reading)
    lm = load_language_model(arguments.model, trust_remote_code=reading["trust_remote_code"])
    passage = find_passage(read_split(arguments.documents.parent), settings["passage_bytes"])
    policy = Policy(**settings["policy"])
    scorer = ByteScorer(renderer, lm, policy, settings["window"], settings["batch_tokens"])
    bits = surprise(passage, scorer)
    writer = Writer(renderer, lm, has_chat_template(arguments.model, reading))
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
    judged = {"model_sha256": sha256_of(arguments.model / MANIFEST)}
    write_json(arguments.evaluation, result | judged)
    print(f"{len(settings['prompts'])} completions and a passage of {len(bits)} bytes")


if __name__ == "__main__":
    main()
