"""LoRA: low-rank updates of some matrices instead of all weights (Hu et al., arXiv 2106.09685),
through peft.

The updates are put into the model where it stands, so that it stays of its own class and is run in
two halves as before. At the end they are merged, and what is exported is an ordinary model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraModel
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from bld.config.settings import Lora
from bld.training.export import empty_like

ADAPTER = "default"


def add_lora(lm: PreTrainedModel, lora: Lora, seed: int) -> None:
    """Put low-rank updates into `lm` in place and freeze all else; they start as no change.

    `seed` draws the first factor of each update, the second is zero. Raises ValueError if a target
    is the end of no matrix's name, or also stands for experts that are one tensor.
    """
    matrices = dict(_matrices(lm))
    endings = sorted({name.rpartition(".")[2] for name in matrices})
    for target in lora.targets:
        if not any(_ends_with(name, target) for name in matrices):
            raise ValueError(
                f"training.lora.targets: found `{target}`, with which no matrix of "
                f"{type(lm).__name__} ends; expected some of {', '.join(endings)} "
                "(`embeddings: true` trains the embeddings and the output head)"
            )
        if fused := [name for name in _fused(lm) if _stands_for(target, name)]:
            raise ValueError(
                f"training.lora.targets: found `{target}`, which in {type(lm).__name__} also "
                f"stands for {len(fused)} tensors of all experts at once ({fused[0]}, "
                "...); low-rank updates reach matrices alone. Name the matrices that you mean by "
                "more of their names (`shared_expert.down_proj`, say), or train all weights"
            )
    # peft also looks for modules of other kinds, so it is given the full names.
    targets = [name for name in matrices if any(_ends_with(name, t) for t in lora.targets)]
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # any number will do
        target_modules=targets,
        fan_in_fan_out=isinstance(matrices[targets[0]], Conv1D),
    )
    torch.manual_seed(seed)
    inject_adapter_in_model(config, lm, ADAPTER)
    if lora.embeddings:
        lm.get_input_embeddings().requires_grad_(True)
        lm.get_output_embeddings().requires_grad_(True)


def merged_weights(
    lm: PreTrainedModel, weights: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The trained weights of `lm`, which has low-rank updates, as those of the model without: in
    float32, on the CPU.

    `weights` is what `trained_weights` gives, at any ZeRO stage; neither they nor `lm` are changed.
    """
    config = cast(LoraConfig, lm.peft_config[ADAPTER])
    tuner = LoraModel(empty_like(lm), config, ADAPTER, low_cpu_mem_usage=True)
    # peft merges in place.
    copies = {name: w.to("cpu", torch.float32, copy=True) for name, w in weights.items()}
    tuner.model.load_state_dict(copies, assign=True)
    tuner.model.tie_weights()
    merged: nn.Module = tuner.merge_and_unload()
    return merged.state_dict()


def _matrices(lm: PreTrainedModel) -> Iterator[tuple[str, nn.Module]]:
    """What can be updated: every linear layer but the output head, whose weights the losses read as
    they are."""
    head = lm.get_output_embeddings()
    for name, module in lm.named_modules():
        if isinstance(module, nn.Linear | Conv1D) and module is not head:
            yield name, module


def _fused(lm: PreTrainedModel) -> list[str]:
    """Weights of several matrices in one tensor, as some models hold their experts."""
    return [name for name, weight in lm.named_parameters() if weight.ndim == 3]


def _stands_for(target: str, fused: str) -> bool:
    """Whether a fused tensor holds what is elsewhere called so: `gate_up_proj` a `gate_proj`."""
    *parents, word = target.split(".")
    *places, name = fused.split(".")
    inside = not parents or places[-len(parents) :] == parents
    return inside and set(word.split("_")) <= set(name.split("_"))


def _ends_with(name: str, target: str) -> bool:
    return f".{name}".endswith(f".{target}")
