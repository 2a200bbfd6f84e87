"""DICOM files as they travel: who they are, and whether two of them say the same.

Only what a file must say of itself is read, within limits, because it may come from a server that means harm.
"""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from slimscan.errors import InputError, NotReadable
from slimscan.pacs.noun import Instance, one_line, uid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
IMPLICIT = "1.2.840.10008.1.2"
_HEAD = 1 << 20  # bytes of a deflated data set in which its UIDs must stand
_LAST = 0x0020000E  # SeriesInstanceUID: the last element that is needed
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Comparison:
    """same: nothing differs. bytewise: the encoded data sets are equal byte for byte; else every element was compared.

    differs: what does, element by element (at most 5).
    """

    same: bool
    bytewise: bool
    differs: tuple[str, ...] = ()


def instance(path: Path) -> Instance:
    """Who a Part 10 file is. NotReadable: no DICOM file. InputError: UIDs that are missing, odd, or contradict."""
    meta, start = _meta(path)
    syntax = str(meta.get("TransferSyntaxUID", ""))
    if not syntax:
        raise NotReadable(f"{path}: names no transfer syntax; want a DICOM file (PS3.10)")
    names = _head(path, syntax, start)
    missing = [key for key, value in names.items() if not value]
    if missing:
        raise InputError(f"{path}: has no {', '.join(missing)}; an archive cannot hold it; give it UIDs first")
    for keyword, ours in (
        ("MediaStorageSOPClassUID", names["SOPClassUID"]),
        ("MediaStorageSOPInstanceUID", names["SOPInstanceUID"]),
    ):
        if str(meta.get(keyword, "")) != ours:
            raise InputError(
                f"{path}: {keyword} is {one_line(meta.get(keyword, ''))}, the data set says {one_line(ours)}"
            )
    for key, value in (*names.items(), ("TransferSyntaxUID", syntax)):
        uid(value, f"{path}: {key}")
    study, series, own, kind = (names[key] for key in _NEEDED)
    return Instance(study, series, own, kind, syntax, path, path.stat().st_size)


_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")


def is_part10(path: Path) -> bool:
    """Whether DICM stands behind a preamble."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def data_bytes(path: Path) -> int:
    """Bytes of the data set, all but preamble and file meta information."""
    return path.stat().st_size - _meta(path)[1]


def compare(ours: Path, theirs: Path) -> Comparison:
    """Whether two files hold the same data set: the same bytes, or the same elements with the same values and pixels.

    File meta information may differ but for the transfer syntax: every writer states its own name there. Compared
    element by element, the form in which lengths of sequences are written, group lengths (retired) and padding behind
    the last element do not count; pixel data count byte for byte, fragments and offset tables included.
    """
    (meta_a, at_a), (meta_b, at_b) = _meta(ours), _meta(theirs)
    first, second = str(meta_a.get("TransferSyntaxUID", "")), str(meta_b.get("TransferSyntaxUID", ""))
    if first != second:
        return Comparison(False, False, (f"transfer syntax {syntax_name(first)} became {syntax_name(second)}",))
    if _same_bytes(ours, at_a, theirs, at_b):
        return Comparison(True, True)
    limit = 0
    if first == DEFLATED:
        limit = sum(len(block) for block in _inflated(ours, at_a))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            a, b = _whole(ours, at_a, first, limit), _whole(theirs, at_b, second, limit)
            found = tuple(name for name, _ in zip(_differs(a, b), range(5), strict=False))
        except Exception as error:  # noqa: BLE001 damaged bytes raise anything
            return Comparison(False, False, (f"cannot be read back ({one_line(error)})",))
    return Comparison(not found, False, found)


def syntax_name(name: str) -> str:
    """A transfer syntax for people, with its UID."""
    from pydicom.uid import UID

    plain = UID(name).name if name else "none"
    return f"{plain} ({name})" if plain != name else name


def class_name(name: str) -> str:
    """A SOP class for people."""
    from pydicom.uid import UID

    return str(UID(name).name) if name else "unnamed SOP class"


def _meta(path: Path) -> tuple[Any, int]:
    """The file meta information and where the data set begins."""
    from pydicom.filereader import read_dataset

    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":
            raise NotReadable(f"{path}: is no DICOM file: no DICM behind its preamble")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
                return {element.keyword: element.value for element in found}, file.tell()
            except Exception as error:
                raise NotReadable(f"{path}: its file meta information is damaged ({one_line(error)})") from error


def _head(path: Path, syntax: str, start: int) -> dict[str, str]:
    """The UIDs that are needed, "" for one that is not there."""
    from pydicom.filereader import read_dataset

    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.seek(start)
        source: BinaryIO = file
        if syntax == DEFLATED:
            source = io.BytesIO(zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(_HEAD), _HEAD))
        try:
            found = read_dataset(
                source, syntax == IMPLICIT, syntax != BIG_ENDIAN, stop_when=lambda tag, _vr, _length: tag > _LAST
            )
            return {key: str(found.get(key, "") or "") for key in _NEEDED}
        except Exception as error:
            raise NotReadable(f"{path}: its data set is damaged ({one_line(error)})") from error


def _same_bytes(ours: Path, at_a: int, theirs: Path, at_b: int) -> bool:
    if ours.stat().st_size - at_a != theirs.stat().st_size - at_b:
        return False
    with ours.open("rb") as a, theirs.open("rb") as b:
        a.seek(at_a)
        b.seek(at_b)
        while block := a.read(_BLOCK):
            if b.read(_BLOCK) != block:
                return False
    return True


def _inflated(path: Path, start: int) -> Iterator[bytes]:
    packer = zlib.decompressobj(-zlib.MAX_WBITS)
    with path.open("rb") as file:
        file.seek(start)
        while block := packer.unconsumed_tail or file.read(_BLOCK):
            yield packer.decompress(block, _BLOCK)


def _whole(path: Path, start: int, syntax: str, limit: int) -> Dataset:
    from pydicom.filereader import read_dataset

    with path.open("rb") as file:
        file.seek(start)
        source: BinaryIO = file
        if syntax == DEFLATED:
            kept = io.BytesIO()
            for block in _inflated(path, start):
                kept.write(block)
                if kept.tell() > limit + _BLOCK:
                    raise ValueError("its inflated data set is longer")
            kept.seek(0)
            source = kept
        return read_dataset(source, syntax == IMPLICIT, syntax != BIG_ENDIAN)


def _differs(a: Dataset, b: Dataset, where: str = "") -> Iterator[str]:
    from pydicom.datadict import keyword_for_tag
    from pydicom.dataelem import RawDataElement

    for tag in sorted({*a.keys(), *b.keys()}):
        if tag.element == 0 or tag == 0xFFFCFFFC:
            continue
        name = f"{where}{keyword_for_tag(tag) or tag}"
        if tag not in a or tag not in b:
            yield f"{name} is {'added' if tag not in a else 'missing'}"
            continue
        one: Any = a.get_item(tag)
        two: Any = b.get_item(tag)
        raw = isinstance(one, RawDataElement) and isinstance(two, RawDataElement)
        if raw and one.value == two.value:
            continue
        first, second = a[tag], b[tag]
        if first.VR == second.VR == "SQ":
            if len(first.value) != len(second.value):
                yield f"{name} has {len(second.value)} items, not {len(first.value)}"
                continue
            for k, (x, y) in enumerate(zip(first.value, second.value, strict=True)):
                yield from _differs(x, y, f"{name}[{k}].")
        elif raw and tag.group != 0x7FE0:
            if (one.value or b"").rstrip(b"\0 ") != (two.value or b"").rstrip(b"\0 "):
                yield f"{name} differs"
        elif first.value != second.value:
            yield f"{name} differs"
