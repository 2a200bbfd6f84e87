"""A DICOM Segmentation that was opened: what its header says, and its frames when they are asked for."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from slimscan import child, rle
from slimscan.errors import CodecError
from slimscan.files.dicom import frames as dicom_frames
from slimscan.files.dicom.codestream import inspect
from slimscan.files.dicom.header import Header
from slimscan.files.dicom.place import Place
from slimscan.files.dicom.segterms import Segment
from slimscan.files.dicom.syntax import SYNTAXES
from slimscan.files.guard import one_line
from slimscan.nouns import Pixels


@dataclass(frozen=True)
class Held:
    """A segmentation file, opened. kind: BINARY, FRACTIONAL or LABELMAP.

    slices, numbers: slice and SegmentNumber of every frame (0 in a LABELMAP). bits: where the frames of one bit a voxel
    lie, else head says it. shape: (z, y, x) of the whole grid. top: MaximumFractionalValue.
    """

    path: Path
    kind: str
    segments: tuple[Segment, ...]
    slices: tuple[int, ...]
    numbers: tuple[int, ...]
    shape: tuple[int, int, int]
    affine_mm: NDArray[np.float64]
    syntax: str
    top: int
    disjoint: bool
    facts: dict[str, Any]
    bits: Place | None = None
    head: Header | None = None
    limits: child.Limits | None = None

    def frame(self, k: int) -> Pixels:
        """(y, x) of one frame: bool, or as stored."""
        if self.head is not None:
            return dicom_frames.decode(self.head, k, self.limits)
        assert self.bits is not None
        count = self.shape[1] * self.shape[2]
        payload = self.bits.read(k)
        if self.bits.encapsulated:
            if SYNTAXES[self.syntax].kind == "jpeg2000":
                return self._coded(k, payload)
            payload, start = self._packed(k, payload, (count + 7) // 8), 0
        else:
            start = k * count % 8
        flat = np.unpackbits(np.frombuffer(payload, np.uint8), bitorder="little")[start : start + count]
        return flat.reshape(self.shape[1:]).view(bool)

    def _packed(self, k: int, payload: bytes, wanted: int) -> bytes:
        """The bits of a frame, eight a byte, out of a deflated or RLE frame."""
        try:
            if SYNTAXES[self.syntax].kind == "rle":
                return rle.decode(payload, 1, wanted, 1, 1).tobytes()
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(payload, wanted + 1)
            if not wanted <= len(content) <= wanted + 1:
                raise CodecError(f"the deflated frame holds {len(content)} bytes, the header needs {wanted}")
        except zlib.error as error:
            raise CodecError(f"{self.path}: frame {k + 1}: the deflated frame is damaged: {error}") from None
        except CodecError as error:
            raise CodecError(f"{self.path}: frame {k + 1}: {error}") from None
        return content

    def _coded(self, k: int, payload: bytes) -> Pixels:
        try:
            found = inspect(payload)
            if (found.rows, found.columns, found.samples) != (*self.shape[1:], 1) or (found.precision or 8) > 8:
                raise CodecError(f"the codestream says {found.rows} x {found.columns}, the header {self.shape[1:]}")
            if self.limits is None:
                return _jpeg2000(payload) > 0
            call = ("slimscan.files.dicom.segframes:_jpeg2000", (payload,))
            return child.decode(*call, self.shape[1:], np.uint8, self.limits) > 0
        except CodecError as error:
            raise CodecError(f"{self.path}: frame {k + 1}: {error}") from None


def _jpeg2000(payload: bytes) -> Pixels:
    try:
        return np.asarray(imagecodecs.jpeg2k_decode(payload, numthreads=1), np.uint8)
    except (imagecodecs.Jpeg2kError, ValueError) as error:
        raise CodecError(f"damaged JPEG 2000: {one_line(error)}") from None
