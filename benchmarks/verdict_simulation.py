"""Does the verdict keep its word? Monte Carlo of the whole pipeline, rows in, verdict out, with the truth known.

    python benchmarks/verdict_simulation.py [--quick] [--runs 2000] [--workers 2]

Contract everywhere unless said: delta 0.03, B 0.15, pi0 0.10, alpha 0.05, grade A. A level is harmful when the mean of
min(loss, B) is at least delta or when at least pi0 of cases lose more than B. Printed:

1. violations: share of studies in which a harmful level was certified, for nine shapes that sit exactly on the border
   (the hardest place), next to grade B, the paired t test (grade C with a fixed sequence) and the usual "p > 0.05";
2. planted harm: phantoms of vessels whose thin branches a blur removes from one level on, 200 studies;
3. power: how often a harmless level is certified;
4. too few cases: the code, and how many are needed.

Exit status 1 when a violation rate of grade A exceeds alpha + 3 standard errors, when planted harm is certified beyond
that, when the harmless level before it is certified in fewer than 80 % of studies, or when too few cases are not called
so.

The shapes, each with its worst feature for a test of the mean or of the tail:
  gaussian         sd 0.04, mean on the border
  lognormal        skewed: exp(N(0, 1)) scaled so that the capped mean is on the border
  catastrophe      nothing is lost, but one case in ten is lost whole: the tail is on the border, the mean far below
  two_point        0 or exactly B, one in five: the largest variance that the border allows, and no case above B
  heavy_tails      Student t with 1.5 degrees of freedom, shifted: no variance exists
  heteroscedastic  half of the cases never change, half spread widely, as easy and difficult patients do
  correlated       three codecs in a family, the same patient suffers in all: gaussian, correlation 0.9, on the border
  many_zeros       seven in ten lose exactly 0, the others 0.05, 0.10 or 0.15: ties, and a skewed discrete border
  both_borders     one case in ten is lost whole and the rest lose 0.01667: mean and tail on the border at once
A study has four levels: one that is harmless, one on the border, and two that lose twice as much.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage, optimize, special

from slimscan.nouns import Contract
from slimscan.stats import fixed_sequence
from slimscan.study import judge

DELTA, B, PI0, ALPHA = 0.03, 0.15, 0.10, 0.05
LEVELS = (8, 16, 32, 64)
Draw = Callable[[np.random.Generator, int], np.ndarray]
Pairs = list[tuple[str, float]]


def on_the_border(quantile: Callable[[np.ndarray], np.ndarray], scaled: bool = False) -> Draw:
    """Losses with that quantile function, shifted (or scaled) so that E[min(loss, B)] = DELTA to 1e-9."""
    u = (np.arange(400_000) + 0.5) / 400_000
    x = quantile(u)

    def gap(by: float) -> float:
        return float(np.minimum(x * by if scaled else x + by, B).mean()) - DELTA

    by = optimize.brentq(gap, 1e-6 if scaled else -0.5, 0.5, xtol=1e-12)

    def draw(random: np.random.Generator, n: int) -> np.ndarray:
        drawn = quantile(random.random(n))
        return drawn * by if scaled else drawn + by

    return draw


def halves(u: np.ndarray) -> np.ndarray:
    """Half of the mass at 0, half gaussian with sd 0.06 around 0.05."""
    safe = np.clip((u - 0.5) * 2, 1e-9, 1 - 1e-9)
    return np.where(u < 0.5, 0.0, 0.05 + 0.06 * special.ndtri(safe))


def choice(values: Sequence[float], p: Sequence[float]) -> Draw:
    return lambda random, n: random.choice(np.array(values), size=n, p=np.array(p))


@cache
def shapes() -> dict[str, Draw]:
    gaussian = on_the_border(lambda u: 0.04 * special.ndtri(u))
    return {
        "gaussian": gaussian,
        "lognormal": on_the_border(lambda u: np.exp(special.ndtri(u)), scaled=True),
        "catastrophe": choice((0.0, 0.9), (0.9, 0.1)),
        "two_point": choice((0.0, B), (0.8, 0.2)),
        "heavy_tails": on_the_border(lambda u: 0.02 * special.stdtrit(1.5, u)),
        "heteroscedastic": on_the_border(halves),
        "correlated": gaussian,
        "many_zeros": choice((0.0, 0.05, 0.10, 0.15), (0.7, 0.1, 0.1, 0.1)),
        "both_borders": choice((0.015 / 0.9, 0.9), (0.9, 0.1)),
    }


def columns(losses: np.ndarray, codec: str = "codec") -> dict[str, list]:
    """(levels, n) losses as a table for judge; the reference is 0.95 and the value what is left of it."""
    levels, n = losses.shape
    return {
        "case": [f"P{i:04d}" for i in range(n)] * levels,
        "codec": [codec] * (n * levels),
        "level": [level for level in LEVELS[:levels] for _ in range(n)],
        "value": (0.95 - losses).ravel().tolist(),
        "reference": [0.95] * (n * levels),
        "achieved_cr": [float(level) for level in LEVELS[:levels] for _ in range(n)],
    }


@dataclass(frozen=True)
class Violations:
    shape: str
    n: int
    runs: int
    grade_a: float
    grade_b: float
    t_test: float
    naive: float

    @property
    def se(self) -> float:
        return math.sqrt(ALPHA * (1 - ALPHA) / self.runs)


def one_study(random: np.random.Generator, draw: Draw, n: int, codecs: int) -> list[dict[str, list]]:
    """Tables of one study. Level 1 loses a twentieth of a border level; levels 3 and 4 lose twice as much."""
    if codecs == 1:
        border = draw(random, n)
        return [
            columns(np.stack([0.0005 * random.standard_normal(n), border, *(2 * draw(random, n) for _ in range(2))]))
        ]
    # One patient effect for all codecs: correlation 0.9 between any two, each margin as drawn by `gaussian`.
    effect, tables, mean = random.standard_normal(n), [], float(np.mean(draw(np.random.default_rng(0), 10**6)))
    for codec in range(codecs):
        own = random.standard_normal((3, n))
        losses = mean + 0.04 * (math.sqrt(0.9) * effect + math.sqrt(0.1) * own)
        losses[1:] *= 2
        tables.append(columns(np.vstack([0.0005 * random.standard_normal((1, n)), losses]), f"codec{codec}"))
    return tables


def violations(task: tuple[str, int, int, int]) -> Violations:
    shape, n, runs, seed = task
    random, draw = np.random.default_rng([seed, n, len(shape)]), shapes()[shape]
    counts = np.zeros(4, int)
    codecs = 3 if shape == "correlated" else 1
    for _ in range(runs):
        parts = one_study(random, draw, n, codecs)
        table = {name: [value for part in parts for value in part[name]] for name in parts[0]}
        verdict = judge(table, Contract(delta=DELTA, cap=B, pi0=PI0, alpha=ALPHA, bound=None))
        found = np.zeros(4, bool)
        for codec in verdict.codecs.values():
            t = fixed_sequence([level.evidence.p_C for level in codec.levels], codec.alpha).strongest
            found |= [
                any(level.certified_A for level in codec.levels[1:]),
                any(level.certified_B for level in codec.levels[1:]),
                t is not None and t >= 1,
                codec.naive_level is not None and codec.naive_level > LEVELS[0],
            ]
        counts += found
    return Violations(shape, n, runs, *(counts / runs).tolist())


def vessels(random: np.random.Generator, size: int = 48) -> np.ndarray:
    """A mask of some thick branches (5 pixels) and some thin ones (1 pixel) at random places."""
    mask = np.zeros((size, size), bool)
    for _ in range(random.integers(2, 4)):
        start = random.integers(0, size - 5)
        mask[start : start + 5] = True
    thin = random.choice(size, size=random.integers(2, 7), replace=False)
    for column in thin:
        low = random.integers(0, size // 2)
        mask[low : low + random.integers(8, 24), column] = True
    return mask


@cache
def phantoms(cases: int = 400, seed: int = 7) -> np.ndarray:
    """Dice lost at four blurs, (4, cases): a threshold finds the vessels again, but thin ones only below a blur of 0.75."""
    random = np.random.default_rng(seed)
    losses = np.empty((4, cases))
    for case in range(cases):
        truth = vessels(random)
        image = truth + 0.05 * random.standard_normal(truth.shape)
        plain = image > 0.5
        for level, blur in enumerate((0.3, 0.45, 0.9, 1.1)):
            seen = ndimage.gaussian_filter(image, blur) > 0.5
            scores = [2 * np.sum(mask & truth) / (mask.sum() + truth.sum()) for mask in (plain, seen)]
            losses[level, case] = scores[0] - scores[1]
    return losses


def planted(delta: float, cap: float, studies: int, n: int, seed: int) -> tuple[int, int]:
    """(studies that certified a level with planted harm, studies that certified the last harmless one) of repeated studies."""
    random, pool = np.random.default_rng([seed, n]), phantoms()
    wrong = right = 0
    for _ in range(studies):
        picked = pool[:, random.integers(0, pool.shape[1], n)]
        codec = judge(columns(picked), Contract(delta=delta, cap=cap, bound=1.0)).codecs["codec"]
        wrong += codec.level is not None and codec.level >= LEVELS[2]
        right += codec.level == LEVELS[1]
    return wrong, right


def power(task: tuple[float, float, int, int, int]) -> tuple[float, float]:
    """(grade A, grade B) share of studies that certify a level with gaussian losses of that mean and sd."""
    mean, sd, n, runs, seed = task
    random = np.random.default_rng([seed, n, int(mean * 1e4), int(sd * 1e4)])
    counts = np.zeros(2)
    for _ in range(runs):
        codec = judge(columns(random.normal(mean, sd, (1, n))), Contract(delta=DELTA, cap=B)).codecs["codec"]
        counts += [codec.level_A is not None, codec.level_B is not None]
    return counts[0] / runs, counts[1] / runs


def run(runs: int, studies: int, power_runs: int, sizes: Sequence[int], workers: int, seed: int = 1) -> bool:
    """Everything, printed; whether the verdict kept its word."""
    good = True
    jobs = [(shape, n, runs, seed) for n in sizes for shape in shapes()]
    with ProcessPoolExecutor(workers) as pool:
        each = pool.map if workers > 1 else map
        print(f"violations of the contract, {runs} studies each, alpha {ALPHA}")
        print(f"{'shape':16} {'n':>4} {'grade A':>8} {'allowed':>8} {'grade B':>8} {'paired t':>9} {'p > 0.05':>9}")
        for v in each(violations, jobs):
            allowed = ALPHA + 3 * v.se
            good &= v.grade_a <= allowed
            print(
                f"{v.shape:16} {v.n:4} {v.grade_a:8.4f} {allowed:8.4f} {v.grade_b:8.4f} {v.t_test:9.4f} {v.naive:9.4f}"
            )
        capped = np.minimum(phantoms(), B).mean(axis=1)
        print(f"\nplanted harm: mean Dice lost by level {np.round(capped, 4).tolist()}, {studies} studies of 60 cases")
        allowed = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / studies)
        for name, delta in (("delta 0.03", DELTA), ("delta = the harm itself", float(capped[2]))):
            wrong, right = planted(delta, B, studies, 60, seed)
            good &= wrong / studies <= allowed and right / studies >= 0.8
            print(
                f"  {name}: harmful level certified {wrong}/{studies} (allowed {allowed:.3f}), "
                f"last harmless level certified {right}/{studies}"
            )
        means, spreads, ns = (0.0, 0.005, 0.01, 0.015), (0.01, 0.02, 0.04), (29, 40, 60, 100, 200)
        print(f"\npower, {power_runs} studies each: grade A / grade B certify a harmless level")
        print(f"{'mean':>6} {'sd':>5} " + " ".join(f"{f'n={n}':>11}" for n in ns))
        cells = [(mean, sd, n, power_runs, seed) for mean in means for sd in spreads for n in ns]
        found = dict(zip(cells, each(power, cells), strict=True))
        for mean in means:
            for sd in spreads:
                row = [found[mean, sd, n, power_runs, seed] for n in ns]
                print(f"{mean:6.3f} {sd:5.2f} " + " ".join(f"{a:5.2f}/{b:5.2f}" for a, b in row))
    few = judge(columns(np.zeros((1, 10))), Contract(delta=DELTA, cap=B)).codecs["codec"]
    print(f"\n10 cases without any loss: {few.code}, needed {few.needed_n}")
    return good and few.code == "INSUFFICIENT_N" and few.needed_n == 29


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 studies a shape, n = 40 only: about a minute")
    parser.add_argument("--runs", type=int, default=2000, help="studies a shape and n")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    said = parser.parse_args()
    began = time.perf_counter()
    if said.quick:
        good = run(200, 50, 40, (40,), said.workers)
    else:
        good = run(said.runs, 200, 400, (30, 100), said.workers)
    print(f"\n{'kept its word' if good else 'BROKE ITS WORD'} in {time.perf_counter() - began:.0f} s")
    sys.exit(not good)


if __name__ == "__main__":
    main()
