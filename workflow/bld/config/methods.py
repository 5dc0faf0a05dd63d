"""The methods: one class of settings for each, with the public settings of its authors as defaults.

Adding a method takes a file in `training/objectives/` under its name, a class here, and a line in
`Methods`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from bld.config.documents import Count, Fraction, NonNegative, Positive, Section


class Method(Section):
    """What every method says."""

    reruns = "runs of this method and the report"
    reads_map: ClassVar[bool] = False  # of its student's vocabulary and its teacher's

    token_weight: NonNegative = 1.0
    """Weight of the token cross-entropy."""

    @property
    def reads_tokens(self) -> bool:
        """Whether it learns from the teacher's tokens (`top_k_tokens`), not from its bytes alone."""
        return True


class Bld(Method):
    """Byte-level distillation, Eq. 5 of arXiv 2604.07466."""

    reruns = "runs with method bld and the report"
    head: Literal["linear", "causal", "marginal", "output"] = "linear"
    """What gives the student's byte distributions: `linear`, ten projections beside the output head; `causal`, the same
    with the token's earlier bytes to read; `marginal`, its token distributions summed to bytes; `output`, for byte students."""
    histories: Literal["trunk", "prefix"] = "trunk"
    """Over which histories `marginal` sums; the teacher's should be the same. `prefix` costs several times the positions."""
    byte_weight: NonNegative = 1.0
    """Weight of the byte cross-entropy (lambda_b)."""
    kl_weight: NonNegative = 0.1
    """Weight of the divergence from the teacher (lambda_KL)."""
    reduction: Literal["token", "byte"] = "token"
    """Mean over supervised tokens of the sum over their bytes, or mean over bytes."""
    temperature: Positive = 1.0
    """Both sides of the divergence are softened by this; 1 leaves them."""
    mask_end: bool = False
    """Leave the end of a turn out of the byte losses."""
    mask_whitespace: bool = False
    """Leave bytes of tokens that are only whitespace out of the byte losses; they hurt code."""
    shared_weight: NonNegative = 0.0
    """Weight of the divergence between tokens that both models have at the same bytes, as `one_to_one` takes it."""
    shared_bytes: bool = True
    """Where `shared_weight` is above 0: take the divergence of bytes inside those tokens too, not of the others alone."""

    @property
    def reads_tokens(self) -> bool:
        """Only where shared tokens count."""
        return self.shared_weight > 0


class OneToOne(Method):
    """Strict one-to-one distillation, arXiv 2610.08448: tokens that both models have at the same bytes."""

    reruns = "runs with method one_to_one and the report"

    kl_weight: NonNegative = 1.0
    """Weight of the divergence from the teacher."""
    temperature: Positive = 1.0
    """Both sides of the divergence are softened by this; 1 leaves them."""


class SimCt(Method):
    """SimCT, arXiv 2605.07711: shared tokens and the shortest stretches that both models can write, by reverse divergence."""

    reruns = "runs with method simct and the report"

    token_weight: NonNegative = 0.0
    """Weight of the token cross-entropy; the authors take none."""
    kl_weight: NonNegative = 1.0
    """Weight of the divergence from the teacher."""


class Alm(Method):
    """Approximate likelihood matching, arXiv 2503.20083: how probable both models find the same stretches of text."""

    reruns = "runs with method alm and the report"

    chunk_weight: NonNegative = 1.0
    """Weight of the divergence from the teacher."""
    temperature: Positive = 100.0
    """Both probabilities of a stretch are taken to the power of one over this (tau)."""
    divergence: Literal["kl", "reverse_kl", "total_variation"] = "kl"
    """Of the outcomes "this stretch" and "any other": from teacher to student, from student to teacher, or their distance."""
    boundary: Fraction | None = 0.1
    """Stretches end where the teacher gives the start of a new word more than this (gamma), and that start counts as part of
    them; null takes the shortest stretches as they are."""


class Uld(Method):
    """Universal logit distillation, arXiv 2402.12030: distance of the probabilities, sorted by size."""

    reruns = "runs with method uld and the report"

    distance_weight: NonNegative = 1.5
    """Weight of the distance from the teacher (lambda)."""
    mask_end: bool = True
    """Leave the student's ends of turns out of the distance."""


class Mined(Method):
    """Minimum edit distance, arXiv 2401.10491: sequences and vocabularies are aligned by spelling."""

    reruns = "runs with method mined and the report"
    reads_map = True

    token_weight: NonNegative = 0.9
    """Weight of the token cross-entropy (lambda)."""
    kl_weight: NonNegative = 0.1
    """Weight of the divergence from the aligned teacher (1 - lambda)."""


class XToken(Method):
    """X-Token, arXiv 2605.21699: the student's tokens projected to the teacher's by a sparse matrix that rules make."""

    reruns = "runs with method x_token and the report"
    reads_map = True

    loss: Literal["p_kl", "h_kl"] = "p_kl"
    """`p_kl`: divergence from the teacher of the projected student, for vocabularies that lack tokens that matter. `h_kl`:
    divergence over common tokens and distance of the others sorted by size, for vocabularies that agree well."""
    matching: Literal["relaxed", "strict"] = "relaxed"
    """Which tokens `h_kl` takes as common: each with its top-ranked counterpart, or only those spelt alike (as GOLD does)."""
    kl_weight: NonNegative = 1.0
    """Weight of the divergence from the teacher."""
    balanced: bool = True
    """Scale the divergence to the size of the token cross-entropy, anew in every micro batch; `kl_weight` comes on top. Try
    `false` where few tokens of the two models align: there it lets the divergence outweigh the text."""


class Sampling(Section):
    """On-policy distillation: documents whose supervised text the student writes itself, anew in each step; the teacher
    judges them, and no cross-entropy is taken on them. Needs a teacher with `mode: live`."""

    reruns = "runs that read it, their evaluation and the report"

    on_policy: float = Field(0.0, ge=0, le=1)
    """Fraction of the documents of a step that the student writes; 0 for none."""
    prompt_bytes: Count = 128
    """How much of a plain text is left for the student to go on from; of a chat, all before the first answer is."""
    completion_tokens: Count = 128
    """Longest text that the student writes, in its tokens; it is never longer than what it stands for."""
    temperature: Positive = 1.0
    """Temperature at which the student's tokens are drawn; SimCT's authors take 0.6."""


class Methods(Section):
    """The settings of every method, by its name."""

    bld: Bld = Bld()
    """Byte-level distillation (`method: bld`)."""
    one_to_one: OneToOne = OneToOne()
    """Strict one-to-one distillation (`method: one_to_one`)."""
    alm: Alm = Alm()
    """Approximate likelihood matching (`method: alm`)."""
    uld: Uld = Uld()
    """Universal logit distillation (`method: uld`)."""
    mined: Mined = Mined()
    """Minimum edit distance (`method: mined`)."""
    simct: SimCt = SimCt()
    """SimCT (`method: simct`)."""
    x_token: XToken = XToken()
    """X-Token (`method: x_token`)."""
