"""MinED, the token alignment of FuseLLM (Wan et al., arXiv 2401.10491): sequences and vocabularies
are aligned by minimum edit distance, and the student learns from the teacher's distribution, moved
into its own vocabulary.

    L = lambda * CE_token + (1 - lambda) * sum KL(p_T || p_S),   lambda = 0.9 as in the authors'
    runs.

As in the authors' code (github.com/fanqiwan/FuseAI, `vocab_align_type: soft`):
* Token sequences are aligned by dynamic time warping whose cost is the edit distance of two tokens,
  word marks left out; of equally good steps back a diagonal one is taken first, then one of the
  teacher.
* A student's token learns from the teacher if just one of the teacher's is aligned to it, and that
  one spells the same or has it as its closest entry in the student's vocabulary. Any other learns
  from its own token alone, as if the teacher had been certain of it.
* The teacher's k most probable tokens are moved to their closest entries in the student's
  vocabulary.

Deviations:
* The divergence is over the moved tokens and one outcome for all others, which holds the teacher's
  tail and what has no place in the student's vocabulary. The authors normalise what is kept, which
  makes the teacher overconfident (arXiv 2503.16870). What falls on the same entry is added;
  they keep the most probable. KL, not cross-entropy: the teacher's entropy has no gradient.
* Tokens are compared by the bytes that they spell, and ends of turns are the same; the authors
  compare characters, and the names of special tokens. Entries of the student that spell the same
  are one outcome: with byte fallback a letter is an entry twice, and its text is written with one
  of them alone.
* On text that the student has written itself, tokens without a partner learn nothing.
* Sequences are aligned run by run of supervised tokens (an answer with its end, a text, or what a
  row has of it), without the prompts between them. Teacher tokens that reach across the edge of a
  row are missing.
* One teacher: nothing is fused. The sum is divided by all supervised tokens, which is the authors'
  mean.

Shape letters: S student tokens, U teacher tokens, B a block of positions, K kept tokens, V and W
the vocabularies of student and teacher.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein
from transformers import PreTrainedModel

from bld.config.methods.mined import MinedSettings
from bld.symbols import MIN_PROBABILITY
from bld.tokenization.maps.files import load_map
from bld.tokenization.vocabulary import Vocabulary, spelt
from bld.training.alignment import covered, supervised_spans
from bld.training.batches import Batch
from bld.training.logits import by_blocks
from bld.training.objective import ObjectiveContext, ObjectiveParts

END_MARK = "\u0100"  # a letter that no byte has


def build(settings: Mapping[str, Any], context: ObjectiveContext) -> ObjectiveParts:
    """It needs what the tokens of both models spell, and the student's closest entry to each of the
    teacher's."""
    assert context.teacher is not None, "the stage gives the teacher's vocabulary"
    assert context.map is not None, "the stage gives the map of the vocabularies"
    pairs = load_map(context.map)
    closest_W = np.full(len(context.teacher), -1)
    closest_W[pairs.teacher_M] = pairs.student_M
    student, teacher = letters(context.renderer.vocabulary), letters(context.teacher)
    logits = len(context.lm.get_output_embeddings().weight)
    return ObjectiveParts(
        Mined(MinedSettings.model_validate(settings), closest_W, student, teacher, logits)
    )


def letters(vocabulary: Vocabulary) -> dict[int, str]:
    """What every token spells, a letter for a byte."""
    return {
        i: END_MARK if is_end else text.decode("latin-1")
        for i, (is_end, text) in spelt(vocabulary).items()
    }


class Mined:
    """The token cross-entropy and the divergence from the aligned teacher.

    `closest_W`: for every id of the teacher the student's closest, -1 for none. `student` and
    `teacher` tell what ids spell, see `letters`; the student has so many `logits`.
    """

    def __init__(
        self,
        settings: MinedSettings,
        closest_W: np.ndarray,
        student: Mapping[int, str],
        teacher: Mapping[int, str],
        logits: int,
    ) -> None:
        self.settings = settings
        self.student, self.teacher = student, teacher
        first: dict[str, int] = {}
        # Of all ids that spell the same, the first stands for them.
        self.first_V = np.arange(logits)
        for token_id, word in student.items():
            self.first_V[token_id] = first.setdefault(word, token_id)
        self.closest_W = np.where(closest_W < 0, -1, self.first_V[closest_W])

    def losses(
        self, lm: PreTrainedModel, head: object, hidden_XH: torch.Tensor, batch: Batch
    ) -> dict[str, torch.Tensor]:
        """`loss` is what is descended; `token_loss` and `teacher_loss` are its parts, unweighted,
        in nats."""
        settings = self.settings
        alone_S, *columns = self._aligned_teacher(batch)
        first_V = torch.from_numpy(self.first_V).to(hidden_XH.device)

        def block(log_probs_BV: torch.Tensor, *columns: torch.Tensor) -> torch.Tensor:
            return divergence(log_probs_BV, first_V, *columns)

        said_S2 = by_blocks(lm, hidden_XH[batch.source_S], block, batch.target_S, *columns)
        apart_S = said_S2[:, 0]
        if batch.is_student_written_N is not None:
            apart_S = apart_S.masked_fill(alone_S & batch.is_student_written_N[batch.symbol_S], 0.0)
        parts = {
            "teacher_loss": apart_S.sum() / batch.token_normaliser,
            "token_loss": batch.from_corpus(said_S2[:, 1]).sum() / batch.token_normaliser,
        }
        loss = settings.kl_weight * parts["teacher_loss"]
        return {"loss": loss + settings.token_weight * parts["token_loss"], **parts}

    def _aligned_teacher(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Which tokens have no partner [S], and what each learns: ids [S, K] of the student's own
        vocabulary, their probabilities [S, K] and the mass of all others [S]."""
        teacher, device = batch.teacher_tokens, batch.target_S.device
        assert teacher is not None, "the batch was made without the teacher's tokens"
        u_S = torch.from_numpy(self.partners(batch)).to(device)
        closest_W = torch.from_numpy(self.closest_W).to(device)
        ids_UK = closest_W[teacher.ids_UK.clamp_min(0)]
        probs_UK = teacher.log_probs_UK.exp()
        moved_UK = probs_UK.masked_fill(ids_UK < 0, 0.0)
        beside_U = teacher.log_tail_U.exp() + (probs_UK - moved_UK).sum(1)

        # One row more for those without a partner, who are certain of their own token.
        alone_S = u_S < 0
        ids_SK = torch.cat([ids_UK, ids_UK.new_zeros(1, ids_UK.shape[1])])[u_S].clamp_min(0)
        probs_SK = torch.cat([moved_UK, moved_UK.new_zeros(1, ids_UK.shape[1])])[u_S]
        beside_S = torch.cat([beside_U, beside_U.new_zeros(1)])[u_S]
        own_S = torch.from_numpy(self.first_V).to(device)[batch.target_S]
        ids_SK[:, 0] = torch.where(alone_S, own_S, ids_SK[:, 0])
        probs_SK[:, 0] = torch.where(alone_S, 1.0, probs_SK[:, 0])
        return alone_S, ids_SK, probs_SK, beside_S

    def partners(self, batch: Batch) -> np.ndarray:
        """The teacher token that each student token learns from, [S]; -1 for none."""
        assert batch.teacher_tokens is not None, "the batch was made without the teacher's tokens"
        target_S, token_U, run_S, run_U = (
            column.numpy(force=True)
            for column in (batch.target_S, batch.teacher_tokens.token_U, *supervised_spans(batch))
        )
        own_S = np.array([self.student[i] for i in target_S.tolist()], object)
        spelt_U = np.array([self.teacher[i] for i in token_U.tolist()], object)
        u_S = np.full(len(target_S), -1)
        # An end of a turn that the student's template does not write, or not right behind the
        # content, has no place in the alignment.
        stop_S, size = batch.symbol_S + batch.count_S, len(batch.symbols_N) + 1
        is_spelt_N = covered(batch.symbol_S, stop_S, size)
        spells_S = batch.count_S.numpy(force=True) > 0
        is_spelt_U = is_spelt_N[batch.teacher_tokens.symbol_U].numpy(force=True)
        for run in np.unique(run_U[is_spelt_U]):
            s, u = (
                np.flatnonzero((run_S == run) & spells_S),
                np.flatnonzero((run_U == run) & is_spelt_U),
            )
            partner_S = only_partners(edit_distances(_bare(spelt_U[u]), _bare(own_S[s])))
            has_one = partner_S >= 0
            s, u = s[has_one], u[partner_S[has_one]]
            is_match = (spelt_U[u] == own_S[s]) | (
                self.closest_W[token_U[u]] == self.first_V[target_S[s]]
            )
            u_S[s[is_match]] = u[is_match]
        return u_S


def divergence(
    log_probs_BV: torch.Tensor,
    first_V: torch.Tensor,
    target_B: torch.Tensor,
    ids_BK: torch.Tensor,
    probs_BK: torch.Tensor,
    beside_B: torch.Tensor,
) -> torch.Tensor:
    """[B, 2]: the divergence from what is learnt (ids may repeat, `beside_B` is the mass of all
    others), and -log p(target), in nats. `first_V`: which id stands for each logit."""
    nothing_BV = torch.zeros_like(log_probs_BV)
    probs_BV = nothing_BV.index_add(1, first_V, log_probs_BV.exp())
    learnt_BV = nothing_BV.scatter_add(1, ids_BK, probs_BK)
    apart_BV = torch.special.xlogy(learnt_BV, learnt_BV)
    apart_BV = apart_BV - learnt_BV * probs_BV.clamp_min(MIN_PROBABILITY).log()
    left_B = probs_BV.masked_fill(learnt_BV > 0, 0.0).sum(1).clamp_min(MIN_PROBABILITY)
    apart_B = torch.special.xlogy(beside_B, beside_B) - beside_B * left_B.log()
    token_B = log_probs_BV.gather(1, target_B[:, None])[:, 0]
    return torch.stack([apart_BV.sum(1) + apart_B, -token_B], 1)


def _bare(words: np.ndarray) -> list[str]:
    """Without the mark of a word's beginning."""
    return [word.replace(" ", "") for word in words]


def edit_distances(rows: Sequence[str], columns: Sequence[str]) -> np.ndarray:
    """The edit distance of every two words, int32 [rows, columns]."""
    words, row = np.unique(np.array(rows, object), return_inverse=True)
    others, column = np.unique(np.array(columns, object), return_inverse=True)
    distances = process.cdist(words, others, scorer=Levenshtein.distance, dtype=np.int32)
    return distances[row[:, None], column]


def warped(cost_US: np.ndarray) -> list[tuple[int, int]]:
    """The pairs (u, s) of the cheapest path from both beginnings to both ends, backwards, each step
    of which goes on by one in either sequence or in both.

    Of equally cheap ways back one in both is taken, else one in U.
    """
    total_US = _totals(cost_US)
    u, s = total_US.shape[0] - 1, total_US.shape[1] - 1
    path = [(u, s)]
    while u or s:
        if not u or not s:
            u, s = max(u - 1, 0), max(s - 1, 0)
        else:
            both, one_u, one_s = total_US[u - 1, s - 1], total_US[u - 1, s], total_US[u, s - 1]
            if both <= min(one_u, one_s):
                u, s = u - 1, s - 1
            elif one_u <= one_s:
                u -= 1
            else:
                s -= 1
        path.append((u, s))
    return path


def only_partners(cost_US: np.ndarray) -> np.ndarray:
    """The index in U that each of S is aligned to, where it is just one, [S]; else -1."""
    partner_S = np.full(cost_US.shape[1], -1)
    times_S = np.zeros(cost_US.shape[1], int)
    for u, s in warped(cost_US):
        partner_S[s] = u
        times_S[s] += 1
    return np.where(times_S == 1, partner_S, -1)


def _totals(cost_US: np.ndarray) -> np.ndarray:
    """What the cheapest way to each pair costs, its own cost included."""
    total_US = np.empty_like(cost_US)
    total_US[0] = cost_US[0].cumsum()
    for cost_S, above_S, total_S in zip(cost_US[1:], total_US[:-1], total_US[1:], strict=True):
        total_S[0] = above_S[0]
        np.minimum(above_S[1:], above_S[:-1], out=total_S[1:])
        # Entered here and then along the row: what that costs is a difference of sums.
        summed_S = cost_S.cumsum(dtype=cost_S.dtype)
        total_S += cost_S - summed_S
        np.minimum.accumulate(total_S, out=total_S)
        total_S += summed_S
    return total_US
