"""Export: a trained student as an ordinary model folder, without its byte head."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedModel

if TYPE_CHECKING:
    from deepspeed.runtime.engine import DeepSpeedEngine

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "tokenizer.model",
)


def trained_weights(engine: DeepSpeedEngine, part: str) -> dict[str, torch.Tensor]:
    """All weights of one part of the trained module, "lm" or "head", from any ZeRO stage.

    Every process has to call this; the first one gets the weights, the others may get none.
    """
    if engine.zero_optimization_stage() == 3:
        state = engine._zero3_consolidated_16bit_state_dict() or {}
    else:
        state = engine.module.state_dict()
    prefix = f"{part}."
    return {name.removeprefix(prefix): w for name, w in state.items() if name.startswith(prefix)}


def save_model(
    lm: PreTrainedModel, weights: dict[str, torch.Tensor], tokenizer: Path, folder: Path
) -> None:
    """Write `lm` with these weights and the tokenizer files of folder `tokenizer`.

    The folder loads with `AutoModelForCausalLM.from_pretrained`.
    """
    lm.save_pretrained(folder, state_dict=weights)
    for name in TOKENIZER_FILES:
        if (tokenizer / name).exists():
            shutil.copyfile(tokenizer / name, folder / name)
