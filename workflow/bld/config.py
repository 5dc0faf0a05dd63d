"""Every setting of the workflow, defined once.

`config/schema.json` and `config/README.md` are generated from these models. A model holds definitions only: what a step does
with a setting is the step's business, so that the code fingerprint of a step can leave this module out and look at the values.
`reruns` says in words which steps read a section. Cross-field rules live in `config_checks`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Revision = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]


class Section(BaseModel):
    """A group of settings: unknown keys are errors, attribute docstrings are the reference page."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
    reruns: ClassVar[str] = ""


class Columns(Section):
    """Which columns of a data set hold what: `text`, or `messages`, or `prompt` with `response`."""

    reruns = "the corpus and everything after it"

    text: str | None = None
    """Column of plain text: every byte is supervised."""
    messages: str | None = None
    """Column of chat messages, a list of {role, content}: the assistant's turns are supervised."""
    prompt: str | None = None
    """Column of a question; needs `response`."""
    response: str | None = None
    """Column of the answer, which is supervised; needs `prompt`."""
    id: str | None = None
    """Column of document ids; without it a document is named by its file and row."""


class PythonDocs(Section):
    """Documents made from the running Python's own standard library; needs no network."""

    reruns = "the corpus and everything after it"

    kind: Literal["python_docs"]
    """Chooses this kind of source."""
    max_bytes: int = Field(2000, ge=200)
    """Longest document in bytes; longer source is cut at definitions and lines."""


class Files(Section):
    """Documents from files of your own."""

    reruns = "the corpus and everything after it"

    kind: Literal["files"]
    """Chooses this kind of source."""
    paths: list[str] = Field(min_length=1)
    """Files, folders (their .jsonl, .parquet or .txt files) or patterns such as `data/*.jsonl`."""
    format: Literal["jsonl", "parquet", "text"]
    """A document per row (jsonl, parquet) or per file (text; cut books first, a file is scored whole)."""
    columns: Columns = Columns(text="text")
    """Which columns to read; not used for `text`."""


class FromDataset(Section):
    """Documents from an entry of `datasets`."""

    reruns = "the corpus and everything after it"

    kind: Literal["dataset"]
    """Chooses this kind of source."""
    dataset: Name
    """The entry under `datasets`."""
    split: str = "train"
    """The data set's own split to read; ours are cut from it."""
    columns: Columns
    """Which columns to read."""


class Split(Section):
    """One part of a corpus; documents of one group (a module, identical texts) never fall into two parts."""

    reruns = "the split (a share: also the splits after it) and what reads it"

    share: Share
    """Share of the groups that falls into this split."""
    shards: Count = 1
    """Number of files; teacher scoring runs one job for each."""
    documents: Count | None = None
    """Stop after this many documents; null takes all of the share."""


class Corpus(Section):
    """A source of documents, cut into splits."""

    reruns = "the corpus and everything after it"

    source: Annotated[PythonDocs | Files | FromDataset, Field(discriminator="kind")]
    """Where documents come from."""
    splits: dict[Name, Split] = Field(min_length=1)
    """Disjoint parts by name, train and validation for example; one added at the end changes no other."""
    seed: Seed = 0
    """Seed of the assignment of groups to splits."""


class Dataset(Section):
    """A data set of the Hugging Face hub, fetched once, or a folder in its layout."""

    reruns = "the fetch, the corpora made from it and everything after them"

    hub: str | None = None
    """Repository, such as `allenai/tulu-3-sft-mixture`."""
    revision: Revision | None = None
    """Commit of the repository, 40 hexadecimal digits."""
    path: str | None = None
    """A local folder instead of `hub`."""
    files: list[str] = ["*.parquet", "*.json", "*.jsonl", "README.md"]
    """Which files of the repository to fetch."""


class ScratchTokenizer(Section):
    """A tokenizer trained on the same documents as its model."""

    reruns = "the tokenizer, its model and everything after it"

    kind: Literal["byte_level_bpe", "sentencepiece_bpe", "unigram", "bytes"]
    """The algorithm: GPT-2's, SentencePiece's two (spaces as U+2581, byte fallback), or bytes as they are."""
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
    betas: tuple[Share, Share] = (0.9, 0.95)
    """AdamW's betas."""
    gradient_clipping: NonNegative = 1.0
    """Largest norm of the gradient; 0 switches clipping off."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the model; the optimiser always keeps float32 copies."""
    zero_stage: Literal[0, 1, 2, 3] = 0
    """What DeepSpeed ZeRO shares out between processes: nothing, optimiser, gradients, parameters."""


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
    architecture: Architecture
    """Its shape."""
    training: Training
    """How it is pretrained."""
    seed: Seed = 0
    """Seed of its weights and of its data order."""


class Model(Section):
    """A model with its tokenizer: exactly one of `hub`, `path` and `scratch`."""

    reruns = "everything that reads the model"

    hub: str | None = None
    """Repository of the Hugging Face hub; needs `revision`."""
    revision: Revision | None = None
    """Commit of the repository, 40 hexadecimal digits."""
    path: str | None = None
    """A local folder with config.json, safetensors weights and tokenizer.json."""
    scratch: Scratch | None = None
    """Make the model here, from nothing."""
    weights: bool = True
    """False takes its tokenizer alone, to give to a student."""
    template: Literal["auto", "plain"] = "auto"
    """Put conversations through the model's chat template if it has one, or never."""
    template_arguments: dict[str, Any] = {}
    """Variables for the chat template, for example a fixed `date_string`."""
    end_tokens: list[str] = []
    """Further tokens that end a turn; those of the model's own files are found by themselves."""
    trust_remote_code: bool = False
    """Run Python code that comes with this model. Off unless you have read it."""


class Scoring(Section):
    """How a teacher's byte distributions are computed and kept."""

    reruns = "scoring of every shard, the runs that learn from this teacher and the report"

    histories: Literal["trunk"] = "trunk"
    """Which token histories are summed: the canonical encoding of the text."""
    keep_mass: Share = 0.999
    """Keep the most probable symbols of a byte until they hold this mass..."""
    keep_symbols: int = Field(16, ge=1, le=256)
    """...but at most this many; the rest is kept as one tail mass."""
    window: Count = 1024
    """Longest context in tokens; longer documents are read in windows that overlap by half."""
    batch_tokens: Count = 8192
    """Tokens in one forward pass."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the forward pass; masses are summed in float32 or better."""


class Teacher(Scoring):
    """A model whose byte distributions are learned from."""

    reruns = Scoring.reruns

    model: Name
    """The entry under `models`."""


class Student(Section):
    """The model that learns, before training."""

    reruns = "the student, its runs and the report"

    model: Name
    """The entry under `models`."""
    tokenizer: Name | Literal["bytes"] | None = None
    """Give it another tokenizer: that of an entry under `models`, or `bytes`; null keeps its own."""


class Warmup(Section):
    """Training of the byte head before distillation."""

    reruns = "the warm-up of runs with a byte head, those runs and the report"

    steps: Count = 200
    """Optimiser steps."""
    learning_rate: Positive = 1e-3
    """Peak learning rate; all else is as in `training`."""
    train_body: bool = False
    """Train the student's body too, not only the byte head."""


class Bld(Section):
    """Byte-level distillation, Eq. 5 of arXiv 2604.07466."""

    reruns = "runs with method bld and the report"

    head: Literal["linear", "output"] = "linear"
    """`linear`: ten projections beside the output head. `output`: the output head itself, for byte students."""
    byte_weight: NonNegative = 1.0
    """Weight of the byte cross-entropy (lambda_b)."""
    kl_weight: NonNegative = 0.1
    """Weight of the divergence from the teacher (lambda_KL)."""
    reduction: Literal["token", "byte"] = "token"
    """Mean over supervised tokens of the sum over their bytes, or mean over bytes."""


class Run(Section):
    """One training run; what it does not say itself it takes from the sections of the same name above."""

    reruns = "this run and the report"

    method: Literal["sft", "bld"]
    """The objective: token cross-entropy alone, or byte-level distillation."""
    student: Name
    """The entry under `students`."""
    teacher: Name | None = None
    """The entry under `teachers`; sft only measures its distance to it."""
    corpus: Name
    """The entry under `corpora`."""
    train_split: Name = "train"
    """The split that it is trained on."""
    validation_split: Name = "validation"
    """The split that it is judged on; never trained on."""
    seed: Seed = 0
    """Seed of the data order and of the byte head."""
    training: Training = Training()
    """Overrides of `training`."""
    warmup: Warmup = Warmup()
    """Overrides of `warmup`."""
    bld: Bld = Bld()
    """Overrides of `bld`."""


class Evaluation(Section):
    """How models are judged."""

    reruns = "the evaluations and the report"

    tasks: list[Literal["bits_per_byte", "byte_divergence"]] = ["bits_per_byte", "byte_divergence"]
    """What is measured on the validation split; byte_divergence needs runs with a teacher."""
    divergence_documents: Count = 64
    """Documents on which byte_divergence is measured."""
    window: Count = 1024
    """Longest context in tokens."""
    batch_tokens: Count = 8192
    """Tokens in one forward pass."""


class Report(Section):
    """The page at the end."""

    reruns = "the report"

    title: str = "Byte-level distillation"
    """Its heading."""


class Settings(Section):
    """The whole configuration."""

    datasets: dict[Name, Dataset] = {}
    """Data sets to fetch, by name."""
    corpora: dict[Name, Corpus] = Field(min_length=1)
    """Documents to train and judge on, by name."""
    models: dict[Name, Model] = Field(min_length=1)
    """Models with their tokenizers, by name."""
    teachers: dict[Name, Teacher] = {}
    """Models to learn from, by name."""
    students: dict[Name, Student] = Field(min_length=1)
    """Models that learn, by name."""
    training: Training = Training()
    """How every run is trained unless it says otherwise."""
    warmup: Warmup = Warmup()
    """How every byte head is warmed up unless its run says otherwise."""
    bld: Bld = Bld()
    """The objective of every run with method bld unless it says otherwise."""
    runs: dict[Name, Run] = Field(min_length=1)
    """What is trained and compared, by name."""
    evaluation: Evaluation = Evaluation()
    """How models are judged."""
    report: Report = Report()
    """The page at the end."""

    @model_validator(mode="before")
    @classmethod
    def runs_inherit(cls, raw: Any) -> Any:
        """Put the common sections under what each run says itself."""
        if not (isinstance(raw, dict) and isinstance(raw.get("runs"), dict)):
            return raw
        common = {key: raw[key] for key in ("training", "warmup", "bld") if key in raw}
        return raw | {"runs": {name: _over(common, run) for name, run in raw["runs"].items()}}


def _over(common: dict[str, Any], run: Any) -> Any:
    if not isinstance(run, dict):
        return run
    sections = {
        key: section | (run.get(key) or {})
        for key, section in common.items()
        if isinstance(section, dict) and isinstance(run.get(key) or {}, dict)
    }
    return run | sections
