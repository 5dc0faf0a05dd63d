"""Make the student before training: a model as it is, or given another tokenizer."""

from __future__ import annotations

from torch.nn import Module

from bld.folders import link_files, new_folder, whole_folder
from bld.models import load_language_model
from bld.pipeline.step import StepParser
from bld.tokenization.byte_tokenizer import byte_tokenizer_like
from bld.tokenization.loading import load_tokenizer, made_anew
from bld.tokenization.rendering import load_renderer
from bld.tokenization.transfer import transfer_vocabulary
from bld.training.export import stored_dtype


def main() -> None:
    """Write the student into the folder of the manifest."""
    parser = StepParser(__doc__)
    parser.reads("--model", type=whole_folder)
    parser.reads("--tokenizer", type=whole_folder, nargs="?", help="folder of another tokenizer")
    parser.writes("--manifest")
    with parser.recorded() as arguments:
        settings = arguments.step.settings
        about = {"tokenizer": settings["tokenizer"]}
        with new_folder(arguments.manifest.parent, about) as folder:
            if settings["tokenizer"] is None:
                link_files(arguments.model, folder)
                return
            trusted = settings["reading"]["trust_remote_code"]
            old_tokenizer = load_tokenizer(arguments.model, trusted)
            old_renderer = load_renderer(arguments.model, **settings["model_reading"])
            new_tokenizer = (
                byte_tokenizer_like(old_tokenizer)
                if settings["tokenizer"] == "bytes"
                else load_tokenizer(arguments.tokenizer)
            )
            new_tokenizer.save_pretrained(folder)
            new_renderer = load_renderer(folder, **settings["reading"])
            lm = load_language_model(arguments.model, trust_remote_code=trusted)
            transfer_vocabulary(
                lm,
                (old_tokenizer, old_renderer),
                (new_tokenizer, new_renderer),
                **settings["transfer"],
            )
            Module.to(lm, dtype=stored_dtype(arguments.model))
            lm.save_pretrained(folder)
            if otherwise := made_anew(new_tokenizer, folder, trusted):
                raise ValueError(
                    f"{otherwise}. A student of this model type cannot keep such a tokenizer: wherever it "
                    "is loaded it would read other tokens than it was trained on. Choose a student of "
                    "another type, or a tokenizer of its own family"
                )


if __name__ == "__main__":
    main()
