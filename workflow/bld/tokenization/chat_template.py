"""A model's chat template, run on conversations: contents, reasoning, calls and tools in the form
that it reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from bld.symbols import REASONING_KEYS
from bld.tokenization.messages import Conversation, Message

# Stands for today: a date that changed would change the tokens from one day to the next. It is the
# day that Llama 3's own templates print where they are given none.
DAY = datetime(2024, 7, 26)
_WRITTEN = "".join(
    f" | replace('%{code}', '{DAY.strftime('%' + code)}')"
    for code in ("-d", "-m", *"aAbBcdDeFHIjmMpSTuUVwWxXyYZ")
)
FIXED_DAY = f"{{% macro strftime_now(format) %}}{{{{ format{_WRITTEN} }}}}{{% endmacro %}}"
"""Put before a template: that day in the form that the template asks for."""

# What a template raises that was not made for a conversation.
REFUSALS = (TemplateError, TypeError, ValueError, LookupError, AttributeError)

LEAVE_OUT = (
    "Leave such documents out (by `judged_by` and `on_bad_row: skip` of the corpus), or give the "
    "model `template: plain`"
)


class Form(NamedTuple):
    """How a conversation is handed over, where templates differ.

    `in_parts`: a content is a list of one text part; `null`: an empty content beside calls is
    null; `as_json`: the arguments of a call are JSON text.
    """

    in_parts: bool = False
    null: bool = False
    as_json: bool = False


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
                f"where the chat template prints today's date it prints that of {DAY:%d %b %Y}, so "
                "that every run has the same tokens"
            )
        self._in_parts = self._reads_parts()

    def text(
        self, conversation: Conversation, form: Form | None = None, opens_answer: bool = False
    ) -> str:
        """What the template writes; with `opens_answer` the beginning of the assistant's next
        message too, as for a model that is to answer.

        Raises one of REFUSALS.
        """
        form = form or Form(in_parts=self._in_parts)
        text = self._tokenizer.apply_chat_template(
            [_given(message, form) for message in conversation.messages],
            tools=list(conversation.tools) or None,
            chat_template=self._template,
            tokenize=False,
            add_generation_prompt=opens_answer,
            **self._arguments,
        )
        assert isinstance(text, str)
        return text

    def own(self, conversation: Conversation, name: str) -> tuple[str, Form]:
        """What the template makes of a conversation, in the form in which it writes most of its
        calls, of several the first; and that form.

        Raises ValueError, naming the document, if the template refuses it in every form.
        """
        found, most, refusal = None, -1, None
        for form in self._forms(conversation):
            try:
                text = self.text(conversation, form)
            except REFUSALS as error:
                refusal = refusal or error
                continue
            calls = (call for message in conversation.messages for call in message.calls)
            if (shown := sum(shows_call(call, text) for call in calls)) > most:
                found, most = (text, form), shown
        if found is None:
            raise refused(conversation, refusal, name) from refusal
        return found

    def role_marks(self) -> set[int]:
        """The added tokens that say whose turn it is: of those that the template writes before a
        content the first, the tokenizer's start and end tokens aside.

        Some tokenizers do not call them special (DeepSeek V3). What stands behind them (`<think>`)
        a model may say itself, and spaces are text.
        """
        added = dict(self._tokenizer.added_tokens_decoder)
        for token_id in (self._tokenizer.bos_token_id, self._tokenizer.eos_token_id):
            added.pop(token_id, None)
        roles = ("user", "assistant", "user", "assistant")
        for given in (("system", *roles), roles):
            marks = [stand_in(number) for number in range(len(given))]
            try:
                text = self.text(Conversation(tuple(map(Message, given, marks))))
            except REFUSALS:
                continue
            found = self._tokenizer.backend_tokenizer.encode_batch_fast(
                re.split("|".join(marks), text), add_special_tokens=False
            )
            first = (next((i for i in between.ids if i in added), None) for between in found)
            return {i for i in first if i is not None and added[i].content.strip()}
        return set()

    def _forms(self, conversation: Conversation) -> Iterator[Form]:
        form = Form(in_parts=self._in_parts)
        yield form
        if any(message.calls for message in conversation.messages):
            for null, as_json in ((True, False), (False, True), (True, True)):
                yield form._replace(null=null, as_json=as_json)

    def _reads_parts(self) -> bool:
        """Whether the template writes contents only where they are lists of parts."""
        mark = stand_in(0)
        question = Conversation((Message("user", mark),))
        shows = []
        for in_parts in (False, True):
            try:
                shows.append(mark in self.text(question, Form(in_parts=in_parts)))
            except REFUSALS:
                shows.append(False)
        return shows == [False, True]


def refused(conversation: Conversation, reason: Exception | None, name: str) -> ValueError:
    """Names the document and its roles, with the reason that the template gives."""
    roles = ", ".join(message.role for message in conversation.messages)
    return ValueError(f"{name}: the chat template refuses the roles {roles}: {reason}. {LEAVE_OUT}")


def stand_in(number: int) -> str:
    """What stands for a content while the template is run: no text that is meant to be exchanged
    holds this character."""
    return f"\ufdd1content-{number}\ufdd1"


def shows_call(call: Mapping[str, Any], text: str) -> bool:
    """Whether the name and every argument of a call stand in a text, in one form or another."""
    function = call["function"]
    return function["name"] in text and all(
        str(value) in text or json.dumps(value, ensure_ascii=False).strip('"') in text
        for value in function["arguments"].values()
    )


def _given(message: Message, form: Form) -> dict[str, Any]:
    """A message as templates take them."""
    given: dict[str, Any] = {"role": message.role, "content": message.content}
    if form.in_parts:
        given["content"] = [{"type": "text", "text": message.content}]
    if message.calls and not message.content and form.null:
        given["content"] = None
    if message.reasoning:
        given |= dict.fromkeys(REASONING_KEYS, message.reasoning)
    if message.calls:
        given["tool_calls"] = [_given_call(call, form.as_json) for call in message.calls]
    return given | dict(message.answers)


def _given_call(call: Mapping[str, Any], as_json: bool) -> dict[str, Any]:
    function = dict(call["function"])
    if as_json:
        function["arguments"] = json.dumps(function["arguments"], ensure_ascii=False)
    return {"type": "function", **call, "function": function}
