"""DICOM files that were spoiled, or made to harm: what is said of them, and that nobody else's data stand in the words."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from commands import here
from test_dicom_outputs import press, scan, series, whole

from slimscan import child
from slimscan.errors import NotReadable
from slimscan.files.dicom.open import dataset
from slimscan.files.dicom.place import opened
from slimscan.nouns import Lossless

HEAD = 132


def spoiled(folder: Path, old: bytes, new: bytes, times: int = 1) -> Path:
    """One slice of a made series with bytes of its data set replaced."""
    path = next(iter(sorted(series(folder, scan()).iterdir())))
    content = path.read_bytes()
    assert old in content[HEAD:]
    path.write_bytes(content[:HEAD] + content[HEAD:].replace(old, new, times))
    return path


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def with_element(folder: Path, added: bytes) -> Path:
    """One slice with an element in front of Rows."""
    rows = struct.pack("<HH2s", 0x0028, 0x0010, b"US")
    return spoiled(folder, rows, added + rows)


def test_an_empty_element_of_an_unknown_kind_goes_out_as_it_came(tmp_path: Path) -> None:
    odd = element(0x0028, 0x0009, b"PO", b"")
    path = with_element(tmp_path / "in", odd)
    assert press(path, tmp_path / "out.dcm", "rle", Lossless()).identical
    assert odd in (tmp_path / "out.dcm").read_bytes()
    np.testing.assert_array_equal(whole(tmp_path / "out.dcm"), whole(path))


def test_an_element_that_no_library_reads_is_blamed_on_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slimscan.files.dicom import save

    def broken(*_: object, **__: object) -> bytes:
        raise NotImplementedError("Unknown Value Representation 'WI' in tag (0008,0014)")

    path = sorted(series(tmp_path / "in", scan()).iterdir())[0]
    monkeypatch.setattr(save, "encoded", broken)
    said = here("compress", path, "-o", tmp_path / "out.dcm", "--lossless").error()
    assert said == (
        f"{path}: damaged DICOM file: Unknown Value Representation 'WI' in tag (0008,0014); fetch it again from where it came"
    )
    assert not (tmp_path / "out.dcm").exists()


def test_a_broken_sop_class_does_not_print_what_stands_behind_it(tmp_path: Path) -> None:
    path = sorted(series(tmp_path / "in", scan()).iterdir())[0]
    found = pydicom.dcmread(path)
    found.PatientName = "Moriarty^James"
    found.save_as(path)
    content = bytearray(path.read_bytes())
    at = content.index(struct.pack("<HH2s", 0x0008, 0x0016, b"UI"), HEAD + 100)
    content[at + 6 : at + 8] = struct.pack("<H", content.index(b"\x28\x00\x10\x00US", at) + 60 - at)
    path.write_bytes(content)
    said = here("compress", path, "-o", tmp_path / "out.dcm", "--lossless").error()
    assert "Moriarty" not in said
    assert len(said) < 300


def deflated(folder: Path, more: bytes) -> Path:
    """One slice deflated, with `more` behind its last element."""
    path = sorted(series(folder, scan(shape=(1, 16, 16))).iterdir())[0]
    press(path, folder / "small.dcm", "deflate", Lossless())
    content = (folder / "small.dcm").read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    inner = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content[start:])
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    out = folder / "more.dcm"
    out.write_bytes(content[:start] + packer.compress(inner + more) + packer.flush())
    return out


def test_zeros_behind_the_pixels_are_no_elements(tmp_path: Path) -> None:
    """A gigabyte of them, two megabytes deflated, was parsed element by element for minutes."""
    path = deflated(tmp_path, bytes(1 << 20))
    assert 0 not in dataset(path)
    assert press(path, tmp_path / "out.dcm", "rle", Lossless()).identical
    np.testing.assert_array_equal(whole(tmp_path / "out.dcm"), whole(path))
    assert (tmp_path / "out.dcm").stat().st_size < 10_000


def test_an_untrusted_deflated_data_set_is_not_inflated_beyond_the_limit(tmp_path: Path) -> None:
    path = deflated(tmp_path, bytes(4 << 20))
    with child.apart(child.Limits(most=1 << 20)), pytest.raises(NotReadable) as told:
        opened(path, True)
    assert str(told.value) == f"{path}: the deflated data set is larger than {1 << 20} bytes; inflate it first"
    with opened(path, True) as inside:
        assert len(inside.read()) > 4 << 20
