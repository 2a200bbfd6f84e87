"""The check of a slide: opened by every reader at hand, compared with its source, and who else can open it."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import SlimscanError
from slimscan.files.slides import open_slide
from slimscan.nouns import Needs
from slimscan.nouns.slide import Slide
from slimscan.press.slide.compare import LevelLine, TileRow, compare, lines
from slimscan.press.slide.facts import Facts, Reader, facts, readers
from slimscan.press.slide.ledger import read_ledger
from slimscan.press.slide.restore import restored_digest
from slimscan.press.slide.sample import WHITE_DISTANCE, places, white_distance

OPENSLIDE = Needs("openslide-python", "openslide", "slides")
ANOTHER_DB = 15.0  # below this two tiles are not of one picture
ROUNDING = 3  # levels by which two JPEG decoders may differ after upsampled chroma
GLASS = 0.001  # share of tissue pixels that a left-out tile may hold
SLOW = 2.0
SMALL = 500_000_000  # bytes of a file that is restored on the way, unless every tile is asked for
LOOKED = 12  # tiles a level through the other readers
# Properties that name the file's bytes or its compression, which are meant to change.
MEANT = ("openslide.quickhash-1", "tiff.Compression", "tiff.DocumentName", "tiff.Software", "tiff.DateTime")
# What DICOM asks to change with the compression, and of a derived instance (PS3.3 C.7.6.1.1, C.12.1).
MEANT_DICOM = (
    "TransferSyntaxUID", "SOPInstanceUID", "SeriesInstanceUID", "ImageType", "LossyImageCompression", "Derivation", "SourceImage",
    "PhotometricInterpretation", "InstanceCreation", "ContentDate", "ContentTime", "Implementation", "SeriesNumber",
    "ContributingEquipment", "DimensionOrganizationType", "NumberOfFrames", "MediaStorage", "InstanceNumber", "SeriesDescription",
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. passed: None where it is told and nothing is promised."""

    name: str
    passed: bool | None
    said: str


@dataclass(frozen=True)
class Checked:
    """Of one slide. rows, lines: of the tiles that were compared, empty without a source."""

    path: Path
    source: Path | None
    facts: Facts
    source_facts: Facts | None
    findings: tuple[Finding, ...]
    readers: tuple[Reader, ...]
    rows: tuple[TileRow, ...]
    lines: tuple[LevelLine, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing that was promised failed."""
        return all(one.passed is not False for one in self.findings)


def check(
    path: Path,
    source: Path | None = None,
    *,
    most: int | None = 64,
    seed: int = 0,
    jpeg90: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Checked:
    """Open a slide everywhere and, with a source, compare `most` tiles a level (None: all), properties and pictures beside.

    What other readers refuse is told and is no failure: some profiles trade readers for bytes. NotReadable when slimscan
    itself cannot open one of the two; InputError when their pyramids are not of one shape.
    """
    with open_slide(path) as out:
        found = facts(path)
        findings = [_opens(out)]
        rows: list[TileRow] = []
        if source is not None:
            with open_slide(source) as before:
                rows = compare(before, out, most=most, seed=seed, jpeg90=jpeg90, progress=progress)
                findings += [
                    _pixels(rows),
                    *_glass(rows),
                    _properties(before, out),
                    _associated(before, out),
                    _icc(before, out),
                ]
        if most is None or found.bytes <= SMALL:
            findings += _restored(path)
        findings += [_openslide(out, seed, found, source), *([] if found.kind != "tiff" else [_tifffile(out, seed)])]
        if source is not None:
            findings += _speed(source, path)
        told = lines(rows, out)
    other = None if source is None else facts(source)
    return Checked(
        path, source, found, other, tuple(findings), tuple(_seen(readers(found), findings)), tuple(rows), tuple(told)
    )


def _seen(known: list[Reader], findings: list[Finding]) -> list[Reader]:
    """The table's answers, and for OpenSlide what was seen just now."""
    said = next((one.said for one in findings if one.name == "OpenSlide" and one.said.startswith("refuses")), None)
    return [
        replace(one, answer="refuses", why=one.why if one.answer == "refuses" else said)
        if said and one.name.startswith("OpenSlide")
        else one
        for one in known
    ]


def _opens(out: Slide) -> Finding:
    """Every level gives pixels."""
    name = "slimscan opens it"
    for index, level in enumerate(out.levels):
        height, width = level.shape
        try:
            out.read(index, height // 2, width // 2, min(64, height), min(64, width))
        except SlimscanError as error:
            return Finding(name, False, f"level {index}: {error}")
    shapes = ", ".join(f"{one.shape[1]}x{one.shape[0]}" for one in out.levels)
    return Finding(name, True, f"{out.format}, {len(out.levels)} level{'s' if len(out.levels) > 1 else ''}: {shapes}")


def _pixels(rows: list[TileRow]) -> Finding:
    kept = [row for row in rows if row.fate != "left out"]
    changed = [row for row in kept if row.fate == "changed"]
    wrong = [row for row in changed if row.psnr_db < ANOTHER_DB]
    if wrong:
        one = min(wrong, key=lambda row: row.psnr_db)
        where = f"level {one.level}, row {one.row}, column {one.col}"
        return Finding(
            "pixels", False, f"{len(wrong)} of {len(rows)} tiles show another picture; {where} has {one.psnr_db:.1f} dB"
        )
    if not changed:
        return Finding(
            "pixels", True, f"{len(kept)} of {len(kept)} tiles that were looked at are the same, every pixel"
        )
    ssim = min((row.ssim for row in changed if not math.isnan(row.ssim)), default=math.nan)
    psnr = min(row.psnr_db for row in changed)
    return Finding(
        "pixels",
        True,
        f"{len(kept) - len(changed)} of {len(kept)} tiles are the same; of the others the worst has {psnr:.1f} dB, SSIM {ssim:.3f}",
    )


def _glass(rows: list[TileRow]) -> list[Finding]:
    gone = [row for row in rows if row.fate == "left out"]
    if not gone:
        return []
    most = max(gone, key=lambda row: row.tissue)
    said = f"{len(gone)} of {len(rows)} tiles that were looked at are left out"
    if most.tissue > GLASS:
        where = f"level {most.level}, row {most.row}, column {most.col}"
        return [
            Finding(
                "glass",
                False,
                f"{said}; {where} holds {100 * most.tissue:.1f} % further than 85 from white in the source",
            )
        ]
    return [Finding("glass", True, f"{said}; the source shows nothing but glass there")]


def _restored(path: Path) -> list[Finding]:
    """The file that an exact copy was made of comes back, byte for byte; nothing for other files."""
    ledger = read_ledger(path) if path.is_file() else None
    if ledger is None or not ledger.skeleton:
        return []
    name = "restores its source"
    try:
        found = restored_digest(path)
    except SlimscanError as error:
        return [Finding(name, False, str(error))]
    except OSError as error:
        return [Finding(name, None, f"not tried: no room beside the file ({error.strerror or error})")]
    return [Finding(name, True, f"every byte of it, SHA-256 {found[:16]}...")]


def _properties(before: Slide, out: Slide) -> Finding:
    one, other = dict(before.properties), dict(out.properties)
    gone = sorted(key for key in one if key not in other and not _meant(key))
    new = sorted(key for key in other if key not in one and not _meant(key))
    changed = sorted(key for key in one if key in other and one[key] != other[key] and not _meant(key))
    if not (gone or new or changed):
        meant = sum(one.get(key) != other.get(key) for key in {*one, *other})
        after = f", but {meant} that tell of the compression and of the file itself" if meant else ""
        return Finding("properties", True, f"all {len(one)} are the same{after}")
    parts = [
        f"{word} {', '.join(some[:4])}{' ...' if len(some) > 4 else ''}"
        for word, some in (("gone:", gone), ("new:", new), ("changed:", changed))
        if some
    ]
    # Another set of names means that another reader opened it, which the reader's own line tells.
    same_door = any(key.startswith("openslide.") for key in one) == any(key.startswith("openslide.") for key in other)
    same_scale = before.mpp == out.mpp and before.magnification == out.magnification
    return Finding("properties", False if same_door or not same_scale else None, "; ".join(parts))


def _meant(key: str) -> bool:
    if key.startswith("dicom."):
        return key.removeprefix("dicom.").startswith(MEANT_DICOM)
    return key in MEANT or "quickhash" in key


def _associated(before: Slide, out: Slide) -> Finding:
    gone = [name for name in before.associated if name not in out.associated]
    other = [
        name
        for name in before.associated
        if name in out.associated and not np.array_equal(before.image(name), out.image(name))
    ]
    if gone or other:
        parts = [f"{word}: {', '.join(some)}" for word, some in (("gone", gone), ("changed", other)) if some]
        return Finding("associated images", False, "; ".join(parts))
    return Finding(
        "associated images",
        True,
        f"{', '.join(before.associated)}: the same pixels" if before.associated else "the source has none",
    )


def _icc(before: Slide, out: Slide) -> Finding:
    if before.icc == out.icc:
        return Finding(
            "colour profile", True, f"the same {len(before.icc)} bytes" if before.icc else "the source has none"
        )
    return Finding("colour profile", False, f"{len(before.icc or b'')} bytes in the source, {len(out.icc or b'')} here")


def _openslide(out: Slide, seed: int, known: Facts, source: Path | None) -> Finding:
    """OpenSlide opens the file, and sees at sampled places what slimscan sees."""
    name = "OpenSlide"
    if OPENSLIDE.missing():
        return Finding(name, None, "is not installed (extra slides); not tried")
    import openslide

    try:
        with openslide.OpenSlide(str(out.path)) as held:
            largest, redrawn, clear, lost = 0, 0, 0, 0
            for index, level in enumerate(out.levels):
                if index >= held.level_count or held.level_dimensions[index] != (level.shape[1], level.shape[0]):
                    return Finding(
                        name, False, f"opens it, and its level {index} is not {level.shape[1]}x{level.shape[0]}"
                    )
                for row, col in places(level, (256, 256), LOOKED, seed + index):
                    rgba = _region(held, index, row * 256, col * 256, level.shape)
                    ours = out.read(index, row * 256, col * 256, *rgba.shape[:2])
                    gone = rgba[..., 3] < 255
                    clear += bool(gone.any())
                    lost += int((white_distance(ours)[gone] > WHITE_DISTANCE).sum())
                    apart = _apart(np.where(gone[..., None], ours, rgba[..., :3]), ours)
                    if index and known.zero and known.aperio:
                        redrawn = max(redrawn, apart)
                    else:
                        largest = max(largest, apart)
    except openslide.OpenSlideError as error:
        too = " and its source" if source is not None and _refused(source) else ""
        return Finding(name, None, f"refuses it{too}: {str(error).splitlines()[0].rpartition(': ')[2]}")
    if largest > ROUNDING:
        said = f"opens it, and sees pixels that differ by up to {largest} from what slimscan reads"
        return Finding(name, False, said)
    if lost:
        return Finding(
            name, False, f"opens it, and shows nothing at {lost} pixels of tissue, where level 0 has a tile of no bytes"
        )
    if redrawn > ROUNDING:
        said = f"opens it, and draws level 1 and up anew from level 0, since tiles have no bytes: there pixels differ by up to {redrawn}"
        return Finding(name, None, said)
    said = f"opens it, and sees the same pixels{f' (to {largest})' if largest else ''}"
    return Finding(
        name, True, said + (f"; {clear} of the places that were looked at are transparent in part" if clear else "")
    )


def _refused(path: Path) -> bool:
    import openslide

    try:
        with openslide.OpenSlide(str(path)):
            return False
    except openslide.OpenSlideError:
        return True


def _region(held: Any, index: int, y: int, x: int, shape: tuple[int, int], size: int = 256) -> NDArray[np.uint8]:
    """A region of an OpenSlide level as RGBA (h, w, 4). Level coordinates."""
    down = held.level_downsamples[index]
    h, w = min(size, shape[0] - y), min(size, shape[1] - x)
    return np.asarray(held.read_region((round(x * down), round(y * down)), index, (w, h)))


def _apart(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    """The 99.9th percentile of the differences, so that the rim of a resampled level does not decide."""
    return int(np.percentile(np.abs(one.astype(np.int16) - other.astype(np.int16)), 99.9))


def _tifffile(out: Slide, seed: int) -> Finding:
    """tifffile decodes sampled tiles to what slimscan sees."""
    import tifffile

    name, largest, looked = "tifffile", 0, 0
    means: list[float] = []
    try:
        with tifffile.TiffFile(out.path) as tiff:
            for index, level in enumerate(out.levels):
                if level.page is None:
                    continue
                page: Any = tiff.pages[level.page]
                page = getattr(page, "keyframe", page) if not hasattr(page, "decode") else page
                for row, col in places(level, level.tile, LOOKED, seed + index) if level.tiles else ():
                    data = out.tile(index, row, col)
                    if not data:
                        continue
                    got = page.decode(
                        data, row * level.grid[1] + col, jpegtables=page.jpegtables, jpegheader=page.jpegheader
                    )[0]
                    h, w = (
                        min(level.tile[0], level.shape[0] - row * level.tile[0]),
                        min(level.tile[1], level.shape[1] - col * level.tile[1]),
                    )
                    pixels = np.asarray(got).reshape(*np.asarray(got).shape[-3:])[:h, :w]
                    ours = out.read(index, row * level.tile[0], col * level.tile[1], h, w)
                    largest, looked = max(largest, _apart(pixels, ours)), looked + 1
                    means.append(float(np.abs(pixels.astype(np.float64) - ours).mean()))
    except Exception as error:  # noqa: BLE001 - what a foreign reader raises is what is told
        return Finding(
            name, None, f"cannot decode it: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        )
    if largest > ROUNDING:
        mean = sum(means) / len(means)
        said = f"decodes it, and sees pixels that differ by {mean:.2g} levels in the mean and up to {largest} from what slimscan reads"
        return Finding(name, None, said)
    if not looked:
        return Finding(name, None, "opens it; no tile was there to decode")
    return Finding(name, True, f"decodes {looked} tiles to the same pixels{f' (to {largest})' if largest else ''}")


def _speed(source: Path, path: Path) -> list[Finding]:
    """How long OpenSlide needs for a region of every level, as a multiple of the source."""
    if OPENSLIDE.missing():
        return []
    import openslide

    try:
        with openslide.OpenSlide(str(source)) as one, openslide.OpenSlide(str(path)) as other:
            ratios = {
                index: _seconds(other, index) / _seconds(one, index)
                for index in range(min(one.level_count, other.level_count))
            }
    except openslide.OpenSlideError:
        return []
    said = ", ".join(f"level {index} {ratio:.2g}" for index, ratio in ratios.items())
    slow = [index for index, ratio in ratios.items() if ratio > SLOW]
    after = f"; level {', '.join(map(str, slow))} is slow" if slow else ""
    return [Finding("time to read in OpenSlide, source = 1", None, said + after)]


def _seconds(held: Any, index: int) -> float:
    """The median of 5 reads of the middle, caches emptied."""
    import openslide

    w, h = held.level_dimensions[index]
    down = held.level_downsamples[index]
    size = (min(w, 1024), min(h, 1024))
    corner = (round((w - size[0]) // 2 * down), round((h - size[1]) // 2 * down))
    found = []
    for _ in range(5):
        held.set_cache(openslide.OpenSlideCache(0))
        start = time.perf_counter()
        held.read_region(corner, index, size)
        found.append(time.perf_counter() - start)
    return max(statistics.median(found), 1e-6)


def as_json(found: Checked) -> Mapping[str, Any]:
    """What a command prints."""
    return {
        "path": str(found.path),
        "source": None if found.source is None else str(found.source),
        "passed": found.passed,
        "bytes": found.facts.bytes,
        "source_bytes": None if found.source_facts is None else found.source_facts.bytes,
        "findings": found.findings,
        "readers": found.readers,
        "levels": found.lines,
        "tiles": {
            fate: sum(row.fate == fate for row in found.rows)
            for fate in ("same bytes", "same pixels", "changed", "left out")
        },
    }
