"""Whether conversations are rendered as a model's own template writes them, token for token."""

import json
from itertools import product

from bld.documents.conversation import make_conversation, turn_by_turn
from bld.tokenization.chat_template import FIXED_DAY
from bld.tokenization.rendering import Renderer
from conversations import SHAPES, TOOLS, WITH_TOOLS

# What generation_config.json names besides, which packages of tokenizers do not have.
ENDS = ("<|call|>",)
KEYS = ("reasoning_content", "reasoning", "thinking")


def own_text(tokenizer, messages, tools):
    """What `apply_chat_template` makes of the conversation, in the first form that it takes and in
    which it writes all calls; None if it refuses all."""
    texts = []
    for in_parts, as_json, null in product((False, True), (False, True), (True, False)):
        given = [_given(message, in_parts, as_json, null) for message in messages]
        try:
            text = tokenizer.apply_chat_template(
                given,
                tools=tools or None,
                tokenize=False,
                chat_template=FIXED_DAY + tokenizer.chat_template,
            )
        except Exception:
            continue
        missing = sum(not _is_written(message, text) for message in messages)
        texts.append((missing, len(texts), text))
    return min(texts)[2] if texts else None


def _given(message, in_parts, as_json, null):
    given = dict(message)
    given.pop("weight", None)
    if "reasoning_content" in given:
        given |= dict.fromkeys(KEYS, given["reasoning_content"])
    if given["content"] is None and not null:
        given["content"] = ""
    if in_parts and given["content"] is not None:
        given["content"] = [{"type": "text", "text": given["content"]}]
    if "tool_calls" in given:
        given["tool_calls"] = [_given_call(call, as_json) for call in given["tool_calls"]]
    return given


def _given_call(call, as_json):
    function = dict(call["function"])
    if not as_json:
        function["arguments"] = json.loads(function["arguments"])
    return call | {"function": function}


def _is_written(message, text):
    content = (message["content"] or "").split("</think>")[-1].strip()
    calls = [call["function"]["name"] for call in message.get("tool_calls", ())]
    return content in text and all(name in text for name in calls)


def measure(tokenizer, template=None):
    """By shape what comes out: how the tokens differ from the template's own, or the refusal."""
    if template is not None:
        tokenizer.chat_template = template
    try:
        ends = [name for name in ENDS if name in tokenizer.get_vocab()]
        renderer = Renderer(tokenizer, end_tokens=ends)
    except Exception as error:
        return dict.fromkeys(SHAPES, f"refused: {error}")
    return {
        shape: _outcome(renderer, tokenizer, messages, TOOLS if shape in WITH_TOOLS else ())
        for shape, messages in SHAPES.items()
    }


def _outcome(renderer, tokenizer, messages, tools):
    found = []
    document = make_conversation("it", messages, tools)
    for one in turn_by_turn(document):
        texts = [m for m in messages]
        if "#" in one.id:
            users = [n for n, m in enumerate(messages) if m["role"] == "user"] + [len(messages)]
            texts = messages[: users[int(one.id.split("#")[1]) + 1]]
        own = own_text(tokenizer, texts, tools)
        try:
            rendered = renderer.render(one.segments, "it")
        except ValueError as error:
            found.append("refused: " + str(error))
            continue
        found.append(_difference(renderer, tokenizer, rendered.ids_T.tolist(), own))
    outcomes = list(dict.fromkeys(found))
    return outcomes[-1] if len(outcomes) == 1 else " / ".join(outcomes)


def _difference(renderer, tokenizer, ids, own):
    assert own is not None
    expected = tokenizer(own, add_special_tokens=False).input_ids
    # A document begins as the tokenizer begins a text, where the template does not say.
    if expected == ids or expected == ids[1:]:
        return "equal"
    ours, theirs = _spelt(renderer, ids), _spelt(renderer, expected)
    special = renderer.vocabulary.special
    as_text = sum(i in special for i in ids) < sum(i in special for i in expected)
    if "".join(ours.split()) != "".join(theirs.split()):
        return f"WRONG {ours!r} {theirs!r}"
    return "text" if as_text else "spaces" if ours != theirs else "edges"


def _spelt(renderer, ids):
    names = renderer.content.backend.id_to_token
    spelt = renderer.vocabulary.token_bytes
    both = (spelt[i] if spelt[i] is not None else names(i).encode() for i in ids)
    return b"".join(both).decode()
