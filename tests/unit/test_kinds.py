"""Models of every kind: trained in packed rows as on each document alone, scored as by brute
force, exported and loaded again; or refused by their config.json. docs/models.md has what is
measured here; run this file as a script to write its table anew."""

from __future__ import annotations

import copy
import re
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM

from bld.config.settings import Histories
from bld.kinds import check_kind, has_states, position_switch
from bld.models import check_halves, context_of, load_language_model, logit_scale, soft_cap
from bld.scoring.history_batch import HistoryBatch, Span, trunk_tree
from bld.scoring.packed import PackedBatch, PackedModel
from bld.scoring.search import byte_distributions
from bld.scoring.trie import Trie
from bld.tokenization.rendered import RenderedTokens
from bld.tokenization.vocabulary import Vocabulary
from bld.training.batches import Batches
from bld.training.export import save_model
from bld.training.objectives.sft import Sft
from bld.training.packing import epoch_rows
from bld.training.pieces import pieces_of
from bld.training.reading import read_packed, reading_of
from bld.training.trainee import Trainee
from oracle import all_covers
from zoo import INSIDE_OTHERS, KINDS

PAGE = Path(__file__).parents[2] / "docs/models.md"
TABLE = re.compile(r"(?<=<!-- measured -->\n).*(?=\n<!-- end -->)", re.S)
AGAIN = "run `PYTHONPATH=workflow:tests python tests/unit/test_kinds.py`"
REFUSED = "Qwen 2.5 VL"
SUPPORTED = [name for name in KINDS if name != REFUSED]

ROW_LENGTH = 60
LENGTHS = (30, 3, 1, 12, 44, 8, 57, 2)
# a, b, ab, ab again, an end, special, absent, baa, empty
VOCABULARY = Vocabulary(
    (b"a", b"b", b"ab", b"ab", None, None, None, b"baa", b""), frozenset([4, 5]), frozenset([4])
)


def saved(name: str, folder: Path) -> Path:
    KINDS[name].model().save_pretrained(folder)
    return folder


@cache
def model(name: str):
    """In evaluation mode, out of the model that it stands inside."""
    if name not in INSIDE_OTHERS:
        lm = KINDS[name].model()
        check_halves(lm)
        return lm
    with tempfile.TemporaryDirectory() as folder:
        return load_language_model(saved(name, Path(folder)))


def document(length: int, random: np.random.Generator) -> RenderedTokens:
    """Every token but the first is trained on."""
    ids_T = random.integers(3, 300, length).astype(np.int32)
    symbol_T = np.arange(-1, length - 1, dtype=np.int32)
    count_T = (symbol_T >= 0).astype(np.int32)
    symbols_N = np.full(length - 1, 97, np.uint16)
    return RenderedTokens(
        ids_T=ids_T, symbol_T=symbol_T, count_T=count_T, symbols_N=symbols_N, turns=()
    )


def in_double(lm):
    """A copy in float64."""
    lm = copy.deepcopy(lm).double()
    if hasattr(lm.config, "_experts_implementation"):
        lm.set_experts_implementation("eager")  # the other one knows no float64
    return lm


def gradients(lm) -> dict[str, torch.Tensor]:
    found = {n: p.grad for n, p in lm.named_parameters() if p.grad is not None}
    lm.zero_grad()
    return found


@pytest.mark.parametrize("name", SUPPORTED)
def test_packed_training_equals_separate_training(name):
    lm, random = in_double(model(name)), np.random.default_rng(0)
    documents = [document(length, random) for length in LENGTHS]
    rows = epoch_rows(pieces_of(documents, ROW_LENGTH, 0.5), ROW_LENGTH, 0, 0)
    trainee = Trainee(lm, None, Sft())
    trainee.reading, _ = reading_of(lm, ROW_LENGTH)
    lm.train()
    tokens = sum(LENGTHS) - len(LENGTHS)
    loss = trainee(Batches(documents).collate(rows, tokens, tokens))["loss"]
    loss.backward()
    found = gradients(lm)
    total = 0.0
    for ids in (torch.from_numpy(d.ids_T.astype(np.int64)) for d in documents):
        logits = lm(ids[None], use_cache=False).logits[0, :-1]
        alone = functional.cross_entropy(logits, ids[1:], reduction="sum") / tokens
        alone.backward()
        total += alone.item()
    expected = gradients(lm)
    # Losses are summed in float32, and some layers compute in it whatever they are given.
    assert float(loss) == pytest.approx(total, rel=1e-6)
    assert found.keys() == expected.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for key, gradient in expected.items():
        torch.testing.assert_close(found[key], gradient, atol=1e-6 * largest, rtol=0)


@pytest.mark.parametrize("name", SUPPORTED)
def test_scoring_equals_brute_force(name):
    lm, text, trunk = model(name), b"abab", [2, 2]
    context = np.random.default_rng(1).integers(3, 300, 15).tolist()

    @torch.no_grad()
    def next_log_probs(tokens):
        logits = lm(torch.tensor([[*context, *tokens]]), use_cache=False).logits[0, -1]
        known = logits[: len(VOCABULARY)].double().numpy()
        known[6] = -np.inf
        return known - np.logaddexp.reduce(known)

    trie = Trie(VOCABULARY)
    tree = trunk_tree(trunk, VOCABULARY.token_bytes)
    histories = HistoryBatch([Span(text, tree, 3, sequence=0, column=len(context) - 1)])
    packed = PackedBatch(PackedModel(lm, trie, 200), [np.array([*context, *trunk])])
    policy = Histories(histories="beam", eps=0, beam_width=1 << 30)
    log_P, _ = byte_distributions(trie, histories, packed, policy, torch.float64)
    expected = all_covers(next_log_probs, VOCABULARY, text)
    np.testing.assert_allclose(np.exp(log_P), np.exp(expected), atol=1e-5)


@pytest.mark.parametrize("name", SUPPORTED)
def test_an_export_loads_as_an_ordinary_model_and_agrees(name, tmp_path):
    lm, source, folder = model(name), saved(name, tmp_path / "source"), tmp_path / "model"
    save_model(lm, lm.state_dict(), source, folder)
    loaded, again = AutoModelForCausalLM.from_pretrained(folder).eval(), load_language_model(folder)
    assert type(loaded) is type(again) is type(lm)
    ids = torch.arange(3, 43)[None]
    with torch.no_grad():
        expected = KINDS[name].model()(input_ids=ids, use_cache=False).logits
        for one in (loaded, again):
            found = one(input_ids=ids, use_cache=False).logits
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_a_kind_that_cannot_be_taken_out_is_refused_by_its_configuration():
    with pytest.raises(ValueError, match="`qwen2_5_vl_text` inside `qwen2_5_vl`, for"):
        check_kind(KINDS[REFUSED].config(), "here")


def told(config) -> bool:
    """Whether config.json says that rows of this length will hold one document each."""
    return has_states(config) or (position_switch(config) or ROW_LENGTH) < ROW_LENGTH


@pytest.mark.parametrize("name", SUPPORTED)
def test_what_config_json_tells_is_so(name):
    config = KINDS[name].config()
    check_kind(config, name)
    if told(config):
        assert reading_of(model(name), ROW_LENGTH)[0] is not read_packed


def table() -> str:
    """What is measured, as a table in Markdown."""
    lines = ["| Kind | Type | Training | As a teacher | Logits |", "|---|---|---|---|---|"]
    return "\n".join(lines + [f"| {' | '.join(row(name))} |" for name in KINDS])


def row(name: str) -> list[str]:
    kind = KINDS[name]
    named = f"`{kind.type}`" + (f" in `{kind.wrapper}`" if kind.wrapper else "")
    if name == REFUSED:
        return [name, named, "refused", "refused", ""]
    lm = model(name)
    reading, _ = reading_of(lm, ROW_LENGTH)
    teacher = PackedModel(lm, Trie(VOCABULARY), 200, longest=ROW_LENGTH)
    apart = "rows of one document" + ("" if told(lm.config) else ", found by trying")
    limit = " up to its switch" if teacher.context != context_of(lm) else ""
    logits = [*(["scaled"] if logit_scale(lm) != 1 else []), *(["capped"] if soft_cap(lm) else [])]
    return [
        name,
        named,
        "packed rows" if reading is read_packed else apart,
        ("rows of one history" if teacher.note else "trees of histories") + limit,
        ", ".join(logits),
    ]


def test_the_page_has_what_is_measured():
    assert TABLE.findall(PAGE.read_text()) == [table()], AGAIN


if __name__ == "__main__":
    PAGE.write_text(TABLE.sub(lambda _: table(), PAGE.read_text()))
