"""An exported folder, loaded by somebody who knows nothing of us, is what was trained."""

import json

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from bld.config.settings import Rendering, Training
from bld.documents.document import make_document
from bld.tokenization.rendering import Renderer
from bld.training.batches import Batches
from bld.training.export import save_model, trained_weights
from bld.training.export_check import check_exported, check_loads
from bld.training.loop import train
from bld.training.objectives.sft import Sft
from bld.training.trainee import Trainee

CHATS = [
    make_document("chat", "conversation", [("user", "Which index?"), ("assistant", "the first")])
]
SETTINGS = Training(
    steps=60,
    batch_size=1,
    micro_batch_size=1,
    sequence_length=64,
    learning_rate=0.02,
    warmup_steps=2,
)


@pytest.fixture
def base(tokenizer_of, model_for, tmp_path):
    """A base model that ends texts with another token than its chat template ends turns with."""
    tokenizer = tokenizer_of("byte-level BPE")[0]
    tokenizer = type(tokenizer).from_pretrained(_saved(tokenizer, tmp_path / "tokenizer"))
    tokenizer.eos_token = "<|endoftext|>"
    lm = model_for(tokenizer, tied=False)
    lm.save_pretrained(tmp_path / "base")
    _saved(tokenizer, tmp_path / "base")
    return tmp_path / "base"


def _saved(tokenizer, folder):
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def exported(base, tmp_path):
    """What a training of the base model leaves, and what is asked of it."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    renderer = Renderer(tokenizer, model_end_ids=[tokenizer.eos_token_id])
    lm = AutoModelForCausalLM.from_pretrained(base)
    rendered = [renderer.render(one.segments, one.id) for one in CHATS]
    engine, _ = train(Trainee(lm, None, Sft()), Batches(rendered), SETTINGS, 0, "test")
    weights = trained_weights(engine, "lm")
    folder = tmp_path / "model"
    folder.mkdir()
    save_model(lm, weights, base, folder, renderer.vocabulary.end)
    return folder, weights, renderer, Rendering(), CHATS, rendered


def test_a_base_model_stops_where_it_was_trained_to_stop(exported):
    folder, *_ = exported
    check_exported(*exported)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lm = AutoModelForCausalLM.from_pretrained(folder)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Which index?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    answer = lm.generate(**asked, max_new_tokens=40)[0, asked["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == "the first<|im_end|>"


def test_other_ends_are_found(exported):
    folder, *_ = exported
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": 0}))
    with pytest.raises(ValueError, match=r"`generate` does not stop at the tokens \[2, 3\]"):
        check_exported(*exported)


def test_other_weights_are_found(exported):
    folder, weights, *rest = exported
    weights["model.norm.weight"] = weights["model.norm.weight"] + 1
    with pytest.raises(ValueError, match=r"other weights model\.norm\.weight \(1 in all\)"):
        check_exported(folder, weights, *rest)


def test_other_tokens_are_found(exported):
    folder, *_ = exported
    path = folder / "tokenizer.json"
    specification = json.loads(path.read_text())
    specification["model"]["merges"] = specification["model"]["merges"][:3]
    path.write_text(json.dumps(specification))
    with pytest.raises(ValueError, match="its tokenizer gives document chat other tokens"):
        check_exported(*exported)


def test_a_generation_configuration_that_could_not_be_saved_is_found_before_the_training(base):
    check_loads(base)
    path = base / "generation_config.json"
    wrong = json.loads(path.read_text()) | {"do_sample": False, "temperature": 0.5}
    path.write_text(json.dumps(wrong))
    with pytest.raises(ValueError, match=r"(?s)contradicts itself.*temperature"):
        check_loads(base)
