"""Whether the pixels of a TIFF page have been through a lossy codec, from its compression and its first codestream.

JPEG is lossy but for its lossless processes (SOF3 and its kin); JPEG 2000 is lossy with the 9/7 wavelet, and may be with the
5/3; a JPEG XL image is lossy when it was coded in its own colour space (XYB), else that cannot be told from its header
(ISO/IEC 18181-1 D.3, ImageMetadata); WebP says which of its two formats it is.
"""

from __future__ import annotations

from typing import Any

from slimscan.errors import CodecError
from slimscan.files.dicom.codestream import JXL_BARE, JXL_BOX, inspect

_HEAD = 65536
_JPEG = (6, 7, 99, 34892)  # old and new JPEG, and two names that slide scanners use
_JPEG_2000 = (33003, 33004, 33005, 34712)
_JPEG_XL = (50002, 52546)
_WEBP = (34927, 50001)


def lossy_why(page: Any) -> str:
    """One sentence when the page's codestream is lossy, "" when it is not or that cannot be told."""
    number = int(page.compression)
    if number not in (*_JPEG, *_JPEG_2000, *_JPEG_XL, *_WEBP):
        return ""  # the file may be closed already, its pixels mapped
    head = _first_bytes(page)
    if number in _JPEG:
        return "" if _reversible(head) else "TIFF compression JPEG"
    if number in _JPEG_2000:
        return "TIFF compression JPEG 2000 with the irreversible wavelet" if _reversible(head) is False else ""
    if number in _JPEG_XL and _is_xyb(head):
        return "TIFF compression JPEG XL in its lossy colour space"
    if number in _WEBP and head[12:16] == b"VP8 ":
        return "TIFF compression WebP, lossy"
    return ""


def _first_bytes(page: Any) -> bytes:
    offsets, counts = page.dataoffsets, page.databytecounts
    at = next((k for k, count in enumerate(counts) if count > 0 and offsets[k] > 0), None)
    if at is None:
        return b""
    file = page.parent.filehandle
    file.seek(offsets[at])
    return bytes(file.read(min(int(counts[at]), _HEAD)))


def _reversible(head: bytes) -> bool | None:
    try:
        return inspect(head).reversible
    except CodecError:
        return None


def _is_xyb(head: bytes) -> bool:
    """xyb_encoded of ImageMetadata; False when the header says so or cannot be read."""
    if head.startswith(JXL_BOX):
        at = head.find(JXL_BARE, len(JXL_BOX))
        if at < 0:
            return False
        head = head[at:]
    if not head.startswith(JXL_BARE) or len(head) < 24:
        return False
    stream, at = int.from_bytes(head[2:24], "little"), 0

    def take(bits: int) -> int:
        nonlocal at
        at += bits
        return (stream >> (at - bits)) & ((1 << bits) - 1)

    def side(small: bool) -> None:
        take(5) if small else take((9, 13, 18, 30)[take(2)])

    small = take(1) == 1
    side(small)
    if not take(3):
        side(small)
    if take(1):  # all_default: 8 bits, XYB
        return True
    if take(1):  # extra fields: animation, preview, a size of its own; not written for slices
        return False
    if take(1):  # float samples
        return False
    depth = take(2)
    if depth == 3:
        take(6)
    take(1)  # modular_16bit_buffers
    if take(2):  # extra channels
        return False
    return take(1) == 1
