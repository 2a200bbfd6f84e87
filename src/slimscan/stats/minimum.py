"""How few cases can never be enough, whatever they show."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from slimscan.errors import InputError
from slimscan.stats.betting import betting_p
from slimscan.stats.values import positive, rate


def minimum_n(delta: float, bound: float, alpha: float = 0.05) -> int:
    """ceil(ln alpha / ln(1 - delta/bound)): below it no valid test can certify E[loss] < delta of a loss in 0..bound.

    A total failure with probability delta/bound stays unseen with probability (1 - delta/bound)^n (Bahadur & Savage
    1956 is the unbounded case). delta 0.03, bound 1: 99 cases. InputError unless 0 < delta < bound.
    """
    if not 0.0 < delta < bound:
        raise InputError(f"delta {delta:g} is outside 0..{bound:g} (the bound of the loss); a margin lies inside")
    return math.ceil(math.log(rate(alpha, "alpha")) / math.log1p(-delta / bound) - 1e-9)


def minimum_n_tail(pi0: float, alpha: float = 0.05) -> int:
    """ceil(ln alpha / ln(1 - pi0)): cases without any large loss that the tail test needs. 29 at 10 %, 59 at 5 %."""
    return math.ceil(math.log(rate(alpha, "alpha")) / math.log1p(-rate(pi0, "pi0")) - 1e-9)


@lru_cache(maxsize=256)
def minimum_n_betting(delta: float, cap: float, alpha: float = 0.05, level: float | None = None) -> int:
    """Smallest n at which the betting test certifies when every loss is 0; 15 for cap = 5 delta (its floor is 14).

    Negative losses could pass earlier; for a study that plans on harmless, not on better images, this is the least.
    level: what p must reach when that is a share of the family's alpha, which tunes the bets. InputError unless
    0 < delta < cap.
    """
    wanted = rate(alpha if level is None else level, "level")
    n = minimum_n(delta, positive(cap, "cap"), wanted)  # no bet on losses of 0 grows faster than 1 / (1 - delta/cap)
    while betting_p(np.zeros(n), delta, cap, alpha) > wanted:
        n += 1
    return n


def minimum_n_contrast(alpha: float = 0.05) -> int:
    """ceil(ln alpha / ln(1/2)): the floor of the betting test of a contrast, whose null mean is 1/2; 5 at 0.05."""
    return math.ceil(math.log(rate(alpha, "alpha")) / math.log(0.5) - 1e-9)
