"""DICOM images: one file (single or multi-frame, classic or enhanced), or a folder with the slices of one series.

Pixels are as stored and stay on disk until slices are asked for; every header is read and checked at once. A folder is
read one level deep; files that are no DICOM images (DICOMDIR, reports, notes) are passed over and named in `about`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan import child
from slimscan.errors import GeometryError, InputError, NotReadable
from slimscan.files.dicom import frames as dicom_frames
from slimscan.files.dicom import geometry as dicom_geometry
from slimscan.files.dicom.codestream import Codestream
from slimscan.files.dicom.geometry import Plane
from slimscan.files.dicom.header import Header, header
from slimscan.files.dicom.open import files_in, head_of, is_dicom
from slimscan.files.dicom.seg import is_segmentation
from slimscan.files.dicom.syntax import SYNTAXES
from slimscan.files.guard import reading
from slimscan.files.lazy import Slices
from slimscan.nouns import Pixels, Volume

HINT = "; `slimscan compress --frames` takes every file for itself"


def read(path: Path, *, frames: bool = False) -> Volume:
    """The image or series, pixels (z, y, x[, 3]) on disk, uint8, int8, uint16 or int16.

    frames: one file, and where its frames make no regular volume they are slices in file order: the affine holds their
    pixel spacing and 1 mm a frame. Where their scales differ, slope, intercept and unit are 1, 0 and "".

    GeometryError: slices that make no regular volume, naming the slice. InputError: several series, or a kind of image
    that is not read. NotReadable, CodecError: a damaged file or frame.

    about["dicom"]: {"folder", "files" (one a slice in z order), "frames" (its frame, from 0), "sop_uids", "modality",
    "body_part", "series_uid", "series_description", "study_uid", "sop_class", "transfer_syntax", "photometric",
    "geometry", "spacing_from", "padding_range_limit", "modality_lut", "converted", "lossy_before", "lossy_why",
    "lossy_ratios", "lossy_methods", "passed_over"}. about["palette"] is True for palette indices, which must stay exact.
    """
    try:
        return _read(path, frames)
    except GeometryError as error:
        raise GeometryError(f"{error}{HINT}") from None


def _read(path: Path, single: bool) -> Volume:
    folder = path.is_dir()
    if folder and single:
        raise InputError(f"{path}: is a folder, want one file: its frames are read for themselves")
    with reading(path, "DICOM"):
        headers, passed = _series(path) if folder else ([header(path)], [])
    streams = [dicom_frames.check_size(one) for one in headers]
    first = headers[0]
    try:
        _one_kind(headers)
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}") from None
    frames = [(one, k) for one in headers for k in range(one.frames)]
    order, affine_mm, geometry = _ordered(path, headers, single)
    placed = [frames[k] for k in order]
    slope, intercept, unit = _one_scale(path, placed, single)
    dicom = {
        "folder": str((path if folder else path.parent).resolve()),
        "files": [one.name for one, _ in placed],
        "frames": [k for _, k in placed],
        "sop_uids": [one.sop_uid for one, _ in placed],
        "modality": first.modality,
        "body_part": first.body_part,
        "series_uid": first.series_uid,
        "series_description": first.description,
        "study_uid": first.study_uid,
        "sop_class": first.sop_class,
        "transfer_syntax": first.syntax,
        "photometric": first.photometric,
        "geometry": geometry,
        "spacing_from": first.spacing_from or ("PixelSpacing" if first.planes else "unknown"),
        "padding_range_limit": first.padding_limit,
        "modality_lut": first.lookup,
        "converted": f"{first.photometric} to RGB" if dicom_frames.turned(first) == "matrix" else "",
        **_history(headers, streams),
        "passed_over": passed,
    }
    return Volume(
        pixels=_lazy(placed),
        affine_mm=affine_mm,
        bits=first.stored,
        padding=first.padding,
        slope=slope,
        intercept=intercept,
        unit=unit,
        about={"dicom": dicom, **({"palette": True} if first.photometric == "PALETTE COLOR" else {})},
        source=str(path),
    )


def _lazy(placed: Sequence[tuple[Header, int]]) -> Slices:
    first = placed[0][0]
    limits = child.asked()

    def load(start: int, stop: int) -> Pixels:
        out = np.empty((stop - start, *dicom_frames.shape(first)), first.dtype)

        def one(k: int) -> None:
            out[k - start] = dicom_frames.decode(*placed[k], limits)

        if stop - start == 1:
            one(start)
        else:
            with ThreadPoolExecutor(min(os.cpu_count() or 1, stop - start)) as pool:
                list(pool.map(one, range(start, stop)))
        return out

    native = SYNTAXES[first.syntax].kind == "native" and not first.place.inflated
    return Slices((len(placed), *dicom_frames.shape(first)), np.dtype(first.dtype), load, cheap=native)


def _series(path: Path) -> tuple[list[Header], list[str]]:
    """The headers of the one image series in the folder, and the names of the files that are no images."""
    found: dict[str, list[Header]] = {}
    passed: list[str] = []
    for file in files_in(path):
        head = head_of(file)
        if file.name.upper() == "DICOMDIR" or not is_dicom(file, head) or is_segmentation(head):
            passed.append(file.name)
            continue
        try:
            one = header(file)
        except NotReadable as error:
            if "is no image" not in str(error):
                raise
            passed.append(file.name)
            continue
        found.setdefault(one.series_uid, []).append(one)
    if not found:
        raise NotReadable(f"{path}: holds no DICOM image; give a folder with the slices of one series")
    if len(found) > 1:
        listed = "; ".join(
            f'{len(some)} file(s) like {some[0].name} ({some[0].modality} "{some[0].description}")'
            for some in sorted(found.values(), key=len, reverse=True)[:8]
        )
        raise InputError(f"{path}: holds {len(found)} series, want one: {listed}; move each into its own folder{HINT}")
    headers = next(iter(found.values()))
    odd = next((one for one in headers if one.frames > 1), None) if len(headers) > 1 else None
    if odd is not None:
        raise InputError(
            f"{path}: {odd.name} holds {odd.frames} frames beside {len(headers) - 1} other file(s) of its series;"
            f" give that file itself{HINT}"
        )
    return headers, passed


def _one_kind(headers: Sequence[Header]) -> None:
    """GeometryError naming the first file that is of another kind than most."""
    facts: tuple[tuple[str, str], ...] = (
        ("rows", "Rows"),
        ("columns", "Columns"),
        ("samples", "SamplesPerPixel"),
        ("allocated", "BitsAllocated"),
        ("stored", "BitsStored"),
        ("signed", "PixelRepresentation"),
        ("photometric", "PhotometricInterpretation"),
        ("syntax", "TransferSyntaxUID"),
    )
    for name, keyword in facts:

        def value(one: Header, name: str = name) -> Any:
            found = getattr(one, name)
            return int(found) if isinstance(found, bool) else found

        dicom_geometry.alike(
            [_Placed(one) for one in headers],
            lambda item: value(item.header),
            lambda a, b: bool(value(a.header) == value(b.header)),
            keyword,
            lambda item: str(value(item.header)),
        )


class _Placed:
    """A header that is called by its file and its position in messages."""

    def __init__(self, one: Header) -> None:
        self.header = one

    @property
    def name(self) -> str:
        planes = self.header.planes
        depth = f" at {float(np.dot(planes[0].position, planes[0].normal)):.3f} mm" if planes else ""
        return self.header.name + depth


def _ordered(path: Path, headers: Sequence[Header], single: bool) -> tuple[list[int], NDArray[np.float64], str]:
    """The order of all frames, the affine, and what it rests on: "planes", "frames in file order", FRAMES or "none"."""
    planes: list[Plane] = [plane for one in headers for plane in one.planes or ()]
    if len(headers) > 1 and any(one.planes is None for one in headers):
        bare = next(one for one in headers if one.planes is None)
        raise GeometryError(
            f"{path}: {bare.name} has no ImagePositionPatient, ImageOrientationPatient or PixelSpacing, expected all three"
            f" in a series of {len(headers)} files; give single files"
        )
    if planes:
        rests = "planes" if len(planes) > 1 or planes[0].thickness else "one plane of unknown thickness"
        try:
            return *dicom_geometry.stack(planes), rests
        except GeometryError as error:
            if not single:
                raise GeometryError(f"{path}: {error}") from None
    only = headers[0]
    rows, columns = only.spacing or (planes[0].spacing if planes else (1.0, 1.0))
    affine_mm = np.diag([-columns, -rows, 1.0, 1.0])  # x grows to the left, y to the back, as in an untilted scan
    rests = dicom_geometry.FRAMES if planes else "frames in file order" if only.frames > 1 else "none"
    return list(range(only.frames)), affine_mm, rests


def _one_scale(path: Path, placed: Sequence[tuple[Header, int]], single: bool) -> tuple[float, float, str]:
    scales = [one.rescale[k if len(one.rescale) > 1 else 0] for one, k in placed]
    for (one, k), scale in zip(placed, scales, strict=True):
        if scale != scales[0] and single:
            return 1.0, 0.0, ""
        if scale != scales[0]:
            raise InputError(
                f"{path}: {one.name} frame {k + 1} has rescale {scale[0]:g} * stored + {scale[1]:g} {scale[2]}".rstrip()
                + f", {placed[0][0].name} has {scales[0][0]:g} * stored + {scales[0][1]:g}; one scale for all slices is"
                f" wanted, because stored values are compressed{HINT}"
            )
    if scales[0][0] == 0:
        raise InputError(f"{path}: RescaleSlope is 0; no stored value means anything; correct the header")
    return scales[0]


def _history(headers: Sequence[Header], streams: Sequence[Codestream | None]) -> dict[str, Any]:
    """Whether the pixels have been through a lossy codec, and how that is known (PS3.3 C.7.6.1.1.5)."""
    first, syntax = headers[0], SYNTAXES[headers[0].syntax]
    why = []
    if any(one.lossy for one in headers):
        why.append("LossyImageCompression is 01")
    exact = all(stream is not None and stream.reversible for stream in streams)
    if syntax.method and not (syntax.kind == "jpegls" and exact):
        why.append(f"transfer syntax {syntax.name}")
    elif any(stream is not None and stream.reversible is False for stream in streams):
        why.append("the codestream says that it is not reversible")
    return {
        "lossy_before": bool(why),
        "lossy_why": "; ".join(why),
        "lossy_ratios": list(first.ratios),
        "lossy_methods": list(first.methods),
    }
