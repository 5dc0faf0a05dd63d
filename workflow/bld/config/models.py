"""The settings of models: where they come from, how one is made from nothing, and how they teach
and learn.

`config` is the place to import settings from.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from bld.config.documents import (
    Count,
    Fraction,
    Name,
    NonNegative,
    Positive,
    Revision,
    Section,
    Seed,
)


class ScratchTokenizer(Section):
    """A tokenizer trained on the same documents as its model."""

    reruns = "the tokenizer, its model and everything after it"

    kind: Literal["byte_level_bpe", "sentencepiece_bpe", "unigram", "bytes"]
    """The algorithm: GPT-2's, SentencePiece's two (spaces as U+2581, byte fallback), or bytes as
    they are."""
    vocabulary: int = Field(4096, ge=300)
    """Number of entries aimed at."""
    template: Literal["chatml", "turns"] = "chatml"
    """The shape of its chat template."""


class Architecture(Section):
    """A Llama-style model."""

    reruns = "the model's pretraining and everything after it"

    hidden: Count
    """Width; a multiple of `heads`."""
    layers: Count
    """Depth."""
    heads: Count
    """Attention heads."""
    intermediate: Count
    """Width inside the feed-forward layers."""
    positions: Count = 1024
    """Longest sequence in tokens."""


class Training(Section):
    """How a model is trained: optimiser, batches, precision, DeepSpeed."""

    reruns = "the training that reads it (see `runs` and `models`), its evaluation and the report"

    steps: Count = 1000
    """Optimiser steps."""
    sequence_length: int = Field(512, ge=2)
    """Tokens in one packed row; no document sees another in its row."""
    long_documents: Literal["cut", "drop", "stop"] = "cut"
    """What becomes of documents that are longer than a row. `cut`: they are read in pieces, and
    every supervised token is trained on once; an answer is whole in its piece where it fits behind
    `overlap` of what stands before it. `drop`: they are left out. `stop`: they are an error."""
    overlap: float = Field(0.5, ge=0, lt=1)
    """Of documents that are cut: how much of the text before it a token sees in its piece at least,
    as a fraction of a row (teachers and evaluations read such documents with half a window)."""
    batch_size: Count = 64
    """Packed rows in one optimiser step, over all processes."""
    micro_batch_size: Count = 64
    """Packed rows that one process runs at once; the rest is accumulated."""
    learning_rate: Positive = 1e-5
    """Peak learning rate."""
    warmup_steps: int = Field(0, ge=0)
    """Steps of linear growth to the peak."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Shape of the decay from the peak, to zero at the last step."""
    weight_decay: NonNegative = 0.0
    """AdamW's decay of matrices; vectors are not decayed."""
    betas: tuple[Fraction, Fraction] = (0.9, 0.95)
    """AdamW's betas."""
    gradient_clipping: NonNegative = 1.0
    """Largest norm of the gradient; 0 switches clipping off."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the model; the optimiser always keeps float32 copies."""
    zero_stage: Literal[0, 1, 2, 3] = 0
    """What DeepSpeed ZeRO shares out between processes: nothing, optimiser, gradients,
    parameters."""
    offload: Literal["none", "optimizer", "parameters"] = "none"
    """What waits in the host's memory: nothing, the optimiser's states (stage 1 or more), or
    parameters too (stage 3)."""
    activation_checkpointing: bool = False
    """Compute hidden states again in the backward pass instead of keeping them: less memory, a
    third more time."""
    # Where a training is shown changes nothing that it computes, so no step's identity holds it.
    tracker: Literal["tensorboard", "trackio", "wandb", "none"] = Field("tensorboard", exclude=True)
    """Where its metrics are shown while it runs; nothing is rerun for it. trackio and wandb are to
    be installed."""


class Lora(Section):
    """Low-rank updates of some matrices, all others frozen; merged into the weights at the end."""

    reruns = "runs that read it, their evaluation and the report"

    rank: Count = 64
    """Rank of an update."""
    alpha: Positive = 64.0
    """An update counts alpha / rank."""
    targets: list[str] = Field(["q_proj", "v_proj"], min_length=1)
    """Ends of the names of the matrices that are updated."""
    embeddings: bool = False
    """Train the embeddings and the output head as well, in full; worth it after a change of
    vocabulary."""


class RunTraining(Training):
    """How a run is trained: as a model is, with low-rank updates and evaluation on the way."""

    reruns = Training.reruns

    lora: Lora | None = None
    """Low-rank updates instead of all weights; null trains all."""
    evaluate_every: int = Field(0, ge=0)
    """Steps between evaluations on the run's `development_split`; 0 for none."""
    evaluate_documents: Count = 32
    """Documents of the development split that are read each time, the first ones."""


class Scratch(Section):
    """A model made from nothing, for demonstrations."""

    reruns = "the model and everything after it"

    corpus: Name
    """The entry under `corpora` that it is trained on."""
    split: Name = "train"
    """The split that it is trained on."""
    documents: Count | None = None
    """Use this many documents of the split; null uses all."""
    tokenizer: ScratchTokenizer
    """Its tokenizer."""
    architecture: Architecture | None = None
    """Its shape; not needed where the model has `weights: false`."""
    training: Training | None = None
    """How it is pretrained; not needed where the model has `weights: false`."""
    seed: Seed = 0
    """Seed of its weights and of its data order."""


class Shape(Section):
    """What `snakemake plan` assumes of a model that is not fetched yet: numbers of its
    config.json."""

    reruns = "nothing: only `snakemake plan` reads it"

    vocabulary: Count
    """Rows of its embeddings; entries of its tokenizer where the model has `weights: false`, which
    needs no more."""
    hidden: Count | None = None
    """Width (`hidden_size`)."""
    layers: Count | None = None
    """Depth (`num_hidden_layers`)."""
    heads: Count | None = None
    """Attention heads (`num_attention_heads`)."""
    intermediate: Count | None = None
    """Width inside the feed-forward layers (`intermediate_size`)."""
    key_value_heads: Count | None = None
    """Heads of keys and values (`num_key_value_heads`); null for as many as `heads`."""
    head_width: Count | None = None
    """Width of a head (`head_dim`); null for `hidden` / `heads`."""
    tied: bool = False
    """Whether the output head is the table of embeddings (`tie_word_embeddings`)."""
    kind: Name = "llama"
    """Its architecture (`model_type`)."""


class Rendering(Section):
    """How documents are rendered for a model."""

    reruns = "everything that reads the model"

    template: Literal["auto", "plain"] = "auto"
    """Put conversations through the model's chat template if it has one, or never."""
    template_arguments: dict[str, Any] = Field({})
    """Variables for the chat template, for example a fixed `date_string`."""
    end_tokens: list[str] = Field([])
    """Further tokens that end a turn; those of the model's own files are found by themselves."""
    prompt: Literal["conversation", "served"] = "conversation"
    """What stands before an answer: what the chat template writes there in a conversation, or what
    it writes for a model that is to answer (`add_generation_prompt`), as servers and benchmarks do.
    For most models they are the same (docs/templates.md); where not, log and report tell both."""
    reasoning: Literal["train", "context", "drop"] | None = None
    """What becomes of the reasoning of answers: trained on, as the chat template writes it; shown;
    or neither. null trains on what the template shows. Teacher and student need the same."""
    tools: Literal["train", "context", "drop"] | None = None
    """The same of tools: descriptions, calls and results are shown; calls are trained on, or
    not."""
    trust_remote_code: bool = False
    """Run Python code that comes with this model. Off unless you have read it."""


class _Source(Section):
    """Where a model is from."""

    hub: str | None = None
    """Repository of the Hugging Face hub; needs `revision`."""
    revision: Revision | None = None
    """Commit of the repository, 40 hexadecimal digits; or the name of a branch or a tag, for which
    `snakemake fetch` notes the commit in config/lock.yaml."""
    path: str | None = None
    """A local folder with config.json, safetensors weights and tokenizer.json."""
    scratch: Scratch | None = None
    """Make the model here, from nothing."""
    weights: bool = True
    """False takes its tokenizer alone, to give to a student."""


class Model(Rendering, _Source):
    """A model with its tokenizer: exactly one of `hub`, `path` and `scratch`."""

    reruns = "everything that reads the model"

    shape: Shape | None = None
    """Its sizes, for `snakemake plan` alone; not needed once the model is here."""

    @property
    def rendering(self) -> Rendering:
        """How documents are rendered for it."""
        return Rendering.model_validate(self.model_dump(include=set(Rendering.model_fields)))


class Histories(Section):
    """Which token histories are summed into byte distributions."""

    reruns = "what sums a model's tokens to bytes"

    histories: Literal["trunk", "prefix", "beam"] = "prefix"
    """`prefix`: how the text up to each byte is tokenised. `beam`: the paper's search. `trunk`: a
    biased control."""
    eps: float = Field(1e-3, ge=0, lt=1)
    """Drop histories with at most this fraction of the mass; 0 keeps them all. Not read by
    `trunk`."""
    beam_width: Count = 10
    """How many histories a beam keeps at a byte; only read by `beam`."""


class Scoring(Histories):
    """How a teacher's byte distributions are computed and kept."""

    reruns = (
        "scoring of every shard, its audit, the runs that learn from this teacher and the report"
    )

    renamed: ClassVar = {
        "keep_mass": "top_p",
        "keep_symbols": "top_k_symbols",
        "keep_tokens": "top_k_tokens",
    }

    top_p: Fraction = 0.999
    """Keep the most probable symbols of a byte until their probabilities add up to this..."""
    top_k_symbols: int = Field(16, ge=1, le=256)
    """...but at most this many; the rest is kept as one tail mass."""
    top_k_tokens: int = Field(0, ge=0, le=4096)
    """Keep so many of the most probable tokens at each of its own, for methods that compare tokens
    (64 is fine); 0 for none."""
    window: Count = 1024
    """Longest context in tokens; longer documents are read in windows that overlap by half."""
    batch_tokens: Count = 8192
    """Tokens in one forward pass."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the forward pass; masses are summed in float32 or better."""


class Average(Section):
    """Several models as one teacher: their byte distributions averaged, whatever their tokenizers.
    It is evaluated in bits per byte by its bytes, and answers no benchmarks and writes no texts."""

    reruns = Scoring.reruns

    models: dict[Name, Positive] = Field(min_length=2)
    """Entries under `models`, each with its weight; only the ratios of weights count."""
    mean: Literal["geometric", "arithmetic"] = "geometric"
    """`geometric`: what all of them hold possible, sharper. `arithmetic`: what any of them does."""


class Teacher(Scoring):
    """A model, or several averaged, whose byte distributions are learned from."""

    reruns = Scoring.reruns

    model: Name | None = None
    """The entry under `models`; or say `average`."""
    average: Average | None = None
    """Several models instead of one."""
    mode: Literal["cached", "live"] = "cached"
    """`cached`: scored once, for all runs. `live`: scored inside each training step, for documents
    read once."""

    @property
    def models(self) -> list[str]:
        """The entries under `models` that it is made of, sorted where there are several."""
        if self.average:
            return sorted(self.average.models)
        return [self.model] if self.model else []


class Student(Section):
    """The model that learns, before training."""

    reruns = "the student, its runs and the report"

    model: Name
    """The entry under `models`."""
    tokenizer: Name | Literal["bytes"] | None = None
    """Give it another tokenizer: that of an entry under `models`, or `bytes`; null keeps its
    own."""
    initialisation: Literal["fvt", "mean", "random"] = "fvt"
    """New rows of the embeddings: the mean of the old tokens that spell them, the mean of all rows,
    or noise like them."""
    pad_vocabulary_to: Count = 1
    """Make the number of rows a multiple of this; a multiple of 64 is faster on GPUs."""
    seed: Seed = 0
    """Seed of the noise of `random`."""
