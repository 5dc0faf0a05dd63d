import pytest
import torch

from bld.config.settings import Architecture
from bld.documents.document import make_document
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer
from bld.training.scratch import new_model

TOKENIZER = train_tokenizer(
    ["Return the index of the first key"] * 9, "byte_level_bpe", 290, "chatml"
)


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
