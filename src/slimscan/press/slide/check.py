"""The check of a slide: opened by every reader at hand, compared with its source, and who else can open it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.errors import OutputError, SlimscanError
from slimscan.files.slides import open_slide
from slimscan.nouns.slide import Slide
from slimscan.press.slide.compare import LevelLine, TileRow, compare, lines
from slimscan.press.slide.facts import Facts, Reader, facts, readers
from slimscan.press.slide.ledger import read_ledger
from slimscan.press.slide.other_readers import Finding, by_openslide, by_tifffile, times
from slimscan.press.slide.restore import restored_digest

ANOTHER_DB = 15.0  # below this two tiles are not of one picture
GLASS = 0.001  # share of tissue pixels that a left-out tile may hold
SMALL = 500_000_000  # bytes of a file that is restored on the way, unless every tile is asked for
# Properties that name the file's bytes or its compression, which are meant to change.
MEANT = ("openslide.quickhash-1", "tiff.Compression", "tiff.DocumentName", "tiff.Software", "tiff.DateTime")
# What DICOM asks to change with the compression, and of a derived instance (PS3.3 C.7.6.1.1, C.12.1).
MEANT_DICOM = (
    "TransferSyntaxUID", "SOPInstanceUID", "SeriesInstanceUID", "ImageType", "LossyImageCompression", "Derivation", "SourceImage",
    "PhotometricInterpretation", "InstanceCreation", "ContentDate", "ContentTime", "Implementation", "SeriesNumber",
    "ContributingEquipment", "DimensionOrganizationType", "NumberOfFrames", "MediaStorage", "InstanceNumber", "SeriesDescription",
)  # fmt: skip


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
        findings += [
            by_openslide(out, seed, found, source),
            *([] if found.kind != "tiff" else [by_tifffile(out, seed)]),
        ]
        if source is not None:
            findings += times(source, path)
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
            return Finding(name, False, f"level {index}: {_without_place(error, out.path)}")
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
    except (OutputError, OSError) as error:
        told = error.strerror or error if isinstance(error, OSError) else _without_place(error, path)
        return [Finding(name, None, f"not tried: no room beside the file ({told})")]
    except SlimscanError as error:
        return [Finding(name, False, _without_place(error, path))]
    return [Finding(name, True, f"every byte of it, SHA-256 {found[:16]}...")]


def _without_place(error: SlimscanError, path: Path) -> str:
    """What an error says without the folder of the file, which is nobody's business in a report."""
    head, _, rest = str(error).partition(": ")
    return rest if rest and (path.name in head or head.startswith(str(path.parent))) else str(error)


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
