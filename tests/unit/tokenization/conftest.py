"""One tokenizer of every kind that users have, made small and on the spot."""

import json
from pathlib import Path

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


def with_specification(tokenizer, **changes):
    """The same tokenizer with parts of its tokenizer.json replaced."""
    specification = json.loads(tokenizer.backend_tokenizer.to_str()) | changes
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(specification)),
        bos_token=tokenizer.bos_token,
        eos_token=tokenizer.eos_token,
        pad_token=tokenizer.pad_token,
        chat_template=tokenizer.chat_template,
    )


def llama_legacy():
    """Llama 2's layout: the dummy space and the space marks are normalizers."""
    return with_specification(
        train_tokenizer(SAMPLE, "sentencepiece_bpe", 600, "turns"),
        normalizer={
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "\u2581"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
            ],
        },
        pre_tokenizer=None,
    )


def qwen_like():
    """Qwen 2's layout: NFC in front of byte-level BPE."""
    return with_specification(
        train_tokenizer(SAMPLE, "byte_level_bpe", 500, "chatml"), normalizer={"type": "NFC"}
    )


def roberta_like():
    """RoBERTa's layout: byte-level BPE that puts a space in front."""
    tokenizer = train_tokenizer(SAMPLE, "byte_level_bpe", 500, "chatml")
    specification = json.loads(tokenizer.backend_tokenizer.to_str())
    specification["pre_tokenizer"]["add_prefix_space"] = True
    return with_specification(tokenizer, pre_tokenizer=specification["pre_tokenizer"])


KINDS = {
    "byte-level BPE": lambda: train_tokenizer(SAMPLE, "byte_level_bpe", 500, "chatml"),
    "SentencePiece BPE": lambda: train_tokenizer(SAMPLE, "sentencepiece_bpe", 600, "turns"),
    "Unigram": lambda: train_tokenizer(SAMPLE, "unigram", 500, "turns"),
    "bytes": lambda: train_tokenizer([], "bytes", 0, "chatml"),
    "Llama 2 style": llama_legacy,
    "Qwen 2 style": qwen_like,
    "RoBERTa style": roberta_like,
}
TOKENIZERS = {name: build() for name, build in KINDS.items()}
RENDERERS = {name: Renderer(tokenizer) for name, tokenizer in TOKENIZERS.items()}


@pytest.fixture(params=list(KINDS))
def kind(request):
    return request.param


@pytest.fixture
def tokenizer(kind):
    return TOKENIZERS[kind]


@pytest.fixture
def renderer(kind):
    return RENDERERS[kind]
