from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bld.students.export import save_model, trained_weights
from bld.students.heads import LinearHeads
from bld.training.objectives.sft import Sft
from bld.training.trainee import Trainee


@pytest.fixture
def engine_of():
    """module -> what stands for a DeepSpeed engine below ZeRO 3."""
    return lambda module: SimpleNamespace(zero_optimization_stage=lambda: 0, module=module)


def test_the_weights_of_a_part_have_the_names_that_the_part_gives_them(
    reading, tiny_model, engine_of
):
    lm, head = tiny_model(reading("bytes")[0]), LinearHeads(16, 0)
    engine = engine_of(Trainee(lm, head, Sft()))
    for part, module in (("lm", lm), ("head", head)):
        weights = trained_weights(engine, part)
        assert weights.keys() == module.state_dict().keys()
        assert all(torch.equal(weights[name], w) for name, w in module.state_dict().items())


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["byte-level BPE", "SentencePiece BPE", "bytes"])
def test_an_exported_student_is_an_ordinary_model_folder(
    reading, tiny_model, engine_of, tmp_path, kind, tied
):
    tokenizer, _ = reading(kind)
    lm = tiny_model(tokenizer, tied)
    tokenizer.save_pretrained(tmp_path / "student")
    lm.generation_config.eos_token_id = [1, 3]
    (tmp_path / "model").mkdir()
    engine = engine_of(Trainee(lm, LinearHeads(16, 0), Sft()))
    save_model(lm, trained_weights(engine, "lm"), tmp_path / "student", tmp_path / "model")

    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model", local_files_only=True)
    ids = torch.tensor([tokenizer.encode("find the key")])
    assert torch.equal(loaded(ids).logits, lm(ids).logits)
    assert loaded.generation_config.eos_token_id == [1, 3]
    assert loaded.config.tie_word_embeddings == tied
    assert sum(p.numel() for p in loaded.parameters()) == sum(p.numel() for p in lm.parameters())

    again = AutoTokenizer.from_pretrained(tmp_path / "model", local_files_only=True)
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    assert again.chat_template == tokenizer.chat_template
    assert again.special_tokens_map == tokenizer.special_tokens_map


def test_what_is_saved_are_the_weights_given_and_not_what_the_model_holds(
    reading, tiny_model, tmp_path
):
    tokenizer, _ = reading("bytes")
    lm = tiny_model(tokenizer, tied=False)
    weights = {name: torch.full_like(w, 0.5) for name, w in lm.state_dict().items()}
    save_model(lm, weights, tmp_path, tmp_path / "model")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model", local_files_only=True)
    assert all((weight == 0.5).all() for weight in loaded.state_dict().values())
