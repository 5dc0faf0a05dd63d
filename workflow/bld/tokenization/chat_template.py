"""What a model's chat template writes before, between and after the contents of a conversation.

The template is run on stand-ins for the contents, and its text is cut there. So contents never pass
through the template, which might strip or rewrite them, and every run sees the same text around
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

# Stands for today: a date that changed would change the tokens from one day to the next. It is the
# day that Llama 3's own templates print where they are given none.
DAY = "26 Jul 2024"
FIXED_DAY = f"{{% macro strftime_now(format) %}}{DAY}{{% endmacro %}}"


class ChatTemplate:
    """The chat template of `tokenizer`; `arguments` are passed to it. `notes` are for the user."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, arguments: Mapping[str, Any]) -> None:
        self._tokenizer = tokenizer
        self._arguments = arguments
        self._template = tokenizer.get_chat_template()
        self.notes: list[str] = []
        if "strftime_now" in self._template:
            self._template = FIXED_DAY + self._template
            self.notes.append(
                f"where the chat template prints today's date it prints {DAY}, so that every run "
                "has the same tokens"
            )

    def pieces(self, roles: Sequence[str], name: str) -> list[str]:
        """The text before the first content and after each one; `name` stands in the errors.

        Raises ValueError if the template refuses the roles or does not write every content once, in
        order.
        """
        marks = [f"\ufdd1content-{number}\ufdd1" for number in range(len(roles))]
        messages = [{"role": r, "content": m} for r, m in zip(roles, marks, strict=True)]
        try:
            text = self._tokenizer.apply_chat_template(
                messages, chat_template=self._template, tokenize=False, **self._arguments
            )
            assert isinstance(text, str)
        except TemplateError as error:
            raise ValueError(
                f"{name}: the chat template refuses the roles {', '.join(roles)}: {error}. "
                "Give the model `template: plain` or leave such documents out"
            ) from error
        pieces, rest = [], text
        for number, mark in enumerate(marks):
            piece, found, rest = rest.partition(mark)
            if not found or text.count(mark) > 1:
                raise ValueError(
                    f"{name}: the chat template does not write the content of message {number} "
                    f"({roles[number]}) exactly once and in order, so its bytes cannot be located; "
                    "give the model `template: plain`"
                )
            pieces.append(piece)
        return [*pieces, rest]
