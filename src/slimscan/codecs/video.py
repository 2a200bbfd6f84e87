"""What the video codecs share: slices to grey frames of a fixed depth, frames to packets, and the way back.

Encoders round their quantiser to whole steps. The part of a step is done here: samples are multiplied by a gain just under
1, which equals a coarser quantiser and gives every slice of a volume the same quality. Packets are kept bare, without a
container; a payload bears a checksum (`sealed`), for damaged streams mostly decode to some picture. Everything runs on one
thread, so that the bytes depend on nothing but the input. A group is closed: each chunk decodes alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.codecs.samples import span
from slimscan.errors import CodecError, InputError, LayoutRefused
from slimscan.nouns import Layout, Needs, Pixels

AV = Needs("av", "av", "video")
PARTS = 64  # of one step of a quantiser: about 0.2 % of the bytes each

Frame = NDArray[Any]  # (y, x), uint8 or uint16


def split(codec: str, value: float | None, steps: int = 1) -> tuple[int, int]:
    """The knob's value, with `steps` to the unit, as whole steps and 64ths of a step; InputError for None (lossless)."""
    if value is None:
        raise InputError(f"{codec} is never exact; ask for a quality, or choose jpegxl, jpeg2000 or ffv1 for lossless")
    return divmod(round(value * steps * PARTS), PARTS)


def unsigned(pixels: Pixels, layout: Layout) -> Iterator[NDArray[np.uint16]]:
    """Each slice (y, x) with the layout's least value at 0; LayoutRefused for samples outside its bits."""
    low, top = span(layout)
    least, most = int(pixels.min()), int(pixels.max())
    if least < low or most > top:
        raise LayoutRefused(
            f"samples of {least}..{most} do not fit {layout.bits} bits of {layout.dtype}, which hold {low}..{top}; "
            "give the layout the bits that the data need"
        )
    for piece in pixels.reshape(layout.shape[:3]):
        yield np.subtract(piece, low, dtype=np.int32).astype(np.uint16)


def size(layout: Layout, least: int) -> tuple[int, int]:
    """(y, x) of the frames that hold the layout's slices: sides of at least `least`."""
    return max(least, layout.shape[1]), max(least, layout.shape[2])


def scaled(pixels: Pixels, layout: Layout, sides: tuple[int, int], depth: int, gain: float) -> Iterator[Frame]:
    """Each slice as a frame of `depth` bits, its edges repeated out to the sides.

    The layout's bits are shifted to fill the depth (exact for bits <= depth at gain 1), then multiplied by the gain.
    """
    pads = [(0, want - side) for want, side in zip(sides, layout.shape[1:3], strict=True)]
    factor = gain * 2.0 ** (depth - layout.bits)
    for piece in unsigned(pixels, layout):
        frame = np.minimum(np.rint(piece * factor), 2**depth - 1).astype(np.uint16)
        yield np.pad(frame, pads, mode="edge")


def restored(frames: Iterable[Frame], layout: Layout, depth: int, gain: float) -> Pixels:
    """The pixels that `scaled` turned into these frames, rounded and held within the layout's range."""
    high, wide = layout.shape[1:3]
    factor = gain * 2.0 ** (depth - layout.bits)
    low, top = span(layout)
    pixels = np.empty(layout.shape[:3], layout.dtype)
    for index, frame in enumerate(frames):
        pixels[index] = np.clip(np.rint(frame[:high, :wide] / factor) + low, low, top).astype(layout.dtype)
    return pixels


def packets(library: str, frames: Iterable[Frame], form: str, options: dict[str, str]) -> tuple[bytes, list[bytes]]:
    """Frames (y, x) to the encoder's own header (b"" when the packets carry it) and its packets; CodecError if it fails.

    form: FFmpeg's name of the pixel format; grey goes to the first plane, the others stand at the middle of their range.
    """
    import av

    coder: Any = None
    found: list[bytes] = []
    try:
        for index, picture in enumerate(frames):
            high, wide = picture.shape
            if coder is None:
                coder = av.CodecContext.create(library, "w")
                coder.width, coder.height, coder.pix_fmt = wide, high, form
                coder.time_base, coder.framerate = Fraction(1, 25), Fraction(25)
                coder.thread_count = 1
                coder.options = options
            frame = av.VideoFrame(wide, high, form)
            frame.pts = index
            fill(frame.planes[0], picture)
            for plane in frame.planes[1:]:
                middle = 1 << (frame.format.components[0].bits - 1)
                fill(plane, np.full((plane.height, plane.width), middle, picture.dtype))
            found += [bytes(packet) for packet in coder.encode(frame)]
        found += [bytes(packet) for packet in coder.encode(None)]
    except LayoutRefused:
        raise
    except Exception as error:  # av raises many kinds, also for an encoder that its build lacks
        raise CodecError(f"{library} does not encode: {error}; av from PyPI brings it with its FFmpeg") from error
    return bytes(coder.extradata or b""), found


def fill(plane: Any, picture: Frame) -> None:
    """Copy (y, x) into a plane, whose lines may be longer."""
    lines = np.zeros((plane.height, plane.line_size // picture.itemsize), picture.dtype)
    lines[:, : picture.shape[1]] = picture
    plane.update(lines)


def pictures(
    library: str, stream: bytes | Sequence[bytes], count: int, sides: tuple[int, int], form: str, header: bytes = b""
) -> Iterator[Frame]:
    """Exactly `count` frames (y, x) of these sides and form from a stream, or from packets already apart.

    ValueError when the stream holds other frames; FFmpeg's own errors when it is damaged. A frame larger than asked is
    refused before memory is taken for it.
    """
    import av

    coder: Any = av.CodecContext.create(library, "r")
    high, wide = sides
    coder.width, coder.height = wide, high
    coder.thread_count = 1
    # coded sides are rounded up to blocks of at most 64
    coder.options = {"err_detect": "crccheck+explode", "max_pixels": str((high + 63) * (wide + 63))}
    if header:
        coder.extradata = header
    whole: Iterable[Any] = (
        (*coder.parse(stream), *coder.parse(None)) if isinstance(stream, bytes) else map(av.Packet, stream)
    )
    seen = 0
    for packet in (*whole, None):
        for frame in coder.decode(packet):
            seen += 1
            if (frame.height, frame.width, frame.format.name) != (high, wide, form):
                raise ValueError(
                    f"a frame of {frame.height}x{frame.width} {frame.format.name}, want {high}x{wide} {form}"
                )
            if frame.is_corrupt or seen > count:
                raise ValueError(f"frame {seen} of {count} is damaged or too many")
            plane = frame.planes[0]
            lines = np.frombuffer(plane, np.uint8 if form == "gray" else np.uint16)
            yield lines.reshape(plane.height, -1)[:, :wide]
    if seen < count:
        raise ValueError(f"{seen} frames, want {count}")
