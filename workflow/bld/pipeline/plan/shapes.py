"""The shape of a language model, and what follows from it: parameters and floating-point operations.

A multiplication and an addition with every entry of a matrix are two operations per token (Kaplan et al. 2020, arXiv
2001.08361, section 2.1), the gradients of inputs and of weights two more each: 6 N for N entries that are all trained,
where N has the output head in it and not the table of embeddings, which is looked up. Attention adds
4 * layers * width * context forward and twice that backward (Chowdhery et al. 2022, arXiv 2204.02311, appendix B), with
the whole context at every token: no half is taken off for the causal mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from bld.config.settings import Lora
from bld.symbols import HEAD_BYTES, SYMBOLS

CAUSAL_WIDTH = 256


class Kind(NamedTuple):
    """What an architecture does otherwise than Llama: norms in a layer, biases on q, k and v, whether its feed-forward
    layers are gated; bytes that its norms keep for the backward pass (of each token and hidden unit, in bfloat16), and
    whether attention keeps its scores."""

    norms: int = 2
    biases: bool = False
    gated: bool = True
    norm_bytes: int = 16
    keeps_scores: bool = False


KINDS = {
    "gemma": Kind(norm_bytes=20),
    "gemma2": Kind(norms=4, norm_bytes=36, keeps_scores=True),
    "gpt2": Kind(gated=False),
    "gpt_neox": Kind(gated=False),
    "llama": Kind(),
    "mistral": Kind(),
    "qwen2": Kind(biases=True),
}


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder; `kind` is the `model_type` of its config.json."""

    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    head_width: int
    intermediate: int
    vocabulary: int
    tied: bool
    kind: str = "llama"
    bytes_per_weight: int = 2

    @property
    def of_kind(self) -> Kind:
        """What is special about its architecture; one that is not known is taken for a Llama."""
        return KINDS.get(self.kind, Kind())

    @property
    def width(self) -> int:
        """The heads of a layer, side by side."""
        return self.heads * self.head_width

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """(in, out) of every matrix of a layer."""
        narrow = self.key_value_heads * self.head_width
        gate = {"gate_proj": (self.hidden, self.intermediate)} if self.of_kind.gated else {}
        return {
            "q_proj": (self.hidden, self.width),
            "k_proj": (self.hidden, narrow),
            "v_proj": (self.hidden, narrow),
            "o_proj": (self.width, self.hidden),
            **gate,
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def table(self) -> int:
        """Entries of the table of embeddings, and of the output head."""
        return self.vocabulary * self.hidden

    @property
    def body_entries(self) -> int:
        """Entries of the matrices of all layers."""
        return self.layers * sum(rows * columns for rows, columns in self.matrices.values())

    @property
    def tables(self) -> int:
        """Parameters of embeddings and output head together."""
        return self.table * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """All parameters."""
        kind = self.of_kind
        narrow = self.key_value_heads * self.head_width
        vectors = kind.norms * self.hidden + kind.biases * (self.width + 2 * narrow)
        return self.tables + self.body_entries + self.layers * vectors + self.hidden

    @property
    def weights_bytes(self) -> int:
        """Bytes of the weights on disk."""
        return self.parameters * self.bytes_per_weight


def lora_parameters(shape: Shape, lora: Lora) -> int:
    """Entries of the low-rank factors: rank * (in + out) for every matrix that is updated.

    A matrix of a name that Llama does not have counts as large as the largest.
    """
    largest = (shape.hidden, shape.intermediate)
    targets = {target.rpartition(".")[2] for target in lora.targets}
    sides = [shape.matrices.get(target, largest) for target in targets]
    return shape.layers * lora.rank * sum(map(sum, sides))


def trained_parameters(shape: Shape, lora: Lora | None) -> int:
    """Parameters of the model that get gradients."""
    if lora is None:
        return shape.parameters
    return lora_parameters(shape, lora) + lora.embeddings * shape.tables


def head_parameters(head: str | None, hidden: int) -> int:
    """Parameters of a byte head; `marginal` and `output` have none."""
    match head:
        case "linear":
            return _linear(hidden, HEAD_BYTES * SYMBOLS)
        case "causal":
            spelt = ((HEAD_BYTES - 1) * SYMBOLS + HEAD_BYTES) * CAUSAL_WIDTH
            return _linear(hidden, CAUSAL_WIDTH) + spelt + _linear(CAUSAL_WIDTH, SYMBOLS)
    return 0


def _linear(inputs: int, outputs: int) -> int:
    return (inputs + 1) * outputs


def body_flops(shape: Shape, context: float) -> float:
    """Operations forward through the layers at one token that looks at `context` tokens."""
    return 2 * shape.body_entries + 4 * shape.layers * shape.width * context


def forward_flops(shape: Shape, context: float) -> float:
    """Operations forward at one token, with its logits."""
    return body_flops(shape, context) + 2 * shape.table


def training_flops(shape: Shape, context: float, lora: Lora | None, again: bool) -> float:
    """Operations of a training step per token: 6 N and attention, 2 N less for what is frozen, 2 N more where the forward
    pass is done `again` for the backward one (activation checkpointing)."""
    forward = forward_flops(shape, context)
    entries = shape.body_entries + shape.table
    attention = forward - 2 * entries
    backward = 2 * entries + 2 * attention
    updates = 2.0 * entries
    if lora is not None:
        updates = 6.0 * lora_parameters(shape, lora) + 2 * lora.embeddings * shape.table
    return forward * (2 if again else 1) + backward + updates
