"""Tissue masks as files: TIFF or PNG in and out, GeoJSON of QuPath in and out; what a person corrected comes back."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError, MissingExtra, NotReadable
from slimscan.nouns.slide import Slide
from slimscan.press.staging import admit_output, staged
from slimscan.regions.tissue import Tissue, geojson

PICTURES = (".tif", ".tiff", ".png")
TEXTS = (".geojson", ".json")
_MOST_PIXELS = 64 << 20
_MARK = "slimscan tissue"


def mask(path: Path, slide: Slide) -> Tissue:
    """The mask in a TIFF or PNG, of a slide whole: 0 is glass, all else tissue; in colours, all that is not black.

    Of a pyramid (QuPath's OME-TIFF) the largest level of at most 64 million samples is taken. A mask of slimscan knows its
    step; others cover the slide from corner to corner. NotReadable: no such picture. InputError: a mask of another slide
    (its sides are in another proportion), JPEG (its edges are not what was drawn), an empty one.
    """
    if path.suffix.lower() not in PICTURES:
        raise InputError(
            f"{path}: want a mask as {', '.join(PICTURES)} (JPEG would blur it), or annotations as .geojson"
        )
    values, said = _tiff(path) if path.suffix.lower() != ".png" else (_png(path), {})
    if values.ndim == 3:
        values = values[..., :3].max(axis=-1) if values.shape[-1] >= 3 else values[..., 0]
    if values.ndim != 2 or not values.size:
        raise NotReadable(f"{path}: holds {values.shape}; want one picture (h, w) of glass (0) and tissue")
    shape = slide.levels[0].shape
    step = (shape[0] / values.shape[0], shape[1] / values.shape[1])
    if said:
        if tuple(said["slide"]) != shape:
            raise InputError(
                f"{path}: is of a slide of {said['slide']} pixels (height, width), and {slide.path} has {list(shape)}"
            )
        step = (float(said["step"][0]), float(said["step"][1]))
        if values.shape != tuple(math.ceil(side / one) for side, one in zip(shape, step, strict=True)):
            step = (shape[0] / values.shape[0], shape[1] / values.shape[1])
    elif not _one_scale(values.shape, shape):
        raise InputError(
            f"{path}: is {values.shape[1]} x {values.shape[0]}, which is another proportion than {slide.path} with "
            f"{shape[1]} x {shape[0]}; want a mask of the whole slide"
        )
    return Tissue(values != 0, step, shape, (path.name,))


def _one_scale(held: tuple[int, ...], shape: tuple[int, int]) -> bool:
    """Whether some downsample gives both sides of a mask, each to a pixel, as exports round them. A slack in parts of a side
    would let a cropped mask through, stretched by more than any margin.
    """
    low = max(whole / (side + 1) for side, whole in zip(held, shape, strict=True))
    high = min(whole / max(side - 1, 1e-9) for side, whole in zip(held, shape, strict=True))
    return low <= high


def drawn(path: Path, slide: Slide, step: float) -> Tissue:
    """QuPath's GeoJSON on a mask with `step` pixels of level 0 a pixel; NotReadable and InputError: see regions.tissue."""
    return geojson.drawn(geojson.read(path), slide.levels[0].shape, (step, step), path.name)


def write(tissue: Tissue, path: Path, slide: Slide, force: bool = False) -> None:
    """The mask by the name's ending: .tif .tiff .png (0 and 255, for any editor) or .geojson (for QuPath).

    OutputError: it exists, or cannot be written. InputError: another ending.
    """
    ending = path.suffix.lower()
    if ending not in (*PICTURES, *TEXTS):
        raise InputError(f"{path}: a mask is written as {', '.join((*PICTURES, *TEXTS))}; got {ending or 'no ending'}")
    admit_output(path, force, slide.path)
    with staged(path, force) as stage:
        if ending in TEXTS:
            stage.path.write_text(geojson.written(tissue), "utf-8")
        elif ending == ".png":
            stage.path.write_bytes(png(tissue.pixels.astype(np.uint8) * 255))
        else:
            _write_tiff(tissue, stage.path, slide)


def write_picture(pixels: NDArray[np.uint8], path: Path, slide: Slide, force: bool = False) -> None:
    """A picture as PNG. OutputError: it exists, or cannot be written. InputError: another ending."""
    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: the picture of what is left out is a .png")
    admit_output(path, force, slide.path)
    with staged(path, force) as stage:
        stage.path.write_bytes(png(pixels))


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Grey (h, w) or RGB (h, w, 3) as PNG."""
    import imagecodecs

    return bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))


def _write_tiff(tissue: Tissue, path: Path, slide: Slide) -> None:
    import tifffile

    said = {_MARK: 1, "step": list(tissue.step), "slide": list(tissue.shape), "how": list(tissue.how)}
    words: dict[str, Any] = {}
    if slide.mpp:  # pixels a centimetre, so that QuPath knows the size
        words = {
            "resolution": tuple(1e4 / (slide.mpp[axis] * tissue.step[axis]) for axis in (1, 0)),
            "resolutionunit": "CENTIMETER",
        }
    tifffile.imwrite(
        path, tissue.pixels.astype(np.uint8) * 255, compression="zlib", tile=(256, 256), photometric="minisblack",
        description=json.dumps(said), metadata=None, software="slimscan", **words,
    )  # fmt: skip


def _tiff(path: Path) -> tuple[NDArray[Any], dict[str, Any]]:
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            levels = [level for level in file.series[0].levels if math.prod(level.shape) <= _MOST_PIXELS]
            if not levels:
                raise InputError(
                    f"{path}: the mask is {file.series[0].shape}, more than {_MOST_PIXELS >> 20} million pixels; export it"
                    " with a larger downsample"
                )
            return np.asarray(levels[0].asarray().squeeze()), _said(str(file.pages.first.description))
    except InputError:
        raise
    except FileNotFoundError:
        raise NotReadable(f"{path}: is not there") from None
    except Exception as error:  # noqa: BLE001 - tifffile raises half a dozen kinds for a damaged file
        raise NotReadable(f"{path}: cannot be read as a TIFF ({' '.join(str(error).split())[:100]})") from None


def _png(path: Path) -> NDArray[Any]:
    try:
        import imagecodecs
    except ImportError:  # pragma: no cover - a core dependency
        raise MissingExtra("reading a PNG", "imagecodecs", "") from None
    try:
        return np.asarray(imagecodecs.png_decode(path.read_bytes()))
    except OSError as error:
        raise NotReadable(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # noqa: BLE001 - imagecodecs raises its own kinds
        raise NotReadable(f"{path}: cannot be read as a PNG ({' '.join(str(error).split())[:100]})") from None


def _said(description: str) -> dict[str, Any]:
    try:
        said = json.loads(description)
    except ValueError:
        return {}
    known = (
        isinstance(said, dict) and said.get(_MARK) == 1 and len(said.get("step", ())) == len(said.get("slide", ())) == 2
    )
    return said if known else {}
