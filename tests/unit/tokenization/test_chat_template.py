import pytest

from bld.symbols import Segment
from bld.tokenization.chat_template import DAY, ChatTemplate
from bld.tokenization.rendering import Renderer
from bld.tokenization.writing import Writer

LOOP = "{%% for m in messages %%}%s{%% endfor %%}"
TURNS = [Segment("user", b"  the value ", False), Segment("assistant", b"</think> is", True)]


def pieces_of(tokenizer, roles):
    """The template's text before the first content and after each one."""
    segments = [Segment(role, b"text", role == "assistant") for role in roles]
    written = Writer(ChatTemplate(tokenizer, {}), lambda *_: 0).write(segments, "document 7")
    return [written.before, *(part.after for part in written.parts)]


@pytest.fixture
def with_template(tokenizers, change):
    def build(template, kind="byte-level BPE"):
        tokenizer = change(tokenizers[kind])
        tokenizer.chat_template = template
        return tokenizer

    return build


def text_of(tokenizer, **settings):
    ids = Renderer(tokenizer, **settings).render(TURNS, "document 7").ids_T
    return tokenizer.decode(ids)


def test_contents_do_not_pass_through_the_template(with_template):
    text = text_of(with_template(LOOP % "{{ m.content | trim }}<|im_end|>"))
    assert text == "<|endoftext|>  the value <|im_end|></think> is<|im_end|>"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (LOOP % "{{ m.role }}", r"message 0 \(user\)"),
        (LOOP % "{{ m.content * 2 }}", r"message 0 \(user\)"),
        ("{{ messages[1].content + messages[0].content }}", r"message 1 \(assistant\)"),
        ("{{ messages[-1].content }}" + LOOP % "{{ m.content }}", r"message 1 \(assistant\)"),
        (LOOP % "{{ m.content | upper }}", r"message 0 \(user\)"),
        (LOOP % "{{ m.content | tojson(ensure_ascii=true) }}", r"message 0 \(user\)"),
        ("{{ messages[0].content }}", r"message 1 \(assistant\)"),
    ],
    ids=[
        "dropped",
        "repeated",
        "reordered",
        "repeated ahead",
        "changed",
        "escaped",
        "last dropped",
    ],
)
def test_contents_must_stand_in_the_template_once_and_in_order(with_template, template, message):
    expected = rf"{message} exactly once and in order.*give the model `template: plain`"
    with pytest.raises(ValueError, match=expected):
        Renderer(with_template(template))


def test_roles_that_the_template_refuses_are_named_with_its_reason(with_template):
    picky = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}"
        "{% endif %}" + LOOP % "{{ m.content }}<|im_end|>"
    )
    renderer = Renderer(with_template(picky))
    renderer.render(TURNS, "document 7")
    with pytest.raises(ValueError) as caught:
        renderer.render([Segment("system", b"", False), *TURNS], "document 8")
    for part in ("document 8", "system, user, assistant", "System role not supported", "plain"):
        assert part in str(caught.value)


def test_arguments_reach_the_template(with_template):
    dated = "Today: {{ date_string }}\n" + LOOP % "{{ m.content }}<|im_end|>"
    text = text_of(with_template(dated), template_arguments={"date_string": "1 Jan 1970"})
    assert text.startswith("Today: 1 Jan 1970\n  the value")


def test_today_is_always_the_same_day_and_that_is_noted(with_template):
    dated = (
        "{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}"
        "{% endif %}Today: {{ date_string }}\n" + LOOP % "{{ m.content }}<|im_end|>"
    )
    tokenizer = with_template(dated)
    assert text_of(tokenizer).startswith("Today: 26 Jul 2024\n")
    assert any("26 Jul 2024" in note for note in Renderer(tokenizer).notes)
    arguments = {"template_arguments": {"date_string": "1 Jan 1970"}}
    assert text_of(tokenizer, **arguments).startswith("Today: 1 Jan 1970\n")


def test_an_answer_without_end_is_noted(with_template):
    renderer = Renderer(with_template(LOOP % "{{ m.content }}\n<|im_end|>"))
    assert [note for note in renderer.notes if r"'\n<|im_end|>' after an answer" in note]


def test_of_several_templates_the_default_is_taken(with_template):
    several = {"default": LOOP % "{{ m.content }}<|im_end|>", "tool_use": "never"}
    assert text_of(with_template(several)).endswith("</think> is<|im_end|>")


def test_pieces_are_the_text_around_the_contents(tokenizers):
    pieces = pieces_of(tokenizers["SentencePiece BPE"], ["system", "user", "assistant"])
    assert pieces == ["<s>[system]\n", "\n[user]\n", "\n[assistant]\n", "</s>"]


def test_many_messages_keep_their_places(tokenizers):
    pieces = pieces_of(tokenizers["SentencePiece BPE"], ["user", "assistant"] * 8)
    assert pieces[1:] == ["\n[assistant]\n", "</s>[user]\n"] * 7 + ["\n[assistant]\n", "</s>"]


# Forms that templates ask for: Llama 3.1, gpt-oss, Granite, Mistral Small, and an unpadded day.
@pytest.mark.parametrize(
    "form", ["%d %b %Y", "%Y-%m-%d", "%B %d, %Y", "%A, %d/%m/%y", "%-d. %B %Y, %H:%M"]
)
def test_the_day_is_written_in_the_form_that_the_template_asks_for(with_template, form):
    dated = f"{{{{ strftime_now('{form}') }}}}\n" + LOOP % "{{ m.content }}<|im_end|>"
    assert text_of(with_template(dated)).startswith(f"{DAY.strftime(form)}\n")
