"""The language models that are measured, and the texts.

The demo's teacher says how good a policy is. A model with random weights and a large vocabulary
says only how fast it is: its distributions are close to uniform, so the histories that exceed some
eps are not those of a trained model, and its rows are to be read with their `nodes_per_token`.
"""

from __future__ import annotations

import random
import re
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bld.config.settings import Architecture
from bld.documents.document import Document, make_document
from bld.models import DTYPES, device, load_language_model
from bld.tokenization.loading import load_tokenizer
from bld.tokenization.rendering import Renderer, load_renderer
from bld.tokenization.scratch import train_tokenizer
from bld.training.scratch import new_model

SHAPES = {
    "tiny": Architecture(hidden=32, layers=1, heads=2, intermediate=64),
    "small": Architecture(hidden=256, layers=4, heads=4, intermediate=704),
    "1b": Architecture(hidden=2048, layers=16, heads=32, intermediate=8192, positions=2048),
}
LARGE_VOCABULARY = 128_000
TINY_VOCABULARY = 400
MADE_UP_WORDS = 80_000
QUICK_TEXT = "def tokens(text):\n    return [one for one in text.split()]  # naïve, don't\n"


class Subject(NamedTuple):
    """A model, the tokenizer that belongs to it and how documents are rendered for it."""

    name: str
    tokenizer: PreTrainedTokenizerBase
    renderer: Renderer
    lm: PreTrainedModel


def demo_teacher(folder: Path, precision: str) -> Subject:
    """A model folder, such as the demo's teacher."""
    lm = load_language_model(folder, precision)
    return Subject(folder.name, load_tokenizer(folder), load_renderer(folder), lm)


def random_model(shape: str, precision: str) -> Subject:
    """A Llama of random weights, with 128 k entries unless it is the tiny one."""
    tokenizer = tiny_vocabulary() if shape == "tiny" else _large_vocabulary()
    lm = new_model(SHAPES[shape], tokenizer, seed=0).eval()
    lm.to(device=device(), dtype=DTYPES[precision])
    return Subject(f"random {shape}", tokenizer, Renderer(tokenizer), lm)


def quick_documents() -> list[Document]:
    """A handful of short documents that need no corpus: plain ones and a conversation."""
    texts = [QUICK_TEXT[start:] for start in (0, 7, 18, 25)]
    plain = [make_document(f"plain/{i}", "text", [("text", t)]) for i, t in enumerate(texts)]
    turns = [("user", "What does it return?"), ("assistant", "A list of words.")]
    return [*plain, make_document("conversation", "conversation", turns)]


def sample(documents: Sequence[Document], count: int, most: int) -> list[Document]:
    """`count` documents, evenly spaced by length, every segment cut to its first `most` bytes."""
    ordered = sorted(documents, key=lambda d: len(d.supervised))
    chosen = [ordered[(2 * i + 1) * len(ordered) // (2 * count)] for i in range(count)]
    return [_cut(document, most) for document in chosen]


def _cut(document: Document, most: int) -> Document:
    turns = [
        (segment.role, segment.text[:most].decode(errors="ignore")) for segment in document.segments
    ]
    return make_document(document.id, document.kind, turns)


def tiny_vocabulary() -> PreTrainedTokenizerBase:
    """A byte-level BPE of a line."""
    return train_tokenizer([QUICK_TEXT], "byte_level_bpe", TINY_VOCABULARY, "chatml")


def _large_vocabulary() -> PreTrainedTokenizerBase:
    """A byte-level BPE of the standard library; where that is used up, of words made up from it."""
    texts = [*_standard_library()]
    texts.append(" ".join(_made_up_words(texts)))
    return train_tokenizer(texts, "byte_level_bpe", LARGE_VOCABULARY, "chatml")


def _standard_library() -> Iterator[str]:
    folder = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(folder.rglob("*.py")):
        if "site-packages" not in path.parts:
            yield path.read_text(errors="replace")


def _made_up_words(texts: Sequence[str]) -> Iterator[str]:
    words = sorted({word for text in texts for word in re.findall(r"[A-Za-z]{3,8}", text)})
    choose = random.Random(0).choice
    for _ in range(MADE_UP_WORDS):
        yield choose(words) + choose(words)
