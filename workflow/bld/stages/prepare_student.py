"""Make the student before training: a model as it is, or given another tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.nn import Module

from bld.folders import link_files, new_folder
from bld.models import load_language_model
from bld.pipeline.step import File, Files, Folder, OptionalFolder, stage
from bld.pipeline.step_settings import NewTokenizer, PrepareStudent
from bld.tokenization.loading import load_tokenizer
from bld.tokenization.rendering import load_renderer
from bld.tokenization.scratch import byte_tokenizer_like
from bld.tokenization.transfer import transfer_vocabulary
from bld.training.export import stored_dtype
from bld.training.export_check import check_loads


class Inputs(Files):
    """`tokenizer`: the folder of another one, where the student is given that of a model."""

    model: Folder
    tokenizer: OptionalFolder


class Outputs(Files):
    manifest: File


def main() -> None:
    """Write the student into the folder of the manifest."""
    with stage(PrepareStudent, Inputs, Outputs) as step:
        new = step.settings.tokenizer
        about: dict[str, Any] = {"tokenizer": new and new.name}
        with new_folder(step.outputs.manifest.parent, about) as folder:
            if new:
                about["unspelt_entries"] = _with_tokenizer(new, step.inputs, folder)
            else:
                link_files(step.inputs.model, folder)
            is_trusted = new.rendering.trust_remote_code if new else step.settings.trust_remote_code
            check_loads(folder, is_trusted)


def _with_tokenizer(new: NewTokenizer, inputs: Inputs, folder: Path) -> int:
    """Fill the folder; gives how many new entries the old tokenizer could not spell."""
    is_trusted = new.rendering.trust_remote_code
    old_tokenizer = load_tokenizer(inputs.model, is_trusted)
    how = dict(new.model_rendering)
    old_renderer = load_renderer(inputs.model, tokenizer=old_tokenizer, **how)
    new_tokenizer = (
        load_tokenizer(inputs.tokenizer) if inputs.tokenizer else byte_tokenizer_like(old_tokenizer)
    )
    new_tokenizer.save_pretrained(folder)
    new_renderer = load_renderer(folder, **dict(new.rendering))
    lm = load_language_model(inputs.model, trust_remote_code=is_trusted)
    unspelt = transfer_vocabulary(
        lm, (old_tokenizer, old_renderer), (new_tokenizer, new_renderer), **dict(new.transfer)
    )
    if unspelt:
        names = ", ".join(map(repr, new_tokenizer.convert_ids_to_tokens(unspelt[:5])))
        print(
            f"{len(unspelt)} of {len(new_renderer.vocabulary)} entries start as the mean of all "
            f"old rows, since the old tokenizer has no tokens for their bytes: {names}"
            + ", ..."
            * (len(unspelt) > 5)
        )
    Module.to(lm, dtype=stored_dtype(inputs.model))
    lm.save_pretrained(folder)
    return len(unspelt)


if __name__ == "__main__":
    main()
