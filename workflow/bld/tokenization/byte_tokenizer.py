"""The byte tokenizer of a model: 256 bytes as tokens, and the model's own special tokens and chat template."""

from __future__ import annotations

from tokenizers import AddedToken
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from bld.tokenization.scratch import pure_bytes


def byte_tokenizer_like(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerFast:
    """Ids 0-255 are the bytes, the special tokens of `tokenizer` follow by id; an ordinary fast tokenizer."""
    special = {
        token_id: added.content
        for token_id, added in tokenizer.added_tokens_decoder.items()
        if added.special
    }
    backend = pure_bytes()
    backend.add_special_tokens(
        [AddedToken(special[i], special=True, normalized=False) for i in sorted(special)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=tokenizer.bos_token,
        eos_token=tokenizer.eos_token,
        pad_token=tokenizer.pad_token,
        chat_template=tokenizer.chat_template,
        clean_up_tokenization_spaces=False,
    )
