"""Kurmukov 2024 on a page: the whole train x test matrix (d), and few originals against all images compressed (e)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from slimscan.report.experiments_block import Block, Series, interval, organs, tolerance_table, within
from slimscan.report.experiments_elkhoury import Section, absent
from slimscan.report.experiments_figures import bytes_drawn, curves_drawn, matrix_drawn
from slimscan.report.experiments_read import EXPERIMENTS, MEAN, Found, Training
from slimscan.report.experiments_stats import Estimate, mean, paired
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
        values = np.array([[_mean(found, network, one.text, ratio).mean for ratio in tested] for one in trained])
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
                    [name, *(within(_mean(found, network, one.text, ratio)) for ratio in tested)]
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


def few(found: Found) -> Section:
    """Experiment (e)."""
    out, top = [Block("h2", f"(e) {EXPERIMENTS['e'].capitalize()}", key="e")], []
    some = False
    for network in found.networks:
        shots = found.trainings(network, "few")
        if not shots:
            continue
        some = True
        title = found.title(network)
        whole = [*found.trainings(network, "clean"), *found.trainings(network, "compressed")]
        points = [
            (one, size, 1.0)
            for one in shots + [one for one in whole if one.kind == "clean"]
            if math.isfinite(size := _bytes(found, network, one.text)) and found.scores(network, one.text, 1.0, MEAN)
        ]
        packed = [
            (one, size, one.ratio)
            for one in whole
            if one.kind == "compressed"
            and math.isfinite(size := _bytes(found, network, one.text))
            and found.scores(network, one.text, one.ratio, MEAN)
        ]
        if not points or not packed:
            out.append(
                Block(
                    "absent",
                    f"{title}: the stored bytes of the training images, or one of the two sides, are missing; nothing to compare at equal bytes.",
                )
            )
            continue
        points.sort(key=lambda point: point[1])
        packed.sort(key=lambda point: point[1])
        groups = [
            ("a share of the originals, tested on originals", [(f"{100 * one.share:g} %", size, _mean(found, network, one.text, 1.0)) for one, size, _ in points]),
            ("all images compressed, tested at the same ratio", [(f"{one.ratio:g}:1", size, _mean(found, network, one.text, one.ratio)) for one, size, _ in packed]),
        ]  # fmt: skip
        out.append(
            Block(
                "figure",
                f"{title}: mean DSC against the bytes that the training images take (Fig. 2, right), with 95 % intervals over patients.",
                key=f"e-{network}",
                draw=partial(bytes_drawn, groups=groups),
                height=4.3,
            )
        )
        out.append(
            Block(
                "table",
                f"{title}: the numbers of the figure.",
                ("training images", "stored, MB", "mean DSC"),
                [
                    [label, f"{size / 1e6:.3g}", within(one)]
                    for kind, group in groups
                    for label, size, one in _named(kind, group)
                ],
            )
        )
        table, claim = _equal(found, network, title, points, packed)
        out += [table, claim]
        top.append(claim)
    if not some:
        return absent("e", "Not run: no network was trained on a share of the originals.")
    return [*out, Block("p", f"In the paper: {SAID['few']}")], top


def _named(kind: str, group: Sequence[tuple[str, float, Estimate]]) -> list[tuple[str, float, Estimate]]:
    return [
        (f"{label} of the originals" if kind.startswith("a share") else f"all at {label}", size, one)
        for label, size, one in group
    ]


def _mean(found: Found, network: str, trained: str, ratio: float) -> Estimate:
    return mean(list(found.scores(network, trained, ratio, MEAN).values()))


def _bytes(found: Found, network: str, trained: str) -> float:
    """Stored bytes of the training images, mean over folds; NaN when no row says it."""
    by = {
        row.get("fold", ""): row.get("train_bytes")
        for row in found.rows
        if row["network"] == network and row["trained"] == trained
    }
    values = [float(text) for text in by.values() if text]
    return float(np.mean(values)) if values else math.nan


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
        code = (
            "not decided"
            if not lost.known
            else "confirmed"
            if lost.high < ACCEPT
            else "denied"
            if lost.low > ACCEPT
            else "not decided"
        )
        claims.append(
            Block(
                "finding",
                f'{title}: {claim.format(ratio)}. Mean DSC falls by {_plain(lost.mean)} ({interval(lost)}, {plural(lost.n, "patient")}); "nothing" is taken as less than {ACCEPT:g}, as the paper names no margin.',
                code=code,
            )
        )
    return claims


def _plain(value: float) -> str:
    return f"{value:.3f}".replace("-", MINUS)


def _equal(
    found: Found,
    network: str,
    title: str,
    points: Sequence[tuple[Training, float, float]],
    packed: Sequence[tuple[Training, float, float]],
) -> tuple[Block, Block]:
    """Each compressed training beside the share of originals whose bytes come nearest, patients paired."""
    rows, gaps = [], []
    for one, size, ratio in packed:
        other, room, _ = min(points, key=lambda point: abs(math.log(point[1] / size)))
        gap = paired(found.scores(network, one.text, ratio, MEAN), found.scores(network, other.text, 1.0, MEAN))
        share = "all" if other.kind == "clean" else f"{100 * other.share:g} %"
        gaps.append((abs(math.log(ratio / EVEN)), one, share, size, room, gap))
        rows.append(
            [
                f"{one.ratio:g}:1",
                f"{size / 1e6:.3g}",
                f"{share} of the originals",
                f"{room / 1e6:.3g}",
                within(gap, signed=True),
            ]
        )
    table = Block("table", f"{title}: at about equal bytes. Each compressed training beside the share of originals nearest in bytes: DSC of the first (tested at its ratio) less that of the second (tested on originals), the same patients, with [95 % intervals].", ("all images at", "MB", "beside", "MB", "difference"), rows)  # fmt: skip
    _, one, share, size, room, gap = min(gaps, key=lambda found_gap: found_gap[0])
    code = (
        "not decided" if not gap.known else "confirmed" if gap.low > 0 else "denied" if gap.high < 0 else "not decided"
    )
    claim = Block("finding", f"{title}: all images at {one.ratio:g}:1 ({size / 1e6:.3g} MB) teach more than {share} of the originals ({room / 1e6:.3g} MB). The difference is {_plain(gap.mean)} DSC ({interval(gap)}, {plural(gap.n, 'patient')}). The paper says so at {EVEN:g}:1.", code=code)  # fmt: skip
    return table, claim


def _beside() -> list[Block]:
    amos = [[name, *(f"{value:.2f}" for value in row)] for name, row in AMOS.items()]
    clean = [[name, *(f"{value:.3f}" for value in row)] for name, row in CLEAN.items()]
    return [
        Block("h3", "What the paper has"),
        Block("table", "Kurmukov 2024, Table 1: AMOS, nnU-Net, mean Dice over 3 folds, trained and tested at the same rate; as printed.", ("compression rate", *(f"{rate:g}" for rate in RATES)), amos, marked=range(len(amos))),
        Block("table", "Kurmukov 2024, Table 2: trained on originals, tested at each rate, AMOS.", ("compression rate", *(f"{rate:g}" for rate in CLEAN_RATES)), clean, marked=range(len(clean))),
        Block("p", f"{SAID['diagonal']} {SAID['matrix']} Its figures print no numbers."),
    ]  # fmt: skip
