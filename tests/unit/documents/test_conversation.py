import json

import pytest

from bld.config.settings import Split
from bld.documents.conversation import make_conversation, turn_by_turn
from bld.documents.document import Document
from bld.documents.shards import SCHEMA, read_split, write_splits
from conversations import SHAPES


def parts(document):
    return [
        (segment.role, segment.text.decode(), segment.supervised) for segment in document.segments
    ]


def of(shape):
    return make_conversation("it", SHAPES[shape].messages, SHAPES[shape].tools)


def test_contents_alone_are_segments_by_role():
    assert parts(of("system")) == [
        ("system", "Be short.", False),
        ("user", "How many legs have two spiders?", False),
        ("assistant", "They have 16 legs.", True),
    ]


def test_reasoning_stands_before_its_content_and_calls_after_it():
    tools, _, thought, content, calls, result, *_ = parts(of("reasoning and a call"))
    assert tools[0] == "tools" and not tools[2]
    assert thought == ("reasoning", "I have to look.", True)
    assert content == ("assistant", "", True)
    assert calls[0] == "tool_calls" and calls[2]
    [call] = json.loads(calls[1])
    assert call["function"] == {"name": "get_weather", "arguments": {"town": "Zürich"}}
    assert result == ("tool", "3", False)


def test_an_answer_of_weight_0_is_not_trained_on():
    trained = [text for role, text, is_trained in parts(of("an answer of weight 0")) if is_trained]
    assert trained == ["They have 16 legs."]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "critic", "content": "No."}, "message 1: the role must be one of .*'critic'"),
        (
            {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f"}}]},
            "message 1: expected a call with a function's name and its arguments",
        ),
        (
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"name": "f", "arguments": "no JSON"}}],
            },
            "expected a call with a function's name",
        ),
    ],
)
def test_a_message_that_is_none_is_named(message, expected):
    with pytest.raises(ValueError, match=expected):
        make_conversation("it", [{"role": "user", "content": "Hm?"}, message])


def test_results_stand_in_the_order_of_their_calls():
    messages = list(SHAPES["two calls beside text"].messages)
    messages[3], messages[4] = messages[4], messages[3]
    with pytest.raises(ValueError, match="message 3: expected the result of call 'call00001'"):
        make_conversation("it", messages)


def test_reasoning_of_earlier_turns_makes_a_document_of_every_turn():
    whole = of("reasoning in two turns")
    first, second = turn_by_turn(whole)
    assert (first.id, second.id) == ("it#0", "it#1")
    assert first.group == second.group == whole.group
    assert first.segments == whole.segments[:3]
    assert [s[:2] for s in parts(second)] == [s[:2] for s in parts(whole)]
    assert [s.supervised for s in second.segments] == [False] * 4 + [True] * 2


@pytest.mark.parametrize(
    "shape", ["many turns", "reasoning", "reasoning and a call", "`<think>` in two contents"]
)
def test_other_conversations_stay_whole(shape):
    whole = of(shape)
    assert list(turn_by_turn(whole)) == [whole]


def test_the_setting_says_otherwise():
    assert len(list(turn_by_turn(of("many turns"), True))) == 6
    whole = of("reasoning in two turns")
    assert list(turn_by_turn(whole, False)) == [whole]


def test_they_are_written_in_the_columns_of_all_documents(tmp_path):
    documents = [of(shape) for shape in SHAPES]
    documents = [Document(f"{n}", d.kind, d.group, d.segments) for n, d in enumerate(documents)]
    write_splits(documents, {"all": tmp_path}, {"all": Split(fraction=1.0)}, 0)
    assert list(read_split(tmp_path)) == documents
    assert SCHEMA.names == ["id", "kind", "group", "segments"]
