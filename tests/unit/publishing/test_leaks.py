"""What is taken for a secret, a place or a name of somebody, and what is not."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from bld.publishing.leaks import Detector

# Put together here, so that no scanner takes this file for a leak.
LETTERS = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"
SECRETS = {
    "Hugging Face": "hf_" + LETTERS[:34],
    "GitHub": "ghp_" + LETTERS,
    "GitLab": "glpat-" + LETTERS[:20],
    "Slack": "xoxb-" + "1234567890-" + LETTERS[:10],
    "an API": "sk-" + "proj-" + LETTERS,
    "AWS": "AKIA" + LETTERS[:16].upper(),
    "Google": "AIza" + LETTERS[:35],
    "the web": "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0In0." + LETTERS[:32],
    "a header": "Authorization: Bearer " + LETTERS[5:30],
    "an address": "https://someone:" + "hunter2@mirror.org/simple",
    "a key": "-----BEGIN RSA " + "PRIVATE KEY-----",
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
def test_a_secret_is_known_by_its_shape_and_its_line_is_told_but_not_itself(what):
    leak = Detector({}).leak(f"first\nfound {SECRETS[what]}, went on\nlast")
    assert leak.line == 2 and leak.is_secret
    assert SECRETS[what] not in leak.refusal("a.json")
    assert leak.refusal("a.json").startswith("a.json, line 2: holds a secret (")


@pytest.mark.parametrize("form", [str, lambda x: json.dumps(x)[1:-1], lambda x: quote(x, safe="")])
def test_a_secret_of_the_environment_is_known_in_every_form_in_which_it_is_written(form):
    secret = 'p4ss"word/1'
    leak = Detector({"MIRROR_PASSWORD": secret}).leak(f"with {form(secret)} in it")
    assert leak.is_secret and leak.kind == "a secret of the environment"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("KRB_PASSWORD", "correcthorse"), ("PGPASSWORD", "correcthorse")),
        *(("client_secret", "correcthorse"), ("MY_API_KEY", "abcdefghijklmnop")),
        *(("HF_TOKEN", "12345678"), ("TOKEN", "12345678"), ("WANDB_APIKEY", "12345678")),
    ],
)
def test_a_secret_of_the_environment_is_known_by_the_name_of_its_variable(name, value):
    assert Detector({name: value}).leak(f"is {value}").is_secret


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("HOSTNAME", "12345678"), ("TOKENIZERS_PARALLELISM", "12345678"), ("A_KEY", "x1")),
        *(("GIT_CONFIG_KEY_0", "safe.directory"), ("MONKEYPATH", "12345678")),
        ("SORT_KEY", "alphabetical"),
    ],
)
def test_other_variables_and_words_are_no_secrets(name, value):
    assert Detector({name: value}).leak(f"is {value}") is None


@pytest.mark.parametrize(
    "text",
    [
        "the sketch-of-a-longer-name-than-this stays",
        "https://huggingface.co/org/model?a=b:c",
        "shf_and_hf_short, Bearer authentication",
        "sha256 " + "0a" * 32,
        "mail someone@example.org, 192.0.2.1 or 8.8.8.8",
        "at https://example.org:8080/path and user@host:file",
    ],
)
def test_what_only_looks_like_a_secret_is_none(text):
    assert Detector({}).leak(text) is None


@pytest.mark.parametrize("path", ["{home}/x.json", "{home}/work/results/a", "/scratch/zyxuser/b"])
def test_a_path_that_tells_of_a_person_is_a_leak(person, path):
    leak = Detector({}).leak(f"\nread {path.format(home=person)}", names=False)
    assert (leak.line, leak.kind, leak.is_secret) == (2, "a path of this machine", False)


def test_the_names_of_account_and_machine_are_leaks_where_they_are_words(person, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "login7")
    detector = Detector({})
    for text in ("submitted by zyxuser@x", "on login7:"):
        assert detector.leak(text).kind == "the name of the account or of the machine"
        assert detector.leak(text, names=False) is None
    assert detector.leak("pzyxuser, mzyxuser, login70") is None


def test_a_name_that_is_a_public_word_is_no_leak_but_a_path_with_it_is(person):
    detector = Detector({}, {"zyxuser"})
    assert detector.leak("results/students/zyxuser/manifest.json of zyxuser") is None
    assert detector.leak("/home/zyxuser/x").kind == "a path of this machine"


def test_secrets_among_bytes_are_found():
    text = (bytes(range(256)) + SECRETS["GitHub"].encode()).decode(errors="replace")
    assert Detector({}).leak(text).is_secret


def test_this_project_holds_nothing_that_looks_like_a_secret():
    detector, project = Detector({}), Path(__file__).parents[3]
    for path in [*(project / "workflow").rglob("*.py"), *(project / "tests").rglob("*.py")]:
        leak = detector.leak(path.read_text())
        assert not (leak and leak.is_secret), path
