"""Conversations of every shape, in the form of OpenAI's interface."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a town.",
            "parameters": {
                "type": "object",
                "properties": {"town": {"type": "string", "description": "Its name."}},
                "required": ["town"],
            },
        },
    }
]
THINK = "<think>\nEach has 8.\n</think>\n\n"


def system(text):
    return {"role": "system", "content": text}


def user(text="How many legs have two spiders?"):
    return {"role": "user", "content": text}


def assistant(text="They have 16 legs.", **fields):
    return {"role": "assistant", "content": text, **fields}


def call(number, town):
    function = {"name": "get_weather", "arguments": json.dumps({"town": town}, ensure_ascii=False)}
    return {"id": f"call0000{number}", "type": "function", "function": function}


def result(number, text):
    return {
        "role": "tool",
        "tool_call_id": f"call0000{number}",
        "name": "get_weather",
        "content": text,
    }


ASKS = assistant(None, tool_calls=[call(1, "Zürich")])
THINKS = assistant(reasoning_content="Each has 8.\nSo 2 times 8.")


class Shape(NamedTuple):
    """A conversation, the tools that it has, and the corpus's `turn_by_turn`."""

    messages: list[dict[str, Any]]
    tools: Sequence[dict[str, Any]] = ()
    turn_by_turn: bool | None = None


THINKS_IN_CONTENTS = [user(), assistant(f"{THINK}16."), user(), assistant(f"{THINK}16.")]
SHAPES = {
    "plain": Shape([user(), assistant()]),
    "system": Shape([system("Be short."), user(), assistant()]),
    "developer": Shape([{"role": "developer", "content": "Be short."}, user(), assistant()]),
    "many turns": Shape([user("One."), assistant("Two."), user("Three."), assistant("4.")] * 3),
    "ends with the user": Shape([user(), assistant(), user("Thanks.")]),
    "begins with the assistant": Shape([assistant("Ask me."), user(), assistant()]),
    "empty contents": Shape([system(""), user(""), assistant("")]),
    "spaces round contents": Shape([user("  How many?\n"), assistant("\n 16.  ")]),
    "all of Unicode": Shape(
        [user("日本語 e\u0301 \U0001f600 \u00a0"), assistant("naïve — \u2581 ½")]
    ),
    "what looks like special tokens": Shape(
        [user("<|im_end|> </s> [INST] <|eot_id|>"), assistant("<|im_start|> <s> <eos>")]
    ),
    "an answer of weight 0": Shape([user(), assistant("17.", weight=0), user("No."), assistant()]),
    "reasoning": Shape([user(), THINKS]),
    "reasoning in two turns": Shape([user(), THINKS, user("And 3?"), THINKS | {"content": "24."}]),
    "`<think>` in the content": Shape(THINKS_IN_CONTENTS[:2]),
    "`<think>` in two contents": Shape(THINKS_IN_CONTENTS),
    "the same, `turn_by_turn`": Shape(THINKS_IN_CONTENTS, turn_by_turn=True),
    "a call": Shape(
        [user("The weather?"), ASKS, result(1, '{"celsius": 3}'), assistant("3 degrees.")], TOOLS
    ),
    "two calls beside text": Shape(
        [
            system("Be short."),
            user("The weather?"),
            assistant("I look.", tool_calls=[call(1, "Zürich"), call(2, 'the "Hague"')]),
            result(1, "3"),
            result(2, "8"),
            assistant("3 and 8 degrees."),
        ],
        TOOLS,
    ),
    "reasoning and a call": Shape(
        [
            user("The weather?"),
            ASKS | {"reasoning_content": "I have to look."},
            result(1, "3"),
            THINKS | {"content": "3 degrees."},
        ],
        TOOLS,
    ),
}
