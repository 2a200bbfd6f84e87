"""Bytes for quality: every lossy codec against slice-wise JPEG 2000, every exact codec, and what `auto` chooses.

    python benchmarks/rate.py [--part lossy|exact|auto|probes] [--images "head CT,micro-CT"] [--quick]

lossy   BD-rate (Bjontegaard, PCHIP of the logarithm of the rate over PSNR) on the bytes of the file and of the payload;
        five settings a codec between 44 and 62 dB against the stored peak, or up to where the codec ends
exact   bits a voxel of the whole file, and speed as a ratio to JPEG 2000 on the same threads
auto    --codec auto beside every single codec at --psnr 50, --ratio 12 and --lossless: asked for is at most 2 % behind
        the best of them, in bytes; at a ratio, where bytes are equal, 6.02 dB count as one bit a voxel
probes  encodings of the whole volume that a search costs, from the receipts: asked for are at most six

Every number is of a file that was written and read back.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from common import REAL, SEED, images, table, where

from slimscan import CODECS, Lossless, MaxError, Psnr, Ratio, Receipt, Setting, Volume, compress
from slimscan.errors import SlimscanError
from slimscan.nouns import Target
from slimscan.stats import bd_rate

BEHIND = 0.02
MOST_WHOLE = 6.0
LEVELS = (44.0, 48.5, 53.0, 57.5, 62.0)
BASE = "jpeg2000"
DB_A_BIT = 20 * math.log10(2)
PARTS = ("auto", "probes", "lossy", "exact")


@dataclass(frozen=True)
class Got:
    """A receipt, or the sentence that refused."""

    receipt: Receipt | None
    refused: str = ""
    seconds: float = 0.0


DONE: dict[tuple[int, str, str | None], Got] = {}  # a search done for one table is looked up for the next


def pressed(volume: Volume, target: Target, codec: str | None, folder: Path, *, again: bool = False) -> Got:
    """One compression, written, read back and thrown away."""
    key = (id(volume), str(target), codec)
    if again or key not in DONE:
        DONE[key] = _pressed(volume, target, codec, folder)
    return DONE[key]


def _pressed(volume: Volume, target: Target, codec: str | None, folder: Path) -> Got:
    started = time.perf_counter()
    path = folder / "pressed.ozx"
    try:
        receipt = compress(volume, path, target=target, codec=codec, force=True)
    except SlimscanError as error:
        return Got(None, str(error), time.perf_counter() - started)
    return Got(receipt, "", time.perf_counter() - started)


def able(*, lossy: bool) -> list[str]:
    """Codecs that are installed here and lossy, or exact."""
    return [
        name
        for name, found in CODECS.items()
        if (found.lossy if lossy else found.lossless) and not any(need.missing() for need in found.needs)
    ]


def lossy(volumes: dict[str, Volume], codecs: list[str], folder: Path, quick: bool) -> int:
    """BD-rates; a negative one needs fewer bytes than JPEG 2000."""
    levels = LEVELS[1:3] if quick else LEVELS
    rows = {codec: [codec] for codec in codecs if codec != BASE}
    for name, volume in volumes.items():
        curves = {codec: curve(volume, codec, levels, folder) for codec in dict.fromkeys([BASE, *codecs])}
        base = curves[BASE]
        for codec, row in rows.items():
            row.append(compared(base, curves[codec]))
            print(f"{name} {codec} {row[-1]}", file=sys.stderr, flush=True)
    print("### Lossy: BD-rate against slice-wise JPEG 2000\n")
    print(table(["codec", *volumes], list(rows.values())))
    print(
        f"\nfile (payload) in % of bytes at equal PSNR, at {len(levels)} settings for {levels[0]:g} to {levels[-1]:g} dB "
        "(peak: stored); up to: the codec's finest setting ends there\n"
    )
    return 0


def curve(volume: Volume, codec: str, levels: tuple[float, ...], folder: Path) -> list[Receipt]:
    """Receipts near the levels that the codec reaches: its knob is set on a few slices, the whole volume coded once."""
    some = shortened(volume, 32 if CODECS[codec].chunk == "slab" else 8)
    known: dict[float, float] = {}
    values = sorted({value for level in levels if (value := near(some, codec, level, known, folder)) is not None})
    receipts = [pressed(volume, Setting(codec, value), None, folder).receipt for value in values]
    return [receipt for receipt in receipts if receipt is not None and receipt.psnr_db is not None]


def near(volume: Volume, codec: str, level: float, known: dict[float, float], folder: Path) -> float | None:
    """The knob's value that comes within NEAR_DB of a PSNR, or as near as it can; None where the codec ends before.

    known: places on the knob, 0 coarse to 1 fine, and the PSNR there; it grows.
    """
    knob = CODECS[codec].knob
    assert knob is not None
    coarse, fine = (knob.high, knob.low) if knob.finer == "low" else (knob.low, knob.high)

    def value(place: float) -> float:
        between = coarse * (fine / coarse) ** place if knob.scale == "log" else coarse + place * (fine - coarse)
        return knob.check(codec, min(knob.high, max(knob.low, between)))

    place = 0.5
    for _ in range(8):
        if place not in known:
            receipt = pressed(volume, Setting(codec, value(place)), None, folder).receipt
            if receipt is None:
                return None
            known[place] = math.inf if receipt.psnr_db is None else receipt.psnr_db
        below = max((at for at, db in known.items() if db <= level), default=None)
        above = min((at for at, db in known.items() if db > level), default=None)
        best = min(known, key=lambda at: abs(known[at] - level))
        if abs(known[best] - level) < NEAR_DB or (above is None and below == 1.0) or (below is None and above == 0.0):
            break
        if below is None or above is None:
            place = 1.0 if above is None else 0.0
        elif value(below) == value(above):
            break
        else:
            rise = known[above] - known[below]
            share = (level - known[below]) / rise if math.isfinite(rise) and rise > 0 else 0.5
            place = below + min(0.9, max(0.1, share)) * (above - below)
    return value(best) if abs(known[best] - level) < FAR_DB else None


NEAR_DB, FAR_DB = 0.7, 3.0  # a level is met within NEAR_DB, or by a coarse knob within FAR_DB, or left out


def shortened(volume: Volume, slices: int) -> Volume:
    """The middle slices, kept so that the same request gives the same object."""
    count = volume.shape[0]
    if count <= slices:
        return volume
    key = (id(volume), slices)
    if key not in SHORT:
        start = (count - slices) // 2
        SHORT[key] = replace(volume, pixels=volume.slices(start, start + slices))
    return SHORT[key]


SHORT: dict[tuple[int, int], Volume] = {}


def compared(base: list[Receipt], other: list[Receipt]) -> str:
    """The cell: BD-rate on file and payload bytes, and where the codec ends."""
    if len(other) < 2:
        return "refused, or reaches one level at most"
    cells = []
    for size in ("file_bytes", "payload_bytes"):
        first = sorted((float(getattr(r, size)), r.psnr_db or 0.0) for r in base)
        second = sorted((float(getattr(r, size)), r.psnr_db or 0.0) for r in other)
        cells.append(bd_rate(*zip(*first, strict=True), *zip(*second, strict=True)))
    ends = max(r.psnr_db or 0.0 for r in other)
    end = "" if ends > max(r.psnr_db or 0.0 for r in base) - 3 else f", up to {ends:.0f} dB"
    return f"{cells[0]:+.1f} ({cells[1]:+.1f}){end}"


def exact(volumes: dict[str, Volume], codecs: list[str], folder: Path, quick: bool) -> int:
    """Bits a voxel and speed of the codecs without loss."""
    rows = {codec: [codec] for codec in codecs}
    for name, volume in volumes.items():
        for codec in codecs:
            runs = []
            for _ in range(1 if quick else 2):
                base = pressed(volume, Setting(BASE, None), None, folder, again=True)
                got = pressed(volume, Setting(codec, None), None, folder, again=True)
                runs.append((base.seconds / got.seconds, got))
            got = max(runs, key=lambda run: run[0])[1]
            faster = sorted(run[0] for run in runs)[len(runs) // 2]
            text = f"{got.receipt.bits_per_voxel:.3f} ({faster:.1f}x)" if got.receipt else "refused"
            rows[codec].append(text)
            print(f"{name} {codec} {text} {got.refused}", file=sys.stderr, flush=True)
    print("### Exact: bits a voxel, and speed against JPEG 2000\n")
    print(table(["codec", *volumes], list(rows.values())))
    print("\nbits of the whole file a voxel; in brackets, times as fast as jpeg2000@lossless, written and read back\n")
    return 0


TARGETS: tuple[Target, ...] = (Psnr(50), Ratio(12), Lossless())


def auto(volumes: dict[str, Volume], _codecs: list[str], folder: Path, quick: bool) -> int:
    """What auto chose beside the best single codec; the number of volumes and targets where it is behind."""
    rows, behind = [], 0
    for name, volume in volumes.items():
        for target in TARGETS[1:] if quick else TARGETS:
            chosen = pressed(volume, target, "auto", folder)
            singles = {
                codec: pressed(volume, target, codec, folder)
                for codec in able(lossy=not isinstance(target, Lossless))
                if not quick or codec in ("jpeg2000", "jpegls", "jpegxl", "zstd")
            }
            costs = {codec: cost(got.receipt, target) for codec, got in singles.items() if got.receipt}
            if chosen.receipt is None or not costs:
                rows.append([name, str(target), chosen.refused, "", "", "", ""])
                behind += bool(costs)
                continue
            best = min(costs, key=lambda codec: costs[codec])
            worse = cost(chosen.receipt, target) - costs[best] if math.isfinite(costs[best]) else 0.0
            gap = 100 * worse / (singles[best].receipt or chosen.receipt).bits_per_voxel
            late = gap > 100 * BEHIND
            if late:
                for row in chosen.receipt.candidates:
                    print(f"   candidate {dict(row)}", file=sys.stderr)
            behind += late
            rows.append(
                [
                    *(name, str(target), chosen.receipt.codec, told(chosen.receipt, target)),
                    *(best, told(singles[best].receipt, target)),
                    *(f"{gap:+.1f}{' !' if late else ''}", f"{chosen.seconds:.0f}"),
                ]
            )
            print(" ".join(rows[-1]), file=sys.stderr, flush=True)
    print("### auto beside the best single codec\n")
    print(table(["volume", "target", "auto took", "and gave", "best", "gives", "auto behind %", "auto s"], rows))
    print(f"\nasked: at most {100 * BEHIND:g} % behind; behind in {behind} of {len(rows)}\n")
    return behind


def cost(receipt: Receipt, target: Target) -> float:
    """Bits a voxel; at a ratio less what its PSNR is worth, 6.02 dB a bit (a bit halves the error at high rates)."""
    bits = receipt.bits_per_voxel
    if not isinstance(target, Ratio):
        return bits
    return bits - receipt.psnr_db / DB_A_BIT if receipt.psnr_db is not None else -math.inf


def told(receipt: Receipt | None, target: Target) -> str:
    """What the target leaves open: PSNR at a ratio, else bytes."""
    if receipt is None:
        return ""
    if isinstance(target, Ratio):
        return "exact" if receipt.psnr_db is None else f"{receipt.psnr_db:.2f} dB at {receipt.ratio:.2f}"
    return f"{receipt.file_bytes}"


def probes(volumes: dict[str, Volume], codecs: list[str], folder: Path, _quick: bool) -> int:
    """Whole-volume encodings that the searches cost: the sum of the shares that were encoded."""
    targets: tuple[Target, ...] = (Ratio(12), Psnr(50), MaxError(4))
    rows, over = [], 0
    for codec in codecs:
        row = [codec]
        for target in targets:
            costs = []
            for volume in volumes.values():
                got = pressed(volume, target, codec, folder)
                if got.receipt is not None:
                    costs.append(whole_encodings(got.receipt))
                elif "cannot be met" not in got.refused:
                    print(f"{codec} {target}: {got.refused}", file=sys.stderr)
            over += sum(spent > MOST_WHOLE for spent in costs)
            row.append(f"{max(costs):.1f}, {sum(costs) / len(costs):.1f} ({len(costs)})" if costs else "cannot")
        rows.append(row)
        print(" ".join(row), file=sys.stderr, flush=True)
    print("### What a search costs\n")
    print(table(["codec", *map(str, targets)], rows))
    print(
        f"\nencodings of the whole volume: most, mean (volumes of {len(volumes)} that reach it); asked: at most "
        f"{MOST_WHOLE:g}; {over} above\n"
    )
    return over


def whole_encodings(receipt: Receipt) -> float:
    """Volumes' worth of encoding: of every probe the share of the volume that was encoded anew."""
    return sum(probe["part"] * probe["encoded"] / max(1, probe["pieces"]) for probe in receipt.probes)


def main(arguments: list[str]) -> int:
    """Print the tables; 1 when a requirement is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--images", default=",".join(REAL), help="names between commas")
    parser.add_argument("--codecs", default="", help="names between commas, for lossy, exact and probes")
    parser.add_argument("--slices", type=int, default=0, help="only so many slices from the middle, 0 for all")
    parser.add_argument("--quick", action="store_true", help="small crops, few codecs: shows that it runs")
    given = parser.parse_args(arguments)
    volumes = images(given.images.split(","), quick=given.quick)
    if given.slices:
        volumes = {name: replace(v, pixels=shortened(v, given.slices).pixels) for name, v in volumes.items()}
    print(f"## Bytes for quality\n\n{where(SEED)}\n")
    print(
        "volumes: " + "; ".join(f"{name} {'x'.join(map(str, v.shape))} {v.pixels.dtype}" for name, v in volumes.items())
    )
    print()
    missed = 0
    with tempfile.TemporaryDirectory() as held:
        for part in given.part or PARTS:
            codecs = able(lossy=part != "exact")
            if given.codecs or given.quick:
                wanted = given.codecs or "jpeg2000,jpegls,jpegxl,zstd"
                codecs = [codec for codec in codecs if codec in wanted.split(",")]
            missed += globals()[part](volumes, codecs, Path(held), given.quick)
    return int(missed > 0 and not given.quick)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
