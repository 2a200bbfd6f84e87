"""Scanco ISQ, from a writer of its own: the published table of fields, one after the other."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from slimscan import files
from slimscan.errors import InputError, NotReadable


def isq(pixels: np.ndarray, um: tuple[int, int, int], blocks: int = 0, mu_scaling: int = 4096) -> bytes:
    """The file as its C structure is published: check[16], then int32 fields in this order, then shorts."""
    z, y, x = pixels.shape
    fields = [
        3, pixels.nbytes, -(-pixels.nbytes // 512), 1234, 3401, 0, 0,  # type, bytes, blocks, patient, scanner, date[2]
        x, y, z, *um, 8, 8, 5000,  # sides, extents in um, slice thickness, increment, first position
        int(pixels.min()), int(pixels.max()), mu_scaling, 1024, 500, 16384, 10, 300000,  # ..., scan distance, type, time
        77, 0, 0, 3,  # measurement, site, reference line, reconstruction
    ]  # fmt: skip
    head = (
        b"CTDATA-HEADER_V1"
        + struct.pack(f"<{len(fields)}i", *fields)
        + b"a name".ljust(40)
        + struct.pack("<2i", 70000, 114)
    )
    head += bytes(83 * 4) + struct.pack("<i", blocks)
    assert len(head) == 512
    return head + bytes(512 * blocks) + pixels.astype("<i2").tobytes()


PIXELS = np.random.default_rng(0).integers(-3000, 30000, (4, 5, 6)).astype(np.int16)


@pytest.mark.parametrize("blocks", [0, 4])
def test_samples_spacing_and_attenuation(tmp_path: Path, blocks: int) -> None:
    (tmp_path / "C0001.ISQ;1").write_bytes(isq(PIXELS, (60, 100, 32), blocks))
    volume = files.read(tmp_path / "C0001.ISQ;1")
    np.testing.assert_array_equal(np.asarray(volume.pixels), PIXELS)
    np.testing.assert_allclose(volume.spacing_mm, (0.008, 0.020, 0.010))
    assert (volume.slope, volume.intercept, volume.unit, volume.bits) == (1 / 4096, 0.0, "1/cm", 16)
    assert volume.about["sample_time_us"] == 300000
    assert volume.about["energy_v"] == 70000
    assert volume.about["intensity_ua"] == 114
    assert "a name" not in str(volume.about)
    files.write(volume, tmp_path / "out.nii.gz")
    assert files.read(tmp_path / "out.nii.gz").slope == 1 / 4096


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        (isq(PIXELS, (60, 100, 32))[:-1], NotReadable, "its header claims 240 bytes, 239 are there"),
        (isq(PIXELS, (60, 100, 32))[:300], NotReadable, "its header is 300 bytes, want 512"),
        (isq(PIXELS, (60, 100, 32)) + bytes(513), NotReadable, "it holds 753 bytes of samples, its header describes 240"),
        (isq(PIXELS, (60, 100, 0)), InputError, "is a scout view or raw projections (Scanco ISQ family), not a volume"),
        (isq(PIXELS, (60, 100, 32)).replace(struct.pack("<3i", 6, 5, 4), struct.pack("<3i", 6, 0, 4)), NotReadable,
         "holds no voxels: its sides are [6, 0, 4]"),
        (isq(PIXELS, (60, 100, 32)).replace(struct.pack("<3i", 6, 5, 4), struct.pack("<3i", 6, -5, 4)), NotReadable,
         "a side or the start of the samples is negative"),
        (isq(PIXELS, (60, 100, 32)).replace(struct.pack("<3i", 6, 5, 4), struct.pack("<3i", 50000, 50000, 20)), NotReadable,
         "its header claims 100000000000 bytes, 240 are there"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)  # fmt: skip
def test_files_that_lie_are_named(tmp_path: Path, content: bytes, error: type[Exception], says: str) -> None:
    (tmp_path / "lie.isq").write_bytes(content)
    with pytest.raises(error) as caught:
        files.read(tmp_path / "lie.isq")
    assert str(caught.value).startswith(f"{tmp_path}/lie.isq: ")
    assert says in str(caught.value)


def test_a_flipped_bit_in_the_header_is_refused_or_keeps_the_shape(tmp_path: Path) -> None:
    whole = isq(PIXELS, (60, 100, 32))
    refused = 0
    for bit in range(0, 512 * 8, 7):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        (tmp_path / "a.isq").write_bytes(bytes(damaged))
        try:
            volume = files.read(tmp_path / "a.isq")
        except InputError:
            refused += 1
        else:
            shape = volume.slices(0, volume.shape[0]).shape
            # one side may shrink by so little that the samples that are left over fit into the last block
            assert shape == PIXELS.shape or np.prod(shape) * 2 >= PIXELS.nbytes - 512, bit
    assert refused > 20


def test_it_is_read_only(tmp_path: Path) -> None:
    (tmp_path / "a.isq").write_bytes(isq(PIXELS, (60, 100, 32)))
    with pytest.raises(InputError, match=r"b\.isq: Scanco ISQ is read only; allowed: / \.dcm \.nii\.gz \.nii \.tif"):
        files.write(files.read(tmp_path / "a.isq"), tmp_path / "b.isq")
