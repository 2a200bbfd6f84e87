"""Rate and distortion: every lossy codec at several ratios, drawn as one chart; and the exact ones beside each other."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import slimscan
from slimscan.errors import LayoutRefused, MissingExtra, TargetUnreachable

# One hue a family (Okabe and Ito), one line style and marker a member, so that fourteen lines can be told apart.
FAMILIES = (
    ("slice by slice", "#0072B2", ("jpeg2000", "htj2k", "jpegxl", "jpegls", "jpeg")),
    ("video", "#D55E00", ("hevc", "hevc-gop8", "hevc-intra", "av1", "av1-gop8")),
    ("in three dimensions", "#009E73", ("jpeg2000z", "sperr", "sz3", "zfp")),
)
STYLES = ("-o", "--s", ":^", "-.D", "-v")


@dataclass(frozen=True)
class Point:
    """One codec at one ratio: what lies on the disk and what came back."""

    codec: str
    ratio: float
    psnr_db: float
    peak: str


def sweep(source: Path, codecs: Sequence[str], ratios: Sequence[float], folder: Path) -> list[Point]:
    """Every lossy codec at every ratio that it reaches. A codec that cannot hold the image, or is not here, is left out."""
    volume, place, points = slimscan.read(source), folder / "sweep.ozx", []
    for name in codecs:
        for ratio in ratios:
            if not slimscan.CODECS[name].lossy:
                continue
            try:
                got = slimscan.compress(volume, place, target=slimscan.Ratio(ratio), codec=name, force=True)
            except TargetUnreachable:
                continue
            except (LayoutRefused, MissingExtra):
                break
            if got.psnr_db is not None:
                points.append(Point(name, got.ratio, got.psnr_db, got.peak))
    place.unlink(missing_ok=True)
    return points


def exact_sizes(source: Path, codecs: Sequence[str], folder: Path) -> list[tuple[str, float, float]]:
    """(codec, ratio on disk, bits a voxel) of every exact codec, smallest first."""
    volume, place, found = slimscan.read(source), folder / "exact.ozx", []
    for name in codecs:
        if slimscan.CODECS[name].lossless:
            try:
                got = slimscan.compress(volume, place, target=slimscan.Lossless(), codec=name, force=True)
            except (LayoutRefused, MissingExtra):
                continue
            found.append((name, got.ratio, got.bits_per_voxel))
    place.unlink(missing_ok=True)
    return sorted(found, key=lambda row: -row[1])


def curves_svg(points: Sequence[Point], ratios: Sequence[float], exact_ratio: float, title: str) -> str:
    """The chart as inline SVG: ratio on disk (logarithmic) against PSNR. The grey line is where nothing is lost."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FixedLocator, NullLocator

    with matplotlib.rc_context({"svg.hashsalt": "slimscan", "font.size": 11}):
        figure, axes = pyplot.subplots(figsize=(10, 6), layout="constrained")
        for _, hue, names in FAMILIES:
            for name, style in zip(names, STYLES, strict=False):
                mine = sorted((p.ratio, p.psnr_db) for p in points if p.codec == name)
                if mine:
                    axes.plot(*zip(*mine, strict=True), style, color=hue, label=name, markersize=4, linewidth=1.4)
        axes.axvline(exact_ratio, color="#777777", linewidth=1)
        axes.annotate(
            "lossless (JPEG XL)",
            (exact_ratio, 1),
            (4, -4),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            va="top",
            rotation=90,
            color="#555555",
            fontsize=9,
        )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(ratios))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}:1")
        peak = points[0].peak if points else "stored"
        axes.set(xlabel="raw bytes / bytes on disk", ylabel=f"PSNR in dB (peak {peak}: 2^bits - 1)")
        axes.set_title(f"{title}: what every lossy codec keeps", loc="left", fontweight="bold")
        axes.grid(alpha=0.3)
        order = _best_first(points)
        handles, labels = axes.get_legend_handles_labels()
        pairs = sorted(zip(handles, labels, strict=True), key=lambda pair: order.get(pair[1], 99))
        axes.legend(*zip(*pairs, strict=True), loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        pyplot.close(figure)
    text = out.getvalue()
    return text[text.index("<svg") :]


def _best_first(points: Sequence[Point]) -> dict[str, int]:
    """The codecs' order in the legend: by PSNR at the ratio in the middle, as the lines lie there."""
    middle = sorted(p.ratio for p in points)[len(points) // 2] if points else 1.0
    near = {
        name: min((p for p in points if p.codec == name), key=lambda p: abs(p.ratio - middle)).psnr_db
        for name in {p.codec for p in points}
    }
    return {name: place for place, name in enumerate(sorted(near, key=lambda name: -near[name]))}
