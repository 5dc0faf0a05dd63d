"""A model folder has a tokenizer that can be read, or it is refused with what to do."""

import json

import pytest

from bld.tokenization.loading import check_tokenizer

# Files as other libraries have them: of Mistral's, of SentencePiece (an <unk> alone), of tiktoken.
TEKKEN = {"config": {"pattern": ".", "default_num_special_tokens": 0}, "vocab": []}
UNK = b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02"


@pytest.mark.parametrize(
    "name, body, kind, words",
    [
        ("tekken.json", json.dumps(TEKKEN).encode(), "mistral", "environment with mistral-common"),
        ("tokenizer.model", UNK, "llama", "environment with sentencepiece and protobuf"),
        ("qwen.tiktoken", b"AA== 0\n", "qwen2", "environment with tiktoken"),
        ("other.json", b"{}", "llama", "found none, nor a file to make one of"),
        (
            "tokenizer.json",
            b"version https://git-lfs",
            "llama",
            r"found tokenizer.json \(Expecting",
        ),
    ],
)
def test_other_libraries_files_alone_are_refused_with_what_to_do(tmp_path, name, body, kind, words):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    (tmp_path / name).write_bytes(body)
    with pytest.raises(ValueError, match=f"^mine: expected a tokenizer.json.*{words}"):
        check_tokenizer(tmp_path, "mine")


def test_files_of_which_transformers_makes_a_fast_tokenizer_are_enough(tmp_path, tokenizers):
    tokenizer = tokenizers["byte-level BPE"]
    tokenizer.save_pretrained(tmp_path)
    check_tokenizer(tmp_path, "mine")
    model = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    (tmp_path / "merges.txt").write_text("\n".join(" ".join(pair) for pair in model["merges"]))
    check_tokenizer(tmp_path, "mine")
