"""Byte-level distillation: the teacher's tokens are summed to bytes, which every student has."""

from __future__ import annotations

from typing import Literal

from bld.config.documents import NonNegative, Positive
from bld.config.method import (
    BYTE_LOSS,
    GREEN,
    KL_LOSS,
    OCHRE,
    ORANGE,
    PINK,
    TEACHER_LOSS,
    TOKEN_LOSS,
    Distillation,
    Series,
)


class BldSettings(Distillation):
    """Byte-level distillation, Eq. 5 of arXiv 2604.07466."""

    title = "Byte-level distillation"
    paper = "2604.07466"
    tags = ("byte-level-distillation",)
    teaching = "of the next byte, so that the two need not share a tokenizer"
    series = (
        Series("bld linear", "BLD with linear heads", ORANGE),
        Series("bld causal", "BLD with causal heads", PINK),
        Series("bld marginal", "BLD without a head", GREEN),
        Series("bld output", "BLD on the output head", OCHRE),
        Series("bld linear + one_to_one", "BLD with linear heads and one-to-one"),
        Series("bld causal + one_to_one", "BLD with causal heads and one-to-one"),
        Series("bld marginal + one_to_one", "BLD and one-to-one", GREEN, "s"),
        Series("bld output + one_to_one", "BLD on the output head and one-to-one"),
    )
    losses = (TOKEN_LOSS, BYTE_LOSS, KL_LOSS, TEACHER_LOSS)

    head: Literal["linear", "causal", "marginal", "output"] = "linear"
    """What gives the student's byte distributions: `linear`, ten projections beside the output
    head; `causal`, the same with the token's earlier bytes to read; `marginal`, its token
    distributions summed to bytes; `output`, for byte students."""
    histories: Literal["trunk", "prefix"] = "trunk"
    """Over which histories `marginal` sums; the teacher's should be the same. `prefix` costs
    several times the positions."""
    byte_weight: NonNegative = 1.0
    """Weight of the byte cross-entropy (lambda_b). A byte student's (`output`) is that of its
    tokens, and counts once: this is read only where `token_weight` is 0."""
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
    """Weight of the divergence between tokens that both models have at the same bytes, as
    `one_to_one` takes it."""
    shared_bytes: bool = True
    """Where `shared_weight` is above 0: take the divergence of bytes inside those tokens too, not
    of the others alone."""

    @property
    def series_name(self) -> str:
        """The head, and whether shared tokens count."""
        return f"bld {self.head}" + " + one_to_one" * self.reads_tokens

    @property
    def objective(self) -> str:
        """Its terms with their weights."""
        shared = (
            f"; + {self.shared_weight:g} \u00d7 KL(teacher \u2016 student) over the tokens that "
            "both have at the same bytes"
        )
        return (
            f"{self.token_weight:g} \u00d7 cross-entropy of tokens + {self.byte_weight:g} \u00d7 "
            f"cross-entropy of bytes + {self.kl_weight:g} \u00d7 KL(teacher \u2016 student) over "
            f"bytes (Eq. 5 of the paper), as a mean over {self.reduction}s"
            f"{shared * self.reads_tokens}."
        )

    @property
    def reads_tokens(self) -> bool:
        """Only where shared tokens count."""
        return self.shared_weight > 0

    @property
    def warmed_up_head(self) -> str | None:
        """Heads with weights of their own."""
        return self.head if self.head in ("linear", "causal") else None
