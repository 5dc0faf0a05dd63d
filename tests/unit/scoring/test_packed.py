"""A packed tree of histories gives each of them what a plain forward over its own path gives."""

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    FalconConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTJConfig,
    GPTNeoXConfig,
    Lfm2Config,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    MptConfig,
    PhiConfig,
    Qwen2Config,
    Qwen3Config,
    RecurrentGemmaConfig,
)

import zoo
from bld.config.settings import Histories
from bld.scoring.history_batch import HistoryBatch, Span
from bld.scoring.packed import PackedBatch, PackedModel
from bld.scoring.prefixes import HistoryTree
from bld.scoring.search import byte_distributions
from bld.scoring.trie import Trie
from bld.tokenization.vocabulary import Vocabulary

V = 40
SHAPE = {
    "vocab_size": V,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
}
HEADS = {"head_dim": 8}
NO_SDPA = ["Gemma 2", "GPT-J"]  # in transformers
SLIDING = ["full_attention", "sliding_attention", "full_attention", "sliding_attention"]
FOUR = {**SHAPE, "num_hidden_layers": 4}
GPT2 = {"vocab_size": V, "n_embd": 16, "n_layer": 2, "n_head": 2}
KINDS = {
    "Llama": LlamaConfig(**SHAPE),
    "Qwen2": Qwen2Config(**SHAPE),
    "Qwen2 with sliding layers": Qwen2Config(
        **FOUR, use_sliding_window=True, sliding_window=5, layer_types=SLIDING
    ),
    "Qwen3": Qwen3Config(**SHAPE, **HEADS),
    "Gemma 2": Gemma2Config(
        **FOUR, **HEADS, sliding_window=6, layer_types=SLIDING, final_logit_softcapping=2.0
    ),
    "Gemma 3": Gemma3TextConfig(**FOUR, **HEADS, sliding_window=4, layer_types=SLIDING),
    "Mistral": MistralConfig(**SHAPE, **HEADS, sliding_window=6),
    "Mistral without a window": MistralConfig(**SHAPE, **HEADS, sliding_window=None),
    "GPT-NeoX": GPTNeoXConfig(**SHAPE),
    "GPT-2": GPT2Config(**GPT2, n_positions=64),
    "GPT-J": GPTJConfig(**GPT2, n_positions=64, rotary_dim=4),
    "Phi": PhiConfig(**SHAPE),
    "Falcon": FalconConfig(**SHAPE, alibi=False),
}
# one id spells nothing and does not exist, one ends, two share their bytes
VOCABULARY = Vocabulary(
    (b"twice", b"twice", None, None, *(b"%d." % i for i in range(V - 4))),
    special=frozenset([3]),
    end=frozenset([3]),
)
TRIE = Trie(VOCABULARY)


def tiny(config, attention=None, dtype=torch.float32):
    torch.manual_seed(0)
    lm = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
    with torch.no_grad():
        for name, table in lm.named_parameters():
            if table.ndim > 1:
                table.mul_(8)
            elif name.endswith("bias"):
                table.normal_()
    return lm.to(dtype)


class Batch:
    """Sequences, of which some hold several spans, and random histories beside them."""

    def __init__(self, seed, lengths=(17, 1, 23, 9), sides=25):
        random = np.random.default_rng(seed)
        self.sequences = [random.integers(0, V, length) for length in lengths]
        spans = []
        for number, ids in enumerate(self.sequences):
            columns = sorted({int(random.integers(0, len(ids))) for _ in range(2)})
            for column, end in zip(columns, [*columns[1:], len(ids)], strict=True):
                more = int(random.integers(0, sides))
                spans.append(self._stretch(random, ids, number, column, end - column, more))
        self.histories = HistoryBatch(spans)

    def _stretch(self, random, ids, sequence, column, trunk, sides):
        # Half of the histories go on from the one before them: chains grow long.
        places = range(trunk, trunk + sides)
        anywhere = [int(random.integers(0, place)) for place in places]
        follows = random.random(sides) < 0.5
        tree = HistoryTree(
            token_R=np.concatenate([ids[column : column + trunk], random.integers(0, V, sides)]),
            parent_R=np.array(
                [*range(-1, trunk - 1), *np.where(follows, places, anywhere) - follows]
            ),
            start_R=np.zeros(trunk + sides, int),
        )
        return Span(b"", tree, trunk, sequence, column)

    @property
    def trunk(self):
        return np.arange(self.histories.trunk)

    @property
    def sides(self):
        return np.arange(self.histories.trunk, len(self.histories))

    def generations(self):
        """What hangs from the trunk, what hangs from that, and so on."""
        waves = [self.trunk]
        while waves[-1].size:
            waves.append(self.sides[np.isin(self.histories.parent_R[self.sides], waves[-1])])
        return waves[1:-1]

    def path(self, node):
        tokens = []
        while node >= self.histories.trunk:
            tokens.append(int(self.histories.token_R[node]))
            node = self.histories.parent_R[node]
        sequence = self.sequences[self.histories.sequence_R[node]]
        return [*sequence[: self.histories.column_R[node] + 1].tolist(), *reversed(tokens)]

    def plain(self, lm, nodes, trie=TRIE):
        """Logits of plain forward passes over the paths, those of one length together."""
        paths = [self.path(node) for node in nodes]
        length = np.array([len(path) for path in paths])
        found = torch.empty(len(nodes), len(trie.ids_I))
        for size in np.unique(length):
            some = np.flatnonzero(length == size)
            with torch.no_grad():
                logits = lm(torch.tensor([paths[i] for i in some])).logits[:, -1]
            found[some] = logits[:, trie.ids_I].float()
        return found


def read(lm, batch, waves, batch_tokens=10_000, trie=TRIE, **rows):
    """Logits of all histories of the waves, end to end, and the batch that read them."""
    packed_batch = PackedBatch(PackedModel(lm, trie, batch_tokens), batch.sequences, **rows)
    found = [torch.cat(list(packed_batch.logits(batch.histories, wave))) for wave in waves]
    return torch.cat(found), packed_batch


def spied(lm, monkeypatch):
    """Shapes of the ids of every forward pass from now on."""
    shapes, forward = [], lm.base_model.forward

    def watched(*args, **kwargs):
        shapes.append(tuple(kwargs["input_ids"].shape))
        return forward(*args, **kwargs)

    monkeypatch.setattr(lm.base_model, "forward", watched)
    return shapes


@pytest.mark.parametrize(
    ("kind", "attention"),
    [(kind, "eager") for kind in KINDS] + [(kind, "sdpa") for kind in KINDS if kind not in NO_SDPA],
)
def test_every_history_reads_as_its_own_path_does(kind, attention):
    lm, batch = tiny(KINDS[kind], attention), Batch(len(kind))
    assert max(len(batch.path(node)) for node in batch.sides) > 23
    for waves in [batch.trunk, batch.sides], [batch.trunk, *batch.generations()]:
        found, packed_batch = read(lm, batch, waves)
        expected = batch.plain(lm, np.concatenate(waves))
        assert expected.std() > 0.3
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        assert packed_batch.evaluated == [17 + 1 + 23 + 9, len(batch.sides)]


@pytest.mark.parametrize("kind", ["GPT-2", "GPT-J", "GPT-NeoX", "Gemma 2"])
def test_a_row_may_hold_more_histories_than_the_model_has_positions(kind):
    lm, batch = tiny(KINDS[kind]), Batch(3, lengths=(50, 48), sides=60)
    sides = batch.sides[batch.histories.depth_R[batch.sides] < 64]
    assert len(sides) > 2 * 64
    found, _ = read(lm, batch, [batch.trunk, sides])
    expected = batch.plain(lm, np.concatenate([batch.trunk, sides]))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["Llama", "Gemma 3"])
def test_in_bfloat16_it_is_as_close_as_bfloat16_is(kind):
    lm, batch = tiny(KINDS[kind], dtype=torch.bfloat16), Batch(1)
    found, _ = read(lm, batch, [batch.trunk, batch.sides])
    exact = batch.plain(tiny(KINDS[kind]), np.arange(len(batch.histories)))
    plain = batch.plain(lm, np.arange(len(batch.histories)))
    assert found.dtype == torch.float32
    assert (found - exact).square().mean() < 2 * (plain - exact).square().mean()


@pytest.mark.parametrize("kind", ["Llama", "Gemma 3", "GPT-2"])
@pytest.mark.parametrize(("histories", "batch_tokens"), [(3, 10_000), (1000, 30), (3, 30)])
def test_how_histories_are_distributed_over_rows_and_passes_changes_nothing(
    kind, histories, batch_tokens
):
    lm, batch = tiny(KINDS[kind]), Batch(4, lengths=(6, 4, 1, 5, 6), sides=40)
    first, *later = batch.generations()
    # Some histories are dropped on the way, as by a policy, with all that follows them.
    kept = [first]
    for wave in later:
        wave = wave[np.isin(batch.histories.parent_R[wave], kept[-1])]
        kept.append(wave[np.random.default_rng(len(wave)).random(len(wave)) < 0.7])
    for waves in [batch.sides], [wave for wave in kept if wave.size]:
        found, _ = read(lm, batch, [batch.trunk, *waves], batch_tokens, row_histories=histories)
        expected = batch.plain(lm, np.concatenate([batch.trunk, *waves]))
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_rows_and_passes_are_bounded_and_hardly_padded(monkeypatch):
    lm, random = tiny(KINDS["Llama"]), np.random.default_rng(0)
    # 1, 2 or 3 histories branch off each of 60 trunk nodes, 70 from one more
    parent = np.concatenate([np.repeat(np.arange(60), random.integers(1, 4, 60)), 70 * [60]])
    tree = HistoryTree(
        token_R=random.integers(0, V, 61 + len(parent)),
        parent_R=np.array([*range(-1, 60), *parent]),
        start_R=np.zeros(61 + len(parent), int),
    )
    histories = HistoryBatch([Span(b"", tree, 61, 0, 0)])
    batch = PackedBatch(PackedModel(lm, TRIE, 100), [tree.token_R[:61]], row_histories=32)
    shapes = spied(lm, monkeypatch)
    list(batch.logits(histories, np.arange(61)))
    list(batch.logits(histories, np.arange(61, len(histories))))
    trunk, *waves = shapes
    assert trunk == (1, 61)
    # what branches off one node stays together
    assert [shape for shape in waves if shape[1] > 32] == [(1, 70)]
    assert len(waves) > 2 and all(rows * width <= 100 for rows, width in waves)
    positions = sum(rows * width for rows, width in waves)
    assert len(parent) <= positions < 1.2 * len(parent)


def test_rows_are_filled_to_the_last_place(monkeypatch):
    lm = tiny(KINDS["Llama"])
    tree = HistoryTree(np.arange(40) % V, np.array([*range(-1, 19), *range(20)]), np.zeros(40, int))
    histories = HistoryBatch([Span(b"", tree, 20, 0, 0)])
    batch = PackedBatch(PackedModel(lm, TRIE, 100), [tree.token_R[:20]], row_histories=10)
    shapes = spied(lm, monkeypatch)
    for wave in np.arange(20), np.arange(20, 40):
        list(batch.logits(histories, wave))
    assert shapes == [(1, 20), (2, 10)]


def test_rows_in_which_nothing_follows_are_not_run_again(monkeypatch):
    lm = tiny(KINDS["Llama"])
    tree = HistoryTree(np.arange(6), np.array([-1, 0, 0, 2, 3, 4]), np.zeros(6, int))
    lone = HistoryTree(np.arange(3), np.array([-1, 0, 0]), np.zeros(3, int))
    histories = HistoryBatch([Span(b"", lone, 2, 0, 0), Span(b"", tree, 2, 1, 0)])
    batch = PackedBatch(PackedModel(lm, TRIE, 1000), [np.arange(2), np.arange(2)])
    shapes = spied(lm, monkeypatch)
    for wave in [0, 1, 2, 3], [4, 5], [6], [7], [8]:
        list(batch.logits(histories, np.array(wave)))
    assert shapes == [(2, 2), (2, 1), (1, 1), (1, 1), (1, 1)]


def test_logits_come_in_the_order_of_the_trie_whatever_the_model_has_beyond_the_tokenizer():
    # the model has 40 logits, the tokenizer ids 0 to 5, of which 1 stands for nothing
    vocabulary = Vocabulary(
        (b"b", None, b"a", b"ab", None, b""), special=frozenset([4]), end=frozenset([4])
    )
    trie = Trie(vocabulary)
    assert trie.ids_I.tolist() == [2, 3, 0, 4, 5]
    lm, batch = tiny(KINDS["Phi"]), Batch(2)
    found, _ = read(lm, batch, [batch.trunk, batch.sides], trie=trie)
    expected = batch.plain(lm, np.arange(len(batch.histories)), trie)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


SMALL = {"vocab_size": V, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.mark.parametrize(
    "config",
    [
        MambaConfig(vocab_size=V, hidden_size=16, num_hidden_layers=2, state_size=4),
        RecurrentGemmaConfig(
            **SMALL | {"num_hidden_layers": 3}, lru_width=16, intermediate_size=48
        ),
        Lfm2Config(**SHAPE, full_attn_idxs=[1]),
        BloomConfig(vocab_size=V, hidden_size=16, n_layer=2, n_head=2),
        FalconConfig(**SMALL, alibi=True),
        MptConfig(vocab_size=V, d_model=16, n_layers=2, n_heads=2, max_seq_len=64),
    ],
    ids=lambda config: config.model_type,
)
def test_of_models_that_cannot_read_a_tree_every_history_is_read_in_a_row_of_its_own(config):
    lm, batch = tiny(config), Batch(5)
    assert f"{type(lm).__name__} does not read several histories in one" in noted(lm)
    for waves in [batch.trunk, batch.sides], [batch.trunk, *batch.generations()]:
        found, packed_batch = read(lm, batch, waves, batch_tokens=60)
        expected = batch.plain(lm, np.concatenate(waves))
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        assert packed_batch.evaluated[0] == 17 + 1 + 23 + 9
        assert packed_batch.evaluated[1] > 4 * len(batch.sides)


def noted(lm):
    return PackedModel(lm, TRIE, 1000, longest=40).note


def test_what_is_said_of_it_names_the_reason_and_the_remedy():
    lm = tiny(MambaConfig(vocab_size=V, hidden_size=16, num_hidden_layers=2, state_size=4))
    assert "(some of its layers carry a state along the row): each is read in a row of" in noted(lm)
    assert "`histories: trunk` needs none of them" in noted(lm)
    assert noted(tiny(KINDS["Gemma 3"])) is None


def test_a_model_whose_positions_change_with_the_length_is_read_up_to_there():
    model = PackedModel(zoo.KINDS["Phi 3.5 and 4 mini (LongRoPE)"].model(), TRIE, 1000, longest=60)
    assert (model.context, model.note) == (zoo.SWITCH, None)


def test_a_model_that_reads_otherwise_in_company_is_refused(monkeypatch):
    lm = tiny(KINDS["Llama"])
    forward = lm.base_model.forward

    def disturbed(*args, **kwargs):
        output = forward(*args, **kwargs)
        output.last_hidden_state = output.last_hidden_state * len(kwargs["input_ids"])
        return output

    monkeypatch.setattr(lm.base_model, "forward", disturbed)
    with pytest.raises(ValueError, match=r"even in a row of its own .hidden states differ by"):
        PackedModel(lm, TRIE, 1000)


def test_histories_beyond_a_learned_position_table_are_not_run_but_counted_as_lost():
    vocabulary = Vocabulary((b"a", b"aa", None), frozenset([2]), frozenset([2]))
    trie, lm = Trie(vocabulary), tiny(GPT2Config(**GPT2, n_positions=10))
    # The context is three tokens, the trunk aa six times; beside it, a twelve times.
    trunk = np.array([2, 2, 2, *6 * [1]])
    tree = HistoryTree(
        token_R=np.array([2, *6 * [1], *12 * [0]]),
        parent_R=np.array([*range(-1, 6), 0, *range(7, 18)]),
        start_R=np.array([*range(0, 14, 2), *range(1, 13)]),
    )
    histories = HistoryBatch([Span(12 * b"a", tree, trunk=7, sequence=0, column=2)])
    for policy in (
        Histories(histories="prefix", eps=0),
        Histories(histories="prefix", eps=1e-9),
        Histories(histories="beam", eps=0, beam_width=1 << 30),
    ):
        batch = PackedBatch(PackedModel(lm, trie, 1000), [trunk])
        log_P, lost = byte_distributions(trie, histories, batch, policy, torch.float64)
        np.testing.assert_allclose(np.exp(log_P).sum(axis=1), 1, rtol=1e-9)
        # Positions 3 to 9 are seven a's; what follows them ends at byte 8 or later.
        assert np.flatnonzero(lost).tolist() == list(range(8, 13))
        if policy.histories == "prefix":
            assert batch.evaluated == [9, 7]
