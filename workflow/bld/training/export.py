"""Export: a trained student as an ordinary model folder, without its byte head.

What is exported are the numbers that the model computes with, whatever the ZeRO stage, in the
number format that the student's folder had before: a student that came in bfloat16 goes out in
bfloat16, also if it was trained in float32.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import PreTrainedModel

from bld.models import end_ids

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
    lm: PreTrainedModel,
    weights: dict[str, torch.Tensor],
    source: Path,
    folder: Path,
    ends: Iterable[int] = (),
) -> None:
    """Write a model of the kind of `lm` with these weights and the tokenizer files of folder
    `source`.

    Its number format is that of the model in `source`; if there is only a tokenizer, that of the
    weights. The folder loads with `AutoModelForCausalLM.from_pretrained`, and `generate` stops at
    the tokens `ends` as well as at those that `source` names.
    """
    whole = empty_like(lm)
    whole.generation_config.eos_token_id = sorted({*end_ids(lm), *ends}) or None
    whole.load_state_dict(weights, assign=True)
    nn.Module.to(whole, dtype=stored_dtype(source))
    # Copies and conversions part embeddings that are one, and both would be stored.
    whole.tie_weights()
    whole.save_pretrained(folder)
    for name in TOKENIZER_FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)


def empty_like(lm: PreTrainedModel) -> PreTrainedModel:
    """A model of the same kind and configuration whose weights take no memory yet."""
    with torch.device("meta"):
        empty: PreTrainedModel = type(lm)(copy.deepcopy(lm.config))
    empty.generation_config = copy.deepcopy(lm.generation_config)
    return empty


def stored_dtype(folder: Path) -> torch.dtype | None:
    """The number format that a model folder's configuration names, if it names one."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) if path.exists() else {}
    name = config.get("dtype", config.get("torch_dtype"))
    return None if name is None else getattr(torch, name)
