"""Which of two images is better? What readers answered, against what is known (Kurmukov 2024).

Truth and votes are coded by side: -1 left, +1 right; a vote of 0 is "cannot decide". Coded by correctness instead
(1 correct, 0 undecided, -1 wrong, against a truth that is always 1) a rank correlation does not exist.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slimscan.errors import InputError
from slimscan.metrics.metric import Metric


@dataclass(frozen=True)
class Votes:
    """What pairs of truth and vote say together.

    spearman: rank correlation of truth and vote; NaN when either never changes. mean_score: mean of +1 correct, 0
    undecided, -1 wrong. sign_test_p: P(at least this many correct | correct and wrong equally likely), undecided left
    out, one-sided; 1 when all are undecided.
    """

    n: int
    correct: int
    wrong: int
    undecided: int
    mean_score: float
    spearman: float
    sign_test_p: float


def vote_correlation(truth: ArrayLike, vote: ArrayLike) -> float:
    """Spearman's rank correlation of truth and vote, from -1 to 1; NaN when either never changes, or without pairs.

    truth: the side of the better image, -1 left or +1 right. vote: -1 left, +1 right, 0 cannot decide; the same length.
    Ties share their mean rank. InputError: other codes or lengths. Source: Kurmukov 2024, section 3.1.
    """
    return _spearman(*_coded(truth, vote))


def count_votes(truth: ArrayLike, vote: ArrayLike) -> Votes:
    """Correct, wrong and undecided votes, their mean score, correlation and sign test; arguments as vote_correlation.

    Without pairs the counts are 0, the mean score NaN and p 1. Pairs of one image or one patient are not independent:
    p is then too small. Source: Kurmukov 2024, section 3.1; sign test, Arbuthnot 1710.
    """
    side, answer = _coded(truth, vote)
    score = side * answer
    correct, wrong = int((score > 0).sum()), int((score < 0).sum())
    decided = correct + wrong
    tail = sum(math.comb(decided, k) for k in range(correct, decided + 1))
    return Votes(
        n=len(score),
        correct=correct,
        wrong=wrong,
        undecided=len(score) - decided,
        mean_score=float(score.mean()) if len(score) else math.nan,
        spearman=_spearman(side, answer),
        sign_test_p=tail / 2**decided,
    )


def _coded(truth: ArrayLike, vote: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    side, answer = np.asarray(truth), np.asarray(vote)
    if side.ndim != 1 or side.shape != answer.shape:
        raise InputError(f"truth is {side.shape} and vote is {answer.shape}; give two lists of one length")
    for name, codes, allowed in (("truth", side, (-1, 1)), ("vote", answer, (-1, 0, 1))):
        odd = codes[~np.isin(codes, allowed)]
        if odd.size:
            words = "-1 (left) or 1 (right)" + (", or 0 (cannot decide)" if 0 in allowed else "")
            raise InputError(f"{name} holds {odd[0]}; allowed: {words}: code both by side")
    return side.astype(np.float64), answer.astype(np.float64)


def _spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    rank_a, rank_b = _midranks(a), _midranks(b)
    spread = float(np.sqrt((rank_a**2).sum() * (rank_b**2).sum()))
    return float(rank_a @ rank_b) / spread if spread else math.nan


def _midranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks about their mean; ties share the mean of their ranks."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    upper = np.cumsum(counts)
    return np.asarray((upper - (counts - 1) / 2)[group] - (len(values) + 1) / 2)


METRICS = (
    Metric(
        "vote_correlation", "Rank correlation of votes with the truth", "", "higher", -1.0, 1.0,
        "Spearman's rank correlation, truth and vote coded by side",
        "Kurmukov 2024, section 3.1", vote_correlation, "vote",
    ),
)  # fmt: skip
