import json
from pathlib import Path
from urllib.parse import quote

import pytest

from bld.publishing.scrub import Scrubber

# Put together here, so that no scanner takes this file for a leak.
LETTERS = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"
SECRETS = {
    "a token of Hugging Face": "hf_" + LETTERS[:34],
    "a token of GitHub": "ghp_" + LETTERS,
    "a token of GitLab": "glpat-" + LETTERS[:20],
    "a token of Slack": "xoxb-" + "1234567890-" + LETTERS[:10],
    "a key of an API": "sk-" + "proj-" + LETTERS,
    "a key of AWS": "AKIA" + LETTERS[:16].upper(),
    "a key of Google": "AIza" + LETTERS[:35],
    "a web token": ".".join(["eyJ" + LETTERS[:20], "eyJ" + LETTERS[:30], LETTERS]),
    "a header with a token": LETTERS[5:30],
    "a password in an address": "someone:hunter2",
}
AROUND = {
    "a header with a token": "Authorization: Bearer {}",
    "a password in an address": "https://{}@mirror.org/simple",
}


@pytest.fixture
def person(monkeypatch, tmp_path):
    """Somebody's account: the home folder, with a working folder inside."""
    home = tmp_path / "home/zyxuser"
    (home / "work").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    for name in ("LOGNAME", "USER"):
        monkeypatch.setenv(name, "zyxuser")
    monkeypatch.chdir(home / "work")
    monkeypatch.delenv("PWD", raising=False)
    return home


@pytest.mark.parametrize("what", SECRETS)
def test_a_secret_is_known_by_its_shape_and_nothing_else_goes_with_it(what):
    around = AROUND.get(what, "found {}, went on")
    clean, found = Scrubber({}).clean(around.format(SECRETS[what]) + "\nnext line")
    assert clean == around.format("REDACTED") + "\nnext line"
    assert found == [what]


def test_a_private_key_goes_as_a_whole():
    key = "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE\nabc=\n-----END RSA " + "PRIVATE KEY-----"
    assert Scrubber({}).clean(f"before\n{key}\nafter")[0] == "before\nREDACTED\nafter"


@pytest.mark.parametrize("form", [str, lambda x: json.dumps(x)[1:-1], lambda x: quote(x, safe="")])
def test_a_secret_of_the_environment_is_known_in_every_form_in_which_it_is_written(form):
    secret = 'p4ss"word/1'
    clean, found = Scrubber({"MIRROR_PASSWORD": secret}).clean(f"with {form(secret)} in it")
    assert clean == "with REDACTED in it"
    assert found == ["a secret of the environment"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("KRB_PASSWORD", "correcthorse"), ("PGPASSWORD", "correcthorse")),
        *(("client_secret", "correcthorse"), ("MY_API_KEY", "abcdefghijklmnop")),
        *(("HF_TOKEN", "12345678"), ("TOKEN", "12345678"), ("WANDB_APIKEY", "12345678")),
    ],
)
def test_a_secret_of_the_environment_is_known_by_the_name_of_its_variable(name, value):
    assert Scrubber({name: value}).clean(f"is {value}")[0] == "is REDACTED"


def test_of_two_secrets_the_longer_goes_whole():
    secrets = {"A_TOKEN": "12345678", "B_TOKEN": "12345678-and-more"}
    assert Scrubber(secrets).clean("12345678-and-more 12345678")[0] == "REDACTED REDACTED"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("HOSTNAME", "12345678"), ("TOKENIZERS_PARALLELISM", "12345678"), ("A_KEY", "x1")),
        *(("GIT_CONFIG_KEY_0", "safe.directory"), ("MONKEYPATH", "12345678")),
        ("SORT_KEY", "alphabetical"),
    ],
)
def test_other_variables_and_words_are_no_secrets(name, value):
    assert Scrubber({name: value}).clean(f"is {value}") == (f"is {value}", [])


@pytest.mark.parametrize(
    "text",
    [
        "the sketch-of-a-longer-name-than-this stays",
        "https://huggingface.co/org/model?a=b:c",
        "shf_and_hf_short",
        "sha256 " + "0a" * 32,
        "mail someone@example.org",
        "at https://example.org:8080/path and user@host:file",
    ],
)
def test_what_only_looks_like_a_secret_stays(text):
    assert Scrubber({}).clean(text) == (text, [])


def test_no_path_tells_who_it_was(person):
    text = f"read {person}/models/x.json, {person}/work/results/a and /scratch/zyxuser/b"
    clean, found = Scrubber({}).clean(text)
    assert clean == "read ~/models/x.json, results/a and /scratch/USER/b"
    assert found == ["a path of the machine"]


def test_the_name_of_the_account_goes_where_it_is_a_word(person):
    clean, found = Scrubber({}).clean(
        "zyxuser: submitted by zyxuser@login1, pzyxuser and mzyxuser stay"
    )
    assert clean == "USER: submitted by USER@login1, pzyxuser and mzyxuser stay"
    assert found == ["the name of an account"]


def test_an_account_that_is_called_like_a_thing_of_the_workflow_leaves_the_thing(person):
    text = "results/students/zyxuser/manifest.json of zyxuser, from /home/zyxuser/x"
    clean, _ = Scrubber({}, {"zyxuser"}).clean(text)
    assert clean == "results/students/zyxuser/manifest.json of zyxuser, from /home/USER/x"


def test_secrets_in_what_is_no_text_are_found():
    weights, token = bytes(range(256)), SECRETS["a token of GitHub"].encode()
    assert Scrubber({}).secrets(weights) == []
    assert Scrubber({}).secrets(weights + token + weights) == ["a token of GitHub"]


def test_bytes_of_any_kind_leak_secrets_and_places_but_not_the_names_of_people(person):
    token = SECRETS["a token of GitHub"]
    data = f"\0{person}/x {token} by zyxuser".encode() + b"\xff"
    assert Scrubber({}).leaks(data) == ["a token of GitHub", "a path of the machine"]
    assert Scrubber({}).leaks(b"author zyxuser <zyxuser@b.org>") == []


def test_this_project_holds_nothing_that_looks_like_a_secret():
    scrubber, project = Scrubber({}), Path(__file__).parents[3]
    for path in [*(project / "workflow").rglob("*.py"), *(project / "tests").rglob("*.py")]:
        assert scrubber.secrets(path.read_bytes()) == [], path
