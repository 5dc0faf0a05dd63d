"""Reasoning, calls and tools in one template that knows them all."""

import pytest

from bld.documents.conversation import make_conversation
from bld.symbols import END
from bld.tokenization.rendering import Renderer
from conversations import SHAPES

TEMPLATE = """
{%- if tools %}{{ '<|im_start|>tools\n' + (tools | tojson) + '<|im_end|>' }}{% endif %}
{%- for m in messages %}
{{- '<|im_start|>' + m.role + '\n' }}
{%- if m.role == 'assistant' and m.reasoning_content and loop.index0 > last_user %}
{{- '<think>' + m.reasoning_content + '</think>' }}
{%- endif %}
{{- m.content }}
{%- for c in m.tool_calls or [] %}{{ '<call>' + (c.function | tojson) + '</call>' }}{% endfor %}
{{- '<|im_end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}
"""
LAST_USER = """
{%- set found = namespace(last=-1) %}
{%- for m in messages if m.role == 'user' %}{% set found.last = messages.index(m) %}{% endfor %}
{%- set last_user = found.last %}
"""
CALL = '<call>{"name": "get_weather", "arguments": {"town": "Zürich"}}</call>'


@pytest.fixture(scope="module")
def written(tokenizers, change):
    """The text that a shape is trained on, and all of it, as one model writes it."""

    def write(shape, template=LAST_USER + TEMPLATE, **settings):
        tokenizer = change(tokenizers["byte-level BPE"])
        tokenizer.chat_template = template
        renderer = Renderer(tokenizer, **settings)
        messages, tools, _ = SHAPES[shape]
        rendered = renderer.render(make_conversation("it", messages, tools).segments, "document 7")
        turns = [turn.text.decode() for turn in rendered.turns]
        ends = [
            int(rendered.ids_T[turn.last]) in renderer.vocabulary.end for turn in rendered.turns
        ]
        assert ends == [turn.ends for turn in rendered.turns]
        assert rendered.symbols_N.tolist() == [s for t in turns for s in (*t.encode(), END)]
        return turns, tokenizer.decode(rendered.ids_T)

    return write


def test_what_a_model_has_to_write_is_trained_on_with_its_marks(written):
    turns, text = written("reasoning and a call")
    assert turns == [
        f"<think>I have to look.</think>{CALL}",
        "<think>Each has 8.\nSo 2 times 8.</think>3 degrees.",
    ]
    assert text.count("<think>") == 2 and '"description": "The weather' in text


def test_context_is_shown_and_not_trained_on(written):
    turns, text = written("reasoning and a call", reasoning="context")
    assert turns == [f"</think>{CALL}", "3 degrees."]
    assert text.count("<think>") == 2
    turns, shown = written("reasoning and a call", tools="context")
    assert turns[0] == "<think>I have to look.</think>"
    assert shown == text
    turns, shown = written("reasoning and a call", tools="context", reasoning="context")
    assert turns == ["3 degrees."]
    assert shown == text


def test_what_is_dropped_is_not_shown(written):
    turns, text = written("reasoning and a call", reasoning="drop")
    assert turns == [CALL, "3 degrees."] and "<think>" not in text
    turns, text = written("reasoning and a call", tools="drop")
    assert "get_weather" not in text and "tool" not in text
    assert turns[-1] == "<think>Each has 8.\nSo 2 times 8.</think>3 degrees."


def test_reasoning_that_the_template_does_not_show_is_left_out_unless_asked_for(written):
    blind = TEMPLATE.replace("m.reasoning_content and", "false and")
    assert written("reasoning", blind)[0] == ["They have 16 legs."]
    with pytest.raises(
        ValueError, match=r"document 7: .* does not write the reasoning of message 1"
    ):
        written("reasoning", blind, reasoning="train")


def test_tools_that_the_template_does_not_show_are_told(written):
    deaf = TEMPLATE.replace("m.tool_calls or []", "[]")
    with pytest.raises(ValueError, match=r"document 7: .* the call of 'get_weather' in message 1"):
        written("a call", deaf)
    with pytest.raises(ValueError, match=r"the tool 'get_weather'; set `tools: drop`"):
        written("a call", deaf.replace("if tools", "if false"))
    assert written("a call", deaf, tools="drop")[0] == ["3 degrees."]


def test_an_answer_that_the_template_rewrites_is_told_with_both_texts(written):
    reading = TEMPLATE.replace(
        "{{- m.content }}",
        "{{- m.content.split('</think>')[-1] if not loop.last else m.content }}",
    )
    assert written("`<think>` in the content", reading)[0] == [
        "<think>\nEach has 8.\n</think>\n\n16."
    ]
    with pytest.raises(ValueError) as caught:
        written("`<think>` in two contents", reading)
    for part in ("document 7", r"assistant\n\n\n16.<|im_end|>", r"<think>\nEach", "turn_by_turn"):
        assert part in str(caught.value)


def test_a_special_token_in_what_is_trained_on_with_its_marks_is_told(written, monkeypatch):
    said = dict(SHAPES["reasoning"].messages[1], reasoning_content="Not <|im_end|> yet.")
    shape = SHAPES["reasoning"]._replace(messages=[SHAPES["reasoning"].messages[0], said])
    monkeypatch.setitem(SHAPES, "reasoning", shape)
    with pytest.raises(ValueError, match=r"its text holds '<\|im_end\|>'"):
        written("reasoning")
