"""What is asked of the settings that only a plan reads."""

from pathlib import Path

import pytest
import yaml

from bld.config.checks import ConfigError, read_settings
from bld.config.plan import PEAKS
from bld.config.sources.python_docs import PythonDocsSource
from bld.documents.sources.python_docs import python_docs
from bld.pipeline.plan.work import amount_of, bytes_per_token

CONFIG = Path(__file__).parents[4] / "config"
README = (CONFIG / "README.md").read_text()
WHOLE = {"vocabulary": 9, "hidden": 8, "layers": 1, "heads": 2, "intermediate": 8}


@pytest.fixture
def raw():
    return yaml.safe_load((CONFIG / "experiments/t1.yaml").read_text())


def problem(raw):
    with pytest.raises(ConfigError) as error:
        read_settings(raw)
    return str(error.value)


def test_a_gpu_that_is_not_known_needs_its_own_numbers(raw):
    raw["plan"] = {"gpu": "H10", "tflops": 100}
    assert 'plan.gpu: found "H10", expected `A100-40`' in problem(raw)
    assert "did you mean `H100`?" in problem(raw)
    raw["plan"]["memory_gib"] = 10
    assert read_settings(raw).plan.gpu == "H10"


def test_every_gpu_that_is_known_is_named_in_the_reference():
    [row] = [line for line in README.splitlines() if line.startswith("| `gpu` |")]
    assert [name for name in PEAKS if name not in row] == []


def test_a_model_with_weights_needs_its_whole_shape_and_a_tokenizer_its_vocabulary(raw):
    raw["models"]["llama_3b"]["shape"] = {"vocabulary": 9, "hidden": 8}
    assert "models.llama_3b.shape: found no `layers`, `heads`, `intermediate`" in problem(raw)
    raw["models"]["llama_3b"]["shape"] = WHOLE
    assert read_settings(raw).models["qwen_2"].shape.vocabulary == 151646


def test_heads_that_do_not_share_the_width_need_their_own(raw):
    raw["models"]["llama_3b"]["shape"] = WHOLE | {"heads": 3}
    assert "models.llama_3b.shape.head_width: missing" in problem(raw)
    raw["models"]["llama_3b"]["shape"]["head_width"] = 4
    read_settings(raw)


def test_of_pythons_own_documents_something_is_expected_unless_one_says_otherwise(tmp_path):
    raw = yaml.safe_load((CONFIG / "config.yaml").read_text())
    corpus = read_settings(raw).corpora["python_docs"]
    assert corpus.expected is None
    amount = amount_of("python_docs", "distillation", corpus, tmp_path)
    assert (amount.documents, amount.content) == (
        200,
        200 * PythonDocsSource.size.bytes_per_document,
    )
    raw["corpora"]["python_docs"]["expected"] = {"documents": 50, "bytes_per_document": 7}
    corpus = read_settings(raw).corpora["python_docs"]
    amount = amount_of("python_docs", "distillation", corpus, tmp_path)
    assert (amount.documents, amount.content) == (5, 35)
    assert bytes_per_token(corpus) == 4


def test_what_is_expected_of_pythons_own_documents_is_what_there_is():
    """Counted anew, whatever Python runs the tests."""
    documents = [len(document.content) for document in python_docs(1500)]
    assert len(documents) == pytest.approx(PythonDocsSource.size.documents, rel=0.25)
    mean = sum(documents) / len(documents)
    assert mean == pytest.approx(PythonDocsSource.size.bytes_per_document, rel=0.25)
