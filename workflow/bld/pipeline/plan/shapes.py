"""The sizes of the models of a configuration, and the floating-point operations that follow.

Parameters are counted on an empty model (PyTorch's meta device), made from its config.json or from
what the configuration says of it.

A multiplication and an addition with every entry of a matrix are two operations per token (Kaplan
et al. 2020, arXiv 2001.08361, section 2.1), the gradients of inputs and of weights two more each:
6 N for N entries that are all trained, where N has the output head in it and not the table of
embeddings, which is looked up. Attention adds 4 * layers * width * context forward and twice that
backward (Chowdhery et al. 2022, arXiv 2204.02311, appendix B), over the whole context at every
token: no half is taken off for the causal mask.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, PretrainedConfig

from bld.config import settings as config
from bld.config.settings import Lora, Settings
from bld.kinds import check_kind, has_states, position_switch
from bld.training.heads import TRAINED_HEADS

WEIGHT_BYTES = {"fp32": 4, "bf16": 2}
# 256 bytes, and the special tokens of the model, of which Llama 3 has 256.
BYTE_VOCABULARY = 512
# What the norms of a layer keep for the backward pass, in bytes of a token and hidden unit in
# bfloat16; other architectures count like Llama.
NORM_BYTES = {"gemma": 20, "gemma2": 36, "gpt2": 16, "gpt_neox": 16, "llama": 16, "mistral": 16}
NORM_BYTES |= {"qwen2": 16}
STATED = ["kind", "vocabulary", "hidden", "layers", "heads", "intermediate", "tied"]
STATED += ["width", "narrow"]
FETCH = "Fetch it (`snakemake fetch`), or say `models.{0}.shape`"


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder: `width` of its attention heads and `narrow` of its keys side by side,
    `body` parameters besides embeddings and output head, (out, in) of the body's `matrices`.
    `has_states`, `switch`: what keeps it from packed rows, see `kinds`. `positions`: the longest
    text that it reads, where that is known."""

    kind: str
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    width: int
    narrow: int
    intermediate: int
    tied: bool
    body: int
    matrices: Mapping[str, tuple[int, int]]
    bytes_per_weight: int = 2
    has_states: bool = False
    switch: int | None = None
    positions: int | None = None

    def is_read_apart(self, row_length: float) -> bool:
        """Whether rows of this length hold one document each, see `kinds`."""
        return self.has_states or (self.switch is not None and self.switch < row_length)

    @property
    def table(self) -> int:
        """Entries of the table of embeddings, and of the output head."""
        return self.vocabulary * self.hidden

    @property
    def tables(self) -> int:
        """Parameters of embeddings and output head together."""
        return self.table * (1 if self.tied else 2)

    @property
    def entries(self) -> int:
        """Entries of the matrices of all layers."""
        return sum(rows * columns for rows, columns in self.matrices.values())

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.tables + self.body

    @property
    def weights_bytes(self) -> int:
        """Bytes of the weights on disk."""
        return self.parameters * self.bytes_per_weight


class Shapes:
    """The shapes of the models and students of `settings`; `resources` is the folder of fetched
    models.

    Methods raise ValueError for a model that is not known, or not one that can be planned.
    """

    def __init__(self, settings: Settings, resources: Path) -> None:
        self._settings, self._resources = settings, resources
        self._models: dict[str, Shape] = {}

    def model(self, name: str) -> Shape:
        """The shape of a model with weights."""
        if name not in self._models:
            self._models[name] = self._shape(name)
        return self._models[name]

    def student(self, name: str) -> Shape:
        """The shape of a student: its model's, with as many rows as its tokenizer has entries."""
        student = self._settings.students[name]
        shape = self.model(student.model)
        if student.tokenizer is None:
            return shape
        multiple = student.pad_vocabulary_to
        rows = math.ceil(self._entries(student.tokenizer) / multiple) * multiple
        return replace(shape, vocabulary=rows)

    def teacher(self, name: str) -> list[Shape]:
        """The shapes of the models that a teacher is made of."""
        return [self.model(model) for model in self._settings.teachers[name].models]

    def doubts(self, name: str) -> Iterator[str]:
        """What a reader should know of a model's shape."""
        stated, shape = self._settings.models[name].shape, self.model(name)
        if stated and self._file(name, "config.json"):
            expected = stated_shape(stated)
            wrong = [x for x in STATED if getattr(shape, x) != getattr(expected, x)]
            if wrong:
                found = ", ".join(f"{x} {getattr(shape, x)}" for x in wrong)
                yield (
                    f"models.{name}.shape is not that of the model, whose config.json says "
                    f"{found}; the plan goes by config.json"
                )
        if shape.kind not in NORM_BYTES:
            yield (
                f"models.{name} is of the kind `{shape.kind}`: the memory that its layers need in "
                "training is counted as of a Llama"
            )

    def _shape(self, name: str) -> Shape:
        model = self._settings.models[name]
        path = self._file(name, "config.json")
        if path is not None:
            trust = {"trust_remote_code": model.trust_remote_code}
            try:
                whole = AutoConfig.from_pretrained(path, local_files_only=True, **trust)
                check_kind(whole, f"models.{name}")
                return counted(whole.get_text_config(), **trust)
            except (AttributeError, KeyError, ValueError) as error:
                raise ValueError(f"{path}: its cost cannot be planned: {error}") from error
        if model.scratch:
            return scratch_shape(model.scratch)
        if model.shape is None:
            raise ValueError(
                f"models.{name}: its shape is not known yet. {FETCH.format(name)}: vocabulary, "
                "hidden, layers, heads, intermediate, as in its config.json"
            )
        return stated_shape(model.shape)

    def _entries(self, tokenizer: str) -> int:
        """Entries of a tokenizer."""
        if tokenizer == "bytes":
            return BYTE_VOCABULARY
        path = self._file(tokenizer, "tokenizer.json")
        if path is not None:
            return int(Tokenizer.from_file(str(path)).get_vocab_size())
        model = self._settings.models[tokenizer]
        if model.scratch:
            return model.scratch.tokenizer.vocabulary
        if model.shape:
            return model.shape.vocabulary
        raise ValueError(
            f"models.{tokenizer}: the size of its vocabulary is not known yet. "
            f"{FETCH.format(tokenizer)}: vocabulary"
        )

    def _file(self, name: str, file: str) -> Path | None:
        path = self._settings.models[name].path
        folders = [self._resources / kind / name for kind in ("models", "tokenizers")]
        folders += [Path(path)] if path else []
        return next((folder / file for folder in folders if (folder / file).exists()), None)


def scratch_shape(scratch: config.Scratch) -> Shape:
    """The shape of a model that is made here."""
    assert scratch.architecture and scratch.training
    made = scratch.architecture
    llama = AutoConfig.for_model(
        "llama",
        vocab_size=scratch.tokenizer.vocabulary,
        hidden_size=made.hidden,
        num_hidden_layers=made.layers,
        num_attention_heads=made.heads,
        intermediate_size=made.intermediate,
        max_position_embeddings=made.positions,
        tie_word_embeddings=True,
    )
    return replace(counted(llama), bytes_per_weight=WEIGHT_BYTES[scratch.training.precision])


def stated_shape(stated: config.Shape) -> Shape:
    """The shape that a configuration states; of a kind that transformers does not know, a Llama's.
    The weights take two bytes each."""
    assert stated.hidden and stated.heads
    made = AutoConfig.for_model(
        stated.kind if stated.kind in CONFIG_MAPPING else "llama",
        vocab_size=stated.vocabulary,
        hidden_size=stated.hidden,
        num_hidden_layers=stated.layers,
        num_attention_heads=stated.heads,
        num_key_value_heads=stated.key_value_heads or stated.heads,
        head_dim=stated.head_width or stated.hidden // stated.heads,
        intermediate_size=stated.intermediate,
        tie_word_embeddings=stated.tied,
    )
    return replace(counted(made), kind=stated.kind, bytes_per_weight=2, positions=None)


def counted(made: PretrainedConfig, trust_remote_code: bool = False) -> Shape:
    """The shape of the model of a config.json.

    Raises ValueError for a mixture of experts and for what is no decoder, AttributeError where a
    size is missing.
    """
    if any(getattr(made, key, None) for key in ("num_local_experts", "num_experts")):
        raise ValueError("it is a mixture of experts")
    with torch.device("meta"):
        lm = AutoModelForCausalLM.from_config(made, trust_remote_code=trust_remote_code)
    tables = [lm.get_input_embeddings().weight, lm.get_output_embeddings().weight]
    matrices = {
        name: tuple(module.weight.shape)
        for name, module in lm.named_modules()
        if getattr(module, "weight", None) is not None
        and module.weight.dim() == 2
        and not isinstance(module, torch.nn.Embedding)
        and all(module.weight is not table for table in tables)
    }
    # Where no layer attends (Mamba), there are none.
    heads = (
        getattr(made, "num_attention_heads", 0) if has_states(made) else made.num_attention_heads
    )
    head_width = getattr(made, "head_dim", None) or made.hidden_size // heads
    body = [x for x in lm.parameters() if all(x is not table for table in tables)]
    return Shape(
        kind=made.model_type,
        vocabulary=made.vocab_size,
        hidden=made.hidden_size,
        layers=made.num_hidden_layers,
        heads=heads,
        width=heads * head_width,
        narrow=(getattr(made, "num_key_value_heads", None) or heads) * head_width,
        intermediate=getattr(made, "intermediate_size", None) or 4 * made.hidden_size,
        tied=bool(made.tie_word_embeddings),
        body=sum(parameter.numel() for parameter in body),
        matrices=matrices,
        bytes_per_weight=2 if str(made.dtype).endswith(("bfloat16", "float16")) else 4,
        has_states=has_states(made),
        switch=position_switch(made),
        positions=getattr(made, "max_position_embeddings", None),
    )


def lora_parameters(shape: Shape, lora: Lora) -> int:
    """Entries of the low-rank factors: rank * (in + out) for every matrix that is updated."""
    ends = tuple(f".{target}" for target in lora.targets)
    return lora.rank * sum(
        sum(sides) for name, sides in shape.matrices.items() if f".{name}".endswith(ends)
    )


def trained_parameters(shape: Shape, lora: Lora | None) -> int:
    """Parameters of the model that get gradients."""
    if lora is None:
        return shape.parameters
    return lora_parameters(shape, lora) + lora.embeddings * shape.tables


def head_parameters(head: str, hidden: int) -> int:
    """Parameters of a byte head; `marginal` and `output` have none."""
    if head not in TRAINED_HEADS:
        return 0
    with torch.device("meta"):
        made = TRAINED_HEADS[head](hidden, seed=0)
    return sum(parameter.numel() for parameter in made.parameters())


def body_flops(shape: Shape, context: float) -> float:
    """Operations forward through the layers at one token that looks at `context` tokens."""
    return 2 * shape.entries + 4 * shape.layers * shape.width * context


def forward_flops(shape: Shape, context: float) -> float:
    """Operations forward at one token, with its logits."""
    return body_flops(shape, context) + 2 * shape.table


def training_flops(shape: Shape, context: float, lora: Lora | None, again: bool) -> float:
    """Operations of a training step per token: 6 N and attention, 2 N less for what is frozen, 2 N
    more where the forward pass is done `again` for the backward one (activation checkpointing)."""
    forward = forward_flops(shape, context)
    entries = shape.entries + shape.table
    attention = forward - 2 * entries
    updates = 2.0 * entries
    if lora is not None:
        updates = 6.0 * lora_parameters(shape, lora) + 2 * lora.embeddings * shape.table
    return forward * (2 if again else 1) + 2 * entries + 2 * attention + updates
