"""Texts that tools like to change, and settings objects as the configuration passes them."""

import unicodedata

import pytest

HURTFUL = {
    "emoji": "\N{THUMBS UP SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-6} \N{FAMILY}\u200d\U0001f308",
    "decomposed": unicodedata.normalize("NFD", "d\u00e9j\u00e0 vu, \u1e0d\u0307"),
    "spaces": "  two  and   three    four ",
    "tabs": "\tif x:\n\t\treturn\t\n",
    "CRLF": "one\r\ntwo\r\n\r\nthree\r",
    "line separators": "a\u2028b\u2029c\x0bd\x0ce\x85f",
    "no final newline": "the end",
    "many final newlines": "the end\n\n\n",
    "right to left": "\u202e\u05e9\u05dc\u05d5\u05dd (abc) \u0645\u0631\u062d\u0628\u0627",
    "NUL": "a\x00b\x00",
    "byte order mark": "\ufeffbegin",
    "special tokens": "<|endoftext|></s><s>[INST]",
    "JSON": '{"text": "\\ud800 \\u0000"}',
    "long word": "x" * 100_000,
    "last code point": "\U0010ffff\ufffe",
    "empty": "",
}


@pytest.fixture(params=HURTFUL.values(), ids=HURTFUL.keys())
def hurtful(request):
    return request.param
