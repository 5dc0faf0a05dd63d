"""A model given another tokenizer: Fast Vocabulary Transfer, and two controls.

Fast Vocabulary Transfer (`fvt`): a new token's embedding is the mean of the embeddings of the old
tokens that spell it (Gee et al., 2022), in the input and in the output table; an entry that both
tokenizers have keeps its row.

The controls say what that is worth. They forget what the old rows meant and keep how they are
distributed: with `mean` every row is the mean of all old rows, with `random` it is normal noise
with their mean and standard deviation in each dimension. All ordinary rows are made so, those of
entries that both tokenizers have too (as in the control TransInner of WECHSEL, arXiv 2112.06598): a
tokenizer that has the 256 bytes would give a byte student the same start in all three.

A special token takes the row of the old special token with the same name or role, in the controls
too, so that they differ in the rows of ordinary entries alone. Ids without an entry get the mean of
all old rows, and so do entries that the old tokenizer cannot spell.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bld.tokenization.rendering import Renderer
from bld.tokenization.spelling import spell

ROLES = ("bos_token_id", "eos_token_id", "pad_token_id")


def transfer_vocabulary(
    lm: PreTrainedModel,
    old: tuple[PreTrainedTokenizerBase, Renderer],
    new: tuple[PreTrainedTokenizerBase, Renderer],
    initialisation: Literal["fvt", "mean", "random"] = "fvt",
    pad_to: int = 1,
    seed: int = 0,
) -> list[int]:
    """Replace the embeddings of `lm` (old tokenizer) by those of the new tokenizer, in place.

    Tables get a multiple of `pad_to` rows; `seed` draws the noise of `random`. `generate` never
    gives ids without an entry. Gives the entries that the old tokenizer has no tokens to spell.
    """
    vocabulary = new[1].vocabulary
    ordinary = [token_id for token_id, spelt in enumerate(vocabulary.token_bytes) if spelt]
    from_old = {*vocabulary.special, *(ordinary if initialisation == "fvt" else ())}
    old_id_of = old[0].get_vocab()
    old_tables = [
        table.detach()[: old[1].vocabulary_size].clone() for table in _vocabulary_tables(lm)
    ]
    rows = len(old_tables[0])
    spellings = {
        token_id: [i for i in _old_ids(token_id, old, new, old_id_of) if i < rows]
        for token_id in from_old
    }
    size = pad_to * math.ceil(len(vocabulary) / pad_to)
    lm.resize_token_embeddings(size, mean_resizing=False)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for table, old_table in zip(_vocabulary_tables(lm), old_tables, strict=True):
            deviation, mean = torch.std_mean(old_table, dim=0)
            table.copy_(mean.expand_as(table))
            if initialisation == "random":
                noise = torch.randn(len(ordinary), *mean.shape, generator=generator)
                table[ordinary] += deviation * noise.to(table)
            for token_id, ids in spellings.items():
                if ids:
                    table[token_id] = old_table[ids].mean(0)
    _name_special_tokens(lm, old, new)
    return sorted(token_id for token_id, ids in spellings.items() if not ids)


def _name_special_tokens(
    lm: PreTrainedModel,
    old: tuple[PreTrainedTokenizerBase, Renderer],
    new: tuple[PreTrainedTokenizerBase, Renderer],
) -> None:
    """Tell the model's configurations which ids begin, end and pad, and which are none."""
    for role in ROLES:
        setattr(lm.config, role, getattr(new[0], role))
        setattr(lm.generation_config, role, getattr(new[0], role))
    # A model may end its turns with more tokens than its tokenizer names.
    vocabulary = new[1].vocabulary
    old_names = old[0].convert_ids_to_tokens(sorted(old[1].vocabulary.end))
    kept_ends = {new_id for name, new_id in new[0].get_vocab().items() if name in old_names}
    lm.generation_config.eos_token_id = sorted(kept_ends | vocabulary.end)
    rows = len(_vocabulary_tables(lm)[0])
    absent = [
        token_id
        for token_id in range(rows)
        if token_id >= len(vocabulary)
        or (not vocabulary.token_bytes[token_id] and token_id not in vocabulary.special)
    ]
    lm.generation_config.suppress_tokens = absent or None


def _vocabulary_tables(lm: PreTrainedModel) -> list[nn.Parameter]:
    """What has a row for every entry: the embeddings, the output head unless it is tied to them,
    and its bias if any."""
    modules = lm.get_input_embeddings(), lm.get_output_embeddings()
    return list(dict.fromkeys(table for module in modules for table in module.parameters()))


def _old_ids(
    token_id: int,
    old: tuple[PreTrainedTokenizerBase, Renderer],
    new: tuple[PreTrainedTokenizerBase, Renderer],
    old_id_of: dict[str, int],
) -> list[int]:
    """The old entries that a new one starts from."""
    (old_tokenizer, old_renderer), (new_tokenizer, new_renderer) = old, new
    spelt = new_renderer.vocabulary.token_bytes[token_id]
    name = str(new_tokenizer.convert_ids_to_tokens(token_id))
    old_id = old_id_of.get(name)
    # Of several entries with the same bytes ("A" and <0x41>) each keeps its own row.
    if old_id is not None and old_renderer.vocabulary.token_bytes[old_id] == spelt:
        return [old_id]
    if spelt:
        return spell(spelt, old_renderer)
    for role in ROLES:
        if getattr(new_tokenizer, role) == token_id and getattr(old_tokenizer, role) is not None:
            return [getattr(old_tokenizer, role)]
    return spell(name.encode(), old_renderer)
