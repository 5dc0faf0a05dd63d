"""What stands before an answer: as a conversation has it, or as a model that is to answer gets it;
and what is told of documents while they are rendered."""

import pytest

from bld.documents.conversation import make_conversation
from bld.symbols import Segment
from bld.tokenization.rendering import Renderer

MESSAGES = [
    {"role": "user", "content": "Which key?"},
    {"role": "assistant", "content": "The value"},
    {"role": "user", "content": "Return it"},
    {"role": "assistant", "content": "find(key)"},
]
LOOP = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}"
    "%IN_CONVERSATION%{% endif %}{{ m.content + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}%SERVED%{% endif %}"
)
EMPTY = "<think>\n\n</think>\n\n"
KINDS = {  # what stands before an answer, and what the model has to write of it
    "the same": ("", "", None),
    "Qwen 3": ("{% if loop.last %}" + EMPTY + "{% endif %}", "", EMPTY),
    "gpt-oss": ("<|im_start|>final", "", "<|im_start|>final"),
    "R1": ("", "<think>\n", ""),
    "Qwen 3.5": (EMPTY, "<think>\n", "\n</think>\n\n"),
    "Nemotron 3": ("<think></think>", "<think>\n", ""),
}


@pytest.fixture
def renderer_of(tokenizers, change):
    def build(kind, prompt, tokenizer="byte-level BPE", template=LOOP):
        made = change(tokenizers[tokenizer])
        in_conversation, served, _ = KINDS[kind]
        made.chat_template = template.replace("%IN_CONVERSATION%", in_conversation).replace(
            "%SERVED%", served
        )
        return Renderer(made, prompt=prompt), made

    return build


def rendered(renderer, messages=MESSAGES, **settings):
    return renderer.render(make_conversation("it", messages, **settings).segments, "it")


@pytest.mark.parametrize("tokenizer", ["byte-level BPE", "Llama 3 style", "bytes"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_last_answer_stands_behind_what_is_served(renderer_of, kind, tokenizer):
    renderer, made = renderer_of(kind, "served", tokenizer)
    document, own = rendered(renderer), KINDS[kind][2] or ""
    turn = document.turns[-1]
    served = made.apply_chat_template(MESSAGES[:3], tokenize=False, add_generation_prompt=True)
    text = made.decode(document.ids_T[: turn.opens])
    if kind in ("the same", "Qwen 3"):
        assert text == served
    assert text.endswith(served.rpartition("Return it")[2])
    assert made.decode(document.ids_T[turn.opens : turn.first]) == own
    assert set(document.symbol_T[turn.opens : turn.first]) <= {turn.symbol}
    assert not document.count_T[turn.opens : turn.first].any()
    assert bytes(document.symbols_N[turn.symbol : -1].tolist()) == b"find(key)"
    assert renderer.told() == []
    before = document.symbol_T[document.turns[0].end + 1 : turn.opens]
    assert (before == -1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_conversation_is_what_the_template_makes_of_it(renderer_of, kind):
    renderer, made = renderer_of(kind, "conversation")
    document = rendered(renderer)
    assert all(turn.opens == turn.first for turn in document.turns)
    expected = made.apply_chat_template(MESSAGES, tokenize=False)
    assert made.decode(document.ids_T) == expected


@pytest.mark.parametrize(
    ("kind", "found"),
    [("the same", []), ("Qwen 3", ["1 of 2"]), ("gpt-oss", ["2 of 2"]), ("Qwen 3.5", ["2 of 2"])],
)
def test_other_prompts_are_told_with_both_texts(renderer_of, kind, found):
    renderer, _ = renderer_of(kind, "conversation")
    for times in (1, 2):
        for _ in range(times):  # the second time as a conversation that is known
            rendered(renderer)
        told = renderer.told()
        counts = [" of ".join(str(times * int(n)) for n in c.split(" of ")) for c in found]
        assert [note.split(" answers stand behind ")[0] for note in told] == counts
        assert all(repr(KINDS[kind][2])[1:-1] in note for note in told)
        assert all("served behind '<|im_end|><|im_start|>assistant\\n" in note for note in told)


def test_only_answers_that_are_trained_on_are_put_behind_it(renderer_of):
    renderer, made = renderer_of("R1", "served")
    messages = [MESSAGES[0], MESSAGES[1] | {"weight": 0}, *MESSAGES[2:]]
    served = made.apply_chat_template(MESSAGES[:3], tokenize=False, add_generation_prompt=True)
    [turn] = (document := rendered(renderer, messages)).turns
    assert made.decode(document.ids_T[: turn.first]) == served


def test_special_tokens_that_a_model_has_to_write_in_its_turn_are_trained_on(renderer_of):
    thinking = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
        "{% if m.reasoning_content %}{{ m.reasoning_content + '<|endoftext|>' }}{% endif %}"
        "{{ m.content + '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    renderer, made = renderer_of("the same", "conversation", template=thinking)
    answer = {"role": "assistant", "content": "42", "reasoning_content": "So"}
    document = rendered(renderer, [MESSAGES[0], answer])
    thought, said = document.turns
    assert (thought.text, said.text) == (b"So", b"42")
    assert made.decode(document.ids_T[thought.last : said.first]) == "<|endoftext|>"
    assert said.opens == thought.last and document.symbol_T[said.opens] == said.symbol
    trained = document.symbol_T >= 0
    assert made.decode(document.ids_T[trained]) == "So<|endoftext|>42<|im_end|>"


def test_reasoning_that_is_not_shown_is_counted(renderer_of):
    renderer, _ = renderer_of("the same", "conversation")
    thinking = MESSAGES[1] | {"reasoning_content": "I wonder."}
    document = rendered(renderer, [MESSAGES[0], thinking, *MESSAGES[2:]])
    assert [turn.text for turn in document.turns] == [b"The value", b"find(key)"]
    [note] = renderer.told()
    assert note.startswith("1 of 2 answers have reasoning that the chat template does not show")


@pytest.mark.parametrize(
    ("tokenizer", "template", "content", "is_told"),
    [
        ("Llama 2 style", "[INST] ", "items", True),
        ("Llama 2 style", "[INST]", "items", False),
        ("SentencePiece BPE", "[INST] ", "items", True),
        ("byte-level BPE", "[INST] ", "items", True),
        ("byte-level BPE", "<|im_start|>user\n", "items", False),
        ("byte-level BPE", "<|im_start|>", "items", False),
        ("Gemma 2 style", "[user]\n", "\nitems", True),
        ("Gemma 2 style", "[user]\n", "items", False),
        ("bytes", "[INST] ", "items", False),
    ],
)
def test_contents_whose_first_tokens_are_others_behind_the_template_are_counted(
    tokenizers, change, tokenizer, template, content, is_told
):
    made = change(tokenizers[tokenizer])
    made.chat_template = (
        "{% for m in messages %}{{ '" + template.replace("\n", "\\n") + "' + m.content + eos_token"
        " }}{% endfor %}"
    )
    renderer = Renderer(made)
    ours = renderer.render([Segment("user", content.encode(), False)], "it").ids_T.tolist()
    text = made.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
    assert (renderer.content.encode_template(text, opens=True) != ours) == is_told
    told = [note for note in renderer.told() if "begin with other tokens" in note]
    assert [note.split(" contents")[0] for note in told] == ["1 of 1"] * is_told


def test_answers_that_no_end_token_follows_are_counted(renderer_of):
    last_alone = LOOP.replace("+ '<|im_end|>'", "+ ('<|im_end|>' if loop.last else '<|im_start|>')")
    renderer, _ = renderer_of("the same", "conversation", template=last_alone)
    document = rendered(renderer)
    assert [turn.ends for turn in document.turns] == [False, True]
    [note] = [note for note in renderer.told() if "no end token" in note]
    assert note.startswith("1 of 2 answers have no end token behind them")
