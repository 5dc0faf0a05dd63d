"""One tokenizer of every kind that users have, made small and on the spot."""

import json
from collections.abc import Callable

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer

SAMPLE = [
    "def find(items, key):\n    return [item for item in items if item == key]\n",
    "Return the first index of value.  Raises ValueError if the value is not present.",
    "naïve café — 日本語 \U0001f600 e\u0301\t2024-11-05",
] * 20

MARK_SPACES = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
METASPACE = {
    "type": "Metaspace",
    "replacement": "\u2581",
    "prepend_scheme": "always",
    "split": True,
}
BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}
LLAMA_3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def specification_of(tokenizer):
    return json.loads(tokenizer.backend_tokenizer.to_str())


def with_specification(tokenizer, **changes):
    """The same tokenizer with parts of its tokenizer.json replaced."""
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(specification_of(tokenizer) | changes)),
        bos_token=tokenizer.bos_token,
        eos_token=tokenizer.eos_token,
        pad_token=tokenizer.pad_token,
        chat_template=tokenizer.chat_template,
    )


def added_token(token_id, content, special=False, **flags):
    """An entry of `added_tokens`."""
    off = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token_id, "content": content, "special": special} | off | flags


def byte_level_bpe():
    return train_tokenizer(SAMPLE, "byte_level_bpe", 500, "chatml")


def sentencepiece_bpe():
    return train_tokenizer(SAMPLE, "sentencepiece_bpe", 600, "turns")


def unigram():
    return train_tokenizer(SAMPLE, "unigram", 500, "turns")


def llama_2_style():
    """The dummy space and the space marks are normalizers."""
    prepend = {"type": "Prepend", "prepend": "\u2581"}
    return with_specification(
        sentencepiece_bpe(),
        normalizer={"type": "Sequence", "normalizers": [prepend, MARK_SPACES]},
        pre_tokenizer=None,
    )


def qwen_2_style():
    """NFC in front of byte-level BPE."""
    return with_specification(byte_level_bpe(), normalizer={"type": "NFC"})


def roberta_style():
    """Byte-level BPE that puts a space in front."""
    return with_specification(
        byte_level_bpe(), pre_tokenizer=BYTE_LEVEL | {"add_prefix_space": True}
    )


def gpt_neox_style():
    """NFC, and runs of spaces and tabs as added tokens that are not special."""
    tokenizer = byte_level_bpe()
    runs = [" " * n for n in range(24, 1, -1)] + ["\t\t"]
    added = [added_token(len(tokenizer) + n, run, normalized=True) for n, run in enumerate(runs)]
    return with_specification(
        tokenizer,
        normalizer={"type": "NFC"},
        added_tokens=specification_of(tokenizer)["added_tokens"] + added,
    )


def gemma_2_style():
    """The whole text is one word; user-defined symbols are both entries and added tokens."""
    tokenizer = sentencepiece_bpe()
    specification = specification_of(tokenizer)
    model, added = specification["model"], specification["added_tokens"]
    for entry in ("\u2581\u2581", "\u2581\u2581\u2581\u2581", "\n\n", "<unused0>"):
        half = entry[: len(entry) // 2]
        if half in model["vocab"]:
            model["merges"].append([half, half])
        model["vocab"].setdefault(entry, len(model["vocab"]))
        added.append(added_token(model["vocab"][entry], entry))
    return with_specification(
        tokenizer,
        model=model,
        added_tokens=added,
        pre_tokenizer={
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
    )


def llama_3_style():
    """Words are looked up before they are merged, a start token is added, specials are reserved."""
    tokenizer = byte_level_bpe()
    specification = specification_of(tokenizer)
    start = tokenizer.bos_token_id
    words = {"type": "Split", "pattern": {"Regex": LLAMA_3_WORDS}, "behavior": "Isolated"}
    first = {"SpecialToken": {"id": tokenizer.bos_token, "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    named = {"id": tokenizer.bos_token, "ids": [start], "tokens": [tokenizer.bos_token]}
    return with_specification(
        tokenizer,
        model=specification["model"] | {"ignore_merges": True},
        added_tokens=specification["added_tokens"]
        + [added_token(len(tokenizer) + n, f"<|reserved_{n}|>", special=True) for n in range(60)],
        pre_tokenizer={
            "type": "Sequence",
            "pretokenizers": [words | {"invert": False}, BYTE_LEVEL | {"use_regex": False}],
        },
        post_processor={
            "type": "TemplateProcessing",
            "single": [first, text],
            "pair": [first, text, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {tokenizer.bos_token: named},
        },
    )


def with_unused_ids():
    """Every second id stands for nothing, as in a vocabulary that was padded or pruned."""
    tokenizer = byte_level_bpe()
    specification = specification_of(tokenizer)
    model, added = specification["model"], specification["added_tokens"]
    return with_specification(
        tokenizer,
        model=model | {"vocab": {entry: 2 * i + 1 for entry, i in model["vocab"].items()}},
        added_tokens=[a | {"id": 2 * a["id"] + 1} for a in added],
    )


KINDS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "byte-level BPE": byte_level_bpe,
    "SentencePiece BPE": sentencepiece_bpe,
    "Unigram": unigram,
    "bytes": lambda: train_tokenizer([], "bytes", 0, "chatml"),
    "Llama 2 style": llama_2_style,
    "Qwen 2 style": qwen_2_style,
    "RoBERTa style": roberta_style,
    "GPT-NeoX style": gpt_neox_style,
    "Gemma 2 style": gemma_2_style,
    "Llama 3 style": llama_3_style,
    "unused ids": with_unused_ids,
}
PLAIN: dict[str, dict] = {
    "Unigram": {"pre_tokenizer": METASPACE | {"prepend_scheme": "never"}},
    "Llama 2 style": {"normalizer": MARK_SPACES},
    "Qwen 2 style": {"normalizer": None},
    "RoBERTa style": {"pre_tokenizer": BYTE_LEVEL},
    "GPT-NeoX style": {"normalizer": None},
}
TOKENIZERS = {name: build() for name, build in KINDS.items()}
RENDERERS = {name: Renderer(tokenizer) for name, tokenizer in TOKENIZERS.items()}


@pytest.fixture(params=list(KINDS), scope="session")
def kind(request):
    return request.param


@pytest.fixture(scope="session")
def tokenizer(kind):
    return TOKENIZERS[kind]


@pytest.fixture(scope="session")
def renderer(kind):
    return RENDERERS[kind]


@pytest.fixture(scope="session")
def plain(kind):
    """The library's own tokenizer, by hand without what this kind does to text beforehand."""
    return with_specification(TOKENIZERS[kind], **PLAIN.get(kind, {})).backend_tokenizer


@pytest.fixture(scope="session")
def tokenizers():
    return TOKENIZERS


@pytest.fixture(scope="session")
def change():
    return with_specification


@pytest.fixture(scope="session")
def specification():
    return specification_of


@pytest.fixture(scope="session")
def added():
    return added_token


@pytest.fixture(scope="session")
def t5_style():
    """A Unigram that cleans text and has no byte fallback."""
    clean = [
        {"type": "NFKC"},
        {"type": "Strip", "strip_left": False, "strip_right": True},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u2581"},
    ]
    return with_specification(
        TOKENIZERS["Unigram"],
        model=specification_of(TOKENIZERS["Unigram"])["model"] | {"byte_fallback": False},
        normalizer={"type": "Sequence", "normalizers": clean},
        pre_tokenizer=METASPACE,
    )
