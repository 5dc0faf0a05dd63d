"""Whether an exported folder is what was trained, to somebody who loads it and knows nothing of us.

`AutoModelForCausalLM`, `AutoTokenizer` and `generate` read the folder as servers and benchmarks do.
What they find is compared with what the training had: weights, tokens, and where an answer ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
)

from bld.config.settings import Rendering
from bld.documents.document import Document
from bld.models import end_ids
from bld.tokenization.loading import load_tokenizer, made_anew
from bld.tokenization.rendered import RenderedTokens
from bld.tokenization.rendering import Renderer, load_renderer

DOCUMENTS = 256
"""How many documents of the training are rendered again."""
NEW_TOKENS = 4


def check_loads(folder: Path, trust_remote_code: bool = False) -> None:
    """Raise ValueError if a student's folder, untrained, is such that what is exported in its place
    would be refused by `check_exported`, or could not be saved: found before hours are spent."""
    try:
        GenerationConfig.from_pretrained(folder).validate(strict=True)
    except OSError:
        pass  # There is none, which is fine.
    except ValueError as error:
        raise ValueError(
            f"generation_config.json in {folder} contradicts itself, and transformers would not "
            f"save it again: {error}"
        ) from error
    tokenizer = load_tokenizer(folder, trust_remote_code)
    if otherwise := made_anew(tokenizer, folder, trust_remote_code):
        raise ValueError(
            f"{otherwise}. A student of this model type cannot keep such a tokenizer: wherever it "
            "is loaded it would read other tokens than it was trained on. Choose a student of "
            "another type, or a tokenizer of its own family"
        )


def check_exported(
    folder: Path,
    weights: Mapping[str, torch.Tensor],
    renderer: Renderer,
    rendering: Rendering,
    documents: Iterable[Document],
    rendered: Sequence[RenderedTokens],
) -> None:
    """Raise ValueError with every difference between the folder and what was trained.

    `weights` are the trained ones, by the names that the model gives them; `rendered` are the
    documents as `renderer` gave them to the training.
    """
    trusted = rendering.trust_remote_code
    lm = AutoModelForCausalLM.from_pretrained(
        folder, dtype="auto", local_files_only=True, trust_remote_code=trusted
    )
    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=trusted
    )
    strangers = load_renderer(folder, tokenizer=tokenizer, **dict(rendering))
    problems = [
        *_other_weights(lm, weights),
        *_other_ends(lm, renderer),
        *_other_tokens(strangers, documents, rendered),
        *_cannot_write(lm, rendered),
    ]
    if problems:
        raise ValueError(
            f"{folder} is not what was trained, to those who load it with transformers: "
            + "; ".join(problems)
        )


def _other_weights(lm: PreTrainedModel, trained: Mapping[str, torch.Tensor]) -> Iterator[str]:
    found = lm.state_dict()
    if missing := sorted(trained.keys() - found.keys()):
        yield f"it has no weights {', '.join(missing[:3])} ({len(missing)} in all)"
    others = [
        name
        for name in sorted(trained.keys() & found.keys())
        if not torch.equal(found[name], trained[name].to(found[name]))
    ]
    if others:
        yield f"other weights {', '.join(others[:3])} ({len(others)} in all)"


def _other_ends(lm: PreTrainedModel, renderer: Renderer) -> Iterator[str]:
    if missing := sorted(renderer.vocabulary.end - end_ids(lm)):
        yield f"`generate` does not stop at the tokens {missing}, which were trained to end a turn"


def _other_tokens(
    strangers: Renderer, documents: Iterable[Document], rendered: Sequence[RenderedTokens]
) -> Iterator[str]:
    for document, trained in zip(islice(documents, DOCUMENTS), rendered, strict=False):
        found = strangers.render(document.segments, f"document {document.id}")
        if not np.array_equal(found.ids_T, trained.ids_T):
            yield (
                f"its tokenizer gives document {document.id} other tokens "
                f"({found.ids_T[:8].tolist()}... instead of {trained.ids_T[:8].tolist()}...)"
            )
            return


def _cannot_write(lm: PreTrainedModel, rendered: Sequence[RenderedTokens]) -> Iterator[str]:
    prompts = (one.ids_T[: one.turns[0].first] for one in rendered if one.turns)
    prompt_T = next(prompts, np.empty(0, np.int32))
    if not len(prompt_T):
        return
    ids_1T = torch.from_numpy(prompt_T[-NEW_TOKENS:].astype(np.int64))[None]
    generate: Any = lm.generate
    try:
        generate(ids_1T, attention_mask=torch.ones_like(ids_1T), max_new_tokens=NEW_TOKENS)
    except ValueError as error:
        yield f"`generate` fails: {error}"
