"""HEVC (ITU-T H.265) in 12-bit grey by x265, slices predicted from each other in closed groups.

I, P and B slices share one QP (a volume has no slice that matters more), one B between references, rate-distortion
optimised quantisation: on CT, MR and whole-brain microscopy that gave fewer bytes than the preset `slow` and than deeper
pyramids, at 0.5 to 4 times the encoding time of JPEG 2000. Any layout is shifted to fill the 12 bits (for 8-bit data bytes at
equal PSNR stay the same). QP 0 is then a PSNR of 60 to 66 dB and there is nothing above it; from QP 50 on 12-bit
arithmetic overflows and the picture is lost, so the knob ends at 49. `ctu=32`, for with the default of 64 smaller frames are
refused and inter coding of 64x64 and 128x64 has been seen to go wrong.
"""

from __future__ import annotations

from functools import partial

from slimscan.codecs.guard import decoded
from slimscan.codecs.sealed import opened, seal
from slimscan.codecs.video import AV, PARTS, packets, pictures, restored, scaled, size, split
from slimscan.nouns import Codec, Holds, Knob, Layout, Pixels

_DEPTH, _FORM = 12, "gray12le"
_LEAST = 32  # one coding tree unit: x265 refuses smaller frames

_COMMON = (
    "keyint=-1:min-keyint=1:scenecut=0:open-gop=0:ipratio=1:pbratio=1:ctu=32:rd=4:rdoq-level=2"
    ":pools=none:frame-threads=1:info=0:log-level=none"
)
_FLAT = "ref=2:bframes=1:b-adapt=2:b-pyramid=0"
_RANDOM_ACCESS = "ref=3:bframes=7:b-adapt=0:b-pyramid=1"
_INTRA = "bframes=0:b-adapt=0:rc-lookahead=0"


def gain(part: int) -> float:
    """What samples are multiplied by for a part of a QP: the step doubles every 6 QP (H.265, 8.6.1)."""
    return float(2.0 ** (-part / PARTS / 6))


def encode(pixels: Pixels, layout: Layout, value: float | None, *, groups: str) -> bytes:
    """A group (z, y, x) to its checksum, the part of the QP in 64ths (1 byte) and an Annex B stream; value: QP.

    groups: x265's parameters for how slices predict each other.
    """
    qp, part = split("hevc", value)
    frames = scaled(pixels, layout, size(layout, _LEAST), _DEPTH, gain(part))
    parameters = f"qp={qp}:{_COMMON}:{groups}"
    options = {"preset": "medium", "tune": "psnr", "x265-params": parameters}
    _, found = packets("libx265", frames, _FORM, options)
    return seal([bytes([part]) + b"".join(found)])


def decode(payload: bytes, layout: Layout) -> Pixels:
    """The group back, in the layout's shape and dtype; CodecError for damaged bytes."""

    def group(body: bytes) -> Pixels:
        frames = pictures("hevc", body[1:], layout.shape[0], size(layout, _LEAST), _FORM)
        return restored(frames, layout, _DEPTH, gain(body[0]))

    (body,) = opened("hevc", payload, 1)
    return decoded("hevc", group, body, layout)


_KNOB = Knob("qp", "QP", 0.0, 49.0, finer="low", step=1 / PARTS)
_HOLDS = Holds(samples=(1,), max_side=8192)
_STANDARD = "ITU-T H.265, monochrome 12 (x265)"

CODEC = Codec(
    name="hevc",
    title="HEVC, slices predicted from each other in groups of 32",
    standard=_STANDARD,
    knob=_KNOB,
    lossless=False,
    bounded=False,
    chunk="slab",
    depth=32,
    holds=_HOLDS,
    encode=partial(encode, groups=_FLAT),
    decode=decode,
    needs=(AV,),
    note="half the bytes of JPEG 2000 on thin slices; ends at a PSNR of 60 to 66 dB; encoder is GPL, HEVC is patented",
)

GOP8 = Codec(
    name="hevc-gop8",
    title="HEVC, random access in groups of 8",
    standard=_STANDARD,
    knob=_KNOB,
    lossless=False,
    bounded=False,
    chunk="slab",
    depth=8,
    holds=_HOLDS,
    encode=partial(encode, groups=_RANDOM_ACCESS),
    decode=decode,
    needs=(AV,),
    note="the hierarchy of Cunha 2023: 7 B slices in a pyramid; ends at 60 to 66 dB",
)

INTRA = Codec(
    name="hevc-intra",
    title="HEVC, each slice alone",
    standard=_STANDARD,
    knob=_KNOB,
    lossless=False,
    bounded=False,
    chunk="slice",
    holds=_HOLDS,
    encode=partial(encode, groups=_INTRA),
    decode=decode,
    needs=(AV,),
    note="for thick slices, which do not predict each other; encodes 3 to 9 times slower than JPEG 2000; ends at 60 to 66 dB",
)
