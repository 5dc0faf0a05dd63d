"""Models given real tokenizers in exchange for real ones, in the directions that users take: what
comes out is loaded as a stranger would load it, and reads the ids that the new tokenizer has."""

import json

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from bld.config.settings import Architecture
from bld.tokenization.families import bytes_to_unicode
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import byte_tokenizer_like, train_tokenizer
from bld.tokenization.transfer import transfer_vocabulary
from bld.training.scratch import new_model
from real_tokenizers import real_tokenizer

TEXT = "def f(x):\n    return x + 1234  # don't, na\u00efve \u65e5\u672c \U0001f600\t"
SHAPE = Architecture(hidden=8, layers=1, heads=1, intermediate=8)
CONTROLS = [4, 5, 6, 14, 16, 19, 23, 25]
"""Bytes that a byte-level vocabulary trained on text alone may lack, as SmolLM2's does."""
PAIRS = [
    ("llama3_1", "gptoss"),  # byte-level BPE, and tiktoken's set of 200,000
    ("llama2", "qwen3"),  # SentencePiece with byte fallback, and byte-level BPE
    ("qwen3 without bytes", "llama2"),
    ("Unigram", "llama2"),
    ("llama2", "bytes"),
    ("gemma3", "gptoss"),  # 262,145 entries
]


def made(name, other):
    if name == "bytes":
        return byte_tokenizer_like(real_tokenizer(other))
    if name == "Unigram":
        return train_tokenizer(
            [TEXT, "a line of text that says nothing"] * 9, "unigram", 400, "turns"
        )
    if name != "qwen3 without bytes":
        return real_tokenizer(name)
    specification = json.loads(real_tokenizer("qwen3").backend_tokenizer.to_str())
    gone = {bytes_to_unicode()[byte] for byte in CONTROLS}
    model = specification["model"]
    model["vocab"] = {e: i for e, i in model["vocab"].items() if not gone & {*e}}
    model["merges"] = [m for m in model["merges"] if not gone & {*"".join(m)}]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(specification)), eos_token="<|im_end|>"
    )


@pytest.mark.long
@pytest.mark.parametrize("turned", [False, True], ids=["to", "from"])
@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_a_model_with_another_real_tokenizer_loads_and_keeps_its_ids(pair, turned, tmp_path):
    tokenizers = {name: made(name, other) for name, other in zip(pair, pair[::-1], strict=True)}
    old, new = (
        (tokenizers[name], Renderer(tokenizers[name])) for name in (pair[::-1] if turned else pair)
    )
    lm = new_model(SHAPE, old[0], 0)
    before = lm.get_input_embeddings().weight.detach().clone()
    unspelt = transfer_vocabulary(lm, old, new)
    lacks = set(CONTROLS) if old[0] is tokenizers.get("qwen3 without bytes") else set()
    new_bytes = new[1].vocabulary.token_bytes
    assert {new_bytes[i] for i in unspelt} <= {bytes([byte]) for byte in lacks}
    assert bool(unspelt) == bool(lacks)

    lm.save_pretrained(tmp_path)
    new[0].save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, local_files_only=True)
    after = loaded.get_input_embeddings().weight.detach()
    assert len(after) == new[1].vocabulary_size and after.isfinite().all()
    saved = PreTrainedTokenizerFast.from_pretrained(tmp_path, local_files_only=True)
    assert saved(TEXT).input_ids == new[0](TEXT).input_ids
    # Entries that both have under one name, and that spell the same, keep their rows.
    old_ids, old_bytes = old[0].get_vocab(), old[1].vocabulary.token_bytes
    names = new[0].convert_ids_to_tokens(list(range(len(after))))
    both = [(i, old_ids[n]) for i, n in enumerate(names) if n in old_ids]
    same = [(i, j) for i, j in both if new_bytes[i] and old_bytes[j] == new_bytes[i]]
    assert len(same) > 50
    at_new, at_old = torch.tensor(same).T
    assert torch.equal(after[at_new], before[at_old])
    ids = saved(TEXT, return_tensors="pt").input_ids
    assert loaded(ids).logits.isfinite().all()
