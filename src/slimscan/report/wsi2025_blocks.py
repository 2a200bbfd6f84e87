"""What the page of the slide paper's protocol says, block by block, each number beside the paper's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from slimscan.press.slide.measure import Spread, Summary
from slimscan.report.numbers import DASH, listed, number, plural
from slimscan.report.wsi2025_figures import patches_drawn, saved_drawn, worst_drawn
from slimscan.study.recipes.wsi2025.paper import FIG_6, MAGNIFICATIONS, TABLE_3, TOTAL_GB, WHITE_TILE, Ends, Line
from slimscan.study.recipes.wsi2025.run import Found, Picture
from slimscan.study.recipes.wsi2025.words import family_of

TITLES = {"jpeg": "JPEG 4:2:0", "jpeg444": "JPEG 4:4:4", "jpegxl": "JPEG XL", "jpeg2000": "JPEG 2000"}
UNITS = {"jpeg": "quality {}", "jpeg444": "quality {}", "jpegxl": "distance {}", "jpeg2000": "{} dB"}
GLASS = {"kept": "glass kept", "painted": "glass painted white", "zero-byte": "glass tiles of zero bytes"}


SHOWN: tuple[tuple[str, Callable[[Summary], str]], ...] = (
    ("SSIM", lambda one: f"{one.ssim.mean:.3f}"),
    ("PSNR, dB", lambda one: f"{one.psnr_db.mean:.1f}"),
    ("saved, %", lambda one: number(one.reduction.mean, 2)),
    ("bits a pixel", lambda one: f"{one.bpp:.2f}"),
    ("decoding, ms", lambda one: f"{one.decode_ms:.1f}"),
)


@dataclass(frozen=True)
class Block:
    """kind: "h2", "p", "table" or "figure". text: heading, paragraph, caption. photo: the figure is dots, not lines."""

    kind: str
    text: str
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    left: int = 1
    key: str = ""
    draw: Callable[[Any], None] | None = None
    height: float = 4.0
    photo: bool = False


def title(name: str) -> str:
    """jpeg@90 for people."""
    codec, _, value = name.partition("@")
    said = UNITS.get(codec, "setting {}").format(value)
    return f"{TITLES.get(codec, codec)}, {said}"


def blocks(found: Found) -> list[Block]:
    """Everything that the run found, in the order of the paper."""
    return [*_slides(found), *_pyramids(found), *_table3(found), *_table4(found), *_worst(found), *_method(found)]


def _slides(found: Found) -> list[Block]:
    rows = [
        [
            one["name"],
            one["format"],
            ", ".join(f"{w}x{h}" for h, w in one["levels"]),
            f"{one['magnification']:.3g}x",
            listed(one["compression"]) or DASH,
            str(one["tiles"] or DASH),
            DASH if one["stored_bytes"] is None else f"{one['stored_bytes'] / 1024:.0f}",
            f"{one['tissue_percent']:.0f} %",
        ]
        for one in found.slides
    ]
    head = ("slide", "format", "levels", "at", "stored as", "tiles", "kB stored", "tissue")
    return [Block("h2", "Slides"), Block("table", "What was measured (1 kB = 1024 bytes).", head, rows, 2)]


def _pyramids(found: Found) -> list[Block]:
    if not found.pyramids:
        return []
    against = found.protocol.said["codecs"]["against"]
    keys = list(dict.fromkeys((one.codec, one.glass) for one in found.pyramids))
    rows = []
    for codec, glass in keys:
        mine = [
            found.saved[one["name"], codec, glass] for one in found.slides if (one["name"], codec, glass) in found.saved
        ]
        total = sum(one.bytes for one in found.pyramids if (one.codec, one.glass) == (codec, glass))
        paper = FIG_6.get((family_of(codec), glass)) if codec in ("jpeg@90", "jpegxl@1") else None
        held = TOTAL_GB.get((family_of(codec), glass)) if paper else None
        rows.append(
            [
                title(codec), GLASS[glass], f"{total / 1024:.0f}", _ends(mine),
                DASH if paper is None else _ends(paper),
                DASH if held is None else f"{100 * (1 - held / TOTAL_GB['jpeg', 'kept']):.0f}",
            ]
        )  # fmt: skip
    white = [[title(name), str(count), _paper_white(name)] for name, count in found.white.items()]
    guessed = any(one.looked < one.tiles for one in found.pyramids)
    said = found.protocol.said["pyramids"]
    return [
        Block("h2", "Whole pyramids, with and without glass (Fig. 6)"),
        Block(
            "table",
            f"Bytes of all tiles of all slides in kB, and percent saved of {title(against)} with its glass, least to most over slides"
            f"{' (levels of more tiles than were encoded are estimates)' if guessed else ''}. A minus means that it grew.",
            ("tiles as", "glass", "kB", "saved, %", "paper, %", "paper, all slides, %"), rows, 2,
        ),
        Block("table", "Percent saved, slide by slide.", ("tiles as", "glass", *(one["name"] for one in found.slides)),
              [[title(codec), GLASS[glass], *(number(found.saved.get((one["name"], codec, glass))) for one in found.slides)] for codec, glass in keys], 2),
        Block("figure", f"Percent saved of {title(against)} with its glass: one mark a slide, and the paper's range over 21 slides as a bar.",
              key="saved", draw=partial(saved_drawn, found=found), height=1.2 + 0.36 * len(keys)),
        Block("p", f"Glass by {listed(said['tissue'].split(','))} at {said['magnification']:g}x with a margin of {said['margin']:g} pixels; "
              + "; ".join(f"{one.slide}: {one.glass_tiles} of {one.tiles} tiles are glass alone" for one in found.pyramids[:: max(1, len(keys))]) + "."),
        Block("table", "Bytes of one tile of 256 x 256 that is all white.", ("tiles as", "bytes", "paper"), white),
    ]  # fmt: skip


def _paper_white(name: str) -> str:
    held = WHITE_TILE.get(family_of(name))
    return DASH if held is None else f"{held[0]} {held[1]}"


def _ends(values: Sequence[float]) -> str:
    if not values:
        return DASH
    low, high = number(min(values), 2), number(max(values), 2)
    return low if low == high else f"{low} to {high}"


def _table3(found: Found) -> list[Block]:
    if not found.lines:
        return []
    rows = []
    for line in found.lines:
        paper = TABLE_3.get(family_of(line.codec))
        rows.append([title(line.codec), *_line(line)])
        if paper is not None:
            rows.append(["paper", *_paper_line(paper)])
    counts = {one.patches for one in found.lines}
    head = (
        "",
        "SSIM (least, most)",
        "PSNR, dB (least, most)",
        "MS-SSIM",
        "kB",
        "saved, % (least, most)",
        "bits a pixel",
        "decoding, ms",
    )
    return [
        Block("h2", "Patches of tissue (Table 3)"),
        Block(
            "table",
            f"{plural(max(counts), 'patch', 'patches')} of {found.protocol.said['patches']['size']} pixels a side; means over magnifications of the mean over "
            "patches, so that each magnification counts the same. Below each the paper's 828 patches.",
            head,
            rows,
        ),
        Block("figure", "SSIM and bits a pixel of every patch; crosses are the paper's means.", key="patches", draw=partial(patches_drawn, found=found), height=4.2),
    ]  # fmt: skip


def _spread(one: Spread | Ends, digits: int) -> str:
    if one.mean == float("inf"):
        return "exact"
    return f"{one.mean:.{digits}f} ({one.low:.{digits}f}, {one.high:.{digits}f})".replace("-", "\u2212")


def _line(line: Summary) -> list[str]:
    return [
        _spread(line.ssim, 3), _spread(line.psnr_db, 1), f"{line.ms_ssim.mean:.4f}", f"{line.bytes / 1024:.0f}",
        _spread(line.reduction, 0), f"{line.bpp:.2f}", f"{line.decode_ms:.1f}",
    ]  # fmt: skip


def _paper_line(line: Line) -> list[str]:
    return [
        _spread(line.ssim, 2), _spread(line.psnr_db, 0), DASH, str(line.kb), _spread(line.reduction, 0), f"{line.bpp:.2f}",
        DASH if line.decode_ms is None else f"{line.decode_ms:g}",
    ]  # fmt: skip


def _table4(found: Found) -> list[Block]:
    if not found.lines:
        return []
    wanted = [
        one
        for one in found.protocol.said["patches"]["magnifications"]
        if any(key[1] == one for key in found.magnifications)
    ]
    absent = [one for one in found.protocol.said["patches"]["magnifications"] if one not in wanted]
    rows = []
    for line in found.lines:
        for word, shown in SHOWN:
            rows.append([title(line.codec), word, *(shown(found.magnifications[line.codec, one]) for one in wanted)])
    counts = [str(found.magnifications[found.lines[0].codec, one].patches) for one in wanted]
    rows.insert(0, ["patches", "", *counts])
    out = [
        Block("h2", "Magnification by magnification (Table 4)"),
        Block(
            "table",
            "Means over the patches of each magnification.",
            ("", "", *(f"{one:g}x" for one in wanted)),
            rows,
            2,
        ),
    ]
    if absent:
        out.append(Block("p", f"No patch of tissue fits at {listed([f'{one:g}x' for one in absent])}: no slide was scanned at it, or none is large enough."))  # fmt: skip
    if set(wanted) - set(MAGNIFICATIONS):
        out.append(Block("p", "The paper has 1.25x to 40x."))
    out.append(Block("p", "The paper's Table 4 has rows of learned codecs only, so none stands beside these."))
    return out


def _worst(found: Found) -> list[Block]:
    if not found.worst:
        return []
    out = [
        Block("h2", "Worst patches (Figs 9 and 10)"),
        Block("p", "The patch with the lowest SSIM of each codec: as it was, decoded, and the difference of the greys (means of R, G, B), blue where the decoded patch is darker."),
    ]  # fmt: skip
    for index, one in enumerate(found.worst):
        out.append(
            Block(
                "figure",
                _worst_said(one),
                key=f"worst{index}",
                draw=partial(worst_drawn, picture=one),
                height=3.9,
                photo=True,
            )
        )
    return out


def _worst_said(one: Picture) -> str:
    row = one.row
    others = "; ".join(f"{title(name)} {ssim:.3f}" for name, ssim in one.ssim.items() if name != row.codec)
    after = f" The same patch by SSIM: {others}." if others else ""
    return (
        f"{title(row.codec)}: SSIM {row.ssim:.3f}, {row.psnr_db:.1f} dB, {row.slide} at {row.magnification:g}x, y {row.y}, x {row.x} of level 0."
        f"{after}"
    )


def _method(found: Found) -> list[Block]:
    said = found.protocol.said["patches"]
    return [
        Block("h2", "How"),
        Block(
            "p",
            f"Patches are drawn without overlap (seed {said['seed']}) where more than {100 * said['tissue']:g} % lies further than 85 from "
            "white; a magnification between levels is made by area means from the finer one. SSIM: Gaussian window of 11 pixels, mean of R, G and B "
            "over the valid region; PSNR over all samples, peak 255; both against the slide as it was stored, which had lost something already. "
            "Decoding is timed one patch at a time on one core, a stream in memory to pixels. JPEG is libjpeg-turbo with 4:2:0, JPEG XL is libjxl at "
            "effort 7, JPEG 2000 is OpenJPEG cut at its own estimate of PSNR. Edge tiles are filled with white.",
        ),
        Block("p", "The paper: Deep learning-based compression of giga-resolution whole slide images, 2025; 21 slides of seven organs. Its learned codecs are not among these rows."),
    ]  # fmt: skip
