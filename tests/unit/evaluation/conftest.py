import pytest
import torch

from bld.config.settings import Architecture, Histories
from bld.documents.document import make_document
from bld.evaluation.reader import Reader
from bld.scoring.scorer import ByteScorer
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer
from bld.training.scratch import new_model

TEXTS = ["Return the index of the first key"] * 9
TOKENIZERS = {
    "subwords": train_tokenizer(TEXTS, "byte_level_bpe", 290, "chatml"),
    "bytes": train_tokenizer([], "bytes", 0, "turns"),
    "SentencePiece BPE": train_tokenizer(TEXTS, "sentencepiece_bpe", 310, "turns"),
    "Unigram": train_tokenizer(TEXTS, "unigram", 300, "chatml"),
}
RENDERERS = {kind: Renderer(tokenizer) for kind, tokenizer in TOKENIZERS.items()}
ALL_PREFIXES = Histories(histories="prefix", eps=0.0)
SHAPE = Architecture(hidden=16, layers=2, heads=2, intermediate=24, positions=256)


@pytest.fixture(scope="session")
def documents():
    chat = [
        ("user", "Which index?"),
        ("assistant", "the first"),
        ("user", "And then?"),
        ("assistant", "Return \U0001f600"),
    ]
    return [
        make_document("first", "text", [("text", "Return the key of na\u00efve items")]),
        make_document("chat", "conversation", chat),
        make_document("short", "text", [("text", "key")]),
        make_document("answer", "conversation", [("user", "u"), ("assistant", "b")]),
    ]


@pytest.fixture(scope="session")
def tokenizers():
    return TOKENIZERS


@pytest.fixture(scope="session")
def model():
    """(kind of tokenizer, seed, scale) -> model, renderer, reader; scale 0 is a uniform model."""

    def build(kind, seed=1, scale=5.0, window=256, batch_tokens=10_000):
        lm = new_model(SHAPE, TOKENIZERS[kind], seed).eval()
        with torch.no_grad():
            for table in lm.parameters():
                if table.ndim > 1:
                    table.mul_(scale)
        renderer = RENDERERS[kind]
        return lm, renderer, Reader(lm, renderer.vocabulary, window, batch_tokens)

    return build


@pytest.fixture(scope="session")
def scorer(model):
    """(kind of tokenizer, seed, policy) -> what sums that model's tokens to bytes."""

    def build(kind, seed=1, policy=ALL_PREFIXES, **settings):
        lm, renderer, _ = model(kind, seed, **settings)
        return ByteScorer(renderer, lm, policy, window=256, batch_tokens=10_000)

    return build
