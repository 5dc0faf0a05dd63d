"""Fast Vocabulary Transfer: a model given another tokenizer.

A new token's embedding is the mean of the embeddings of the old tokens that spell it (Gee et al.,
2022), in the input and in the output table; an entry that both tokenizers have keeps its row. A
special token takes the row of the old special token with the same name or role.

Shape letters: V new vocabulary, H hidden.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bld.tokenization.rendering import Renderer

ROLES = ("bos_token_id", "eos_token_id", "pad_token_id")


def transfer_vocabulary(
    lm: PreTrainedModel,
    old: tuple[PreTrainedTokenizerBase, Renderer],
    new: tuple[PreTrainedTokenizerBase, Renderer],
) -> None:
    """Replace the embeddings of `lm` (old tokenizer) by those of the new tokenizer, in place."""
    old_id_of = old[0].get_vocab()
    spellings = [
        _old_ids(token_id, old, new, old_id_of) for token_id in range(new[1].vocabulary_size)
    ]
    old_tables = [
        {name: table.detach().clone() for name, table in module.named_parameters()}
        for module in _vocabulary_modules(lm)
    ]
    lm.resize_token_embeddings(len(spellings), mean_resizing=False)
    with torch.no_grad():
        for module, old_table in zip(_vocabulary_modules(lm), old_tables, strict=True):
            for name, table in module.named_parameters():
                rows = [old_table[name][ids].mean(0) for ids in spellings]
                table.copy_(torch.stack(rows))
    for role in ROLES:
        setattr(lm.config, role, getattr(new[0], role))
        setattr(lm.generation_config, role, getattr(new[0], role))
    # A model may end its turns with more tokens than its tokenizer tells of.
    old_names = old[0].convert_ids_to_tokens(sorted(old[1].vocabulary.end))
    kept_ends = {new_id for name, new_id in new[0].get_vocab().items() if name in old_names}
    lm.generation_config.eos_token_id = sorted(kept_ends | new[1].vocabulary.end)


def _vocabulary_modules(lm: PreTrainedModel) -> tuple[nn.Module, nn.Module]:
    """What has a row for every entry: the embeddings, and the output head with its bias if any."""
    return lm.get_input_embeddings(), lm.get_output_embeddings()


def _old_ids(
    token_id: int,
    old: tuple[PreTrainedTokenizerBase, Renderer],
    new: tuple[PreTrainedTokenizerBase, Renderer],
    old_id_of: dict[str, int],
) -> list[int]:
    (old_tokenizer, old_renderer), (new_tokenizer, new_renderer) = old, new
    spelt = new_renderer.vocabulary.token_bytes[token_id]
    if not spelt and token_id not in new_renderer.vocabulary.special:
        return [0]  # an unused id is never read
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


def spell(text: bytes, renderer: Renderer) -> list[int]:
    """The old tokens that spell these bytes: its own encoding of valid text, else its longest
    entries from the left."""
    try:
        return renderer.content.encode(text.decode(), "vocabulary transfer")
    except UnicodeDecodeError:
        pass
    ids, by_bytes = [], renderer.ids_by_bytes
    while text:
        length = max((n for n in range(1, len(text) + 1) if text[:n] in by_bytes), default=0)
        if not length:
            raise ValueError(
                f"the old tokenizer has no entry for byte {text[:1]!r}, so the new token that holds it has "
                "nothing to start from; use a model whose tokenizer is byte-level or has byte fallback"
            )
        ids.append(by_bytes[text[:length]])
        text = text[length:]
    return ids
