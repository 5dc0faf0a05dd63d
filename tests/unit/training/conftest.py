"""A handful of documents, rendered for a small tokenizer, and tiny models of several families."""

import numpy as np
import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from bld.documents.document import make_document
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer
from bld.tokenization.symbols import SYMBOLS

RULER = 16 * "="
SAMPLE = [f"def find(items, key):\n    return key in items\n{RULER}", "Return the index of it."] * 9
DOCUMENTS = [
    make_document("first", "text", [("text", "Return the index of a value, or raise ValueError.")]),
    make_document(
        "chat",
        "conversation",
        [
            ("user", "Where is na\u00efve caf\u00e9?"),
            ("assistant", "In the index \U0001f600."),
            ("user", "And the key?"),
            ("assistant", "Not in items"),
        ],
    ),
    make_document("short", "text", [("text", "key")]),
    make_document("code", "text", [("text", f"def f(x):\n    return x\n{RULER}\n")]),
    make_document("answer", "conversation", [("user", "a" * 40), ("assistant", "b")]),
]
SHAPE = {
    "vocab_size": 300,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 128,
}
FAMILIES = {
    "Llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    "GPT-NeoX": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SHAPE)),
    "Qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SHAPE, num_key_value_heads=1)),
    "GPT-2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=300, n_embd=16, n_layer=2, n_head=2, n_positions=128)
    ),
}


class RandomTeacher:
    """The three most probable symbols of a random distribution for every supervised symbol."""

    def __init__(self, documents):
        self._documents = documents

    def dense(self, document: int) -> np.ndarray:
        """The full distributions [N, 258], float64."""
        size = (len(self._documents[document].symbols_N), 258)
        logits = 3 * np.random.default_rng(document).standard_normal(size)
        return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)

    def read(self, document: int):
        """As a cache gives it; the last of four places is never used."""
        dense = self.dense(document)
        symbols = np.argsort(-dense, axis=1)[:, :3]
        kept = np.take_along_axis(dense, symbols, axis=1)
        log_tail = np.log1p(-kept.sum(1))
        symbols = np.pad(symbols, ((0, 0), (0, 1)), constant_values=SYMBOLS - 1)
        log_probs = np.pad(np.log(kept), ((0, 0), (0, 1)), constant_values=-np.inf)
        return symbols, log_probs.astype(np.float32), log_tail.astype(np.float32)


@pytest.fixture(scope="session")
def renderer():
    return Renderer(train_tokenizer(SAMPLE, "byte_level_bpe", 300, "chatml"))


@pytest.fixture(scope="session")
def rendered(renderer):
    return [renderer.render(d.segments, d.id) for d in DOCUMENTS]


@pytest.fixture(scope="session")
def teacher(rendered):
    return RandomTeacher(rendered)


@pytest.fixture
def tiny_model():
    """family -> a model with large enough random weights to tell every position from another."""

    def build(family: str = "Llama"):
        torch.manual_seed(0)
        lm = FAMILIES[family]().eval()
        with torch.no_grad():
            for table in lm.parameters():
                if table.ndim > 1:
                    table.mul_(5)
        return lm

    return build
