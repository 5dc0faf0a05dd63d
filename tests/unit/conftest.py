import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from bld.config.settings import Architecture
from bld.documents.document import make_document
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer
from bld.training.scratch import new_model

TOKENIZER = train_tokenizer(
    ["Return the index of the first key"] * 9, "byte_level_bpe", 290, "chatml"
)
ENGLISH = ["Return the index of the first key", "def find(items, key):\n    return key"] * 9
OTHER = ["na\u00efve caf\u00e9 \u2014 \u65e5\u672c\u8a9e", "finding a key returns an item"] * 9
TOKENIZERS = {
    "byte-level BPE": train_tokenizer(ENGLISH, "byte_level_bpe", 290, "chatml"),
    "another byte-level BPE": train_tokenizer(OTHER, "byte_level_bpe", 300, "turns"),
    "SentencePiece BPE": train_tokenizer(ENGLISH, "sentencepiece_bpe", 320, "turns"),
    "bytes": train_tokenizer([], "bytes", 0, "chatml"),
}


@pytest.fixture(scope="session")
def documents():
    return [
        make_document("first", "text", [("text", "Return the key of na\u00efve items")]),
        make_document(
            "chat",
            "conversation",
            [
                ("user", "Which index?"),
                ("assistant", "the first"),
                ("user", "And then?"),
                ("assistant", "Return \U0001f600"),
            ],
        ),
        make_document("short", "text", [("text", "key")]),
        make_document("silent", "conversation", [("user", "Nobody answers.")]),
        make_document("long", "text", [("text", "the index of the first key " * 9)]),
    ]


@pytest.fixture(scope="session")
def renderer():
    return Renderer(TOKENIZER)


@pytest.fixture(scope="session")
def lm():
    shape = Architecture(hidden=16, layers=2, heads=2, intermediate=24, positions=256)
    lm = new_model(shape, TOKENIZER, 1).eval()
    with torch.no_grad():
        for table in lm.parameters():
            if table.ndim > 1:
                table.mul_(5)
    return lm


@pytest.fixture
def tokenizer_of():
    """kind -> tokenizer and renderer."""
    return lambda kind: (TOKENIZERS[kind], Renderer(TOKENIZERS[kind]))


@pytest.fixture
def model_for():
    """(tokenizer, tied, more logits than entries) -> a model for that tokenizer."""

    def build(tokenizer, tied=True, padding=0):
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(tokenizer) + padding,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=24,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            tie_word_embeddings=tied,
        )
        return LlamaForCausalLM(config).eval()

    return build
