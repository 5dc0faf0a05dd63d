"""Of whose disk it was nothing is told: not the home folder, not the user's name."""

from pathlib import Path
from urllib.parse import quote

import pytest

from bld.privacy import anonymised, portable_path


@pytest.fixture(autouse=True)
def person(monkeypatch, tmp_path):
    """zyxuser works in a project in her home folder; its path."""
    project = tmp_path / "zyxuser/project"
    project.mkdir(parents=True)
    monkeypatch.chdir(project)
    monkeypatch.setenv("HOME", str(project.parent))
    for name in ("USER", "LOGNAME"):
        monkeypatch.setenv(name, "zyxuser")
    return project


@pytest.mark.parametrize(
    "text, without",
    [
        ("{project}/results/x.json", "results/x.json"),
        ("in '{project}', at {project}/a", "in '.', at a"),
        ("{home}/data: not there", "~/data: not there"),
        ("HOME={home}", "HOME=~"),
        ("{home}/zyxuser/x", "~/USER/x"),
        ("{project}s/x", "~/projects/x"),
        ("file://{home}/x", "file://~/x"),
        ("/scratch/zyxuser/models", "/scratch/USER/models"),
        ("/scratch/zyxuser: no room", "/scratch/USER: no room"),
        ("read /scratch/zyxuser.", "read /scratch/USER."),
        ("../../zyxuser/x, ~zyxuser/zyxuser", "../../USER/x, ~zyxuser/USER"),
        ("--path=/a/zyxuser --to=/b/zyxuser", "--path=/a/USER --to=/b/USER"),
        ("from=%2Fa%2Fzyxuser%2Fb%20c&x", "from=%2Fa%2FUSER%2Fb%20c&x"),
        ("file:%2f%2f%2Fa%2fzyxuser", "file:%2F%2F%2Fa%2FUSER"),
    ],
)
def test_what_tells_of_a_person_is_taken_out(text, without, person):
    assert anonymised(text.format(project=person, home=person.parent)) == without


@pytest.mark.parametrize(
    "text",
    [
        "results/runs/zyxuser/model/manifest.json",
        "zyxuser/llama on the hub",
        "https://github.com/zyxuser/project",
        "/scratch/zyxuser2/x and /scratch/zyxuser.d/x",
        "mzyxuser, 1/zyxusernt",
        "a%2Fzyxuser and %2Fa%2fmzyxuser",
        "in /usr/lib/python3.11",
        "",
    ],
)
def test_names_that_the_configuration_or_the_web_has_stay(text):
    assert anonymised(text) == text


def test_a_home_that_is_the_root_takes_nothing_out(monkeypatch):
    monkeypatch.setenv("HOME", "/")
    assert anonymised("/usr/bin and a/b") == "/usr/bin and a/b"


def test_a_quoted_place_is_taken_out_of_an_address(person):
    address = "https://mirror.org/?path={}&x=1"
    home, project = (quote(str(folder), safe="") for folder in (person.parent, person))
    assert anonymised(address.format(home + "%2Fx")) == address.format("~%2Fx")
    assert anonymised(address.format(project + "%2Fx")) == address.format("x")


def test_an_account_without_a_name_takes_nothing_out(monkeypatch):
    def nobody():
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert anonymised("/scratch/zyxuser/1000") == "/scratch/zyxuser/1000"


def test_the_name_that_the_working_folder_has_by_a_link_is_its_name_too(monkeypatch, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(Path.cwd())
    monkeypatch.setenv("PWD", str(link))
    assert anonymised(f"{link}/results") == "results"


def test_a_path_is_told_from_the_working_folder(person):
    assert (
        portable_path(Path("results/../zyxuser/x"))
        == portable_path(person / "zyxuser/x")
        == "zyxuser/x"
    )
    assert portable_path(Path("../data")) == "~/data"
    assert portable_path(Path("/scratch/zyxuser/x")) == "/scratch/USER/x"


def test_every_text_of_a_value_is_told_without_a_person(person):
    value = {f"{person}/a": [1, None, {"x": "/b/zyxuser"}], "n": 2.5}
    assert anonymised(value) == {"a": [1, None, {"x": "/b/USER"}], "n": 2.5}
