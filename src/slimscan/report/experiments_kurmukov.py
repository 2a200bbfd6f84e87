"""Kurmukov 2024 on a page: the whole train x test matrix (d)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from slimscan.report.experiments_block import Block, Series, interval, organs, tolerance_table, within
from slimscan.report.experiments_elkhoury import Section, absent
from slimscan.report.experiments_figures import curves_drawn, matrix_drawn
from slimscan.report.experiments_read import EXPERIMENTS, MEAN, Found, Training
from slimscan.report.experiments_stats import BAR, Estimate, mean, paired
from slimscan.report.numbers import DASH, MINUS, plural
from slimscan.study.recipes.kurmukov2024_paper import AMOS, CLEAN, CLEAN_RATES, EVEN, RATES, SAID

ACCEPT = 0.01
"""DSC. "No negative impact" is a claim of equality: it is confirmed when the whole interval of the loss lies below this. The
paper names no margin; its own average falls by 0.01, from 0.87 to 0.86, where it speaks of none.
"""


def matrix(found: Found) -> Section:
    """Experiment (d)."""
    out, top = [Block("h2", f"(d) {EXPERIMENTS['d'].capitalize()}", key="d")], []
    some = False
    for network in found.networks:
        trained = [*found.trainings(network, "clean"), *found.trainings(network, "compressed")]
        if not any(one.kind == "compressed" for one in trained):
            continue
        some = True
        title = found.title(network)
        tested = sorted({ratio for one in trained for ratio in found.ratios(network, one.text)})
        values = np.array([[whole_mean(found, network, one.text, ratio).mean for ratio in tested] for one in trained])
        names = ([f"{one.ratio:g}:1" for one in trained], [f"{ratio:g}:1" for ratio in tested])
        gaps = int(np.isnan(values).sum())
        hole = (
            f" {plural(gaps, 'cell')} of {values.size} {'was' if gaps == 1 else 'were'} not run and {'is' if gaps == 1 else 'are'} empty."
            if gaps
            else ""
        )
        out += [
            Block(
                "figure",
                f"{title}: mean DSC over classes and patients of networks trained at one ratio (rows) and tested at another (columns), as Fig. 3 of the paper; framed: trained and tested at the same.{hole}",
                key=f"d-{network}-matrix",
                draw=partial(matrix_drawn, trained=names[0], tested=names[1], values=values),
                height=1.3 + 0.45 * len(trained),
            ),
            Block(
                "table",
                f"{title}: the numbers of the figure with [95 % intervals over patients].",
                ("trained", *names[1]),
                [
                    [name, *(within(whole_mean(found, network, one.text, ratio)) for ratio in tested)]
                    for name, one in zip(names[0], trained, strict=True)
                ],
            ),
        ]
        series = _lines(found, network, trained, tested)
        out.append(
            Block(
                "figure",
                f"{title}: the diagonal (Fig. 2, left) and the network trained on originals (Table 2), with 95 % intervals over patients. Dashed: 0.7; rings: tolerances; dotted: the certified ratio.",
                key=f"d-{network}-curves",
                draw=partial(curves_drawn, found=found, series=series),
                height=4.3,
            )
        )
        out += [_by_class(found, series[0], title), tolerance_table(found, series[:2])]
        claims = _even(found, network, trained)
        out += claims
        top += claims
    if not some:
        return absent("d", "Not run: no network was trained on compressed images from the start.")
    return [*out, *_beside()], top


def whole_mean(found: Found, network: str, trained: str, ratio: float) -> Estimate:
    """Mean over classes and patients of one cell."""
    return mean(list(found.scores(network, trained, ratio, MEAN).values()))


def _lines(found: Found, network: str, trained: Sequence[Training], tested: Sequence[float]) -> list[Series]:
    at = {one.ratio: one.text for one in trained}
    both = tuple(ratio for ratio in tested if ratio in at)
    out = [Series("trained and tested at the ratio", network, at.get, both, "each")]
    if 1.0 in at:
        out.append(Series("trained on originals", network, lambda _ratio: "1", tuple(found.ratios(network, "1")), "1"))
    return out


def _by_class(found: Found, diagonal: Series, title: str) -> Block:
    """The layout of Table 1."""
    rows = []
    for name in organs(found):
        means = diagonal.means(found, name)
        rows.append(
            [
                "average" if name == MEAN else name,
                *(within(means[ratio]) if ratio in means else DASH for ratio in diagonal.ratios),
            ]
        )
    return Block(
        "table",
        f"{title}: mean DSC by class, trained and tested at the same ratio (the paper's Table 1), with [95 % intervals over patients].",
        ("compression ratio", *(f"{ratio:g}" for ratio in diagonal.ratios)),
        rows,
    )


def _even(found: Found, network: str, trained: Sequence[Training]) -> list[Block]:
    """Is nothing lost at the highest ratio up to 20: on the diagonal, clean on compressed, and the other way."""
    title = found.title(network)
    base = found.scores(network, "1", 1.0, MEAN)
    if not base:
        return [Block("absent", f"{title}: not trained and tested on originals, so losses are not defined.")]
    at = {one.ratio: one.text for one in trained}
    claims = []
    for claim, pairs in (
        ("trained and tested at {0:g}:1, nothing is lost", [(text, ratio, ratio) for ratio, text in at.items()]),
        ("trained on originals and tested at {0:g}:1, nothing is lost", [("1", ratio, ratio) for ratio in found.ratios(network, "1")]),
        ("trained at {0:g}:1 and tested on originals, nothing is lost", [(text, ratio, 1.0) for ratio, text in at.items()]),
    ):  # fmt: skip
        fits = [one for one in pairs if 1 < one[1] <= EVEN and found.scores(network, one[0], one[2], MEAN)]
        if not fits:
            claims.append(
                Block("finding", f"{title}: {claim.format(EVEN)}: no ratio up to it was run.", code="not decided")
            )
            continue
        text, ratio, tested = max(fits, key=lambda one: one[1])
        lost = paired(base, found.scores(network, text, tested, MEAN))
        works = not mean(list(base.values())).mean < BAR
        sure = lost.known and works
        code = "confirmed" if sure and lost.high < ACCEPT else "denied" if sure and lost.low > ACCEPT else "not decided"
        text = (
            f"{title}: {claim.format(ratio)}. Mean DSC falls by {plain(lost.mean)} ({interval(lost)}, {plural(lost.n, 'patient')}); "
            f'"nothing" is taken as less than {ACCEPT:g}, as the paper names no margin.'
        )
        poor = "" if works else f" The network is below {BAR:g} before: it has little to lose."
        claims.append(Block("finding", text + poor, code=code))
    return claims


def plain(value: float) -> str:
    """Three places and a real minus."""
    return f"{value:.3f}".replace("-", MINUS)


def _beside() -> list[Block]:
    amos = [[name, *(f"{value:.2f}" for value in row)] for name, row in AMOS.items()]
    clean = [[name, *(f"{value:.3f}" for value in row)] for name, row in CLEAN.items()]
    return [
        Block("h3", "What the paper has"),
        Block("table", "Kurmukov 2024, Table 1: AMOS, nnU-Net, mean Dice over 3 folds, trained and tested at the same rate; as printed.", ("compression rate", *(f"{rate:g}" for rate in RATES)), amos, marked=range(len(amos))),
        Block("table", "Kurmukov 2024, Table 2: trained on originals, tested at each rate, AMOS.", ("compression rate", *(f"{rate:g}" for rate in CLEAN_RATES)), clean, marked=range(len(clean))),
        Block("p", f"{SAID['diagonal']} {SAID['matrix']} Its figures print no numbers."),
    ]  # fmt: skip
