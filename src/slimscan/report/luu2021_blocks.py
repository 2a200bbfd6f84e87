"""What the page of the protocol of Luu 2021 says, block by block: tables beside the paper's, figures, tests, verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from slimscan.nouns import Verdict
from slimscan.report.luu2021_figures import costs_drawn, ratios_drawn, sweep_drawn
from slimscan.report.numbers import listed, number, p_value, plural
from slimscan.study.recipes.luu2021.coders import ABSENT, coders
from slimscan.study.recipes.luu2021.evidence import least
from slimscan.study.recipes.luu2021.paper import LIVER, TABLE_2, TABLE_3, TABLE_4, TABLE_5
from slimscan.study.recipes.luu2021.run import Found


@dataclass(frozen=True)
class Block:
    """kind: "h2", "p", "table" or "figure". text: heading, paragraph, caption. left: text columns of a table."""

    kind: str
    text: str
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    left: int = 1
    key: str = ""
    draw: Callable[[Any], None] | None = None
    height: float = 4.0


def blocks(found: Found) -> list[Block]:
    """Everything that the run found, in the order of the paper."""
    return [*_cases(found), *_table2(found), *_table3(found), *_costs(found), *_lossy(found), *_sweep(found), *_tests(found), *_reading(found)]  # fmt: skip


def _cases(found: Found) -> list[Block]:
    said = found.protocol.said["calm"]
    rows = [
        [case["case"], case["patient"], "x".join(map(str, case["shape"])), " x ".join(f"{mm:.3g}" for mm in case["spacing_mm"]), f"{case['inside_percent']:.1f} %"]
        for case in found.cases
    ]  # fmt: skip
    return [
        Block("h2", "Images"),
        Block(
            "p",
            f"Diffusion with K {said['k']:g} and {said['iterations']} iterations in {said['dims']}D; the region dilated by "
            f"{said['grow']}, weights above {said['threshold']:g} set to 1. Nothing inside was changed: every run checks it.",
        ),
        Block("table", "What was measured.", ("image", "patient", "z, y, x", "spacing, mm", "inside"), rows, 2),
    ]


def _table2(found: Found) -> list[Block]:
    def ours(key: str) -> str:
        values = [float(case[key]) for case in found.cases]
        return f"{np.mean(values):.2f} [{min(values):.2f} to {max(values):.2f}]"

    bz2 = [row["ratio"] for row in found.rows if row["coder"] == "bz2" and row["image"] == "diffused"]
    whole = 90.5 * 512 * 512  # voxels of the paper's mean pilot CT
    seconds = [case["diffusion_s"] / math.prod(case["shape"]) * whole for case in found.cases]
    rows = [
        ["diffusion, s for 90.5 slices of 512x512, one core", f"{np.mean(seconds):.2f}", f"{TABLE_2['diffusion_s']:g}"],
        ["PSNR, dB, peak 65535", ours("psnr_db"), f"{TABLE_2['psnr_db']:g}"],
        ["SSIM, L = 65535 (eq. 5 as written)", _fine(found, "ssim_dtype"), ""],
        ["SSIM, L = max - min of the image", _fine(found, "ssim_range"), f"{TABLE_2['ssim']:g}"],
        ["ratio of BZ2 on the diffused image", f"{np.mean(bz2):.2f}" if bz2 else "", f"{TABLE_2['bz2_ratio']:g}"],
        ["entropy of the original, bits", ours("entropy_original"), f"{TABLE_2['entropy_original']:g}"],
        ["entropy of the diffused image, bits", ours("entropy_diffused"), f"{TABLE_2['entropy_diffused']:g}"],
    ]
    return [Block("h2", "Diffusion (the paper's Table 2)"), Block("table", "Means over images [least to largest] beside the paper's means over 10 CTs.", ("", "here", "Luu 2021, Table 2"), rows)]  # fmt: skip


def _fine(found: Found, key: str) -> str:
    values = [float(case[key]) for case in found.cases]
    return f"{np.mean(values):.4f} [{min(values):.4f} to {max(values):.4f}]"


def _table3(found: Found) -> list[Block]:
    known = coders()
    rows = []
    for one in found.improvements:
        paper = TABLE_3.get(known[one.coder].paper)
        sd = "" if math.isnan(one.percent_sd) else f" ({one.percent_sd:.0f})"
        rows.append(
            [
                known[one.coder].title, f"{one.original:.2f}", f"{one.diffused:.2f}", f"{one.percent:+.0f} %{sd}",
                *(("", "", "", "") if paper is None else (f"{paper.original:g}", f"{paper.diffused:g}", f"+{paper.improvement:g} % ({paper.improvement_sd:g})", f"+{paper.of_medians:.0f} %")),
            ]
        )  # fmt: skip
    for name in ABSENT:
        paper = TABLE_3[name]
        rows.append([f"{name} (no free encoder)", "", "", "", f"{paper.original:g}", f"{paper.diffused:g}", f"+{paper.improvement:g} % ({paper.improvement_sd:g})", f"+{paper.of_medians:.0f} %"])  # fmt: skip
    head = ("coder", "original", "diffused", "improvement (SD)", "paper: original", "paper: diffused", "paper: improvement (SD)", "from its medians")  # fmt: skip
    caption = (
        "Compression ratios, medians over patients; improvement: mean over patients of diffused / original - 1. Beside them "
        "Table 3, and the improvement that its medians alone would give."
    )
    n = len(found.improvements)
    return [
        Block("h2", "Ratios (Table 3 and Fig. 5)"),
        Block("table", caption, head, rows),
        Block("table", "Improvement image by image.", ("coder", *(case["case"] for case in found.cases)), _each(found)),
        Block("p", "How rows are made: " + "; ".join(f"{known[one.coder].title}: {known[one.coder].note}" for one in found.improvements if known[one.coder].note) + ". " + "; ".join(f"{name}: {why}" for name, why in ABSENT.items()) + "."),
        Block("figure", "Ratios on original (open) and diffused (full) images, one mark a patient, and the paper's medians (crosses).", key="ratios", draw=partial(ratios_drawn, found=found), height=1.0 + 0.36 * n),
    ]  # fmt: skip


def _each(found: Found) -> list[list[str]]:
    """A row a coder, a cell an image: how much larger the ratio became."""
    ratio = {(row["coder"], row["case"], row["image"]): row["ratio"] for row in found.rows}
    return [
        [coders()[one.coder].title, *(f"{100 * (ratio[one.coder, case['case'], 'diffused'] / ratio[one.coder, case['case'], 'original'] - 1):+.0f} %" for case in found.cases)]
        for one in found.improvements
    ]  # fmt: skip


def _costs(found: Found) -> list[Block]:
    known = coders()
    rows = []
    for name in dict.fromkeys(row["coder"] for row in found.rows):
        mine = [row for row in found.rows if row["coder"] == name]
        cells = [known[name].title]
        for image in ("original", "diffused"):
            for key in ("encode_s", "decode_s"):
                cells.append(f"{1e3 * float(np.mean([r[key] / r['slices'] for r in mine if r['image'] == image])):.1f}")
        peak = [
            max(r["encode_mb"], r["decode_mb"])
            for r in mine
            if r["encode_mb"] is not None and r["decode_mb"] is not None
        ]
        paper = TABLE_3.get(known[name].paper)
        cells += [
            f"{max(r['encode_s'] + r['decode_s'] for r in mine):.1f}",
            "" if paper is None or paper.seconds is None else f"{paper.seconds:g}",
            f"{max(peak):.0f}" if peak else "not told",
        ]
        rows.append(cells)
    head = ("coder", "original: there, ms a slice", "back", "diffused: there, ms a slice", "back", "largest time there and back, s", "paper: largest time, s", "largest memory, MB")  # fmt: skip
    return [
        Block("h2", "Time and memory (Table 3 below, Fig. 6)"),
        Block("table", "One core, one process for each measurement; memory beyond the process with the image loaded. The paper's times are of whole CTs of 21 to 343 slices, and its memory (431 MB for all but 7z) is that of the loaded image.", head, rows),
        Block("figure", "Time there and back for one slice, means over images, logarithmic: open on original, full on diffused images.", key="costs", draw=partial(costs_drawn, found=found), height=1.0 + 0.36 * len(rows)),
    ]  # fmt: skip


def _lossy(found: Found) -> list[Block]:
    known = coders()
    rows = []
    for name in dict.fromkeys(row["coder"] for row in found.rows if not row["exact"]):
        for image in ("original", "diffused"):
            mine = [row for row in found.rows if row["coder"] == name and row["image"] == image]
            rows.append(
                [
                    f"{known[name].title}, {image}",
                    *(f"{np.mean([r[key] for r in mine]):.1f}" for key in ("psnr_db", "psnr_inside_db")),
                    *(f"{np.mean([r[key] for r in mine]):.4f}" for key in ("ssim_range", "ssim_inside")),
                    f"{max(r['max_error_inside'] for r in mine):.0f}",
                ]
            )
    if not rows:
        return []
    rows.append(["paper: HEVC, diffused (Table 5, section III.D.1)", f"{TABLE_5['psnr_db']:g}", f"{LIVER['psnr_db']:g}", f"{TABLE_5['ssim']:g}", f"{LIVER['ssim']:g}", ""])  # fmt: skip
    head = ("coder, image", "PSNR, dB", "inside", "SSIM", "inside", "largest error inside, HU")
    return [
        Block("h2", "What visually lossless coders change"),
        Block("table", "Decoded against the original image: peak 65535 for PSNR, L = max - min for SSIM; means over images.", head, rows),
    ]  # fmt: skip


def _sweep(found: Found) -> list[Block]:
    if not found.swept:
        return []
    rows = [[f"{p['k']:g}", str(p["iterations"]), f"{p['psnr_db']:.1f}", f"{p['ssim_range']:.4f}", f"{p['bz2_ratio']:.2f}"] for p in _means(found)]  # fmt: skip
    cases = sorted({point["case"] for point in found.swept})
    return [
        Block("h2", "K and iterations (Fig. 3)"),
        Block("figure", f"PSNR (peak 65535), SSIM (L = max - min) and the ratio of BZ2 on {plural(len(cases), 'image')} ({listed(cases)}); the ring is the paper's choice, the dashed line its bar of 0.95.", key="sweep", draw=partial(sweep_drawn, points=_means(found)), height=3.9),
        Block("table", "The numbers of the figure.", ("K", "iterations", "PSNR, dB", "SSIM", "BZ2 ratio"), rows, 0),
    ]  # fmt: skip


def _means(found: Found) -> list[dict[str, float]]:
    """Points of the sweep, means over images."""
    out = []
    for k, count in sorted({(p["k"], p["iterations"]) for p in found.swept}):
        mine = [p for p in found.swept if (p["k"], p["iterations"]) == (k, count)]
        out.append({"k": k, "iterations": count} | {key: float(np.mean([p[key] for p in mine])) for key in ("psnr_db", "ssim_range", "bz2_ratio")})  # fmt: skip
    return out


def _tests(found: Found) -> list[Block]:
    known = coders()
    better = [
        [known[one.coder].title, str(one.patients), p_value(one.p), p_value(one.p_log)] for one in found.improvements
    ]
    others = [[known[one.other].title, f"{one.other_ratio:.2f}", f"{one.ratio:.2f}", p_value(one.p), p_value(one.p_log)] for one in found.against]  # fmt: skip
    out = [
        Block("h2", "Tests"),
        Block("table", "Original against diffused: the paper's two-sided paired t test over patients (p < 0.01 for every coder there), on ratios and on their logarithms.", ("coder", "patients", "p", "p of logarithms"), better),
    ]  # fmt: skip
    if others:
        out.append(Block("table", "HEVC (each slice alone) against the others on diffused images (p < 0.001 in the paper).", ("coder", "its ratio", "HEVC's", "p", "p of logarithms"), others))  # fmt: skip
    out.append(Block("p", "These tests ask whether ratios differ. Whether the images may be used is another question, and a test that finds no difference does not answer it; a contract fixed beforehand does:"))  # fmt: skip
    bar, patients = found.protocol.said["contract"]["ssim"], len({case["patient"] for case in found.cases})
    out.append(_verdict(found.likeness, f"Does SSIM (L = max - min) of the decoded diffused image stay above {bar:g} in the mean over {plural(patients, 'patient')}?", "exact coders"))  # fmt: skip
    return out


def _verdict(verdict: Verdict, question: str, exact: str = "") -> Block:
    rows = []
    for name, codec in verdict.codecs.items():
        level = codec.levels[0]
        rows.append([exact if name == "exact" and exact else name, codec.code, str(codec.n), str(codec.needed_n or ""), number(max(one.mean_loss for one in level.organs.values())), p_value(level.p)])  # fmt: skip
    least_n = least(verdict)
    short = any(codec.code == "INSUFFICIENT_N" for codec in verdict.codecs.values())
    said = f" No statistics could certify this with fewer than {least_n} patients." if short else ""
    return Block(
        "table", f"{question}{said}", ("what", "verdict", "patients", "needed", "largest mean loss", "p"), rows, 2
    )


def _reading(found: Found) -> list[Block]:
    paper = [
        [reader, version, f"{one.tp}/{one.tp + one.fn}", str(one.fp), str(one.fn), f"{one.sc:g}", f"{one.ns:g}", f"{one.mm:g}"]
        for (reader, version), one in TABLE_4.items()
    ]  # fmt: skip
    head = ("reader", "version", "TP", "FP", "FN", "SC, %", "NS, %", "median displacement, mm")
    out = [Block("h2", "Readers (Table 4 and Fig. 8)")]
    if found.readings is None:
        out.append(Block("p", "Nobody read these images: [reading] names no files. The paper's marks are not public; its own scores stand below."))  # fmt: skip
    else:
        rows = [
            [one.reader, one.version, f"{one.tp}/{one.lesions}", str(one.fp), str(one.fn), f"{one.sc:.1f}", f"{one.ns:.1f}", f"{number(one.median_mm)} ({number(one.sd_mm)})", p_value(one.p_mm) if math.isfinite(one.p_mm) else ""]
            for one in found.readings.scores
        ]  # fmt: skip
        radius = found.protocol.said["reading"]["radius_mm"]
        out.append(Block("table", f"Marks of {plural(len(found.readings.cases), 'case')}: +1 for a lesion with a mark closer than {radius:g} mm, -1 for a mark without a lesion, -1 for a lesion without a mark. p: the paper's paired t test of displacements, which takes lesions of a patient for independent.", (*head, "p"), rows, 2))  # fmt: skip
    if found.read_verdict is not None:
        delta = found.protocol.said["contract"]["delta"]
        out.append(_verdict(found.read_verdict, f"Do sensitivity and normalised score of a patient lose less than {100 * delta:g} % in the mean, for every reader?"))  # fmt: skip
    out.append(
        Block(
            "table", "The paper's Table 4, 33 CTs with 61 lesions, and its medians of section III.D.2.", head, paper, 2
        )
    )
    return out
