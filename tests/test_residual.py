"""The residual: base and what it left out give the original bit for bit, whatever the codec, type and shape."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import here
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from phantoms import head, masked, slide

import slimscan
from slimscan.codecs import CODECS
from slimscan.errors import ChecksumError, CodecError, InputError, LayoutRefused, SlimscanError
from slimscan.files.ozx import open_box
from slimscan.nouns import Lossless, Pixels, Ratio, Setting, Target, Volume
from slimscan.press import residual, residual_code
from slimscan.press.about import about
from slimscan.press.compress import compress
from slimscan.press.decompress import decompress
from slimscan.press.open import lazy

LOSSY = [name for name, found in CODECS.items() if found.lossy]


def middle(name: str) -> Setting:
    """A setting of a codec somewhere between its ends, at which something is lost."""
    values = {"jpeg2000": 38.0, "jpeg2000z": 38.0, "jpegxl": 2.0, "jpeg": 60.0, "htj2k": 12.0}
    knob = CODECS[name].knob
    assert knob is not None
    return Setting(name, values.get(name, min(30.0, knob.high)))


def twelve(shape: tuple[int, int, int]) -> Volume:
    """12 bits in uint16, odd sides."""
    pixels = head(shape).pixels
    return Volume((np.clip(pixels, -1024, 3071) + 1024).astype(np.uint16), bits=12, source="twelve")


VOLUMES = {
    "signed": head((5, 40, 48)),
    "odd 12 bit": twelve((3, 37, 29)),
    "background": masked((4, 40, 44)),
    "rgb": slide((2, 40, 36)),
}


def restored(volume: Volume, target: Target, tmp_path: Path, codec: str | None = None) -> Path:
    """Compressed with a residual, and the original shown to come back."""
    out = tmp_path / "a.ozx"
    receipt = compress(volume, out, target=target, codec=codec, residual=True, force=True)
    assert receipt.residual_bytes is not None
    assert "residual" in [check.name for check in receipt.checks]
    back = slimscan.read(out, exact=True)
    assert back.pixels.dtype == volume.pixels.dtype
    assert np.asarray(back.pixels).tobytes() == np.asarray(volume.pixels).tobytes()
    return out


@pytest.mark.parametrize("kind", VOLUMES)
@pytest.mark.parametrize("name", LOSSY)
def test_every_lossy_codec_can_be_undone(name: str, kind: str, tmp_path: Path) -> None:
    if any(need.missing() for need in CODECS[name].needs):
        pytest.skip(f"{name} is not installed")
    try:
        restored(VOLUMES[kind], middle(name), tmp_path)
    except LayoutRefused:
        pytest.skip(f"{name} does not hold {kind}")


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "uint32", "float32", "float64"])
def test_every_sample_type_comes_back(dtype: str, tmp_path: Path) -> None:
    volume = head((3, 24, 24))
    pixels = np.clip(volume.pixels, -100, 100) if dtype == "int8" else np.clip(volume.pixels, 0, 255)
    restored(replace(volume, pixels=pixels.astype(dtype)), Setting("jpeg2000", 30.0), tmp_path)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_that_are_mapped_to_16_bits_come_back_bit_for_bit(dtype: str, tmp_path: Path) -> None:
    pixels = (np.random.default_rng(0).normal(size=(4, 30, 31)) * 1e-3).astype(dtype)
    pixels[0, 0, :2] = -0.0
    out = restored(Volume(pixels, source="floats"), Setting("jpeg2000", 40.0), tmp_path)
    beside = open_box(out).residual
    assert beside is not None
    assert residual.described(beside.array, "").name in CODECS


def test_wide_integers_come_back(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(-(2**31), 2**31 - 1, (2, 20, 22)).astype(np.int32)
    restored(Volume(pixels, source="wide"), Setting("jpeg2000", 30.0), tmp_path)


def test_a_base_with_a_region_can_be_undone(tmp_path: Path) -> None:
    volume = head((4, 40, 48))
    weight = np.zeros(volume.shape, bool)
    weight[1:3, 10:20, 10:30] = True
    out = tmp_path / "a.ozx"
    region = slimscan.nouns.Region(weight, "box")
    receipt = compress(volume, out, roi=region, outside="calm+ratio:12", residual=True, codec="jpeg2000")
    assert receipt.residual_bytes
    np.testing.assert_array_equal(slimscan.read(out, exact=True).pixels, volume.pixels)


SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)) | st.tuples(
    st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.just(3)
)


@given(data=st.data(), dtype=st.sampled_from(["uint8", "int8", "uint16", "int16"]), shape=SHAPES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_original_beside_any_base(data: st.DataObject, dtype: str, shape: tuple[int, ...]) -> None:
    original = data.draw(npst.arrays(dtype, shape))
    base = data.draw(npst.arrays(dtype, shape))
    found = residual.Residual(dtype, shape[0], 8 * np.dtype(dtype).itemsize)
    np.testing.assert_array_equal(residual.decode(found, residual.encode(found, original, base), base), original)


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 16))
@settings(max_examples=25, deadline=None)
def test_damaged_bytes_of_a_residual_end_in_numbers_or_one_error(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 4000, (2, 9, 8))
    good = bytearray(residual_code.encode(rng.integers(-40, 40, base.shape), base, 16))
    for _ in range(size):
        good[int(rng.integers(len(good)))] = int(rng.integers(256))
    if good[0] not in (1, 2):
        with pytest.raises(CodecError, match="cut short or damaged"):
            residual_code.decode(bytes(good), base, 16)
    else:
        assert residual_code.decode(bytes(good), base, 16).shape == base.shape


def test_plain_python_codes_the_same_bytes_as_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    if not residual_code.COMPILED:
        pytest.skip("numba is not installed")
    rng = np.random.default_rng(3)
    base = rng.integers(-900, 4000, (2, 12, 11))
    rest = rng.integers(-70, 71, base.shape) * rng.integers(0, 2, base.shape)
    compiled = residual_code.encode(rest, base, 17)
    for name in ("_taps", "_moments", "_level", "_bit", "_even", "_run"):
        monkeypatch.setattr(residual_code, name, getattr(residual_code, name).py_func)
    assert residual_code.encode(rest, base, 17) == compiled
    np.testing.assert_array_equal(residual_code.decode(compiled, base, 17), rest)


def test_tables_do_not_hang_on_the_last_bit_of_a_logarithm() -> None:
    odds = 65536 / (1 + np.exp(-np.arange(-2048, 2048) / 256))
    chance = (np.arange(4096) + 0.5) / 4096
    for values in (odds, 256 * np.log(chance / (1 - chance))):
        assert np.abs(values - np.floor(values) - 0.5).min() > 1e-9


def test_without_numba_a_standard_codec_does_it_and_zarr_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zarr

    monkeypatch.setattr(residual_code, "COMPILED", False)
    volume = head((5, 40, 48))
    out = restored(volume, Setting("jpeg2000", 40.0), tmp_path)
    group = zarr.open(zarr.storage.ZipStore(out, mode="r"), mode="r")
    assert isinstance(group, zarr.Group)
    whole = np.asarray(group["0"][...]) + np.asarray(group["residual"][...])  # type: ignore[index]
    np.testing.assert_array_equal(whole, volume.pixels)


@pytest.mark.parametrize("suffix", [".ozx", ".zarr"])
def test_zarr_sees_two_arrays_and_ome_one(suffix: str, tmp_path: Path) -> None:
    import zarr

    out = tmp_path / f"a{suffix}"
    volume = head((10, 40, 48))
    compress(volume, out, target=Ratio(8), residual=True)
    np.testing.assert_array_equal(slimscan.read(out, exact=True).pixels, volume.pixels)
    group = zarr.open(zarr.storage.ZipStore(out, mode="r") if suffix == ".ozx" else out, mode="r")
    assert isinstance(group, zarr.Group)
    assert sorted(group.array_keys()) == ["0", "residual"]
    assert group["residual"].shape == group["0"].shape == (10, 40, 48)  # type: ignore[union-attr]
    datasets = group.attrs["ome"]["multiscales"][0]["datasets"]  # type: ignore[index,call-overload]
    assert [one["path"] for one in datasets] == ["0"]
    with pytest.raises(CodecError, match=r"coded beside its base: slimscan.open\(path, exact=True\) adds both"):
        group["residual"][0]  # type: ignore[index]


def test_ratio_speaks_of_the_base_and_the_file_without_exact_is_as_before(tmp_path: Path) -> None:
    volume = head((12, 64, 64))
    plain = compress(volume, tmp_path / "a.ozx", target=Ratio(10))
    both = compress(volume, tmp_path / "b.ozx", target=Ratio(10), residual=True)
    size = (tmp_path / "b.ozx").stat().st_size
    assert both.file_bytes == size
    assert both.residual_bytes is not None
    assert both.ratio == pytest.approx(volume.pixels.nbytes / (size - both.residual_bytes))
    assert both.ratio == pytest.approx(10, rel=0.02)
    assert both.ratio_exact == pytest.approx(volume.pixels.nbytes / size)
    assert plain.residual_bytes is None
    assert plain.ratio_exact is None
    assert abs(size - both.residual_bytes - (tmp_path / "a.ozx").stat().st_size) < 80  # the receipt says a little more
    np.testing.assert_array_equal(slimscan.read(tmp_path / "b.ozx").pixels, slimscan.read(tmp_path / "a.ozx").pixels)
    facts = about(tmp_path / "b.ozx")
    assert (facts["residual_bytes"], facts["base_bytes"]) == (both.residual_bytes, size - both.residual_bytes)
    assert about(tmp_path / "a.ozx")["residual_bytes"] is None


def test_one_slice_of_the_original_costs_one_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from slimscan.files import ozx

    monkeypatch.setattr(residual, "CHUNK_VOXELS", 1)
    volume = head((20, 24, 24))
    compress(volume, tmp_path / "a.ozx", target=Setting("jpeg2000", 40.0), residual=True)
    opened = slimscan.open(tmp_path / "a.ozx", exact=True)
    seen: list[str] = []
    honest = ozx.read_chunk

    def counted(path: Path, offset: int, length: int, index: int, what: str = "chunk") -> bytes:
        seen.append(f"{what} {index}")
        return honest(path, offset, length, index, what)

    monkeypatch.setattr(ozx, "read_chunk", counted)
    np.testing.assert_array_equal(opened[17, 3:9], volume.pixels[17, 3:9])
    assert [one for one in seen if "residual" in one] == ["residual chunk 2"]
    assert sorted(one for one in seen if "residual" not in one) == [f"chunk {z}" for z in range(16, 20)]


def test_a_damaged_residual_is_named_and_the_base_still_opens(tmp_path: Path) -> None:
    out = tmp_path / "a.ozx"
    compress(head((5, 40, 48)), out, target=Setting("jpeg2000", 40.0), residual=True)
    beside = open_box(out).residual
    assert beside is not None
    content = bytearray(out.read_bytes())
    content[beside.chunks[0][0] + 99] ^= 4
    out.write_bytes(content)
    with pytest.raises(ChecksumError, match=r"a\.ozx: residual chunk 0 is damaged \(its checksum does not match\)"):
        slimscan.read(out, exact=True)
    assert slimscan.read(out).shape == (5, 40, 48)


def test_a_residual_that_says_other_things_is_refused_in_one_line(tmp_path: Path) -> None:
    out = tmp_path / "a.zarr"
    compress(head((5, 40, 48)), out, target=Setting("jpeg2000", 40.0), residual=True)
    place = out / "residual" / "zarr.json"
    said = json.loads(place.read_text())
    for key, value in {"version": 2, "depth": 0, "bits": 40, "dtype": "U3", "planes": {}}.items():
        wrong = json.loads(json.dumps(said))
        wrong["attributes"]["slimscan"]["residual"][key] = value
        place.write_text(json.dumps(wrong))
        with pytest.raises(SlimscanError, match="residual") as caught:
            slimscan.read(out, exact=True)
        assert "\n" not in str(caught.value)


def test_children_restore_too(tmp_path: Path) -> None:
    volume = head((3, 30, 32))
    compress(volume, tmp_path / "a.ozx", target=Setting("jpeg2000", 40.0), residual=True)
    back = lazy(tmp_path / "a.ozx", True, exact=True)
    np.testing.assert_array_equal(np.asarray(back.pixels[0:3]), volume.pixels)
    done = decompress(tmp_path / "a.ozx", tmp_path / "b.nii", exact=True, untrusted=True)
    assert {check.name for check in done.checks} == {"written", "exact"}


def test_the_very_same_nifti_file_comes_back(tmp_path: Path) -> None:
    source = tmp_path / "source.nii"
    slimscan.write(head((5, 40, 48)), source)
    out, back = tmp_path / "a.ozx", tmp_path / "back.nii"
    said = here("compress", source, "-o", out, "--setting", "jpeg2000@40", "--residual")
    assert (said.status, "more restore the original: ratio" in said.out) == (0, True)
    assert "exact inside" in here("info", out).out
    done = here("decompress", out, "-o", back, "--exact", "--json").json
    assert [check["name"] for check in done["checks"]] == ["written", "exact"]
    assert hashlib.sha256(back.read_bytes()).digest() == hashlib.sha256(source.read_bytes()).digest()
    assert "lossy" not in lazy(out, exact=True).about
    assert "lossy" in lazy(out).about


def test_exact_without_a_residual(tmp_path: Path) -> None:
    out = tmp_path / "a.ozx"
    compress(head((3, 30, 32)), out, target=Setting("jpeg2000", 40.0))
    with pytest.raises(InputError) as caught:
        decompress(out, tmp_path / "b.nii", exact=True)
    assert str(caught.value) == (
        f"{out}: was compressed with loss and holds no residual; the original cannot be restored from it "
        "(decode it as it is, or compress the source again with --residual)"
    )
    compress(head((3, 30, 32)), out, target=Lossless(), residual=True, force=True)
    assert open_box(out).residual is None  # nothing is missing
    assert decompress(out, tmp_path / "b.nii", exact=True).checks[1].passed


def test_a_residual_has_no_place_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"b\.nii\.gz: a residual has its place in \.ozx and \.zarr; choose one"):
        compress(head((3, 30, 32)), tmp_path / "b.nii.gz", target=Ratio(4), residual=True)
    with pytest.raises(InputError, match="--no-verify with --residual; what restores the original must be proven"):
        compress(head((3, 30, 32)), tmp_path / "b.ozx", target=Ratio(4), residual=True, verify=False)


def test_the_zip_begins_as_before(tmp_path: Path) -> None:
    out = tmp_path / "a.ozx"
    compress(head((3, 30, 32)), out, target=Setting("jpeg2000", 40.0), residual=True)
    with zipfile.ZipFile(out) as archive:
        names = archive.namelist()
        assert names[:5] == ["zarr.json", "0/zarr.json", "0/c/0/0/0", "residual/zarr.json", "residual/c/0/0/0"]
        assert archive.testzip() is None
    beside = open_box(out).residual
    assert beside is not None
    receipt: dict[str, object] = about(out)["receipt"]
    assert receipt["residual_bytes"] == beside.nbytes


def moved(pixels: Pixels) -> Pixels:
    """A base that is nowhere near."""
    return np.roll(pixels, 5, axis=-1)


def test_a_coder_given_the_base_needs_fewer_bytes_than_an_image_codec() -> None:
    if not residual_code.COMPILED:
        pytest.skip("numba is not installed")
    volume = head((8, 96, 96))
    base = np.asarray(volume.pixels) // 16 * 16
    rest = np.asarray(volume.pixels) - base
    layout = slimscan.nouns.Layout((1, 96, 96), "uint8", 4)
    plain = sum(len(CODECS["jpegxl"].encode(one[None].astype(np.uint8), layout, None)) for one in rest)
    beside = len(residual_code.encode(rest, base, 16))
    assert beside < plain
    assert beside < len(residual_code.encode(rest, moved(base), 16)) * 1.02
