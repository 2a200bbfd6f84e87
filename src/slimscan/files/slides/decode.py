"""Whole codestreams of tiles to RGB pixels.

A JPEG XL tile that is a transcoded JPEG is turned back into that JPEG first and decoded by libjpeg: decoding the JPEG XL
straight to pixels gives other roundings, by up to 3 levels.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import CodecError
from slimscan.files.dicom.codestream import JXL_BARE, JXL_BOX, ends, inspect
from slimscan.files.guard import one_line

_JP2 = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
# A tile is some hundred pixels wide; more than this in one tile is a file that lies, or no slide.
MAX_PIXELS = 1 << 27


def kind(stream: bytes) -> str:
    """ "jpeg", "jpegls", "jpeg2000", "jpegxl", "png", "webp" or "" by the first bytes."""
    if stream.startswith(b"\xff\xd8\xff\xf7") or (stream.startswith(b"\xff\xd8") and b"\xff\xf7" in stream[:512]):
        return _jpeg_kind(stream)
    if stream.startswith(b"\xff\xd8"):
        return "jpeg"
    if stream.startswith((b"\xff\x4f\xff\x51", _JP2)):
        return "jpeg2000"
    if stream.startswith((JXL_BARE, JXL_BOX)):
        return "jpegxl"
    if stream.startswith(b"\x89PNG"):
        return "png"
    return "webp" if stream[:4] == b"RIFF" and stream[8:12] == b"WEBP" else ""


def _jpeg_kind(stream: bytes) -> str:
    try:
        return inspect(stream).kind
    except CodecError:
        return "jpeg"


def rgb(stream: bytes, shape: tuple[int, int], colour: str = "") -> NDArray[np.uint8]:
    """(h, w, 3) of a whole codestream that must hold `shape` (h, w) pixels of 8 bits; grey is repeated.

    colour: "ycbcr" for JPEG 2000 whose samples are YCbCr and do not say so (Aperio's 33003); for JPEG what TIFF says of the
    samples ("rgb" or "ycbcr"), which goes before what the stream says, as in libtiff; "" takes the stream's word.
    CodecError for another size, more bits, a missing end or damage.
    """
    found = kind(stream)
    if not found:
        raise CodecError(f"the tile begins with {stream[:4].hex() or 'nothing'}, which is no codestream known here")
    if found == "jpegxl":
        jpeg = restored(stream)
        if jpeg is not None:
            return rgb(jpeg, shape)
    _fits(found, stream, shape)
    pixels = _three(_decoded(found, stream, colour), shape)
    return from_ycbcr(pixels) if found == "jpeg2000" and colour == "ycbcr" else pixels


def restored(stream: bytes) -> bytes | None:
    """The JPEG image that a JPEG XL stream was transcoded from, None when it was not."""
    import imagecodecs

    if not stream.startswith(JXL_BOX) or b"jbrd" not in stream:
        return None
    try:
        return bytes(imagecodecs.jpegxl_decode_jpeg(stream, numthreads=1))
    except Exception as error:
        raise CodecError(f"the JPEG inside the JPEG XL tile cannot be restored: {one_line(error)}") from error


def _fits(found: str, stream: bytes, shape: tuple[int, int]) -> None:
    """CodecError when the codestream declares another size than the slide's header, before a decoder takes memory."""
    if found == "jpeg2000":
        at = stream.find(b"\xff\x4f\xff\x51")
        if at < 0 or len(stream) < at + 24:
            raise CodecError("the JPEG 2000 tile ends before its header")
        x1, y1, x0, y0 = struct.unpack_from(">4I", stream, at + 8)
        size = (y1 - y0, x1 - x0)
    elif found in ("jpeg", "jpegls", "jpegxl"):
        said = inspect(stream)
        size = (said.rows, said.columns)
    else:
        return
    if size != shape:
        raise CodecError(f"the tile holds {size[1]} x {size[0]} pixels, the slide says {shape[1]} x {shape[0]}")
    if found in ("jpeg", "jpegls", "jpeg2000") and not ends(stream.rstrip(b"\x00")):
        raise CodecError(f"the {found} tile is cut short: its end marker is missing")


def _decoded(found: str, stream: bytes, colour: str) -> NDArray[Any]:
    import imagecodecs

    if found == "jpeg" and colour in ("rgb", "ycbcr"):
        return _jpeg(stream, colour)

    decoders = {
        "jpeg": imagecodecs.jpeg8_decode,
        "jpegls": imagecodecs.jpegls_decode,
        "jpeg2000": imagecodecs.jpeg2k_decode,
        "jpegxl": imagecodecs.jpegxl_decode,
        "png": imagecodecs.png_decode,
        "webp": imagecodecs.webp_decode,
    }
    try:
        return np.asarray(decoders[found](stream))
    except Exception as error:  # decoders raise many kinds on damaged bytes; all mean the same here
        raise CodecError(f"the {found} tile cannot be decoded: {one_line(error)}") from error


def _jpeg(stream: bytes, colour: str) -> NDArray[Any]:
    import imagecodecs

    space = "RGB" if colour == "rgb" else "YCBCR"
    try:
        return np.asarray(imagecodecs.jpeg8_decode(stream, colorspace=space, outcolorspace="RGB"))
    except Exception as error:
        raise CodecError(f"the jpeg tile cannot be decoded: {one_line(error)}") from error


def _three(pixels: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 of what a decoder gave: grey repeated, alpha over white left out."""
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    if pixels.dtype != np.uint8 or pixels.shape[:2] != shape or pixels.ndim not in (2, 3):
        raise CodecError(f"the tile holds {pixels.shape} samples of {pixels.dtype}; want {shape} RGB of uint8")
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    if pixels.shape[2] not in (3, 4):
        raise CodecError(f"the tile holds {pixels.shape[2]} samples a pixel; want 1 (grey) or 3 (RGB)")
    return np.ascontiguousarray(pixels[..., :3])


def from_ycbcr(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w, 3) YCbCr to RGB, full range (ITU-T T.871 clause 7), in the 16-bit fixed point of libjpeg and OpenSlide."""
    y, cb, cr = (pixels[..., k].astype(np.int32) - (128 if k else 0) for k in range(3))
    red = y + ((91881 * cr + 32768) >> 16)
    green = y + ((-22554 * cb - 46802 * cr + 32768) >> 16)
    blue = y + ((116130 * cb + 32768) >> 16)
    out: NDArray[np.uint8] = np.clip(np.stack((red, green, blue), axis=-1), 0, 255).astype(np.uint8)
    return out


def subsampled(stream: bytes) -> bool:
    """Whether a JPEG 2000 codestream keeps some components at fewer pixels (ISO/IEC 15444-1 A.5.1, XRsiz and YRsiz)."""
    at = stream.find(b"\xff\x4f\xff\x51")
    if at < 0 or len(stream) < at + 42:
        return False
    samples = int.from_bytes(stream[at + 40 : at + 42], "big")
    steps = stream[at + 42 : at + 42 + 3 * samples]
    return any(steps[3 * k + 1 : 3 * k + 3] != b"\x01\x01" for k in range(samples))
