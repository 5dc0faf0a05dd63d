"""Byte-level distillation inside a training loop of one's own, without the workflow.

Two tiny models with different tokenizers are made here; put yours in their place. The student has
no byte head: its own token distribution is summed to bytes (`head: marginal`). Run it after
`pip install -e .`, or with PYTHONPATH=workflow.
"""

from __future__ import annotations

import torch

from bld.cache.live import LiveSignals
from bld.config.methods.bld import BldSettings
from bld.config.models import Architecture, Histories
from bld.documents.document import make_document
from bld.scoring.scorer import ByteScorer
from bld.tokenization.rendering import Renderer
from bld.tokenization.scratch import train_tokenizer
from bld.training.batches import Batches
from bld.training.objective import ObjectiveContext
from bld.training.objectives import bld
from bld.training.packing import step_rows
from bld.training.pieces import pieces_of
from bld.training.scratch import new_model
from bld.training.trainee import Trainee

ROW_LENGTH, ROWS, STEPS = 128, 2, 30
TEXTS = ["Return the index of the first key.", "def find(items, key):\n    return items[key]"] * 8
SHAPE = Architecture(hidden=32, layers=2, heads=2, intermediate=64, positions=256)

teacher_tokenizer = train_tokenizer(TEXTS, "byte_level_bpe", 300, "chatml")
student_tokenizer = train_tokenizer(TEXTS, "unigram", 290, "turns")
teacher = new_model(SHAPE, teacher_tokenizer, seed=1).eval()
student = new_model(SHAPE, student_tokenizer, seed=2)

# A document is content; each model renders its own template and tokens around it.
documents = [make_document(str(n), "text", [("text", text)]) for n, text in enumerate(TEXTS)]
renderer = Renderer(student_tokenizer)
rendered = [renderer.render(document.segments, document.id) for document in documents]

# The teacher's next-byte distributions: the 16 most probable symbols of each byte, and a tail.
scorer = ByteScorer(
    Renderer(teacher_tokenizer), teacher, Histories(), window=256, batch_tokens=4096
)
signals = LiveSignals(documents, scorer, top_p=0.999, top_k=16)

settings = BldSettings(head="marginal", byte_weight=0, kl_weight=4.0)
parts = bld.build(settings.model_dump(), ObjectiveContext(student, renderer))
batches = Batches(rendered, signals, parts.histories)
trainee = Trainee(student, parts.head, parts.objective)

optimiser = torch.optim.AdamW(student.parameters(), lr=3e-3)
pieces = pieces_of(rendered, ROW_LENGTH, overlap=0.5)
rows = step_rows(pieces, ROW_LENGTH, seed=0, rows_per_step=ROWS)
for step in range(STEPS):
    for batch in batches.step(next(rows), micro_batch_size=ROWS, rank=0, world_size=1):
        losses = trainee(batch)
        losses["loss"].backward()
    optimiser.step()
    optimiser.zero_grad()
    if step % 10 == 0 or step == STEPS - 1:
        print(f"step {step}: " + ", ".join(f"{k} {v.item():.3f}" for k, v in losses.items()))
