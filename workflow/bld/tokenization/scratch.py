"""Tokenizers made here: the demo's and one of each kind that users have, trained from scratch; and
the bytes as tokens, with the special tokens and the chat template of a model.

All are ordinary fast-tokenizer folders, with a start token, an end token, a padding token
and a chat template.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer, UnigramTrainer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from bld.tokenization.chat_template import ChatTemplate
from bld.tokenization.families import SPACE_MARK, bytes_to_unicode

BYTE_PIECES = [f"<0x{byte:02X}>" for byte in range(256)]


class Template(NamedTuple):
    """A chat template and the special tokens that it uses."""

    start: str
    end: str
    others: tuple[str, ...]
    jinja: str


TEMPLATES = {
    "chatml": Template(
        start="<|endoftext|>",
        end="<|im_end|>",
        others=("<|im_start|>",),
        jinja="{% for message in messages %}"
        "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    ),
    "turns": Template(
        start="<s>",
        end="</s>",
        others=("[user]", "[assistant]", "[system]"),
        jinja="{{ bos_token }}{% for message in messages %}"
        "{{ '[' + message['role'] + ']\n' + message['content'] }}"
        "{% if message['role'] == 'assistant' %}{{ eos_token }}{% else %}{{ '\n' }}{% endif %}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '[assistant]\n' }}{% endif %}",
    ),
}


def train_tokenizer(
    texts: Iterable[str], kind: str, vocabulary: int, template: str
) -> PreTrainedTokenizerFast:
    """A tokenizer of about `vocabulary` entries.

    `kind`: "byte_level_bpe" (GPT-2's), "sentencepiece_bpe" (Gemma's: spaces as U+2581, byte
    fallback), "unigram" (the same with SentencePiece's other algorithm) or "bytes" (256 entries;
    `vocabulary` and `texts` are not read).
    """
    style = TEMPLATES[template]
    special = ["<pad>", "<unk>", style.start, style.end, *style.others]
    backend = BUILDERS[kind](texts, vocabulary, special)
    backend.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in special]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=style.start,
        eos_token=style.end,
        pad_token="<pad>",
        unk_token=None if kind in ("byte_level_bpe", "bytes") else "<unk>",
        chat_template=style.jinja,
        clean_up_tokenization_spaces=False,
    )


def _byte_level(texts: Iterable[str], vocabulary: int, special: list[str]) -> Tokenizer:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        texts,
        BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return backend


def pure_bytes() -> Tokenizer:
    """Every byte a token, id = byte."""
    characters = bytes_to_unicode()
    backend = Tokenizer(
        models.BPE(vocab={characters[byte]: byte for byte in range(256)}, merges=[])
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return backend


def byte_tokenizer_like(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerFast:
    """Ids 0-255 are the bytes, the special tokens of `tokenizer` follow in the order of their ids,
    and among them those with which its chat template marks roles.

    An ordinary fast tokenizer, which puts the start token before a text if `tokenizer` does.
    """
    marks = ChatTemplate(tokenizer, {}).role_marks() if tokenizer.chat_template else set()
    special = {
        token_id: added.content
        for token_id, added in tokenizer.added_tokens_decoder.items()
        if added.special or token_id in marks
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


def _sentencepiece_bpe(texts: Iterable[str], vocabulary: int, special: list[str]) -> Tokenizer:
    backend = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Replace(" ", SPACE_MARK)
    backend.pre_tokenizer = pre_tokenizers.Split(SPACE_MARK, "merged_with_next")
    backend.decoder = _sentencepiece_decoder()
    backend.train_from_iterator(
        texts,
        BpeTrainer(
            vocab_size=vocabulary, special_tokens=[*special, *BYTE_PIECES], show_progress=False
        ),
    )
    return _with_byte_fallback(backend)


def _unigram(texts: Iterable[str], vocabulary: int, special: list[str]) -> Tokenizer:
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace(SPACE_MARK, prepend_scheme="first")
    backend.decoder = _sentencepiece_decoder()
    backend.train_from_iterator(
        texts,
        UnigramTrainer(
            vocab_size=vocabulary,
            special_tokens=[*special, *BYTE_PIECES],
            unk_token="<unk>",
            show_progress=False,
        ),
    )
    return _reproducible(_with_byte_fallback(backend), len(special) + len(BYTE_PIECES))


def _reproducible(backend: Tokenizer, fixed: int) -> Tokenizer:
    """A trained Unigram, the same in every run: scores without noise, entries after the first
    `fixed` sorted by them.

    The trainer sums in the order of a hash. To characters that it must not lose it gives the lowest
    score, plus 0.0001 for each one before: in that order, too.
    """
    specification: dict[str, Any] = json.loads(backend.to_str())
    vocabulary = specification["model"]["vocab"]
    scores = {piece: round(score, 4) for piece, score in vocabulary[fixed:]}
    characters = [piece for piece in scores if len(piece) == 1]
    lowest = min(scores.values())
    for piece in characters:
        if scores[piece] <= lowest + 0.0001 * len(characters):
            scores[piece] = lowest
    vocabulary[fixed:] = sorted(scores.items(), key=lambda entry: (-entry[1], entry[0]))
    return Tokenizer.from_str(json.dumps(specification))


def _sentencepiece_decoder() -> decoders.Decoder:
    return decoders.Sequence(
        [decoders.Replace(SPACE_MARK, " "), decoders.ByteFallback(), decoders.Fuse()]
    )


def _with_byte_fallback(backend: Tokenizer) -> Tokenizer:
    """Byte pieces as SentencePiece has them: entries reached by fallback, not matched in text."""
    specification: dict[str, Any] = json.loads(backend.to_str())
    specification["model"]["byte_fallback"] = True
    specification["added_tokens"] = [
        added for added in specification["added_tokens"] if added["content"] not in BYTE_PIECES
    ]
    return Tokenizer.from_str(json.dumps(specification))


BUILDERS: dict[str, Callable[[Iterable[str], int, list[str]], Tokenizer]] = {
    "byte_level_bpe": _byte_level,
    "sentencepiece_bpe": _sentencepiece_bpe,
    "unigram": _unigram,
    "bytes": lambda texts, vocabulary, special: pure_bytes(),
}
