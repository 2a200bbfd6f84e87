"""Kurmukov 2024 on a page: few originals against all images compressed, at about the same stored bytes (e)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from slimscan.report.experiments_block import Block, interval, within
from slimscan.report.experiments_elkhoury import Section, absent
from slimscan.report.experiments_figures import bytes_drawn
from slimscan.report.experiments_kurmukov import plain, whole_mean
from slimscan.report.experiments_read import EXPERIMENTS, MEAN, Found, Training
from slimscan.report.experiments_stats import Estimate, decided, paired
from slimscan.report.numbers import plural
from slimscan.study.recipes.kurmukov2024_paper import EVEN, SAID


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
        points = _stored(found, network, [*shots, *(one for one in whole if one.kind == "clean")])
        packed = _stored(found, network, [one for one in whole if one.kind == "compressed"])
        if not points or not packed:
            out.append(
                Block(
                    "absent",
                    f"{title}: the stored bytes of the training images, or one of the two sides, are missing; nothing to compare at equal bytes.",
                )
            )
            continue
        groups = [
            ("a share of the originals, tested on originals", [(f"{100 * one.share:g} %", size, whole_mean(found, network, one.text, 1.0)) for one, size in points]),
            ("all images compressed, tested at the same ratio", [(f"{one.ratio:g}:1", size, whole_mean(found, network, one.text, one.ratio)) for one, size in packed]),
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


def _stored(found: Found, network: str, trainings: Sequence[Training]) -> list[tuple[Training, float]]:
    """Trainings with the bytes that their images take, least first; those without bytes or scores are left out."""
    sizes = [
        (one, _bytes(found, network, one.text)) for one in trainings if found.scores(network, one.text, one.ratio, MEAN)
    ]
    return sorted(((one, size) for one, size in sizes if size > 0), key=lambda pair: pair[1])


def _bytes(found: Found, network: str, trained: str) -> float:
    """Stored bytes of the training images, mean over folds; NaN when no row says it."""
    by = {
        row.get("fold", ""): row.get("train_bytes")
        for row in found.rows
        if row["network"] == network and row["trained"] == trained
    }
    values = [float(text) for text in by.values() if text]
    return float(np.mean(values)) if values else math.nan


def _equal(
    found: Found,
    network: str,
    title: str,
    points: Sequence[tuple[Training, float]],
    packed: Sequence[tuple[Training, float]],
) -> tuple[Block, Block]:
    """Each compressed training beside the share of originals whose bytes come nearest, patients paired."""
    rows, gaps = [], []
    for one, size in packed:
        other, room = min(points, key=lambda point: abs(math.log(point[1] / size)))
        few = found.scores(network, other.text, 1.0, MEAN)
        own = paired(found.scores(network, one.text, one.ratio, MEAN), few)
        clean = paired(found.scores(network, one.text, 1.0, MEAN), few)
        share = "all" if other.kind == "clean" else f"{100 * other.share:g} %"
        gaps.append((one, share, size, room, own))
        rows.append([f"{one.ratio:g}:1", f"{size / 1e6:.3g}", f"{share} of the originals", f"{room / 1e6:.3g}", within(own, signed=True), within(clean, signed=True)])  # fmt: skip
    caption = (
        f"{title}: at about equal bytes. Each compressed training beside the share of originals nearest in bytes: DSC of the first, "
        "tested at its ratio or on originals, less that of the second, tested on originals; the same patients, with [95 % intervals]."
    )
    head = ("all images at", "MB", "beside", "MB", "tested at its ratio", "tested on originals")
    one, share, size, room, own = min(gaps, key=lambda gap: abs(math.log(gap[0].ratio / EVEN)))
    unequal = (
        "" if 0.9 < room / size < 1.1 else f" Bytes are not equal: the originals take {room / size:.2g} times as many."
    )
    claim = (
        f"{title}: all images at {one.ratio:g}:1 ({size / 1e6:.3g} MB) teach more than {share} of the originals "
        f"({room / 1e6:.3g} MB). Tested at its ratio the first is {plain(own.mean)} DSC above the second on originals "
        f"({interval(own)}, {plural(own.n, 'patient')}).{unequal} The paper says so at {EVEN:g}:1."
    )
    return Block("table", caption, head, rows), Block("finding", claim, code=decided(own))
