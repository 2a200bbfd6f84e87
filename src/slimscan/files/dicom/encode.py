"""Data sets to bytes, Explicit VR Little Endian: what was not touched since it was read goes out as the bytes it came in.

pydicom's writer builds a buffer and looks up a VR for every element, touched or not; in a series of hundreds of slices
that took longer than a fast codec.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from slimscan.files.dicom.derive import IMPLEMENTATION
from slimscan.files.dicom.scan import LONG_VR

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

VERSION = b"SLIMSCAN"
_UNDEFINED = 0xFFFFFFFF
_SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"
_short, _long = struct.Struct("<HH2sH").pack, struct.Struct("<HH2sHI").pack


def encoded(found: Dataset, start: int = 0, stop: int = 0xFFFFFFFF) -> bytes:
    """The elements start <= tag < stop in the order of their tags; retired group lengths (PS3.5 7.2) are left out."""
    elements = {number: element for tag, element in found.items() if start <= (number := int(tag)) < stop}
    tags = [
        tag for tag in sorted(elements) if tag & 0xFFFF or tag >> 16 <= 6
    ]  # plain numbers: pydicom's compare slowly
    if not tags:
        return b""
    from pydicom.charset import convert_encodings
    from pydicom.dataelem import RawDataElement
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_data_element, write_dataset

    content = DicomBytesIO()
    content.is_implicit_VR, content.is_little_endian = False, True
    characters = found.get("SpecificCharacterSet", "iso8859")
    same = found.original_character_set in (characters, convert_encodings(characters))
    if found.original_encoding != (False, True) or not same:
        write_dataset(content, found[start:stop])  # every value is converted
        return content.getvalue()
    for tag in tags:
        element = elements[tag]
        if (
            element.is_raw
            and element.value is None
            and not (isinstance(element, RawDataElement) and element.length == 0)
        ):
            element = found[tag]  # left in the file
        value = (element.value or b"") if element.is_raw else None
        if isinstance(value, bytes) and element.VR and isinstance(element, RawDataElement):
            content.write(_raw(tag, element.VR.encode(), element.length, value))
        else:
            write_data_element(content, element, characters)
    return content.getvalue()


def file_meta(found: Dataset, meta: Dataset | None, syntax: str) -> bytes:
    """The file meta information (PS3.10 7.1): the source's own, but for what names this instance and its writer."""
    named = (
        (0x00020002, str(found.SOPClassUID)),
        (0x00020003, str(found.SOPInstanceUID)),
        (0x00020010, syntax),
        (0x00020012, IMPLEMENTATION),
    )
    parts = [_raw(0x00020001, b"OB", 2, b"\0\1")]
    parts += [_raw(tag, b"UI", 0, value.encode() + b"\0" * (len(value) % 2)) for tag, value in named]
    parts.append(_raw(0x00020013, b"SH", 0, VERSION))
    if meta is not None:
        parts.append(encoded(meta, start=0x00020014))
    group = b"".join(parts)
    return _raw(0x00020000, b"UL", 4, struct.pack("<I", len(group))) + group


def _raw(tag: int, vr: bytes, length: int, value: bytes) -> bytes:
    """One element whose value is known in bytes; length: as it was written, undefined or not."""
    if length == _UNDEFINED:
        return _long(tag >> 16, tag & 0xFFFF, vr, 0, _UNDEFINED) + value + _SEQUENCE_END
    if vr in LONG_VR:
        return _long(tag >> 16, tag & 0xFFFF, vr, 0, len(value)) + value
    return _short(tag >> 16, tag & 0xFFFF, vr, len(value)) + value
