"""A run of the new method: its configuration is accepted and described, and its losses fall."""

import json
from importlib import import_module
from pathlib import Path

import torch
import yaml
from transformers import LlamaConfig, LlamaForCausalLM

from bld.config.checks import read_settings
from bld.config.reference import MARK, readme_text, schema_text
from bld.config.registry import METHODS, losses
from bld.documents.document import make_document
from bld.pipeline.code_digest import code_digest, loaded_modules
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer
from bld.training.batches import Batches
from bld.training.objective import ObjectiveContext
from bld.training.pieces import pieces_of
from bld.training.trainee import Trainee
from conftest import OTHER_SAMPLE, RandomTokens

# The configuration.
raw = yaml.safe_load(Path("config/config.yaml").read_text())
raw["teachers"]["demo"]["top_k_tokens"] = 64
raw["runs"] = {"choice": raw["runs"]["sft"] | {"method": "first_choice"}}
raw["first_choice"] = {"choice_weight": 0.5}
run = read_settings(raw).runs["choice"]
assert run.taught.choice_weight == 0.5 and run.reads_tokens and not run.has_warmup
assert "first_choice" in json.loads(schema_text())["properties"]
assert "\n## `first_choice`\n" in readme_text(MARK)
assert METHODS["first_choice"].series[0].label == "First choice"
assert losses()["choice_loss"].panel == "Cross-entropy of the teacher's choice"

# What it is rerun for: its own objective, and no other.
stage = "bld.stages.distill"
modules = {name: loaded_modules({"method": name}) for name in METHODS}
assert modules["first_choice"] == ("bld.training.objectives.first_choice",)
print(json.dumps({name: code_digest(stage, loaded=own) for name, own in modules.items()}))

# Training.
texts = ["Return the index of a value, or raise ValueError.", "keys and items of it"] * 9
mine = Renderer(train_tokenizer(texts, "byte_level_bpe", 300, "turns"))
theirs = Renderer(train_tokenizer(OTHER_SAMPLE, "byte_level_bpe", 310, "chatml"))
documents = [make_document(str(n), "text", [("text", text)]) for n, text in enumerate(texts)]
student, teacher = ([x.render(d.segments, d.id) for d in documents] for x in (mine, theirs))
rows = [[piece] for piece in pieces_of(student, 64, 0.5)]
data = Batches(student, RandomTokens(teacher, len(theirs.vocabulary), 16))
torch.manual_seed(0)
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
lm = LlamaForCausalLM(LlamaConfig(vocab_size=len(mine.vocabulary), **sizes, **heads))
objective = import_module(*modules["first_choice"]).build(
    run.taught.model_dump(), ObjectiveContext(lm, mine, theirs.vocabulary)
)
trainee, batch = Trainee(lm, *objective[:2][::-1]), data.collate(rows, 100.0, 1.0)
optimiser, found = torch.optim.Adam(trainee.parameters(), 1e-2), []
for _ in range(5):
    found.append(trainee(batch))
    optimiser.zero_grad()
    found[-1]["loss"].backward()
    optimiser.step()
assert found[0].keys() == {"loss", "token_loss", "choice_loss"}
for name in found[0]:
    assert found[0][name] > found[-1][name] > 0, name
