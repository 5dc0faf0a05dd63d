"""The tokenizer of a model folder is what its tokenizer.json says.

For some model types transformers reads only the vocabulary of that file and makes the rest anew, as
the class that it has for the type. So the file is loaded by itself, and a folder whose tokenizer
comes out otherwise through AutoTokenizer is reported.

A folder without it is one of another library's. transformers makes a fast tokenizer of some such
files, if that library is there.
"""

from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

FILE = "tokenizer.json"
OTHERS = {
    "tekken.json": "mistral-common",
    "*.model": "sentencepiece and protobuf",
    "*.tiktoken": "tiktoken",
}
"""Files of other libraries, and what is needed to make a tokenizer.json of them."""
PROBE = "def f(x):\n    return x + 1234  # don't stop, naïve 日本"


def load_tokenizer(folder: Path, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer in `folder`, with its chat template and special tokens."""
    tokenizer: PreTrainedTokenizerBase
    if (folder / FILE).exists():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    else:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
    return tokenizer


def check_tokenizer(folder: Path, where: str, trust_remote_code: bool = False) -> None:
    """Raise ValueError unless the model folder from `where` has a fast tokenizer, or files of which
    transformers makes one here."""
    found = sorted({path.name for name in (FILE, *OTHERS) for path in folder.glob(name)})
    try:
        tokenizer = load_tokenizer(folder, trust_remote_code)
        ids = {*tokenizer(PROBE, add_special_tokens=False).input_ids}
        if not ids - {*tokenizer.all_special_ids}:
            reason = f"a {type(tokenizer).__name__} without entries comes out"
        elif getattr(tokenizer, "backend_tokenizer", None) is None:
            reason = f"{type(tokenizer).__name__} is a program of its own, without a table"
        else:
            return
    # Of files that are not what they should be, each library raises what it likes.
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    needed = [need for name, need in OTHERS.items() if any(folder.glob(name))]
    cure = (
        f"make it in an environment with {' and '.join(needed)} by "
        f"`AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)`, and name that folder "
        "under `path:`"
        if needed
        else "ask who made the model for it"
    )
    # What transformers says of a library that is not there may name another one.
    why = f" ({reason})" if found and not needed else ""
    raise ValueError(
        f"{where}: expected a {FILE}, from which the bytes of tokens are read, found "
        f"{', '.join(found) or 'none, nor a file to make one of'}{why}. Take a repository of the "
        f"model that has a whole one, or {cure}"
    )


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
