import inspect
import json
import random
import re
import textwrap
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from tokenizers.trainers import BpeTrainer

from bld.scoring.prefixes import PrefixEncoder
from bld.tokenization.content import ContentTokenizer
from bld.tokenization.scratch import train_tokenizer
from bld.tokenization.vocabulary import read_vocabulary

TRAPS = (
    "\U0001f469\u200d\U0001f680 @e\u0301 \u0301x@\u0643\u062a\u0627\u0628 \u05e9\u05dc\u05d5@"
    "\u65e5\u672c\u8a9e\u3002\u4e2d\u6587@\u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438@"
    "    @\t\t@ \t @\n\n\n@\r\n@ \r\n \n@.\n@)\n\n@end\n@\x00@\x0b\x0c\x1c@\u3000@\xa0@"
    "a\u3000 b@a \xa0 b@a\u2028 b@l'\xe9t\xe9@it\u2019s@don't@IT'S@we'll've@dogs' x@"
    "1234567@3.14 1,000,000@2024-11-05@....@==@#!@foo(bar).baz[3]:\n@a/b//c.html?q&r@"
    "snake_case@CamelCaseHTTPServer@ the@of the @\u2581@\u2581\u2581@<0x4@<0x41@<0x41>@"
    "x<0xE2>y@<s>@<|endoftext|>@\ufdd0"
)
HARD = [*TRAPS.split("@"), "x" * 70, "ab" * 30, " " * 40, "0" * 40, "-" * 40]
SAMPLE = inspect.getsource(textwrap)[:12000] + " ".join(HARD)
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK_3 = (
    r"\p{N}{1,3}",
    r"[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)
BLOOM = r" ?[^(\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"


def scratch(kind):
    tokenizer = train_tokenizer([SAMPLE], kind, 700, "turns")
    return json.loads(tokenizer.backend_tokenizer.to_str())


def byte_level(*parts, regex=False, texts=(SAMPLE,)):
    """Byte-level BPE that cuts text by other pre-tokenizers first."""
    backend = Tokenizer(models.BPE())
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)
    backend.pre_tokenizer = pre_tokenizers.Sequence([*parts, last])
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(texts, trainer)
    return json.loads(backend.to_str())


def split(*patterns):
    return [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]


def adding(specification, *contents, **flags):
    off = dict.fromkeys(("special", "single_word", "lstrip", "rstrip", "normalized"), False)
    top = max(specification["model"]["vocab"].values())
    added = [
        off | {"id": top + 1 + n, "content": content} | flags for n, content in enumerate(contents)
    ]
    return specification | {"added_tokens": specification["added_tokens"] + added}


def without_byte_fallback(specification):
    return specification | {"model": specification["model"] | {"byte_fallback": False}}


METASPACE = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first"}
RUNS = [" " * n for n in (2, 3, 4, 8, 16)] + ["\n\n\n", "\t\t"]

BUILDERS = {
    "GPT-2": lambda: scratch("byte_level_bpe"),
    "SentencePiece BPE": lambda: scratch("sentencepiece_bpe"),
    "Unigram": lambda: scratch("unigram"),
    "bytes": lambda: scratch("bytes"),
    "Qwen 2": lambda: byte_level(*split(LLAMA_3.replace("{1,3}", ""))),
    "Llama 3": lambda: byte_level(*split(LLAMA_3)),
    "o200k": lambda: byte_level(*split(O200K)),
    "DeepSeek 3": lambda: byte_level(*split(*DEEPSEEK_3)),
    "BLOOM": lambda: byte_level(*split(BLOOM)),
    "StarCoder": lambda: byte_level(pre_tokenizers.Digits(individual_digits=True), regex=True),
    "Falcon": lambda: byte_level(
        pre_tokenizers.Punctuation("contiguous"), *split("[0-9][0-9][0-9]"), regex=True
    ),
    "Llama 2": lambda: scratch("sentencepiece_bpe") | {"pre_tokenizer": None},
    "Metaspace BPE": lambda: (
        scratch("sentencepiece_bpe")
        | {"normalizer": None, "pre_tokenizer": METASPACE | {"split": False}}
    ),
    "Gemma 2": lambda: adding(
        scratch("sentencepiece_bpe") | {"pre_tokenizer": None},
        *RUNS,
        "\u2581\u2581",
        "the",
        "e (re",
    ),
    "GPT-NeoX": lambda: adding(scratch("byte_level_bpe"), *RUNS, "y.", "of", normalized=True),
    "words across spaces": lambda: byte_level(texts=SAMPLE.splitlines()),
    "Unigram without byte fallback": lambda: without_byte_fallback(scratch("unigram")),
    "by script": lambda: byte_level(pre_tokenizers.UnicodeScripts()),
    "single words added": lambda: adding(scratch("byte_level_bpe"), " the", "e", single_word=True),
}


@cache
def content_of(kind):
    specification = BUILDERS[kind]()
    return ContentTokenizer(specification, read_vocabulary(specification))


@cache
def encoder_of(kind):
    return PrefixEncoder(content_of(kind))


def spelt(content, tokens):
    return b"".join(content.vocabulary.token_bytes[token] for token in tokens)


def encoding(content, prefix):
    """encode(prefix) by the definition; None if the tokenizer cannot spell it."""
    for end in range(len(prefix), -1, -1):
        try:
            tokens = content.encode(prefix[:end].decode(), "")
        except UnicodeDecodeError:
            continue
        except ValueError:
            return None
        break
    token_bytes = content.vocabulary.token_bytes
    while end < len(prefix):
        fitting = [
            i for i, entry in enumerate(token_bytes) if entry and prefix.startswith(entry, end)
        ]
        if not fitting:
            return None
        tokens.append(max(fitting, key=lambda i: (len(token_bytes[i]), -i)))
        end += len(token_bytes[tokens[-1]])
    return tokens


def by_definition(content, text, trunk):
    found = (encoding(content, text[:n]) for n in range(len(text)))
    return {tuple(t[:k]) for t in [trunk, *filter(None, found)] for k in range(len(t) + 1)}


def paths(tree):
    found = []
    for token, parent in zip(tree.token_R.tolist(), tree.parent_R.tolist(), strict=True):
        found.append((*found[parent], token) if parent >= 0 else ())
    return found


def trunk_or_none(content, text):
    try:
        return content.encode(text, "")
    except ValueError:
        return None


texts = st.lists(
    st.sampled_from(HARD) | st.sampled_from(SAMPLE.split(" ")) | st.text(max_size=4), max_size=8
).flatmap(lambda parts: st.sampled_from(["", " "]).map(lambda glue: glue.join(parts)))


def adds_up_over_long_pieces(kind, text):
    """Whether rounding may break a tie of equally likely encodings another way in a tail."""
    return "Unigram" in kind and max(map(len, text.encode().split(b" "))) > 64


@pytest.mark.parametrize("kind", BUILDERS)
@given(texts)
@example("")
@example("".join(HARD))
@example(" ".join(HARD))
@example(SAMPLE[:600])
@example("x theme")
@example("e\u0301 \u0301" + "x" * 70 + "\U0001f469\u200d\U0001f680 " * 2)
@settings(deadline=None, max_examples=20)
def test_the_histories_are_the_encodings_of_all_prefixes_and_the_trunk(kind, text):
    content = content_of(kind)
    trunk = trunk_or_none(content, text)
    if trunk is None or adds_up_over_long_pieces(kind, text):
        return
    found = paths(encoder_of(kind).tree(text.encode(), trunk))
    assert len(found) == len(set(found))
    assert set(found) == by_definition(content, text.encode(), trunk)


@pytest.mark.parametrize("kind", BUILDERS)
@given(texts)
@example("".join(HARD))
@settings(deadline=None, max_examples=5)
def test_a_tree_has_its_trunk_first_and_then_parents_before_children_by_rising_start(kind, text):
    content = content_of(kind)
    if (trunk := trunk_or_none(content, text)) is None:
        return
    tree = encoder_of(kind).tree(text.encode(), trunk)
    found = paths(tree)
    assert found[: len(trunk) + 1] == [tuple(trunk[:t]) for t in range(len(trunk) + 1)]
    assert (tree.parent_R < np.arange(len(found))).all()
    assert (np.diff(tree.start_R[len(trunk) + 1 :]) >= 0).all()
    assert len(found) == len(set(found))
    for tokens, start in zip(found, tree.start_R, strict=True):
        assert spelt(content, tokens) == text.encode()[:start]
    for column, remade in zip(tree, PrefixEncoder(content).tree(text.encode(), trunk), strict=True):
        assert column.dtype == np.int64
        np.testing.assert_array_equal(column, remade)


MERGING = ["GPT-2", "Llama 3", "o200k", "SentencePiece BPE", "Llama 2", "Gemma 2"]
RANDOM = random.Random(7)
UNBROKEN = {
    "Chinese": "\u65e5\u672c\u8a9e\u306e\u6587\u7ae0\u3002\u4e2d\u6587\u6ca1\u6709\uff0c" * 15,
    "letters": "".join(RANDOM.choices("etaoinETAOIN", k=400)),
    "words": "".join(RANDOM.choices(["the", "text", "Wrap", "width", "ing", "s"], k=90)),
    "digits": "x" + "".join(RANDOM.choices("0123456789", k=400)),
    "symbols": "".join(RANDOM.choices("=-./#(){}", k=400)),
    "spaces": "end" + " " * 300 + "\n" * 150 + "\t" * 20 + "next",
    "emoji": "".join(RANDOM.choices("\U0001f469\u200d\U0001f680\u0301\xe9", k=150)),
    "marks": "\u2581" * 70 + "<0x41>" * 30,
}


@pytest.mark.parametrize("name", UNBROKEN)
@pytest.mark.parametrize("kind", MERGING)
def test_in_long_unbroken_texts_too(kind, name):
    content, text = content_of(kind), UNBROKEN[name]
    trunk = content.encode(text, "")
    found = paths(encoder_of(kind).tree(text.encode(), trunk))
    assert set(found) == by_definition(content, text.encode(), trunk)


class Counting:
    """A content tokenizer that counts the bytes given to it."""

    def __init__(self, content):
        self.vocabulary, self.outline, self._content = content.vocabulary, content.outline, content
        self.bytes = 0

    def encode_each(self, texts):
        self.bytes += sum(len(text.encode()) for text in texts)
        return self._content.encode_each(texts)


ENDLESS = {
    "new words": "".join(RANDOM.choices("aeinst \n", k=6000)),
    "Chinese": "".join(RANDOM.choices("\u65e5\u672c\u8a9e\u306e\u6587\u7ae0", k=2000)),
    "one word": "".join(RANDOM.choices("etaoin", k=6000)),
    "one number": "".join(RANDOM.choices("0123456789", k=6000)),
}


@pytest.mark.parametrize("name", ENDLESS)
@pytest.mark.parametrize("kind", ["Llama 3", "Llama 2", "Unigram", "by script"])
def test_the_work_grows_with_the_length_of_the_text(kind, name):
    content, work = content_of(kind), []
    for size in (len(ENDLESS[name]) // 4, len(ENDLESS[name])):
        text = ENDLESS[name][:size]
        counting = Counting(content)
        PrefixEncoder(counting).tree(text.encode(), content.encode(text, ""))
        work.append(counting.bytes)
        assert counting.bytes <= 120 * len(text.encode())
    assert work[1] <= 5 * work[0]


def test_words_that_come_back_are_not_encoded_again():
    content = content_of("Llama 3")
    counting = Counting(content)
    encoder = PrefixEncoder(counting)
    words = re.findall(r"\b[a-z]{1,30}\b", SAMPLE)
    for text in (" ".join(["", *words]), " ".join(["", *reversed(words)])):
        before = counting.bytes
        encoder.tree(text.encode(), content.encode(text, ""))
    assert 0 == counting.bytes - before < before


def test_a_pattern_that_looks_behind_is_noticed():
    behind = split(r"(?<=[0-9]) [a-z]+|[^ ]+| ")
    specification = byte_level(*behind, texts=["7 text the 7 text"])
    content = ContentTokenizer(specification, read_vocabulary(specification))
    text = b"the 7 text the text"
    trunk = content.encode(text.decode(), "")
    pieces = [content.vocabulary.token_bytes[token] for token in trunk]
    assert pieces[:3] == [b"the", b" ", b"7"] and b" text" in pieces[3:-1]
    found = paths(PrefixEncoder(content).tree(text, trunk))
    assert set(found) == by_definition(content, text, trunk)


def by_hand(*parts, merges):
    """Byte-level BPE with a few merges; an entry is written in the characters of its vocabulary."""
    specification = byte_level(*parts, texts=[""], regex=not parts)
    vocabulary = specification["model"]["vocab"]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    specification["model"]["merges"] = merges
    return ContentTokenizer(specification, read_vocabulary(specification))


def test_a_tree_worked_out_by_hand():
    merges = [("d", "c"), ("b", "dc"), ("a", "bdc"), ("a", "b"), ("\u0120", "a")]
    content = by_hand(merges=merges)
    trunk = content.encode("abdc a", "")
    tree = PrefixEncoder(content).tree(b"abdc a", trunk)
    # The encodings are a, ab, ab d, abdc, abdc and a space, abdc and " a".
    tokens = [spelt(content, [token]) for token in tree.token_R[1:]]
    assert tokens == [b"abdc", b" a", b"a", b"ab", b"d", b" "]
    assert tree.parent_R.tolist() == [-1, 0, 1, 0, 0, 4, 1]
    assert tree.start_R.tolist() == [0, 4, 6, 1, 2, 3, 5]


def test_no_cut_is_made_that_would_change_only_a_prefix():
    # Both "it's" + "ab" and "it" + "'sab" are ' s ab in the end, but before the b not the same.
    content = by_hand(*split(O200K), merges=[("a", "b"), ("s", "a")])
    found = paths(PrefixEncoder(content).tree(b"it'sab", content.encode("it'sab", "")))
    assert set(found) == by_definition(content, b"it'sab", content.encode("it'sab", ""))


def test_a_prefix_that_the_tokenizer_cannot_spell_has_no_history():
    specification = without_byte_fallback(scratch("unigram"))
    entries = [("<unk>", 0.0), ("\u2581", -2.0), ("ab", -2.0), ("\u2581a", -3.0)]
    specification |= {"added_tokens": []}
    specification["model"] |= {"vocab": entries, "unk_id": 0}
    content = ContentTokenizer(specification, read_vocabulary(specification))
    tree = PrefixEncoder(content).tree(b"ab ab", [2, 1, 2])
    assert paths(tree) == [(), (2,), (2, 1), (2, 1, 2), (2, 3)]


# What a cut in the wrong place would pull apart or join.
CAREFUL = {
    "a digit before a digit": ([("3", "4")], "12345 "),
    "a line break after a full stop": ([("\u010a", "\u0120")], "end.\n \nit "),
    "a space after a tab": ([("\u010a", "\u0109")], "end\n\t \nit "),
    "a space after U+3000": (
        [("\xe3", "\u0122"), ("\xe3\u0122", "\u0122"), ("\u010a", "\xe3\u0122\u0122")],
        "end\n\u3000 \nit ",
    ),
}


@pytest.mark.parametrize("name", CAREFUL)
def test_texts_are_cut_only_where_their_islands_still_fit_the_trunk(name):
    merges, text = CAREFUL[name]
    content = by_hand(*split(LLAMA_3), merges=merges)
    counting, long = Counting(content), text * 60
    PrefixEncoder(counting).tree(long.encode(), content.encode(long, ""))
    assert counting.bytes < 2 * len(long.encode())


def test_a_typed_byte_piece_is_not_cut():
    entries = content_of("Llama 2").vocabulary.token_bytes
    specification = BUILDERS["Llama 2"]()
    specification["model"]["vocab"]["<0"] = len(entries)
    specification["model"]["merges"].insert(0, ["<", "0"])
    content = ContentTokenizer(specification, read_vocabulary(specification))
    counting, text = Counting(content), "x <0x41> y " * 60
    PrefixEncoder(counting).tree(text.encode(), content.encode(text, ""))
    assert counting.bytes < 2 * len(text)


def test_a_trunk_of_another_text_is_an_error():
    with pytest.raises(AssertionError, match="do not spell the text"):
        encoder_of("bytes").tree(b"abc", [97, 98])
