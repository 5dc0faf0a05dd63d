"""Where a teacher's template goes on after an answer, its row there teaches nothing of ending."""

import copy

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from bld.cache.top_k import keep_most_probable, padded
from bld.config.settings import Histories
from bld.documents.document import make_document
from bld.evaluation.byte_divergence import byte_divergence
from bld.scoring.averaging import AverageScorer
from bld.scoring.scorer import ByteScorer
from bld.symbols import END
from bld.tokenization.rendering import Renderer
from bld.training.objectives.bld import divergence_from_top_k

CHAT = make_document(
    "chat",
    "conversation",
    [("user", "Which key?"), ("assistant", "the"), ("user", "And?"), ("assistant", "a key")],
)
TEMPLATES = {
    "ends": ("{{ m['content'] + eos_token }}", []),
    "a space before the end": ("{{ m['content'] + ' ' + eos_token }}", [0, 1]),
    "only the last answer ends": (
        "{{ m['content'] + (eos_token if loop.last else '\n') }}",
        [0],
    ),
    "nothing after the last answer": ("{{ m['content'] + ('' if loop.last else '\n') }}", [0]),
}


@pytest.fixture
def scorer_of(tokenizer_of, lm):
    def build(template):
        tokenizer = copy.deepcopy(tokenizer_of("byte-level BPE")[0])
        tokenizer.chat_template = "".join(
            [
                "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] + '\n' }}",
                "{% else %}" + template + "{% endif %}{% endfor %}",
            ]
        )
        torch.manual_seed(0)
        shape = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2}
        size = {"num_hidden_layers": 1, "vocab_size": len(tokenizer)}
        model = LlamaForCausalLM(LlamaConfig(**shape, **size)).eval()
        return ByteScorer(Renderer(tokenizer), model, Histories(histories="prefix"), 256, 512)

    return build


@pytest.mark.parametrize("case", TEMPLATES)
def test_a_row_at_which_the_teachers_turn_does_not_end_teaches_nothing(scorer_of, case):
    template, untaught_turns = TEMPLATES[case]
    [scored] = scorer_of(template).distributions([CHAT])
    ends = [len(b"the"), len(b"the") + 1 + len(b"a key")]
    assert scored.untaught == tuple(ends[turn] for turn in untaught_turns)

    stored = keep_most_probable(scored.log_probs_NS, scored.lost_N, 0.999, 16, scored.untaught)
    signal = padded(stored, 16)
    silent_N = np.zeros(len(scored.log_probs_NS), bool)
    silent_N[list(scored.untaught)] = True
    assert (np.isneginf(signal.log_probs_NK).all(1) == silent_N).all()
    assert (np.isneginf(signal.log_tail_N) >= silent_N).all()

    student_NS = torch.randn(len(silent_N), 260, generator=torch.Generator().manual_seed(0))
    student_NS.requires_grad_(True)
    divergence_N = divergence_from_top_k(
        torch.from_numpy(signal.symbols_NK),
        torch.from_numpy(signal.log_probs_NK),
        torch.from_numpy(signal.log_tail_N),
        student_NS.log_softmax(1),
        temperature=2.0,
    )
    divergence_N.sum().backward()
    assert ((divergence_N == 0).numpy() == silent_N).all()
    assert ((student_NS.grad == 0).all(1).numpy() == silent_N).all()


def test_of_averaged_models_each_may_leave_a_row_out(scorer_of):
    scorers = [scorer_of(TEMPLATES[case][0]) for case in ("ends", "only the last answer ends")]
    [scored] = AverageScorer(scorers, [1, 1], "arithmetic").distributions([CHAT])
    assert scored.untaught == (3,)


def test_the_divergence_of_two_models_leaves_it_out_as_well(scorer_of):
    ending, going_on = (
        scorer_of(TEMPLATES[case][0]) for case in ("ends", "only the last answer ends")
    )
    whole = byte_divergence([CHAT], ending, ending)
    found = byte_divergence([CHAT], going_on, ending)
    assert found["symbols"] == whole["symbols"] - 1
    assert found["bytes"] == whole["bytes"] == len(b"thea key")
    [row] = [row for row in found["by_position"] if row["position"] == "end"]
    assert row["symbols"] == 1
    assert END == 256
