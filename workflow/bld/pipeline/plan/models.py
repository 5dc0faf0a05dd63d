"""The shapes of the models of a configuration: read from their folders, or as the configuration says.

Parameters of a model that is not here yet follow from `models.NAME.shape` or, for one from scratch, its `architecture`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from tokenizers import Tokenizer
from transformers import AutoConfig

from bld.config.settings import Model, Settings, Student
from bld.config.settings import Shape as ShapeSettings
from bld.pipeline.plan.memory import WEIGHT_BYTES
from bld.pipeline.plan.shapes import KINDS, Shape

CONFIG, TOKENIZER = "config.json", "tokenizer.json"
# 256 bytes, and the special tokens of the model, of which Llama 3 has 256.
BYTE_VOCABULARY = 512
SIZES = ("hidden", "layers", "heads", "intermediate")
TWO_BYTES = ("bfloat16", "float16")


class Shapes:
    """The shapes of the models and students of `settings`; `resources` is the folder of fetched models."""

    def __init__(self, settings: Settings, resources: Path) -> None:
        self._settings, self._resources = settings, resources

    def model(self, name: str) -> Shape:
        """The shape of a model with weights.

        Raises ValueError if it is not known, or not one that can be planned.
        """
        model = self._settings.models[name]
        config = self._file(name, CONFIG)
        if config is not None:
            return read_shape(config, model.trust_remote_code)
        if model.scratch:
            return scratch_shape(model)
        if model.shape is None:
            raise ValueError(
                f"models.{name}: its shape is not known yet. Fetch it (`snakemake ... "
                f"resources/models/{name}/manifest.json`), or say `models.{name}.shape`: "
                f"vocabulary, {', '.join(SIZES)}, as in its config.json"
            )
        return said_shape(model.shape)

    def student(self, name: str) -> Shape:
        """The shape of a student: that of its model, with as many rows as its tokenizer has entries."""
        student = self._settings.students[name]
        shape = self.model(student.model)
        if student.tokenizer is None:
            return shape
        rows = student.pad_vocabulary_to * math.ceil(
            self._entries(student) / student.pad_vocabulary_to
        )
        return replace(shape, vocabulary=rows)

    def teacher(self, name: str) -> list[Shape]:
        """The shapes of the models that a teacher is made of."""
        return [self.model(model) for model in self._settings.teachers[name].models]

    def has_bytes_as_tokens(self, name: str) -> bool:
        """Whether a student's tokens are bytes."""
        student = self._settings.students[name]
        if student.tokenizer == "bytes":
            return True
        scratch = self._settings.models[student.tokenizer or student.model].scratch
        return bool(scratch and scratch.tokenizer.kind == "bytes")

    def doubts(self, name: str) -> Iterator[str]:
        """What is to be said of a model's shape."""
        model, shape = self._settings.models[name], self.model(name)
        if model.shape and self._file(name, CONFIG):
            said = said_shape(model.shape)
            fields = ("vocabulary", *SIZES, "key_value_heads", "head_width", "tied", "kind")
            wrong = [x for x in fields if getattr(shape, x) != getattr(said, x)]
            if wrong:
                found = ", ".join(f"{x} {getattr(shape, x)}" for x in wrong)
                yield (
                    f"models.{name}.shape is not that of the model, whose config.json says {found}; the plan "
                    "goes by config.json"
                )
        if shape.kind not in KINDS:
            yield (
                f"models.{name} is of the kind `{shape.kind}`, which the plan does not know: it is counted like a "
                "Llama"
            )

    def _entries(self, student: Student) -> int:
        if student.tokenizer == "bytes":
            return BYTE_VOCABULARY
        name = str(student.tokenizer)
        path = self._file(name, TOKENIZER)
        if path is not None:
            return int(Tokenizer.from_file(str(path)).get_vocab_size())
        model = self._settings.models[name]
        if model.scratch:
            return model.scratch.tokenizer.vocabulary
        if model.shape:
            return model.shape.vocabulary
        raise ValueError(
            f"models.{name}: the size of its vocabulary is not known yet. Fetch it (`snakemake ... "
            f"resources/models/{name}/manifest.json`), or say `models.{name}.shape`: vocabulary"
        )

    def _file(self, name: str, file: str) -> Path | None:
        path = self._settings.models[name].path
        folders = [self._resources / kind / name for kind in ("models", "tokenizers")]
        candidates = [folder / file for folder in [*folders, *([Path(path)] if path else [])]]
        return next((path for path in candidates if path.exists()), None)


def scratch_shape(model: Model) -> Shape:
    """The shape of a model that is made here."""
    assert model.scratch and model.scratch.architecture and model.scratch.training
    made = model.scratch.architecture
    return Shape(
        hidden=made.hidden,
        layers=made.layers,
        heads=made.heads,
        key_value_heads=made.heads,
        head_width=made.hidden // made.heads,
        intermediate=made.intermediate,
        vocabulary=model.scratch.tokenizer.vocabulary,
        tied=True,
        bytes_per_weight=WEIGHT_BYTES[model.scratch.training.precision],
    )


def said_shape(said: ShapeSettings) -> Shape:
    """The shape that a configuration states in full; the weights take two bytes each."""
    assert said.hidden and said.layers and said.heads and said.intermediate
    return Shape(
        hidden=said.hidden,
        layers=said.layers,
        heads=said.heads,
        key_value_heads=said.key_value_heads or said.heads,
        head_width=said.head_width or said.hidden // said.heads,
        intermediate=said.intermediate,
        vocabulary=said.vocabulary,
        tied=said.tied,
        kind=said.kind,
    )


@cache
def read_shape(path: Path, trust_remote_code: bool) -> Shape:
    """The shape that a config.json states.

    Raises ValueError for a mixture of experts, and where a size is missing.
    """
    whole = AutoConfig.from_pretrained(
        path, local_files_only=True, trust_remote_code=trust_remote_code
    )
    config = whole.get_text_config()
    if any(getattr(config, key, None) for key in ("num_local_experts", "num_experts")):
        raise ValueError(f"{path} is of a mixture of experts, whose cost cannot be planned")
    try:
        return Shape(
            hidden=config.hidden_size,
            layers=config.num_hidden_layers,
            heads=config.num_attention_heads,
            key_value_heads=getattr(config, "num_key_value_heads", config.num_attention_heads),
            head_width=getattr(config, "head_dim", None)
            or config.hidden_size // config.num_attention_heads,
            intermediate=getattr(config, "intermediate_size", None) or 4 * config.hidden_size,
            vocabulary=config.vocab_size,
            tied=bool(config.tie_word_embeddings),
            kind=config.model_type,
            bytes_per_weight=2 if _dtype(config).endswith(TWO_BYTES) else 4,
        )
    except AttributeError as error:
        raise ValueError(f"{path} does not say how large the model is: {error}") from error


def _dtype(config: Mapping | AutoConfig) -> str:
    return str(getattr(config, "dtype", None))
