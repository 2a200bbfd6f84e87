"""The transfer syntaxes (PS3.5 section 10 and annex A): what each one is, which are read, and what lossy ones are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
_JPEG = "1.2.840.10008.1.2.4"

Kind = Literal["native", "rle", "deflate", "jpeg", "jpegls", "jpeg2000", "jpegxl"]


@dataclass(frozen=True, slots=True)
class Syntax:
    """name: for people. kind: what decodes a frame. method: the defined term of LossyImageCompressionMethod
    (PS3.3 C.7.6.1.1.5.1) when frames may have lost something, "" when the syntax is lossless only.
    """

    name: str
    kind: Kind
    method: str = ""

    @property
    def encapsulated(self) -> bool:
        """Whether frames are fragments and not one block."""
        return self.kind != "native"


SYNTAXES: Mapping[str, Syntax] = {
    IMPLICIT: Syntax("Implicit VR Little Endian", "native"),
    EXPLICIT: Syntax("Explicit VR Little Endian", "native"),
    DEFLATED: Syntax("Deflated Explicit VR Little Endian", "native"),
    EXPLICIT_BIG: Syntax("Explicit VR Big Endian", "native"),
    RLE: Syntax("RLE Lossless", "rle"),
    "1.2.840.10008.1.2.8.1": Syntax("Deflated Image Frame Compression", "deflate"),
    f"{_JPEG}.50": Syntax("JPEG Baseline (Process 1)", "jpeg", "ISO_10918_1"),
    f"{_JPEG}.51": Syntax("JPEG Extended (Process 2 and 4)", "jpeg", "ISO_10918_1"),
    f"{_JPEG}.53": Syntax("JPEG Spectral Selection (Process 6 and 8, retired)", "jpeg", "ISO_10918_1"),
    f"{_JPEG}.55": Syntax("JPEG Full Progression (Process 10 and 12, retired)", "jpeg", "ISO_10918_1"),
    f"{_JPEG}.57": Syntax("JPEG Lossless (Process 14)", "jpeg"),
    f"{_JPEG}.70": Syntax("JPEG Lossless, First-Order Prediction (Process 14, SV1)", "jpeg"),
    f"{_JPEG}.80": Syntax("JPEG-LS Lossless", "jpegls"),
    f"{_JPEG}.81": Syntax("JPEG-LS Near-Lossless", "jpegls", "ISO_14495_1"),
    f"{_JPEG}.90": Syntax("JPEG 2000 Lossless", "jpeg2000"),
    f"{_JPEG}.91": Syntax("JPEG 2000", "jpeg2000", "ISO_15444_1"),
    f"{_JPEG}.201": Syntax("High-Throughput JPEG 2000 Lossless", "jpeg2000"),
    f"{_JPEG}.202": Syntax("High-Throughput JPEG 2000 RPCL Lossless", "jpeg2000"),
    f"{_JPEG}.203": Syntax("High-Throughput JPEG 2000", "jpeg2000", "ISO_15444_15"),
    f"{_JPEG}.110": Syntax("JPEG XL Lossless", "jpegxl"),
    f"{_JPEG}.111": Syntax("JPEG XL JPEG Recompression", "jpegxl", "ISO_10918_1"),
    f"{_JPEG}.112": Syntax("JPEG XL", "jpegxl", "ISO_18181_1"),
}


def refused(uid: str) -> str:
    """Why a transfer syntax is not read, with what is."""
    from pydicom.uid import UID

    name = UID(uid).name if uid else "none"
    if uid.startswith((f"{_JPEG}.10",)):
        why = "is video"
    elif uid.startswith(f"{_JPEG}.5") or uid.startswith(f"{_JPEG}.6"):
        why = "is retired and no free library decodes it"
    else:
        why = "is not read"
    kinds = "native, RLE, deflated, JPEG, JPEG-LS, JPEG 2000, HTJ2K, JPEG XL"
    return f"transfer syntax {name if name != uid else f'{uid}'} {why}; allowed: {kinds}; convert it first"
