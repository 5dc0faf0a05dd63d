import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from bld.config.settings import Lora, Training
from bld.training.engine import build_engine, start_distributed
from bld.training.export import save_model, stored_dtype, trained_weights
from bld.training.heads import LinearHeads
from bld.training.lora import add_lora, merged_weights
from bld.training.objectives.sft import Sft
from bld.training.trainee import Trainee


@pytest.fixture
def engine_of():
    """module -> what stands for a DeepSpeed engine below ZeRO 3."""
    return lambda module: SimpleNamespace(zero_optimization_stage=lambda: 0, module=module)


def test_the_weights_of_a_part_have_the_names_that_the_part_gives_them(
    tokenizer_of, model_for, engine_of
):
    lm, head = model_for(tokenizer_of("bytes")[0]), LinearHeads(16, 0)
    engine = engine_of(Trainee(lm, head, Sft()))
    for part, module in (("lm", lm), ("head", head)):
        weights = trained_weights(engine, part)
        assert weights.keys() == module.state_dict().keys()
        assert all(torch.equal(weights[name], w) for name, w in module.state_dict().items())


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["byte-level BPE", "SentencePiece BPE", "bytes"])
def test_an_exported_student_is_an_ordinary_model_folder(
    tokenizer_of, model_for, engine_of, tmp_path, kind, tied
):
    tokenizer, _ = tokenizer_of(kind)
    lm = model_for(tokenizer, tied)
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
    tokenizer_of, model_for, tmp_path
):
    tokenizer, _ = tokenizer_of("bytes")
    lm = model_for(tokenizer, tied=False)
    weights = {name: torch.full_like(w, 0.5) for name, w in lm.state_dict().items()}
    save_model(lm, weights, tmp_path, tmp_path / "model")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model", local_files_only=True)
    assert all((weight == 0.5).all() for weight in loaded.state_dict().values())


FORMATS = [torch.float32, torch.bfloat16]


@pytest.mark.parametrize("trained_in", FORMATS, ids=str)
@pytest.mark.parametrize("came_in", FORMATS, ids=str)
@pytest.mark.parametrize("tied", [True, False])
def test_a_student_goes_out_in_the_number_format_that_it_came_in(
    tokenizer_of, model_for, tmp_path, tied, came_in, trained_in
):
    tokenizer, _ = tokenizer_of("bytes")
    lm = model_for(tokenizer, tied)
    lm.to(came_in).save_pretrained(tmp_path / "student")
    tokenizer.save_pretrained(tmp_path / "student")
    lm.to(trained_in).config.dtype = trained_in
    weights, config = lm.state_dict(), lm.config.to_dict()
    save_model(lm, weights, tmp_path / "student", tmp_path / "model")
    assert lm.config.to_dict() == config
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model", local_files_only=True)
    assert loaded.dtype == came_in == stored_dtype(tmp_path / "model")
    for name, weight in loaded.state_dict().items():
        assert torch.equal(weight, weights[name].to(came_in))
    assert {w.dtype for w in lm.state_dict().values()} == {trained_in}


def test_beside_a_tokenizer_alone_a_model_keeps_the_number_format_of_its_weights(
    tokenizer_of, model_for, tmp_path
):
    tokenizer, _ = tokenizer_of("bytes")
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    assert stored_dtype(tmp_path / "tokenizer") is None
    lm = model_for(tokenizer).bfloat16()
    save_model(lm, lm.state_dict(), tmp_path / "tokenizer", tmp_path / "model")
    assert stored_dtype(tmp_path / "model") == torch.bfloat16


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_embeddings_that_are_one_are_stored_once(tokenizer_of, model_for, tmp_path, tied, dtype):
    lm = model_for(tokenizer_of("bytes")[0], tied)
    for name in ("student", "model"):
        (tmp_path / name).mkdir()
    (tmp_path / "student/config.json").write_text(json.dumps({"dtype": dtype}))
    weights = {name: weight.clone() for name, weight in lm.state_dict().items()}
    save_model(lm, weights, tmp_path / "student", tmp_path / "model")
    stored = load_file(tmp_path / "model/model.safetensors")
    assert sum(weight.numel() for weight in stored.values()) == lm.num_parameters()


def test_older_configurations_name_the_number_format_otherwise(tmp_path):
    (tmp_path / "config.json").write_text('{"torch_dtype": "float16"}')
    assert stored_dtype(tmp_path) == torch.float16


class Speaker(torch.nn.Module):
    """A model that learns to say what it hears, as the trainer holds one."""

    def __init__(self, lm):
        super().__init__()
        self.lm = lm

    def forward(self, ids):
        return self.lm(ids, labels=ids).loss


@pytest.mark.parametrize("lora", [None, Lora(rank=4, embeddings=True)], ids=["full", "LoRA"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("precision, stage", [("fp32", 0), *(("bf16", n) for n in (1, 2, 3))])
def test_what_deepspeed_has_trained_at_any_stage_is_exported_as_it_computes(
    tokenizer_of, model_for, tmp_path, precision, stage, tied, lora
):
    tokenizer, _ = tokenizer_of("bytes")
    lm, ids = model_for(tokenizer, tied), torch.tensor([[*b"find the key"]])
    plain, before = set(lm.state_dict()), lm(ids).logits.detach()
    if lora:
        add_lora(lm, lora, seed=0)
    settings = Training(
        batch_size=1, micro_batch_size=1, learning_rate=0.05, precision=precision, zero_stage=stage
    )
    start_distributed()
    engine = build_engine(Speaker(lm), settings, 1)
    for _ in range(3):
        engine.backward(engine(ids))
        engine.step()
    weights = trained_weights(engine, "lm")
    if lora:
        weights = merged_weights(lm, weights)
    assert set(weights) == plain
    save_model(lm, weights, tmp_path, tmp_path / "model")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    found, expected = (model(ids).logits.detach().float() for model in (loaded, engine.module.lm))
    scale = (expected - before).abs().max().item()
    assert scale > 0.3
    tolerance = scale * (1e-5 if precision == "fp32" else 0.03)
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    assert loaded.config.tie_word_embeddings == tied
