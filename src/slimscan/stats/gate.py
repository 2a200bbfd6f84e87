"""The gate for one new file: is its proxy good enough to trust the certified level? (STATISTICS section 5)"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from slimscan.errors import InputError
from slimscan.stats.values import Floats, no_truth, rate, same_length, sample

EPSILON = 1e-12


@dataclass(frozen=True, slots=True)
class Gate:
    """Accept a file iff its proxy lies in low..high of the calibration and below tau.

    kind: "crc" bounds E[harm x accepted] by alpha, which is not P(harm | accepted); "selective" bounds
    P(harm | accepted) by alpha with confidence 1 - level. accepted, harm: calibration cases below tau, and the sum of
    their harm.
    """

    kind: str
    tau: float
    alpha: float
    level: float
    n: int
    low: float
    high: float
    accepted: int
    harm: float

    __bool__ = no_truth

    def decision(self, proxy: float) -> str:
        """ "ACCEPT", "REJECT", or "OUT_OF_RANGE" (rejected because calibration never saw such a file; NaN too)."""
        if not self.low <= proxy <= self.high:
            return "OUT_OF_RANGE"
        return "ACCEPT" if proxy < self.tau else "REJECT"


def _pairs(proxy: ArrayLike, harm: ArrayLike) -> tuple[Floats, Floats]:
    g, h = sample(proxy, "proxy"), sample(harm, "harm")
    same_length(g, h, "proxy and harm")
    if h.size and not (h.min() >= 0.0 and h.max() <= 1.0):
        bad = float(h[(h < 0.0) | (h > 1.0)][0])
        raise InputError(f"harm {bad:g} is outside 0..1; use min(max(loss, 0), B)/B or 0/1")
    return g, h


def _largest(edges: Floats, allowed: NDArray[np.bool_]) -> float:
    """The largest tau, given whether everything up to each edge may be accepted: the first edge that must stay out."""
    first = int(np.argmin(allowed)) if not allowed.all() else len(allowed)
    return float(edges[first]) if first < len(edges) else math.inf


def gate_threshold(proxy: ArrayLike, harm: ArrayLike, alpha: float) -> float:
    """Conformal risk control (Angelopoulos et al. 2022): largest tau with (sum_{proxy<tau} harm + 1)/(n + 1) <= alpha.

    proxy: (n,) badness, one patient a row, fixed before calibration. harm: (n,) in 0..1. Accept a new file iff
    proxy < tau, then E[harm x accepted] <= alpha, on average over calibrations. inf: every calibration case may be
    accepted. -inf: none, because n < 1/alpha - 1 or the data forbid it. InputError for NaN, other lengths, harm outside
    0..1.
    """
    g, h = _pairs(proxy, harm)
    rate(alpha, "alpha")
    room = alpha * (g.size + 1) - 1.0 + EPSILON * (g.size + 1)
    if room < 0.0:
        return -math.inf
    edges, inverse = np.unique(g, return_inverse=True)
    sums = np.cumsum(np.bincount(inverse, weights=h, minlength=edges.size))
    tau = _largest(edges, sums <= room)
    return -math.inf if edges.size and tau == edges[0] else tau


def gate_threshold_levels(proxy: ArrayLike, harm: ArrayLike, alpha: float) -> float:
    """The same for the policy "strongest level with proxy < tau": proxy and harm (n, levels), mildest level first.

    The harm of that policy need not grow with tau, so its running maximum over smaller tau is controlled. A case with
    no level below tau falls back to lossless, harm 0. Returns as `gate_threshold`.
    """
    g, h = np.asarray(proxy, dtype=np.float64), np.asarray(harm, dtype=np.float64)
    if g.ndim != 2 or g.shape != h.shape:
        raise InputError(f"proxy and harm: want the same (cases, levels) shape, got {g.shape} and {h.shape}")
    _pairs(g.ravel(), h.ravel())
    rate(alpha, "alpha")
    n = len(g)
    if alpha * (n + 1) - 1.0 + EPSILON * (n + 1) < 0.0:
        return -math.inf
    edges = np.unique(g)
    sums = []
    for edge in edges:
        accepted = g <= edge
        strongest = g.shape[1] - 1 - np.argmax(accepted[:, ::-1], axis=1)
        sums.append(float(np.where(accepted.any(axis=1), h[np.arange(n), strongest], 0.0).sum()))
    risk = (np.maximum.accumulate(np.array(sums)) + 1.0) / (n + 1) if sums else np.empty(0)
    tau = _largest(edges, risk <= alpha + EPSILON)
    return -math.inf if edges.size and tau == edges[0] else tau


def _gate(kind: str, tau: float, alpha: float, level: float, g: Floats, h: Floats) -> Gate:
    if g.size == 0:
        raise InputError("proxy: empty; a gate needs calibration cases, one patient a row")
    kept = g < tau
    return Gate(
        kind, tau, alpha, level, int(g.size), float(g.min()), float(g.max()), int(kept.sum()), float(h[kept].sum())
    )


def crc_gate(proxy: ArrayLike, harm: ArrayLike, alpha: float) -> Gate:
    """`gate_threshold` with the range that it was calibrated on. InputError for no calibration cases."""
    g, h = _pairs(proxy, harm)
    return _gate("crc", gate_threshold(g, h, alpha), alpha, 0.0, g, h)


def selective_gate(proxy: ArrayLike, harm: ArrayLike, alpha: float, taus: Sequence[float], level: float = 0.10) -> Gate:
    """Learn then Test on a grid fixed beforehand: P( P(harm | accepted) > alpha ) <= level. For reading it per file.

    harm: 0 or 1. taus: ascending; p_j = P(Bin(n_j, alpha) <= k_j) with n_j accepted, k_j harmful, fixed sequence at
    `level`; tau = the last certified, -inf when the first fails. The first must accept n >= ln level / ln(1 - alpha)
    cases to have a chance. InputError for harm other than 0/1 or a grid that does not ascend.
    """
    g, h = _pairs(proxy, harm)
    rate(alpha, "alpha")
    rate(level, "level")
    if not np.isin(h, (0.0, 1.0)).all():
        raise InputError("harm: the selective gate counts harmed files; want 0 or 1, for example loss > delta")
    grid = [float(tau) for tau in taus]
    if not grid or any(not a < b for a, b in itertools.pairwise(grid)):
        raise InputError(f"taus {grid}: want an ascending grid that was fixed before calibration")
    best = -math.inf
    for tau in grid:
        kept = g < tau
        if not kept.any() or float(special.bdtr(float(h[kept].sum()), int(kept.sum()), alpha)) > level:
            break
        best = tau
    return _gate("selective", best, alpha, level, g, h)
