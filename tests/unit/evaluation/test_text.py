import json
import math

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from bld.documents.document import make_document
from bld.evaluation.text import Writer, find_passage, surprise
from bld.files import write_json
from bld.scoring.scorer import Scored
from bld.tokenization.rendering import load_renderer

KINDS = ["subwords", "bytes", "SentencePiece BPE", "Unigram"]
PROMPTS = ["Which index?", "Return na\u00efve \U0001f600\x00 <|im_end|>", ""]


@pytest.fixture
def stubborn(model):
    """(kind, wanted) -> a model that always writes the token that spells `wanted`, whatever it has
    read; None is an end. `padding`: logits beyond the tokenizer, which it likes even better."""

    def build(kind, wanted, padding=0):
        lm, renderer, _ = model(kind)
        size = len(renderer.vocabulary)
        token_bytes = renderer.vocabulary.token_bytes
        lm.lm_head = torch.nn.Linear(16, size + padding)
        with torch.no_grad():
            lm.lm_head.weight.zero_()
            lm.lm_head.bias.zero_()
            lm.lm_head.bias[size:] = 2
            ids = renderer.vocabulary.end if wanted is None else {token_bytes.index(wanted)}
            lm.lm_head.bias[min(ids)] = 1
        return lm, renderer

    return build


@torch.no_grad()
def completed_by_hand(lm, renderer, ids, at_most):
    """The most probable token again and again, each from a pass of its own over all before it."""
    text, size = b"", len(renderer.vocabulary)
    while len(text) < at_most:
        token = int(lm(torch.tensor([ids])).logits[0, -1, :size].argmax())
        if token in renderer.vocabulary.end:
            break
        ids, text = [*ids, token], text + (renderer.vocabulary.token_bytes[token] or b"")
    return text[:at_most]


def prompt_by_hand(renderer, prompt, chats):
    """The tokens of a question up to where its answer begins, or of the beginning of a text."""
    turns = [("user", prompt), ("assistant", "x")] if chats else [("text", prompt + "x")]
    document = make_document("prompt", "prompt", turns)
    rendered = renderer.render(document.segments, "prompt")
    if chats:
        return rendered.ids_T[: rendered.turns[-1].first].tolist()
    bare = renderer.render(make_document("p", "p", [("text", prompt)]).segments, "p")
    return bare.ids_T[: np.flatnonzero(bare.count_T)[-1]].tolist()


@pytest.mark.parametrize("chats", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_completion_is_what_the_model_finds_most_probable(model, kind, chats):
    lm, renderer, _ = model(kind)
    writer = Writer(renderer, lm, chats)
    for prompt in PROMPTS:
        found = writer.complete(prompt, 24)
        ids = prompt_by_hand(renderer, prompt, chats)
        by_hand = completed_by_hand(lm, renderer, ids, 24)
        assert found["prompt"] == prompt
        assert found["completion"].rstrip("\ufffd") == by_hand.decode(errors="replace").rstrip(
            "\ufffd"
        )
        assert found["ended"] == (len(by_hand) < 24)


def test_answers_that_are_drawn_are_the_same_every_time_and_the_cold_ones_the_most_probable(model):
    lm, renderer, _ = model("subwords")
    writer = Writer(renderer, lm, chats=False)
    drawn = [writer.complete(PROMPTS[0], 24, temperature=2.0) for _ in range(2)]
    greedy = writer.complete(PROMPTS[0], 24)
    assert drawn[0] == drawn[1] != greedy
    assert writer.complete(PROMPTS[0], 24, temperature=1e-4) == greedy


def test_a_prompt_is_a_users_turn_before_the_answer_as_the_chat_template_has_it(model, tokenizers):
    lm, renderer, _ = model("subwords")
    asked = []
    generate = lm.generate
    lm.generate = lambda ids, **options: asked.append(ids) or generate(ids, **options)
    Writer(renderer, lm, chats=True).complete("Which index?", 1)
    Writer(renderer, lm, chats=False).complete("Which index?", 1)
    tokenizer = tokenizers["subwords"]
    said = [{"role": "user", "content": "Which index?"}]
    chat = tokenizer.apply_chat_template(said, add_generation_prompt=True)["input_ids"]
    assert asked[0][0].tolist() == chat
    start = renderer.render(make_document("s", "s", [("text", "")]).segments, "s").ids_T[0]
    plain = tokenizer("Which index?", add_special_tokens=False)["input_ids"]
    assert asked[1][0].tolist() == [start, *plain]


def test_a_model_that_ends_at_once_has_ended_with_nothing(stubborn):
    lm, renderer = stubborn("bytes", None)
    found = Writer(renderer, lm, True).complete("Which?", 5)
    assert found == {"prompt": "Which?", "completion": "", "ended": True}


def test_what_a_model_would_write_after_its_end_is_not_asked(model):
    lm, renderer, _ = model("subwords")
    key, (end, *_) = renderer.ids_by_bytes[b" key"], renderer.vocabulary.end

    class Script(torch.nn.Linear):
        tokens = iter([key, key, end, key, key])

        def forward(self, hidden):
            logits = hidden.new_zeros(*hidden.shape[:-1], self.out_features)
            logits[..., next(self.tokens)] = 1
            return logits

    lm.lm_head = Script(16, len(renderer.vocabulary))
    found = Writer(renderer, lm, True).complete("Which?", 20)
    assert (found["completion"], found["ended"]) == (" key key", True)


def test_a_completion_is_cut_after_so_many_bytes(stubborn):
    lm, renderer = stubborn("subwords", b" index")
    found = Writer(renderer, lm, True).complete("Which?", 15)
    assert (found["completion"], found["ended"]) == (" index index in", False)


@pytest.mark.parametrize(
    ("byte", "completion"),
    [(b"\x00", "\x00" * 5), (b"\xf0", "\ufffd" * 4), (b"\x80", "\ufffd" * 5)],
)
def test_bytes_that_are_no_text_are_written_all_the_same(stubborn, tmp_path, byte, completion):
    # Of the half characters the last one might have been completed after the limit.
    lm, renderer = stubborn("bytes", byte)
    found = Writer(renderer, lm, True).complete("Which?", 5)
    assert found["completion"] == completion
    write_json(tmp_path / "text.json", found)
    assert json.loads((tmp_path / "text.json").read_text()) == found


def test_logits_that_stand_for_no_token_are_never_written(stubborn):
    lm, renderer = stubborn("subwords", b"key", padding=6)
    assert Writer(renderer, lm, True).complete("Which?", 6)["completion"] == "keykey"


def test_how_the_model_itself_likes_to_write_is_not_asked(model):
    lm, renderer, _ = model("subwords")
    expected = [Writer(renderer, lm, True).complete(prompt, 40) for prompt in PROMPTS]
    other, renderer, _ = model("subwords")
    own = {"do_sample": True, "temperature": 3.0, "repetition_penalty": 9.0, "min_new_tokens": 30}
    other.generation_config = GenerationConfig(**own, no_repeat_ngram_size=1, top_k=3)
    writer = Writer(renderer, other, True)
    assert [writer.complete(prompt, 40) for prompt in PROMPTS] == expected


def test_a_completion_ends_with_the_models_context_and_a_prompt_that_fills_it_is_refused(stubborn):
    lm, renderer = stubborn("bytes", b"a")
    writer = Writer(renderer, lm, chats=False)
    found = writer.complete("b" * 250, 100)
    assert (found["completion"], found["ended"]) == ("a" * 5, False)  # 256 positions, one a start
    with pytest.raises(ValueError, match="has 256 tokens and the context of the model 256"):
        writer.complete("b" * 255, 100)


def test_a_model_without_a_chat_template_continues_the_text(tokenizers, tmp_path):
    tokenizers["subwords"].save_pretrained(tmp_path)
    reading = {"template": "auto", "trust_remote_code": False}
    assert load_renderer(tmp_path, **reading).has_chats
    assert not load_renderer(tmp_path, **reading | {"template": "plain"}).has_chats
    (tmp_path / "chat_template.jinja").unlink()
    assert not load_renderer(tmp_path, **reading).has_chats


def document(name, *turns):
    return make_document(name, "some", turns)


def test_a_passage_is_of_the_first_document_with_one_segment_that_is_long_enough():
    documents = [
        document("short", ("text", "abcd")),
        document("two", ("assistant", "x" * 50), ("user", "?"), ("assistant", "y" * 50)),
        document("silent", ("user", "z" * 50)),
        document("half", ("user", "?"), ("assistant", "abcde")),
        document("whole", ("text", "abcdefghijkl")),
    ]
    found = find_passage(documents, 10)
    assert (found.document.id, found.symbol, found.text) == ("half", 0, "abcde")
    assert find_passage(documents[4:], 10).text == "abcdefghij"


def test_without_such_a_document_a_passage_is_of_the_longest_segment():
    two = document("two", ("assistant", "x" * 5), ("user", "?"), ("assistant", "y" * 50))
    again = document("again", ("assistant", "z" * 50), ("user", "?"), ("assistant", "z"))
    found = find_passage([document("short", ("text", "ab")), two, again], 10)
    assert (found.document.id, found.symbol, found.text) == ("two", 6, "y" * 10)
    with pytest.raises(ValueError, match="no passage to show"):
        find_passage([document("silent", ("user", "z"))], 10)


@pytest.mark.parametrize("size", [5, 6, 7, 8])
def test_a_passage_ends_with_a_whole_character(size):
    text = "abcd\U0001f600ef"
    assert find_passage([document("d", ("text", text))], size).text == text[: 4 + (size == 8)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_surprise_is_that_of_each_byte_by_covers(scorer, documents, kind):
    passage = find_passage(documents, 20)
    assert passage.document is documents[0] and len(passage.text.encode()) == 20
    [scored] = scorer(kind).distributions([documents[0]])
    by_hand = [-scored.log_probs_NS[n, b] for n, b in enumerate(passage.text.encode())]
    bits = surprise(passage, scorer(kind))
    assert bits == pytest.approx([nats / math.log(2) for nats in by_hand], rel=1e-6)


def test_the_surprise_of_a_byte_model_is_what_its_own_logits_charge(model, scorer, documents):
    lm, renderer, _ = model("bytes")
    passage = find_passage(documents[1:2], 1000)
    assert (passage.symbol, passage.text) == (len("the first") + 1, "Return \U0001f600")
    rendered = renderer.render(documents[1].segments, "chat")
    ids = torch.from_numpy(rendered.ids_T.astype(np.int64))
    with torch.no_grad():
        log_probs = lm(ids[None]).logits[0].log_softmax(-1)
    turn = rendered.turns[1]
    places = range(turn.first, turn.last)
    by_hand = [-log_probs[t - 1, ids[t]].item() / math.log(2) for t in places]
    assert surprise(passage, scorer("bytes")) == pytest.approx(by_hand, rel=1e-4)


def test_a_byte_without_probability_surprises_without_measure(documents):
    class Sure:
        def distributions(self, some):
            log_probs_NS = np.full((31, 258), -np.inf, np.float32)
            log_probs_NS[:, ord("R")] = 0
            return iter([Scored(some[0], log_probs_NS, np.zeros(31, np.float32), 1)])

    assert surprise(find_passage(documents, 3), Sure()) == [0, None, None]
