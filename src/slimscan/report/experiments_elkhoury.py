"""El Khoury 2021 on a page: 2D against 3D (a), fine-tuned against clean (b), one ratio to train at (c)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from slimscan.report.experiments_block import Block, Series, fixed, organs, score_table, times, tolerance_table, within
from slimscan.report.experiments_claims import (
    gain_table,
    gains,
    held,
    loses_less,
    price,
    robust_table,
    tolerates,
    which,
    whole,
)
from slimscan.report.experiments_figures import curves_drawn
from slimscan.report.experiments_read import EXPERIMENTS, Found
from slimscan.report.experiments_stats import mean
from slimscan.study.recipes.elkhoury2021_paper import DOUBLED, RATIOS, ROBUSTER, TOLD, tables

Section = tuple[list[Block], list[Block]]
"""Blocks of a section, and the findings that the top of the page repeats."""


def absent(letter: str, why: str) -> Section:
    """A section that has nothing to show."""
    return [Block("h2", f"({letter}) {EXPERIMENTS[letter].capitalize()}", key=letter), Block("absent", why)], []


def two_and_three(found: Found) -> Section:
    """Experiment (a)."""
    series = [
        fixed(found, network, "1", found.title(network)) for network in found.networks if found.ratios(network, "1")
    ]
    if not series:
        return absent("a", "Not run: no network was trained on originals.")
    out = [Block("h2", f"(a) {EXPERIMENTS['a'].capitalize()}", key="a")]
    out += _scores(found, series, "a", "Trained on originals, tested at every ratio")
    top: list[Block] = []
    flat = [one for one in series if found.dims(one.network) == "2D"]
    deep = [one for one in series if found.dims(one.network) == "3D"]
    if not flat or not deep:
        out.append(Block("absent", "2D against 3D: not decided, because only one of them was trained."))
    for three in deep:
        for two in flat:
            # "3D" and "2D" as long as that says which.
            names = ("3D", "2D") if len(flat) == len(deep) == 1 else (three.label, two.label)
            out.append(robust_table(found, three, two))
            claims = [
                loses_less(found, three, two, f"{names[0]} loses less than {names[1]}"),
                tolerates(found, three, two, f"{names[0]} tolerates more than {names[1]}", ROBUSTER),
            ]
            out += claims
            top += claims
    return [*out, *_beside("a")], top


def tuned(found: Found) -> Section:
    """Experiment (b)."""
    out, top = [Block("h2", f"(b) {EXPERIMENTS['b'].capitalize()}", key="b")], []
    any_tuned = False
    for network in found.networks:
        trainings = found.trainings(network, "tuned")
        at = {one.ratio: one.text for one in trainings if one.ratio in found.ratios(network, one.text)}
        if not at:
            continue
        any_tuned = True
        title = found.title(network)
        clean = fixed(found, network, "1", f"{title}, clean")
        if not clean.ratios:
            out.append(
                Block("absent", f"{title}: fine-tuned, but never tested as it was before; nothing to compare with.")
            )
            continue
        # As in the paper, a network "fine-tuned at 1:1" is the clean one.
        names = {1.0: "1"} | at if 1.0 in clean.ratios else at
        fine = Series(f"{title}, fine-tuned", network, names.get, tuple(sorted(names)), "1+each")
        out += _scores(
            found, [fine, clean], f"b-{network}", f"{title} fine-tuned at each ratio, and clean, tested at that ratio"
        )
        both = tuple(ratio for ratio in sorted(at) if ratio in clean.ratios)
        if not both:
            out.append(Block("absent", f"{title}: no ratio at which both were tested."))
            continue
        out.append(gain_table(found, fine, clean, both))
        claims = [
            gains(found, fine, clean, both),
            tolerates(found, fine, clean, f"{title}: fine-tuning raises the tolerance", None),
        ]
        flat = next((one for one in found.networks if found.dims(one) == "2D" and found.ratios(one, "1")), None)
        if flat is not None and found.dims(network) == "3D":
            two = fixed(found, flat, "1", found.title(flat))
            claims.append(
                tolerates(found, fine, two, f"{title}, fine-tuned, tolerates more than {found.title(flat)}", DOUBLED)
            )
        out += claims
        top += claims
    if not any_tuned:
        return absent("b", "Not run: no network was fine-tuned and tested at its own ratio.")
    return [*out, *_beside("b")], top


def one_ratio(found: Found) -> Section:
    """Experiment (c)."""
    out, top = [Block("h2", f"(c) {EXPERIMENTS['c'].capitalize()}", key="c")], []
    some = False
    for network in found.networks:
        all_ratios = [one for one in found.trainings(network, "tuned") if len(found.ratios(network, one.text)) > 1]
        if not all_ratios:
            continue
        some = True
        title = found.title(network)
        series = [fixed(found, network, one.text, f"{title}, {one.said}") for one in all_ratios]
        clean = [fixed(found, network, "1", f"{title}, clean")] if found.ratios(network, "1") else []
        out += _scores(found, [*clean, *series], f"c-{network}", f"{title} fine-tuned at one ratio, tested at all")
        rows = []
        for one, line in zip(all_ratios, series, strict=True):
            holds = held(found, line)
            rows.append(
                [
                    one.said,
                    times(holds) if holds else "not even the least",
                    "yes" if holds and holds >= one.ratio else "no",
                    within(mean(list(whole(found, line).values()))),
                ]
            )
        out.append(
            Block(
                "table",
                "Which ratio to train at. Holds up to: every class has a mean DSC of at least 0.7 there and at every lower ratio tested. Flexible, the paper's rule: it holds at the ratio that it was trained at and all below.",
                ("training", "holds up to", "flexible", "mean DSC over all ratios tested"),
                rows,
            )
        )
        claims = [which(found, title, all_ratios, series)]
        if clean and 1.0 in clean[0].ratios and 1.0 in series[-1].ratios:
            claims.append(price(found, clean[0], series[-1]))
        out += claims
        top += claims
    if not some:
        return absent("c", "Not run: no network was fine-tuned at one ratio and tested at several.")
    return [*out, *_beside("c")], top


def _scores(found: Found, series: Sequence[Series], key: str, title: str) -> list[Block]:
    """Curves, tables a class, tolerances."""
    out = [
        Block(
            "figure",
            f"{title}: mean DSC with 95 % intervals over patients. Dashed: 0.7, the paper's bar; a ring is the tolerance, the highest ratio tested at or above it; a dotted line is the certified ratio of the network in its colour.",
            key=f"{key}-curves",
            draw=partial(curves_drawn, found=found, series=series),
            height=4.3,
        ),
    ]
    out.append(
        Block(
            "p",
            "Below, mean ± deviation over patients, in brackets how many where some are missing: SMBD leaves out patients with an "
            "empty mask, which flatters it where much is lost, while the DSC counts what was missed as 0.",
        )
    )
    for name in organs(found):
        out += [Block("h3", name), *score_table(found, series, name)]
    return [*out, tolerance_table(found, series)]


def _beside(letter: str) -> list[Block]:
    """The paper's own tables of an experiment, and its tolerances."""
    out = [Block("h3", "What the paper has")]
    for table in tables(letter):
        names = [(metric, row) for metric, row in table.rows]
        rows = [
            [
                f"{metric}{', mm' if metric == 'SMBD' else ''}, {row}",
                *(f"{middle:.{3 if middle < 10 else 2}f} ± {sd:.3f}" for middle, sd in table.rows[metric, row]),
            ]
            for metric, row in names
        ]
        out.append(
            Block(
                "table",
                f"{table.organ}, {table.source}: mean ± deviation over 14 CTs or 11 CBCTs.",
                ("", *map(times, RATIOS)),
                rows,
                marked=range(len(rows)),
            )
        )
    rows = [
        [table.organ, row, times(TOLD.get((table.organ, row))), times(table.tolerance(row))]
        for table in tables(letter)
        for metric, row in table.rows
        if metric == "DSC"
    ]
    caption, head = (
        "Its tolerances: the highest ratio with a mean DSC of at least 0.7",
        ("organ", "network", "text", "tables"),
    )
    if letter == "c":  # the text gives none of these
        out.append(Block("table", f"{caption}, as its tables give.", (*head[:2], head[3]), [[*row[:2], row[3]] for row in rows], 2, marked=range(len(rows))))  # fmt: skip
    else:
        out.append(Block("table", f"{caption}, as its text says and as its tables give.", head, rows, 2, marked=range(len(rows))))  # fmt: skip
    return out
