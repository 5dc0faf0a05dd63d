"""The tokenizer of a model folder is what its tokenizer.json says.

For some model types transformers reads only the vocabulary of that file and makes the rest anew, as
the class that it has for the type. So the file is loaded by itself, and a folder whose tokenizer
comes out otherwise through AutoTokenizer is reported.
"""

from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

PROBE = "def f(x):\n    return x + 1234  # don't stop, naïve 日本"


def load_tokenizer(folder: Path, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer in `folder`, with its chat template and special tokens."""
    tokenizer: PreTrainedTokenizerBase
    if (folder / "tokenizer.json").exists():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    else:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
    return tokenizer


def made_anew(
    tokenizer: PreTrainedTokenizerBase, folder: Path, trust_remote_code: bool = False
) -> str | None:
    """What AutoTokenizer makes of `folder` otherwise than `tokenizer`, as its file says, is."""
    auto = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=trust_remote_code
    )
    made, saved = (one(PROBE, add_special_tokens=False).input_ids for one in (auto, tokenizer))
    if made == saved:
        return None
    return (
        f"AutoTokenizer makes a {type(auto).__name__} of {folder}, which cuts text otherwise than "
        f"its tokenizer.json ({made[:8]}... instead of {saved[:8]}...)"
    )
