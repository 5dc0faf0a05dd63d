"""Whether conversations are rendered as a model's own template writes them, token for token: the
table of docs/templates.md. As a script it writes the table anew, or the rows that it is given."""

import json
import re
import sys
import unicodedata
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer
from transformers import AddedToken, PreTrainedTokenizerFast

from bld.documents.conversation import make_conversation, turn_by_turn
from bld.tokenization.chat_template import FIXED_DAY
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer
from conversations import SHAPES
from real_tokenizers import real_tokenizer, trl_templates

PAGE = Path(__file__).parents[1] / "docs/templates.md"
ANEW = "PYTHONPATH=workflow:tests python tests/template_table.py"
EQUAL = "="
PROMPTS = "prompt as served"
COLUMNS = (*SHAPES, PROMPTS)
REFUSALS = {
    "1": "the chat template refuses the roles",
    "2": "exactly once and in order",
    "3": "the chat template reads what it writes",
    "4": "set `tools: drop`",
}
KEYS = ("reasoning_content", "reasoning", "thinking")
# What generation_config.json names besides, which packages of tokenizers do not have.
ENDS = ("<|call|>",)
# Special tokens as templates write them.
MARK = re.compile(
    r"<[|\uff5c][^<>{}'\"\s|]*[|\uff5c]?>"  # <|im_end|>
    r"|<[a-z_]+[|\uff5c]>"  # <tool_call|>
    r"|<(?:start|end)_of_turn>|\[/?[A-Z_]+\]"
)


class Row(NamedTuple):
    """A row of the table: how its tokenizer is made, with its chat template."""

    tokenizer: Callable
    template: str | None = None


def rows():
    """All rows by name."""
    templates = trl_templates()
    lent = {"claude": "qwen2_5", "gpt4o": "phi3", "gptoss": "gptoss", "llama2": "llama3"}
    real = {
        f"tokenizer {name}": Row(lambda name=name: real_tokenizer(name))
        for name in ("deepseek_v3", "gemma3", "llama3_1", "mistral_nemo", "qwen3")
    }
    real |= {
        f"tokenizer {name}, {template}": Row(
            lambda name=name: real_tokenizer(name), templates[template]
        )
        for name, template in lent.items()
    }
    return real | {name: Row(_small, template) for name, template in templates.items()}


def _small():
    """A byte-level tokenizer, for templates whose own is not at hand."""
    return train_tokenizer(
        ["def find(items): return the first key"] * 9, "byte_level_bpe", 400, "chatml"
    )


def measure(row):
    """What comes out by shape: "=", how the tokens differ from the template's own, or the number of
    the refusal; and whether the prompts of answers are those of a model that is served."""
    tokenizer = row.tokenizer()
    if row.template is not None:
        tokenizer = _with_template(tokenizer, row.template)
    renderer = Renderer(tokenizer, end_tokens=[e for e in ENDS if e in tokenizer.get_vocab()])
    outcomes = {name: _outcome(renderer, tokenizer, shape) for name, shape in SHAPES.items()}
    return outcomes | {PROMPTS: _prompts(renderer)}


def _prompts(renderer):
    """How many of the answers of a conversation stand behind another prompt than is served."""
    renderer.told()
    messages = SHAPES["many turns"].messages
    renderer.render(make_conversation("it", messages).segments, "it")
    found = [note.split(" answers")[0] for note in renderer.told() if "is served" in note]
    return ", ".join(found) or EQUAL


def _with_template(tokenizer, template):
    """The same tokenizer with a chat template, and the special tokens that this writes."""
    found = dict.fromkeys(MARK.findall(template))
    marks = [AddedToken(mark, special=True, normalized=False) for mark in found]
    tokenizer.add_tokens(marks, special_tokens=True)
    # Read again, which is where tokens that were added get the ids that they keep.
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()),
        bos_token=tokenizer.bos_token,
        eos_token=tokenizer.eos_token,
        chat_template=template,
    )


def _outcome(renderer, tokenizer, shape):
    found = []
    document = make_conversation("it", shape.messages, shape.tools)
    for one in turn_by_turn(document, shape.turn_by_turn):
        messages = shape.messages
        if "#" in one.id:
            users = [n for n, message in enumerate(messages) if message["role"] == "user"]
            turn = int(one.id.split("#")[1])
            messages = messages[: [*users, len(messages)][turn + 1]]
        try:
            rendered = renderer.render(one.segments, "it")
        except ValueError as error:
            [number] = [n for n, words in REFUSALS.items() if words in str(error)]
            found.append(number)
            continue
        own = own_text(tokenizer, messages, shape.tools)
        found.append(_difference(renderer, tokenizer, rendered.ids_T.tolist(), own))
    return "".join(dict.fromkeys(one for one in found if one != EQUAL)) or EQUAL


def _difference(renderer, tokenizer, ids, own):
    expected = tokenizer(own, add_special_tokens=False).input_ids
    # A document begins as the tokenizer begins a text where the template does not say.
    if expected in (ids, ids[1:]):
        return EQUAL
    ours, theirs = _spelt(renderer, ids), _spelt(renderer, expected)
    special = renderer.vocabulary.special
    if sum(i in special for i in ids) < sum(i in special for i in expected):
        kind = "t"
    elif ours in (theirs, theirs.removeprefix(" ")):
        kind = "e"
    elif _bare(ours) == _bare(theirs):
        kind = "s"
    else:
        kind = "b"
    assert _plain(ours) == _plain(theirs), f"{ours!r} is not {theirs!r}"
    return kind


def _bare(text):
    return "".join(text.split())


def _plain(text):
    """A text after all that a normalizer may do to it, without spaces."""
    return _bare(unicodedata.normalize("NFKC", text.replace("\u2581", " ")).replace("\u2044", "/"))


def _spelt(renderer, ids):
    name_of = renderer.content.backend.id_to_token
    spelt = renderer.vocabulary.token_bytes
    both = (spelt[i] if spelt[i] is not None else name_of(i).encode() for i in ids)
    return b"".join(both).decode()


def own_text(tokenizer, messages, tools):
    """What `apply_chat_template` makes of a conversation, in the form in which it leaves out the
    fewest contents and calls; of several the first."""
    texts = []
    for in_parts, as_json, null in product((False, True), (False, True), (True, False)):
        given = [_given(message, in_parts, as_json, null) for message in messages]
        try:
            text = tokenizer.apply_chat_template(
                given,
                tools=list(tools) or None,
                tokenize=False,
                chat_template=FIXED_DAY + tokenizer.chat_template,
            )
        except Exception:
            continue
        missing = sum(not _is_written(message, text) for message in messages)
        texts.append((missing, len(texts), text))
    return min(texts)[2]


def _given(message, in_parts, as_json, null):
    given = {key: value for key, value in message.items() if key != "weight"}
    if "reasoning_content" in given:
        given |= dict.fromkeys(KEYS, given["reasoning_content"])
    if given["content"] is None and not null:
        given["content"] = ""
    if in_parts and given["content"] is not None:
        given["content"] = [{"type": "text", "text": given["content"]}]
    if "tool_calls" in given and not as_json:
        given["tool_calls"] = [_with_object(call) for call in given["tool_calls"]]
    return given


def _with_object(call):
    function = call["function"]
    return call | {"function": function | {"arguments": json.loads(function["arguments"])}}


def _is_written(message, text):
    content = (message["content"] or "").split("</think>")[-1].strip()
    calls = [call["function"]["name"] for call in message.get("tool_calls", ())]
    return all(part in text for part in (content, *calls))


def line(name, outcomes):
    """A row as it stands on the page."""
    return f"| {name} | {' | '.join(outcomes[column] for column in COLUMNS)} |"


def written_rows():
    """The rows of the page by name."""
    found = re.finditer(r"^\| ([^|]+) \| .*$", PAGE.read_text(), re.MULTILINE)
    return {row[1]: row[0] for row in found}


if __name__ == "__main__":
    start = PAGE.read_text().split("\n| |")[0]
    known, chosen = written_rows(), sys.argv[1:]
    table = ["| | " + " | ".join(COLUMNS) + " |", "|---" * (1 + len(COLUMNS)) + "|"]
    for name, row in rows().items():
        is_wanted = not chosen or name in chosen
        table.append(line(name, measure(row)) if is_wanted else known[name])
        print(table[-1], flush=True)
    PAGE.write_text(start + "\n" + "\n".join(table) + "\n")
