"""One frame of a DICOM file to stored values, and values back to the bytes of a native or RLE frame.

Stored values are what the file stores: no rescale, no window, MONOCHROME1 as it is, palette indices as indices. Only
colour is turned: YBR becomes RGB, because a Volume's three samples are red, green and blue.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import replace

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from slimscan import child, rle
from slimscan.errors import ChecksumError, CodecError
from slimscan.files.dicom.codestream import Codestream, ends, inspect
from slimscan.files.dicom.header import Header
from slimscan.files.dicom.syntax import EXPLICIT_BIG, SYNTAXES
from slimscan.files.guard import one_line
from slimscan.nouns import Pixels

_PREFIX = 1 << 16


def check_size(header: Header) -> Codestream | None:
    """The first frame's codestream, when it is one; CodecError when it is not as large as the header says.

    Reads the beginning of the frame only, and decodes nothing.
    """
    kind = SYNTAXES[header.syntax].kind
    if kind in ("native", "rle", "deflate"):
        return None
    start = header.place.read(0, _PREFIX)
    try:
        found = inspect(start)
    except CodecError as error:
        if len(start) == _PREFIX:
            return None  # a long preface; the decoder's own check sees all of it
        raise _broken(header, 0, str(error)) from None
    _fits(header, 0, found, kind)
    return found


def decode(header: Header, frame: int, limits: child.Limits | None = None) -> Pixels:
    """Stored values of one frame (from 0), (rows, columns) or (rows, columns, 3) in header.dtype, this machine's order.

    limits: decode compressed frames in a child process under them.
    CodecError: the frame is cut off, damaged, or of another size than the header says; nothing is decoded then.
    ChecksumError: slimscan wrote the file, and these are not the bytes that it wrote. NotReadable: the file has changed
    since its header was read.
    """
    payload = header.place.read(frame)
    _same(header, frame, payload)
    if limits is None or SYNTAXES[header.syntax].kind == "native":
        return from_bytes(header, frame, payload)
    light = replace(header, planes=None, rescale=(), checksums=(), place=replace(header.place, frames=()))
    call = ("slimscan.files.dicom.frames:from_bytes", (light, frame, payload))
    try:
        return child.decode(*call, shape(header), header.dtype, limits)
    except CodecError as error:
        if str(error).startswith(str(header.path)):
            raise
        raise _broken(header, frame, str(error)) from None


def _same(header: Header, frame: int, payload: bytes) -> None:
    """ChecksumError when the file says what its frames are, and this is another."""
    if header.checksums and hashlib.sha256(payload).digest() != header.checksums[frame]:
        raise ChecksumError(
            f"{header.path}: frame {frame + 1} of {header.frames} is not what was written (its SHA-256 differs from the"
            " one in the file); not decoded, fetch the file again"
        )


def from_bytes(header: Header, frame: int, payload: bytes) -> Pixels:
    """What `decode` returns, from the bytes of the frame, in this process; CodecError as there."""
    kind = SYNTAXES[header.syntax].kind
    try:
        if kind == "native":
            return _turned(header, _unpacked(header, _native(header, payload)))
        if kind == "deflate":
            return _turned(header, _unpacked(header, _native(header, _inflated(header, payload))))
        if kind == "rle":
            return _turned(header, _unpacked(header, rle_decode(payload, header)))
        stream = inspect(payload)
        _fits(header, frame, stream, kind)
        if kind != "jpegxl" and not ends(payload):
            raise CodecError(f"the {stream.kind} codestream has no end marker; it is cut off")
        values = _library(header, payload, stream)
        if values.shape != shape(header):
            raise CodecError(f"decoded {values.shape}, the header says {shape(header)}")
        settled = _settled(header, values, stream)
        own_colour = kind in ("jpeg", "jpegxl") or stream.colour_transform
        return settled if own_colour else _turned(header, settled)
    except CodecError as error:
        if str(error).startswith(str(header.path)):
            raise
        raise _broken(header, frame, str(error)) from None
    except Exception as error:  # libraries raise many kinds on damaged bytes; all mean the same here
        raise _broken(header, frame, one_line(error)) from error


def shape(header: Header) -> tuple[int, ...]:
    """(rows, columns), or (rows, columns, 3)."""
    return (header.rows, header.columns) if header.samples == 1 else (header.rows, header.columns, header.samples)


def turned(header: Header) -> str:
    """How the colours of the file were turned into RGB, "" when they were not: "codec" (its own transform), "matrix"."""
    if not header.photometric.startswith("YBR"):
        return ""
    kind = SYNTAXES[header.syntax].kind
    return "codec" if kind in ("jpeg", "jpegxl") or header.photometric in ("YBR_ICT", "YBR_RCT") else "matrix"


def overlay_bits(header: Header, frame: int, position: int) -> NDArray[np.bool_]:
    """The plane (rows, columns) of a retired overlay that hides in bit `position` of native or RLE pixels."""
    payload = header.place.read(frame)
    raw = rle_decode(payload, header) if SYNTAXES[header.syntax].kind == "rle" else _native(header, payload)
    return np.asarray((raw >> position) & 1, np.bool_)


def native_frame(pixels: Pixels) -> bytes:
    """One slice (y, x[, 3]) as Explicit VR Little Endian stores it, colour by pixel."""
    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).tobytes()


def rle_frame(pixels: Pixels) -> bytes:
    """One slice (y, x[, 3]) in RLE Lossless (PS3.5 annex G)."""
    return rle.encode(pixels)


def rle_decode(payload: bytes, header: Header) -> Pixels:
    """Raw words (rows, columns[, 3]) of an RLE frame; CodecError for a wrong number of segments or a short one."""
    words = rle.decode(payload, header.rows, header.columns, header.samples, header.allocated // 8)
    return words.reshape(shape(header))


def _native(header: Header, payload: bytes) -> Pixels:
    size = header.allocated // 8
    big = header.syntax == EXPLICIT_BIG
    raw = np.frombuffer(payload, f"{'>' if big else '<'}u{size}").astype(f"u{size}", copy=False)
    if big and size == 1 and header.place.words:
        if len(raw) % 2:
            raise CodecError("8-bit pixels in 16-bit words with an odd number of pixels; allowed: VR OB")
        raw = raw.reshape(-1, 2)[:, ::-1].reshape(-1)
    if header.photometric == "YBR_FULL_422":
        # Two pixels share their colour: Y1 Y2 Cb Cr (C.7.6.3.1.2).
        pairs = raw.reshape(header.rows, header.columns // 2, 4)
        full = np.empty((header.rows, header.columns, 3), raw.dtype)
        full[:, 0::2, 0], full[:, 1::2, 0] = pairs[:, :, 0], pairs[:, :, 1]
        full[:, :, 1:] = np.repeat(pairs[:, :, 2:], 2, axis=1)
        return full
    if header.samples == 3 and header.planar == 1:
        return np.ascontiguousarray(raw.reshape(3, header.rows, header.columns).transpose(1, 2, 0))
    return raw.reshape(shape(header))


def _inflated(header: Header, payload: bytes) -> bytes:
    wanted = header.rows * header.columns * header.samples * header.allocated // 8
    try:
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(payload, wanted)
    except zlib.error as error:
        raise CodecError(f"the deflated frame is damaged: {error}") from None
    if len(content) != wanted:
        raise CodecError(f"the deflated frame holds {len(content)} bytes, the header needs {wanted}")
    return content


def _library(header: Header, payload: bytes, stream: Codestream) -> Pixels:
    if stream.kind == "jpegls":
        return np.asarray(imagecodecs.jpegls_decode(payload))
    if stream.kind == "jpeg2000":
        return np.asarray(imagecodecs.jpeg2k_decode(payload, numthreads=1))  # OpenJPEG reads HTJ2K too, and clamps
    if stream.kind == "jpegxl":
        return np.asarray(imagecodecs.jpegxl_decode(payload, numthreads=1))
    if header.samples == 1:
        return np.asarray(imagecodecs.jpeg8_decode(payload))
    if stream.reversible:  # lossless JPEG knows no colour transform
        return _turned(header, np.asarray(imagecodecs.jpeg8_decode(payload, colorspace="RGB", outcolorspace="RGB")))
    if stream.marked:
        return np.asarray(imagecodecs.jpeg8_decode(payload, outcolorspace="RGB"))
    space = "RGB" if header.photometric == "RGB" else "YCBCR"
    return np.asarray(imagecodecs.jpeg8_decode(payload, colorspace=space, outcolorspace="RGB"))


def _unpacked(header: Header, words: Pixels) -> Pixels:
    """Stored values out of allocated words: bits above and below (old overlays) are masked off, the sign is spread."""
    if header.stored == header.allocated:
        return words.view(header.dtype)
    if header.high == header.stored - 1 and not header.signed:
        return np.asarray(words & words.dtype.type((1 << header.stored) - 1))
    stored = (words >> (header.high - header.stored + 1)) & ((1 << header.stored) - 1)
    return _signed(stored, header.stored).astype(header.dtype) if header.signed else stored.astype(header.dtype)


def _signed(values: Pixels, bits: int) -> Pixels:
    """Two's complement of `bits` bits as int32."""
    sign = 1 << (bits - 1)
    return (np.asarray(values & ((1 << bits) - 1), np.int32) ^ sign) - sign


def _settled(header: Header, values: Pixels, stream: Codestream) -> Pixels:
    """What a codec decoded as stored values. Codestreams for signed pixels may be unsigned, or of another precision."""
    precision = stream.precision or values.dtype.itemsize * 8
    signed = stream.signed or values.dtype.kind == "i"
    if precision == header.stored and signed == header.signed:
        return values.astype(header.dtype, copy=False)
    wide = values.astype(np.int32)
    if header.signed and not signed:
        bits = min(precision, header.stored)
        if bits < header.stored and stream.kind != "jpeg2000" and bool((wide >> (bits - 1)).any()):
            raise CodecError(
                f"signed pixels of {header.stored} bits in an unsigned codestream of {precision}: the sign is anyone's guess"
            )
        wide = _signed(wide, bits)
    low = -(1 << (header.stored - 1)) if header.signed else 0
    if stream.reversible is True:
        if not header.signed:
            wide &= (1 << header.stored) - 1
        return wide.astype(header.dtype)
    return np.clip(wide, low, low + (1 << header.stored) - 1).astype(header.dtype)


def _turned(header: Header, pixels: Pixels) -> Pixels:
    """YBR_FULL to RGB (C.7.6.3.1.2), rounded and clipped."""
    if header.photometric not in ("YBR_FULL", "YBR_FULL_422"):
        return pixels
    y, cb, cr = (pixels[..., k].astype(np.float64) for k in range(3))
    half, top = 1 << (header.stored - 1), (1 << header.stored) - 1
    cb, cr = cb - half, cr - half
    rgb = np.stack([y + 1.402 * cr, y - 0.344136286 * cb - 0.714136286 * cr, y + 1.772 * cb], axis=-1)
    return np.clip(np.rint(rgb), 0, top).astype(pixels.dtype)


def _fits(header: Header, frame: int, stream: Codestream, kind: str) -> None:
    """CodecError when the codestream is of another standard or size than the header says."""
    if stream.kind != kind:
        raise _broken(header, frame, f"holds {stream.kind}, the transfer syntax says {SYNTAXES[header.syntax].name}")
    samples = stream.samples or header.samples
    if (stream.rows, stream.columns, samples) != (header.rows, header.columns, header.samples):
        raise _broken(
            header,
            frame,
            f"the codestream says {stream.rows} x {stream.columns} x {samples}, the header"
            f" {header.rows} x {header.columns} x {header.samples}; not decoded",
        )
    if stream.precision and stream.precision > header.allocated:
        raise _broken(
            header, frame, f"the codestream has {stream.precision} bits a sample, {header.allocated} are allocated"
        )


def _broken(header: Header, frame: int, why: str) -> CodecError:
    where = f" frame {frame + 1} of {header.frames}" if header.frames > 1 else ""
    return CodecError(f"{header.path}:{where} {why}")
