"""What a DICOM slide says of itself, under the names and in the words of OpenSlide 4.

OpenSlide is not asked: its reader ends the process on some damaged DICOM headers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slimscan.nouns.slide import Level

_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN", "AT"})


def properties(
    header: Any,
    levels: tuple[Level, ...],
    magnification: float | None,
    icc: bytes | None,
    pictures: Mapping[str, tuple[tuple[int, int], bytes | None]],
) -> dict[str, str]:
    """All but OpenSlide's quickhash. header: the pydicom data set of the largest level,
    its per-frame groups left out. pictures: (shape, profile)."""
    out = {"openslide.vendor": "dicom", "openslide.level-count": str(len(levels))}
    for number, level in enumerate(levels):
        at = f"openslide.level[{number}]."
        sides = {
            "width": level.shape[1],
            "height": level.shape[0],
            "tile-width": level.tile[1],
            "tile-height": level.tile[0],
        }
        out |= {at + name: str(value) for name, value in sides.items()}
        out[at + "downsample"] = f"{level.downsample:.17g}"
    if levels[0].mpp is not None:
        out |= {"openslide.mpp-x": f"{levels[0].mpp[1]:.17g}", "openslide.mpp-y": f"{levels[0].mpp[0]:.17g}"}
    if magnification is not None:
        out["openslide.objective-power"] = f"{magnification:.17g}"
    if icc:
        out["openslide.icc-size"] = str(len(icc))
    for name, ((height, width), profile) in pictures.items():
        at = f"openslide.associated.{name}."
        out |= {at + "width": str(width), at + "height": str(height)}
        if profile:
            out[at + "icc-size"] = str(len(profile))
    for held in (getattr(header, "file_meta", None) or (), header):
        out |= dict(_elements(held, "dicom."))
    return out


def _elements(held: Any, before: str) -> Iterator[tuple[str, str]]:
    for element in held:
        name = before + element.keyword
        if not element.keyword or element.VR in _BINARY or element.keyword == "FileMetaInformationGroupLength":
            continue
        if element.VR == "SQ":
            for number, item in enumerate(element.value):
                yield from _elements(item, f"{name}[{number}].")
        elif element.VM > 1:
            for number, value in enumerate(element.value):
                yield f"{name}[{number}]", _word(value)
        elif element.VM == 1:
            yield name, _word(element.value)


def _word(value: Any) -> str:
    said = getattr(value, "original_string", None)  # of decimal strings; names keep bytes under it
    return said if isinstance(said, str) else str(value)
