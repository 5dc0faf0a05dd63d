"""A handful of documents, rendered for a small tokenizer, and tiny models of several families."""

import runpy
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from bld.cache.top_k import Signal
from bld.documents.document import make_document
from bld.scoring.history_batch import trunk_tree
from bld.scoring.prefixes import PrefixEncoder
from bld.symbols import END, SPECIAL, SYMBOLS
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer
from zoo import KINDS

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
    **{
        name: lambda _, name=name: AutoModelForCausalLM.from_config(KINDS[name].config())
        for name in ("LFM 2", "Mamba", "Mamba 2", "Phi 3.5 and 4 mini (LongRoPE)")
    },
    "Llama": lambda shape: LlamaForCausalLM(LlamaConfig(**shape)),
    "GPT-NeoX": lambda shape: GPTNeoXForCausalLM(GPTNeoXConfig(**shape)),
    "Qwen2": lambda shape: Qwen2ForCausalLM(Qwen2Config(**shape, num_key_value_heads=1)),
    "GPT-2": lambda shape: GPT2LMHeadModel(
        GPT2Config(vocab_size=shape["vocab_size"], n_embd=16, n_layer=2, n_head=2, n_positions=128)
    ),
    "Gemma 2": lambda shape: Gemma2ForCausalLM(
        Gemma2Config(
            **shape,
            num_key_value_heads=1,
            head_dim=8,
            sliding_window=128,
            final_logit_softcapping=4.0,
        )
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

    def read(self, documents):
        """As a cache gives it; the last of four places is never used."""
        return [self._kept(self.dense(document)) for document in documents]

    def _kept(self, dense):
        symbols = np.argsort(-dense, axis=1)[:, :3]
        kept = np.take_along_axis(dense, symbols, axis=1)
        log_tail = np.log1p(-kept.sum(1))
        symbols = np.pad(symbols, ((0, 0), (0, 1)), constant_values=SYMBOLS - 1)
        log_probs = np.pad(np.log(kept), ((0, 0), (0, 1)), constant_values=-np.inf)
        return Signal(symbols, log_probs.astype(np.float32), log_tail.astype(np.float32))


@pytest.fixture(scope="session")
def toy():
    """The small training of `toy_training.py`, which also runs as a script."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("toy_training.py"))))


@pytest.fixture(scope="session")
def renderer():
    return Renderer(train_tokenizer(SAMPLE, "byte_level_bpe", 300, "chatml"))


@pytest.fixture(scope="session")
def documents():
    return DOCUMENTS


@pytest.fixture(scope="session")
def rendered(renderer):
    return [renderer.render(d.segments, d.id) for d in DOCUMENTS]


@pytest.fixture(scope="session")
def teacher(rendered):
    return RandomTeacher(rendered)


@pytest.fixture(scope="session")
def random_teacher():
    return RandomTeacher


@pytest.fixture
def tiny_model():
    """family -> a model with large enough random weights to tell every position from another.

    `padding`: more logits than the tokenizer has entries; `biased`: so is its output head.
    """

    def build(family: str = "Llama", padding: int = 0, biased: bool = False):
        torch.manual_seed(0)
        lm = FAMILIES[family](SHAPE | {"vocab_size": 300 + padding}).eval()
        if biased:
            lm.lm_head = torch.nn.Linear(16, 300 + padding)
            torch.nn.init.normal_(lm.lm_head.bias)
        with torch.no_grad():
            for table in lm.parameters():
                if table.ndim > 1:
                    table.mul_(5)
        return lm

    return build


class PlainSums:
    """What a model says of a document's symbols, history by history, each read alone: slow and
    plain, in the model's own precision, differentiable."""

    def __init__(self, lm, renderer, kind):
        self._lm, self._vocabulary = lm, renderer.vocabulary
        spelt = renderer.vocabulary.token_bytes
        special = renderer.vocabulary.special
        self._known = [i for i, entry in enumerate(spelt) if entry is not None or i in special]
        prefixes = PrefixEncoder(renderer.content)
        self._tree = prefixes.tree if kind == "prefix" else lambda _, t: trunk_tree(t, spelt)
        self._log_probs = cache(self._read)
        self._tells = cache(self._symbols_of)

    def _read(self, *tokens):
        logits = self._lm(torch.tensor([tokens])).logits[0, -1]
        return logits - logits[self._known].logsumexp(0)

    def _symbols_of(self, prefix):
        """Tokens that begin with these bytes and go on, and what with."""
        pairs = []
        for token in self._known:
            entry = self._vocabulary.token_bytes[token]
            if entry and entry.startswith(prefix) and len(entry) > len(prefix):
                pairs.append((token, entry[len(prefix)]))
            elif not entry and not prefix:
                pairs.append((token, END if token in self._vocabulary.end else SPECIAL))
        return torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T

    def rows(self, document, piece):
        """symbol of the document -> probabilities [260], as a piece of it tells them."""
        ids = document.ids_T.tolist()
        found = {}
        for turn in document.turns:
            tree = self._tree(turn.text, tuple(ids[turn.first : turn.last]))
            trunk, nodes = turn.last - turn.first, []
            for node, start in enumerate(tree.start_R.tolist()):
                beside = []
                while node > trunk:
                    beside.insert(0, int(tree.token_R[node]))
                    node = int(tree.parent_R[node])
                # The state after trunk history t is that of the token before the next one.
                if piece.start < turn.first + node < piece.stop:
                    nodes.append((turn.first + node, beside, start))
            if nodes:
                base = min(next_token for next_token, _, _ in nodes)
                masses = self._masses(ids[piece.start :], nodes, base - piece.start, piece, turn)
                found |= {turn.symbol + n: mass / mass.sum() for n, mass in masses.items()}
        return found

    def _masses(self, ids, nodes, base, piece, turn):
        masses = {}
        for next_token, beside, start in nodes:
            path = ids[: next_token - piece.start] + beside
            weight = sum(self._log_probs(*path[:i])[path[i]] for i in range(base, len(path)))
            probs = (self._log_probs(*path) + weight).exp()
            for n in range(start, len(turn.text) + 1):
                tokens, symbols = self._tells(turn.text[start:n])
                if not len(tokens):
                    break
                mass = masses.setdefault(n, probs.new_zeros(SYMBOLS))
                masses[n] = mass.index_add(0, symbols, probs[tokens])
        return masses


@pytest.fixture
def plain_sums():
    return PlainSums
