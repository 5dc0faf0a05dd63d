"""The byte tokenizer of a model: 256 bytes as tokens, and the model's own special tokens and chat
template."""

from __future__ import annotations

from tokenizers import AddedToken
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from bld.tokenization.scratch import pure_bytes


def byte_tokenizer_like(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerFast:
    """Ids 0-255 are the bytes, the special tokens of `tokenizer` follow in the order of their ids.

    An ordinary fast tokenizer, which puts the start token before a text if `tokenizer` does.
    """
    special = {
        token_id: added.content
        for token_id, added in tokenizer.added_tokens_decoder.items()
        if added.special
    }
    backend = pure_bytes()
    backend.add_special_tokens(
        [AddedToken(special[i], special=True, normalized=False) for i in sorted(special)]
    )
    start = tokenizer.bos_token_id
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=tokenizer.bos_token,
        eos_token=tokenizer.eos_token,
        pad_token=tokenizer.pad_token,
        chat_template=tokenizer.chat_template,
        add_bos_token=start is not None and tokenizer("a").input_ids[0] == start,
        clean_up_tokenization_spaces=False,
    )
