import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from bld.config import reference as config_reference
from bld.config.settings import Section, Settings
from bld.config.words import in_words, schema

CONFIG = Path(__file__).parents[3] / "config"
FILES = [CONFIG / "config.yaml", *sorted((CONFIG / "experiments").rglob("*.yaml"))]
AGAIN = "run `PYTHONPATH=workflow python -m bld.config.reference`"


def all_sections(parent=Section):
    """The sections of the configuration."""
    for section in parent.__subclasses__():
        if section.__module__.startswith("bld.config.") and section.__name__[0] != "_":
            yield section
        yield from all_sections(section)


def test_the_schema_is_that_of_the_settings():
    assert (CONFIG / "schema.json").read_text() == config_reference.schema_text(), AGAIN


def test_the_readme_describes_the_settings():
    readme = (CONFIG / "README.md").read_text()
    assert readme == config_reference.readme_text(readme), AGAIN


@pytest.mark.parametrize("section", all_sections(), ids=lambda section: section.__name__)
def test_every_setting_is_explained(section):
    assert section.__doc__
    assert section.reruns or issubclass(Settings, section)
    assert [name for name, field in section.model_fields.items() if not field.description] == []


def test_every_setting_has_its_row_in_the_readme():
    readme = (CONFIG / "README.md").read_text()
    for section in all_sections():
        for name, field in section.model_fields.items():
            assert f"| {' '.join(field.description.split())} |" in readme, (section, name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIG)))
def test_editors_find_nothing_wrong_with_the_files_that_come_along(path):
    jsonschema.Draft202012Validator(json.loads((CONFIG / "schema.json").read_text())).validate(
        yaml.safe_load(path.read_text())
    )


def test_the_examples_of_the_pages_are_valid_entries():
    blocks = (CONFIG.parent / "docs/own-models.md").read_text().split("```yaml\n")[1:]
    examples = [yaml.safe_load(block.split("```")[0]) for block in blocks]
    assert len(examples) == 8
    for example in examples:
        for name, section in example.items():
            node = {**schema()["properties"][name], "$defs": schema()["$defs"]}
            jsonschema.Draft202012Validator(node).validate(section)


@pytest.mark.parametrize(
    "node, words",
    [
        ({"type": "integer", "minimum": 1}, "a whole number, at least 1"),
        (
            {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "a number, above 0 and at most 1",
        ),
        ({"enum": ["a", "b", "c"]}, "`a`, `b` or `c`"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text, or null"),
        (
            {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "a list of text, not empty",
        ),
        ({"type": "boolean"}, "true or false"),
    ],
)
def test_what_is_allowed_reads_like_a_sentence(node, words):
    assert in_words(node) == words
