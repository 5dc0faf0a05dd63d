import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer

ENGLISH = ["Return the index of the first key", "def find(items, key):\n    return key"] * 9
OTHER = ["na\u00efve caf\u00e9 \u2014 \u65e5\u672c\u8a9e", "finding a key returns an item"] * 9
TOKENIZERS = {
    "byte-level BPE": train_tokenizer(ENGLISH, "byte_level_bpe", 290, "chatml"),
    "another byte-level BPE": train_tokenizer(OTHER, "byte_level_bpe", 300, "turns"),
    "SentencePiece BPE": train_tokenizer(ENGLISH, "sentencepiece_bpe", 320, "turns"),
    "bytes": train_tokenizer([], "bytes", 0, "chatml"),
}
RENDERERS = {kind: Renderer(tokenizer) for kind, tokenizer in TOKENIZERS.items()}


@pytest.fixture
def reading():
    """kind -> tokenizer and renderer."""
    return lambda kind: (TOKENIZERS[kind], RENDERERS[kind])


@pytest.fixture
def tiny_model():
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
