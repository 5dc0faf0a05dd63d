"""What a student has to write beside its contents (before them, and before an end token) has no
partner among the teacher's tokens, whatever the teacher's own template does; all else is paired as
ever."""

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from bld.config.methods.mined import MinedSettings
from bld.tokenization.rendering import Renderer
from bld.training.alignment import chunks, same_spans
from bld.training.objectives.mined import Mined, letters
from bld.training.objectives.uld import paired_in_order


@pytest.fixture
def closing_renderer(renderer):
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=renderer.content.backend,
        bos_token="<|endoftext|>",
        eos_token="<|im_end|>",
        chat_template="{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
        "{% if m.role == 'assistant' %}{{ 'find' + m.content + '  ' }}{% else %}{{ m.content }}"
        "{% endif %}{{ '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    )
    return Renderer(tokenizer, prompt="served")


def _uld(batch):
    s_M, _ = paired_in_order(batch, mask_end=False)
    return s_M.tolist()


def _mined(renderer, other_renderer):
    spelt, theirs = (letters(one.vocabulary) for one in (renderer, other_renderer))
    made = Mined(MinedSettings(), np.arange(310) % 300, spelt, theirs, 300)
    return lambda batch: np.flatnonzero(made.partners(batch) >= 0).tolist()


@pytest.mark.parametrize("row_length", [9, 24, 128])
def test_no_rival_finds_a_partner_for_them(pair, closing_renderer, other_renderer, row_length):
    batch = pair(row_length=row_length, of_student=closing_renderer).batch
    unspelt = set((batch.count_S == 0).nonzero()[:, 0].tolist())
    # Of three answers at least a token before each, and a space and the end behind each.
    assert len(unspelt) >= 3 * 3
    found = {
        "one to one": same_spans(batch)[0].tolist(),
        "chunks": (chunks(batch).of_S >= 0).nonzero()[:, 0].tolist(),
        "uld": _uld(batch),
        "mined": _mined(closing_renderer, other_renderer)(batch),
    }
    for name, with_partner in found.items():
        assert with_partner and not unspelt & set(with_partner), name


def test_what_spells_something_is_paired_as_if_they_were_not_there(pair, closing_renderer):
    def paired(**settings):
        batch = pair(row_length=128, **settings).batch
        s_M, u_M = paired_in_order(batch, mask_end=True)
        return batch.target_S[s_M].tolist(), u_M.tolist()

    assert paired(of_student=closing_renderer) == paired()
