"""The audit of a byte cache: a sample of its documents under a stricter policy.

At every supervised symbol three distributions are compared: `strict` is that of the
stricter policy, `policy` that of the cache's own policy, computed again, and `stored` what the
cache keeps of it. From strict to policy is what dropped histories cost, from policy to stored what
storage costs; from strict to stored is the error of what students learn from. The cache also bounds
at every symbol how much mass the dropped histories can have had (`lost_mass`): in total variation,
policy is no farther than that from a policy like it that drops none.

Shape letters: N supervised symbols, S symbols.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from bld.documents.document import Document
from bld.evaluation import measures
from bld.files import finite
from bld.scoring.scorer import Scored
from bld.symbols import END, supervised_symbols

NAMES = ("stored", "policy", "strict")
AUDITED = ("stored", "policy")
COST_OF_LOST = -math.log(1e-9)
"""A true byte that costs more nats than this counts as lost."""
ROUNDING = {"fp32": 1e-4, "bf16": 2e-2}
"""How far two computations of one distribution may lie apart, by the arithmetic of the model."""
WORST_DOCUMENTS = 5
CONTEXT_BYTES = 40


class Stored(NamedTuple):
    """What a cache keeps of a document: normalised log-probabilities of all symbols, and the
    bound on the mass that was dropped."""

    log_probs_NS: np.ndarray
    lost_mass_N: np.ndarray


class _Measured(NamedTuple):
    """A document and its figures by symbol, each [N]."""

    document: Document
    by_symbol: dict[str, np.ndarray]


def audit(
    stored: Iterable[Stored], policy: Iterable[Scored], strict: Iterable[Scored], rounding: float
) -> dict[str, Any]:
    """The figures of an audit; the three streams go through the same documents.

    Divergences and entropies are in nats, total variation is between 0 and 1. A storage KL or bits
    per byte that are infinite are None. A total variation exceeds lost_mass if it is larger by more
    than `rounding`. Raises ValueError, naming the document, if the cache has another number of
    symbols for it.
    """
    triples = zip(stored, policy, strict, strict=True)
    measured = [_measure(*triple) for triple in triples if triple[1].document.supervised]
    figures = {
        name: np.concatenate([one.by_symbol[name] for one in measured])
        for name in measured[0].by_symbol
    }
    is_byte, lost_mass = figures["is_byte"], figures["lost_mass"]
    cost = {name: figures[f"cost_{name}"][is_byte] for name in NAMES}
    storage, mean_entropy = figures["storage"].mean(), figures["entropy"].mean()
    exceeded = figures["total_variation_policy"] > lost_mass + rounding
    return {
        "task": "audit",
        "documents": len(measured),
        "symbols": len(is_byte),
        "bytes": int(is_byte.sum()),
        **{
            measure: {name: _spread(figures[f"{measure}_{name}"]) for name in AUDITED}
            for measure in ("jsd", "total_variation")
        },
        "storage": {
            "kl": finite(storage),
            "entropy": float(mean_entropy),
            "share_of_entropy": finite(storage / mean_entropy) if mean_entropy else None,
        },
        "bits_per_byte": {name: finite(cost[name].mean() / math.log(2)) for name in NAMES},
        "true_byte_lost": {name: int((cost[name] > COST_OF_LOST).sum()) for name in NAMES},
        "lost_mass": {
            "mean": float(lost_mass.mean()),
            "max": float(lost_mass.max()),
            "exceeded": float(exceeded.mean()),
            "rounding": rounding,
        },
        "worst": _worst(measured),
    }


def audit_table(result: dict[str, Any]) -> str:
    """The figures of an audit as a few lines for people."""
    lines = [
        f"{'':8}{'JSD mean':>12}{'p99':>12}{'TV mean':>12}{'p99':>12}{'bits/byte':>12}{'lost':>6}"
    ]
    for name in NAMES:
        row = [result[measure].get(name, {}) for measure in ("jsd", "total_variation")]
        cells = [_cell(part.get(which)) for part in row for which in ("mean", "p99")]
        cells.append(_cell(result["bits_per_byte"][name]))
        cells.append(f"{result['true_byte_lost'][name]:>6}")
        lines.append(f"{name:8}" + "".join(cells))
    storage, lost = result["storage"], result["lost_mass"]
    lines += [
        f"storage KL {_cell(storage['kl']).strip()} nats of an entropy of {storage['entropy']:.4f}",
        f"lost mass {lost['mean']:.2g} (largest {lost['max']:.2g}), exceeded at "
        f"{lost['exceeded']:.2%} of the positions",
    ]
    return "\n".join(lines)


def _measure(stored: Stored, policy: Scored, strict: Scored) -> _Measured:
    document = policy.document
    symbols_N = np.array(supervised_symbols(document.segments))
    if len(stored.log_probs_NS) != len(symbols_N):
        raise ValueError(
            f"document {document.id!r} has {len(symbols_N)} supervised symbols but "
            f"{len(stored.log_probs_NS)} in the byte cache; score the teacher on these documents"
        )
    log_probs = {
        "stored": stored.log_probs_NS,
        "policy": policy.log_probs_NS,
        "strict": strict.log_probs_NS,
    }
    by_symbol = {
        "is_byte": symbols_N != END,
        "storage": measures.kullback_leibler(log_probs["policy"], log_probs["stored"]),
        "entropy": measures.entropy(log_probs["policy"]),
        "lost_mass": stored.lost_mass_N.astype(np.float64),
    }
    for name, of_this in log_probs.items():
        by_symbol[f"cost_{name}"] = -of_this[np.arange(len(symbols_N)), symbols_N]
    for name in AUDITED:
        both = log_probs[name], log_probs["strict"]
        by_symbol[f"jsd_{name}"] = measures.jensen_shannon(*both)
        by_symbol[f"total_variation_{name}"] = measures.total_variation(*both)
    return _Measured(document, by_symbol)


def _worst(measured: Sequence[_Measured]) -> list[dict[str, Any]]:
    """The documents whose stored distributions lie farthest from strict, each with its worst
    place."""
    order = sorted(measured, key=lambda m: m.by_symbol["jsd_stored"].mean(), reverse=True)
    rows = []
    for one in order[:WORST_DOCUMENTS]:
        jsd_N = one.by_symbol["jsd_stored"]
        worst = int(jsd_N.argmax())
        before, symbol = _place(one.document, worst)
        rows.append(
            {
                "id": one.document.id,
                "kind": one.document.kind,
                "jsd": float(jsd_N.mean()),
                "worst_symbol": worst,
                "worst_jsd": float(jsd_N[worst]),
                "before": before,
                "symbol": symbol,
            }
        )
    return rows


def _place(document: Document, symbol: int) -> tuple[str, str]:
    """The text before a supervised symbol and the symbol itself, escaped."""
    symbols = supervised_symbols(document.segments)
    start = max((n + 1 for n in range(symbol) if symbols[n] == END), default=0)
    before = bytes(symbols[max(start, symbol - CONTEXT_BYTES) : symbol])
    true = symbols[symbol]
    return _escaped(before), "END" if true == END else _escaped(bytes([true]))


def _escaped(text: bytes) -> str:
    characters = text.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in characters)


def _spread(values: np.ndarray) -> dict[str, float]:
    mean, p99, most = values.mean(), np.quantile(values, 0.99), values.max()
    return {"mean": float(mean), "p99": float(p99), "max": float(most)}


def _cell(value: float | None) -> str:
    return f"{'-' if value is None else format(value, '.5f'):>12}"
