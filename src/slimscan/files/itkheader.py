"""The text headers of MetaImage and NRRD: what is needed to find the samples without trusting the header.

Sources: the MetaIO document of ITK, and the NRRD 5 format definition (teem.sourceforge.net/nrrd/format.html).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from slimscan.errors import InputError, NotReadable
from slimscan.files.guard import damaged

META, NRRD = "MetaImage", "NRRD"
Encoding = Literal["raw", "gzip", "zlib", "text", "hex", "bzip2"]

_LONGEST = 1 << 20

META_TYPES = {
    "CHAR": "i1",
    "UCHAR": "u1",
    "SHORT": "i2",
    "USHORT": "u2",
    "INT": "i4",
    "UINT": "u4",
    "LONG": "i4",  # MetaIO fixes it at four bytes
    "ULONG": "u4",
    "LONG_LONG": "i8",
    "ULONG_LONG": "u8",
    "FLOAT": "f4",
    "DOUBLE": "f8",
}
_NRRD_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
NRRD_NAMES = {name: code for code, names in _NRRD_TYPES.items() for name in names}
_ENCODINGS: dict[str, Encoding] = {
    "raw": "raw",
    "gz": "gzip",
    "gzip": "gzip",
    "txt": "text",
    "text": "text",
    "ascii": "text",
    "hex": "hex",
    "bz2": "bzip2",
    "bzip2": "bzip2",
}


@dataclass(frozen=True)
class Samples:
    """Where the samples are. sizes: axes, fastest first, colour among them. data: None when in several files.

    offset: bytes before the (packed) samples in `data`; -1: they are the last bytes of it.
    """

    title: str
    fields: dict[str, str]
    sizes: tuple[int, ...]
    colours: int | None
    dtype: np.dtype[np.generic]
    encoding: Encoding
    data: Path | None
    offset: int

    @property
    def total(self) -> int:
        """Bytes of all samples, unpacked."""
        return int(np.prod([int(n) for n in self.sizes], dtype=object)) * self.dtype.itemsize


def meta(path: Path) -> Samples:
    """The samples of a MetaImage (.mha, .mhd)."""
    head = _start(path)
    match = re.search(rb"^[ \t]*ElementDataFile[ \t]*=[ \t]*([^\r\n]*)\r?\n?", head, re.MULTILINE)
    if match is None:
        raise damaged(path, META, "its header has no ElementDataFile")
    fields: dict[str, str] = {}
    for line in head[: match.end()].decode("latin-1").splitlines():
        key, sign, value = line.partition("=")
        if sign:
            fields[key.strip()] = value.strip()
    channels = int(fields.get("ElementNumberOfChannels", "1"))
    sizes = tuple(int(n) for n in fields["DimSize"].split())
    if len(sizes) != int(fields["NDims"]):
        raise damaged(path, META, f"NDims {fields['NDims']} and DimSize {fields['DimSize']} disagree")
    element = fields.get("ElementType", "").upper().removeprefix("MET_")
    if element.endswith("_ARRAY"):
        element = element.removesuffix("_ARRAY")
    if element not in META_TYPES:
        raise InputError(f"{path}: samples of type MET_{element}; allowed: {' '.join(META_TYPES)}; convert it first")
    big = _true(fields, "BinaryDataByteOrderMSB") or _true(fields, "ElementByteOrderMSB")
    packed = _true(fields, "CompressedData")
    text = "BinaryData" in fields and not _true(fields, "BinaryData")
    name = fields["ElementDataFile"]
    local = name.upper() == "LOCAL"
    several = name.upper().startswith("LIST") or "%" in name
    return Samples(
        META,
        fields,
        ((channels,) if channels > 1 else ()) + sizes,
        channels if channels > 1 else None,
        np.dtype((">" if big else "<") + META_TYPES[element]),
        "zlib" if packed else "text" if text else "raw",
        None if several else path if local else path.parent / name,
        match.end() if local else int(fields.get("HeaderSize", "0")),
    )


def nrrd(path: Path) -> Samples:
    """The samples of a NRRD (.nrrd, .nhdr)."""
    head = _start(path)
    end = re.search(rb"\r?\n\r?\n", head)
    text = head[: end.start()] if end else head
    fields: dict[str, str] = {}
    for line in text.decode("latin-1").splitlines()[1:]:
        match = re.match(r"([^:#]+):(=| )(.*)", line)
        if match:
            # a pair "key:=value" is anybody's; it may not pass for a field of the standard
            fields[("=" if match[2] == "=" else "") + match[1].strip()] = match[3].strip()
    name = fields.get("data file", fields.get("datafile"))
    if name is None and end is None:
        raise damaged(path, NRRD, "its header does not end, and names no data file")
    sizes = tuple(int(n) for n in fields["sizes"].split())
    if len(sizes) != int(fields["dimension"]):
        raise damaged(path, NRRD, f"dimension {fields['dimension']} and sizes {fields['sizes']} disagree")
    code = NRRD_NAMES.get(fields["type"].lower())
    if code is None:
        raise InputError(f"{path}: samples of type {fields['type']}; allowed: integers and floats of 8 to 64 bits")
    encoding = _ENCODINGS.get(fields["encoding"].lower())
    if encoding is None:
        raise InputError(f"{path}: encoding {fields['encoding']} is not known; allowed: {' '.join(_ENCODINGS)}")
    endian = fields.get("endian", "little" if code[1] == "1" or encoding == "text" else "")
    if endian not in ("little", "big"):
        raise damaged(path, NRRD, f'endian is "{endian}", want little or big')
    several = name is not None and (name.upper().startswith("LIST") or "%" in name)
    data = None if several else path if name is None else path.parent / name
    start = end.end() if name is None and end else 0
    return Samples(
        NRRD,
        fields,
        sizes,
        None,
        np.dtype((">" if endian == "big" else "<") + code),
        encoding,
        data,
        _skipped(path, fields, encoding, data, start),
    )


def _skipped(path: Path, fields: dict[str, str], encoding: Encoding, data: Path | None, start: int) -> int:
    """`start` and what "line skip" and "byte skip" add to it."""
    lines = int(fields.get("line skip", fields.get("lineskip", "0")))
    skip = int(fields.get("byte skip", fields.get("byteskip", "0")))
    if skip == -1 and encoding == "raw":
        return -1
    if skip < 0 or lines < 0 or (skip and encoding != "raw"):
        raise damaged(path, NRRD, f"byte skip {skip} and line skip {lines} do not fit encoding {encoding}")
    if lines and data is not None and data.is_file():
        with data.open("rb") as file:
            file.seek(start)
            for _ in range(lines):
                if not file.readline(_LONGEST):
                    raise damaged(path, NRRD, f"line skip {lines} passes the end of {data.name}")
            start = file.tell()
    return start + skip


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LONGEST)


def _true(fields: dict[str, str], key: str) -> bool:
    return fields.get(key, "").lower()[:1] in ("t", "y", "1")


def check_sizes(path: Path, samples: Samples) -> None:
    """NotReadable when there is no voxel or a side is negative."""
    if min(samples.sizes) < 0:
        raise damaged(path, samples.title, f"a side is negative: {list(samples.sizes)}")
    if min(samples.sizes) == 0:
        raise NotReadable(f"{path}: holds no voxels: its sides are {list(samples.sizes)}; fetch or export it again")
