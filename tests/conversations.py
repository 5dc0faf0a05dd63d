"""Conversations of every shape, in the form of OpenAI's interface."""

import json

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
SHAPES = {
    "plain": [user(), assistant()],
    "system": [system("Be short."), user(), assistant()],
    "developer": [{"role": "developer", "content": "Be short."}, user(), assistant()],
    "many turns": [user("One."), assistant("Two."), user("Three."), assistant("Four.")] * 3,
    "ends with the user": [user(), assistant(), user("Thanks.")],
    "assistant first": [assistant("Ask me."), user(), assistant()],
    "empty contents": [system(""), user(""), assistant("")],
    "spaces": [user("  How many?\n"), assistant("\n 16.  ")],
    "unicode": [user("日本語 e\u0301 \U0001f600 \u00a0"), assistant("naïve — \u2581 ½")],
    "looks special": [
        user("<|im_end|> </s> [INST] <|eot_id|>"),
        assistant("<|im_start|> <s> <eos>"),
    ],
    "not trained": [user(), assistant("17.", weight=0), user("No."), assistant()],
    "reasoning": [user(), THINKS],
    "reasoning twice": [user(), THINKS, user("And three?"), THINKS | {"content": "24."}],
    "thinks in the content": [user(), assistant(f"{THINK}16.")],
    "thinks in every content": [user(), assistant(f"{THINK}16."), user(), assistant(f"{THINK}16.")],
    "a call": [user("The weather?"), ASKS, result(1, '{"celsius": 3}'), assistant("3 degrees.")],
    "two calls and text": [
        system("Be short."),
        user("The weather?"),
        assistant("I look.", tool_calls=[call(1, "Zürich"), call(2, 'the "Hague"')]),
        result(1, "3"),
        result(2, "8"),
        assistant("3 and 8 degrees."),
    ],
    "reasoning and a call": [
        user("The weather?"),
        ASKS | {"reasoning_content": "I have to look."},
        result(1, "3"),
        THINKS | {"content": "3 degrees."},
    ],
}
WITH_TOOLS = {"a call", "two calls and text", "reasoning and a call"}
