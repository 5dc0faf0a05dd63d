"""First choice: where both models have the same token, the student learns the teacher's most
probable token as if it were the text.

This file goes to `workflow/bld/config/methods/first_choice.py`: with it there is a `method:
first_choice`, its section in the configuration, the schema and the reference, its label and colour
in the report and a panel for its loss.
"""

from __future__ import annotations

from bld.config.documents import NonNegative
from bld.config.method import GREEN, TOKEN_LOSS, Distillation, Loss, Series


class FirstChoiceSettings(Distillation):
    """First choice: the teacher's most probable token as a label, where both models have the same
    token."""

    title = "First choice"
    series = (Series("first_choice", "First choice", GREEN, "D"),)
    losses = (TOKEN_LOSS, Loss("choice_loss", "Cross-entropy of the teacher's choice"))

    choice_weight: NonNegative = 1.0
    """Weight of the cross-entropy of the teacher's choice."""
