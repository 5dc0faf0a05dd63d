"""Every example of docs/data.md is read as the page says."""

import re
from pathlib import Path

import pytest
import yaml

from bld.config.registry import Corpus
from bld.documents.intake import Intake
from bld.documents.sources.files import read

PAGE = Path(__file__).parents[3] / "docs/data.md"
EXAMPLE = re.compile(
    r'^## (\d+)\. .*?^```\w+ title="([^"]+)"\n(.*?)^```\n.*?'
    r"^```yaml\n(.*?)^```\n.*?^```text\n(.*?)^```\n",
    re.DOTALL | re.MULTILINE,
)
EXAMPLES = EXAMPLE.findall(PAGE.read_text())


def shown(documents):
    return "\n".join(
        "".join(
            f"{'*' if s.supervised else ' '} {s.role:10} {s.text.decode()}".rstrip() + "\n"
            for s in document.segments
        )
        for document in documents
    )


def test_there_are_ten():
    assert [number for number, *_ in EXAMPLES] == [str(i) for i in range(1, 11)]


@pytest.mark.parametrize(
    ("name", "data", "settings", "expected"), [one[1:] for one in EXAMPLES], ids=lambda x: x[:12]
)
def test_an_example_is_read_as_the_page_says(tmp_path, monkeypatch, name, data, settings, expected):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(data)
    corpus = Corpus.model_validate(yaml.safe_load(settings) | {"splits": {"all": {"fraction": 1}}})
    assert list(corpus.source.problems()) == []
    assert shown(read(corpus.source, tmp_path, Intake())) == expected
