"""Every codec of the registry through the same trials: exact, lossy, bounded, refused, repeated, readable by others.

The grid is pairwise: every sample type meets every size, every size both colours, on four contents. Not asserted here:
how small or how good a codec is (benchmarks do), and what damaged bytes do (test_codec_damage).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimscan.codecs import CODECS, admit, codec
from slimscan.codecs.headers import check_jpegxl
from slimscan.codecs.lifting import forward53, forward97, inverse53, inverse97
from slimscan.codecs.samples import restored, span, unsigned
from slimscan.codecs.sealed import opened, seal
from slimscan.errors import CodecError, InputError, LayoutRefused
from slimscan.files.dicom.codestream import inspect
from slimscan.nouns import Codec, Layout, Pixels

KINDS = (
    ("uint8", 8),
    ("uint16", 12),
    ("int16", 16),
    ("uint16", 16),
    ("int8", 8),
    ("uint8", 3),
    ("int16", 11),
    ("uint16", 9),
    ("uint16", 5),
    ("uint8", 1),
)
SIDES = ((23, 31), (1, 1), (1, 19), (19, 1), (17, 8), (2, 3))
DEPTHS = (1, 5, 2, 11)


def layouts(found: Codec) -> list[Layout]:
    """A pairwise grid of what the codec says that it holds."""
    grid = []
    for index, (dtype, bits) in enumerate(KINDS):
        for turn, sides in enumerate(SIDES):
            depth = 1 if found.chunk == "slice" else DEPTHS[(index + turn) % len(DEPTHS)]
            colour = ((), (3,), (1,), ())[(index + 2 * turn) % 4]
            grid.append(Layout((depth, *sides, *colour), dtype, bits))
    held = [layout for layout in grid if found.holds.refuses(layout) is None]
    return held if found.needs[0].package == "imagecodecs" else held[::4]  # video takes a tenth of a second each


def contents(layout: Layout) -> Iterator[tuple[str, Pixels]]:
    """Anatomy-like, constant at both ends, noise, extremes side by side."""
    low, high = span(layout)
    rng = np.random.default_rng([layout.bits, *layout.shape])
    z, y, x = (np.arange(n).reshape([-1 if i == j else 1 for j in range(3)]) for i, n in enumerate(layout.shape[:3]))
    smooth = 0.5 + 0.4 * np.sin(y / 7 + z / 5) * np.cos(x / 9) + rng.normal(scale=0.01, size=layout.shape[:3])
    if len(layout.shape) == 4:
        smooth = np.stack([np.roll(smooth, c, axis=1) for c in range(layout.shape[3])], axis=-1)
    yield "smooth", np.clip(np.rint(low + smooth * (high - low)), low, high).astype(layout.dtype)
    yield "low", np.full(layout.shape, low, layout.dtype)
    yield "high", np.full(layout.shape, high, layout.dtype)
    yield "noise", rng.integers(low, high + 1, layout.shape).astype(layout.dtype)
    yield "extremes", np.where(rng.random(layout.shape) < 0.5, low, high).astype(layout.dtype)


def scan(found: Codec, bits: int = 12) -> tuple[Pixels, Layout]:
    """A chunk large enough for rate and error to behave."""
    bits = min(bits, found.holds.bits[1])
    layout = Layout((1 if found.chunk == "slice" else 12, 72, 90), "uint8" if bits <= 8 else "uint16", bits)
    return next(contents(layout))[1], layout


def family(found: Codec) -> str:
    """hevc-gop8 and hevc-intra report as hevc."""
    return found.name.partition("-")[0]


def values(found: Codec, count: int) -> list[float]:
    """Values from the coarsest to the finest end of the knob, evenly spread on its scale."""
    knob = found.knob
    assert knob is not None
    ends = (knob.high, knob.low) if knob.finer == "low" else (knob.low, knob.high)
    spread = np.geomspace(*ends, count) if knob.scale == "log" else np.linspace(*ends, count)
    return [knob.check(found.name, float(min(knob.high, max(knob.low, value)))) for value in spread]


def worst(decoded: Pixels, pixels: Pixels) -> int:
    return int(np.abs(decoded.astype(np.int64) - pixels.astype(np.int64)).max())


def mse(decoded: Pixels, pixels: Pixels) -> float:
    return float(np.mean((decoded.astype(np.float64) - pixels.astype(np.float64)) ** 2))


LOSSY = [name for name, record in CODECS.items() if record.knob is not None]
BOUNDED = [name for name, record in CODECS.items() if record.bounded]
BARE = [name for name, record in CODECS.items() if record.zarr_name]


@pytest.fixture(params=list(CODECS))
def found(request: pytest.FixtureRequest) -> Codec:
    record = CODECS[request.param]
    for need in record.needs:
        if need.missing():
            pytest.skip(f"{need.package} is not installed")
    return record


def test_exact_codecs_are_exact_and_others_say_so(found: Codec) -> None:
    for layout in layouts(found):
        for name, pixels in contents(layout):
            if not found.lossless:
                with pytest.raises(InputError, match=rf"^{family(found)}.* exact.*lossless"):
                    found.encode(pixels, layout, None)
                return
            decoded = found.decode(found.encode(pixels, layout, None), layout)
            assert decoded.shape == layout.shape, (layout, name)
            assert decoded.dtype == np.dtype(layout.dtype), (layout, name)
            assert np.array_equal(decoded, pixels), (layout, name)


def test_lossy_stays_inside_the_layout_and_the_bound(found: Codec) -> None:
    if found.knob is None:
        with pytest.raises(InputError, match=rf"^{family(found)} .*(exact|knob)"):
            found.encode(*scan(found), 1.0)
        return
    for index, layout in enumerate(layouts(found)):
        for turn, (name, pixels) in enumerate(contents(layout)):
            value = values(found, 5)[(index + turn) % 5]
            decoded = found.decode(found.encode(pixels, layout, value), layout)
            low, high = span(layout)
            assert decoded.shape == layout.shape, (layout, name, value)
            assert decoded.dtype == np.dtype(layout.dtype), (layout, name, value)
            assert low <= decoded.min(), (layout, name, value)
            assert decoded.max() <= high, (layout, name, value)
            if found.bounded:
                assert worst(decoded, pixels) <= value, (layout, name, value)


@pytest.mark.parametrize("found", LOSSY, indirect=True)
def test_finer_is_better_and_larger(found: Codec) -> None:
    pixels, layout = scan(found)
    payloads = [found.encode(pixels, layout, value) for value in values(found, 7)]
    sizes = [len(payload) for payload in payloads]
    errors = [mse(found.decode(payload, layout), pixels) for payload in payloads]
    assert all(finer >= 0.98 * coarser - 8 for coarser, finer in pairwise(sizes)), sizes
    assert all(finer <= 1.02 * coarser + 0.05 for coarser, finer in pairwise(errors)), errors
    assert sizes[-1] > 4 * sizes[0]
    assert errors[0] > 20 * errors[-1]


@pytest.mark.parametrize("found", BOUNDED, indirect=True)
@pytest.mark.parametrize("n", [2.5, 1.0, 2.999, 7.2])
def test_a_bound_that_is_no_whole_number_holds_too(found: Codec, n: float) -> None:
    pixels, layout = scan(found, 16)
    assert found.knob is not None
    n = found.knob.check(found.name, n)
    assert worst(found.decode(found.encode(pixels, layout, n), layout), pixels) <= n


def test_the_same_bytes_on_every_run(found: Codec) -> None:
    pixels, layout = scan(found)
    for value in (None,) * found.lossless + tuple(values(found, 3)[1:2] if found.knob else ()):
        assert found.encode(pixels, layout, value) == found.encode(pixels.copy(), layout, value)


def test_strided_input_is_coded_like_contiguous_input(found: Codec) -> None:
    pixels, layout = scan(found)
    wide = np.repeat(pixels, 2, axis=2)[:, :, ::2]
    value = None if found.lossless else values(found, 3)[1]
    assert found.encode(wide, layout, value) == found.encode(pixels, layout, value)


def test_what_is_not_held_is_refused_by_name(found: Codec) -> None:
    top = found.holds.bits[1]
    least = max(found.holds.min_side, 1)
    shape = (1, least, least)
    for layout, reason in (
        (Layout(shape, "complex64", top), "samples of type complex64; allowed: "),
        (
            Layout(shape, found.holds.dtypes[-1], top + 1),
            f"{top + 1} bits a sample; allowed: {found.holds.bits[0]} to {top}",
        ),
        (Layout((*shape, 4), found.holds.dtypes[0], found.holds.bits[0]), "4 samples a voxel; allowed: "),
        (
            Layout((1, least, found.holds.max_side + 1), found.holds.dtypes[0], found.holds.bits[0]),
            f"slices of {least}x{found.holds.max_side + 1}; allowed: sides of {found.holds.min_side} to",
        ),
    ):
        with pytest.raises(LayoutRefused) as refused:
            admit(found, layout)
        assert str(refused.value).startswith(f"{found.name} cannot hold {reason}")
        assert str(refused.value).endswith("; `slimscan codecs` lists what each codec holds")


def test_a_payload_of_another_size_is_refused(found: Codec) -> None:
    pixels, layout = scan(found)
    payload = found.encode(pixels, layout, None if found.lossless else values(found, 3)[1])
    z, y, x = layout.shape
    for shape in ((z, y, x + 1), (z, y + 1, x), (z, y - 1, x)):
        with pytest.raises(CodecError, match=rf"^{family(found)}.*damaged"):
            found.decode(payload, Layout(shape, layout.dtype, layout.bits))


@pytest.mark.parametrize("found", BARE, indirect=True)
def test_others_read_a_bare_codestream(found: Codec) -> None:
    read = getattr(imagecodecs, found.zarr_name.removeprefix("imagecodecs_") + "_decode")
    for layout in (
        Layout((1, 40, 52), "uint8", 8),
        Layout((1, 40, 52), "uint16", 12),
        Layout((1, 40, 52), "uint16", 16),
        Layout((1, 40, 52), "uint16", 7),
        Layout((1, 40, 52, 3), "uint8", 8),
    ):
        for name, pixels in contents(layout):
            for value in [None, *values(found, 4)[1:]]:
                payload = found.encode(pixels, layout, value)
                theirs = read(payload)
                assert theirs.dtype == pixels.dtype, (layout, name)
                theirs = np.clip(theirs.reshape(layout.shape), *span(layout))
                assert np.array_equal(theirs, found.decode(payload, layout)), (layout, name, value)


@pytest.mark.parametrize("found", BARE, indirect=True)
def test_a_decoder_need_not_know_the_bits(found: Codec) -> None:
    """A zarr reader knows the sample type and nothing of its bits."""
    pixels, layout = scan(found)
    payload = found.encode(pixels, layout, None)
    assert np.array_equal(found.decode(payload, Layout(layout.shape, "uint16", 16)), pixels)


def test_a_large_slab() -> None:
    layout = Layout((32, 160, 150), "uint16", 12)
    pixels = next(contents(layout))[1]
    for name in ("jpeg2000z", "zstd", "pcodec"):
        assert np.array_equal(CODECS[name].decode(CODECS[name].encode(pixels, layout, None), layout), pixels)


def test_zeros_in_every_size_come_back_from_blosc2() -> None:
    """Its own chunk of zeros cannot be read back by Blosc2 2.23 where 8 samples do not divide it."""
    for count in (*range(1, 70), 4097, 70001):
        for dtype in ("uint8", "uint16", "float64"):
            layout = Layout((1, 1, count), dtype, 8)
            pixels = np.zeros(layout.shape, dtype)
            assert np.array_equal(
                CODECS["blosc2"].decode(CODECS["blosc2"].encode(pixels, layout, None), layout), pixels
            )


@pytest.mark.parametrize("dtype", ["uint32", "int32", "uint64", "int64", "float16", "float32", "float64"])
def test_every_kind_of_number_is_exact_where_it_is_held(dtype: str) -> None:
    layout = Layout((3, 7, 11), dtype, 8 * np.dtype(dtype).itemsize)
    holders = [record for record in CODECS.values() if record.holds.refuses(layout) is None]
    assert {"gzip", "pcodec"} <= {record.name for record in holders}
    raw = np.random.default_rng(0).bytes(layout.raw_bytes)
    for pixels in (np.frombuffer(raw, dtype).reshape(layout.shape), np.full(layout.shape, -0.0).astype(dtype)):
        for record in holders:
            assert record.decode(record.encode(pixels, layout, None), layout).tobytes() == pixels.tobytes(), record.name


def test_real_head_ct(real_data: Path) -> None:
    import nibabel

    volume = np.asarray(nibabel.load(real_data / "ct_head_cranium_invesalius/cranium_ct.nii.gz").dataobj).T[40:52]
    pixels = (volume - volume.min()).astype(np.uint16)
    for name, found in CODECS.items():
        if found.needs[0].package != "imagecodecs":
            continue
        chunk = pixels[:1] if found.chunk == "slice" else pixels
        layout = Layout(chunk.shape, "uint16", 12)
        if found.lossless:
            assert np.array_equal(found.decode(found.encode(chunk, layout, None), layout), chunk), name
        if found.bounded:
            assert worst(found.decode(found.encode(chunk, layout, 5.0), layout), chunk) <= 5, name


def test_an_unknown_codec_is_named_with_the_known_ones() -> None:
    with pytest.raises(InputError) as unknown:
        codec("jpeg2001")
    assert str(unknown.value) == f'codec "jpeg2001" is not known; allowed: auto {" ".join(CODECS)}'
    assert codec("sperr") is CODECS["sperr"]


def test_two_slices_do_not_fit_a_slice_codec() -> None:
    with pytest.raises(ValueError, match=r"^a slice codec takes one slice a chunk, got 2$"):
        CODECS["jpegls"].encode(np.zeros((2, 4, 4), np.uint8), Layout((2, 4, 4), "uint8", 8), None)


def test_samples_by_hand() -> None:
    layout = Layout((1, 1, 3), "int16", 4)  # -8..7
    assert unsigned(np.array([[[-8, 0, 7]]], np.int16), layout).tolist() == [[[0, 8, 15]]]
    back = restored("x", np.array([0.4, 7.6, 99.0]), layout, shifted=True)
    assert back.tolist() == [[[-8, 0, 7]]]
    assert back.dtype == np.int16
    assert restored("x", np.array([np.nan, -np.inf, np.inf]), Layout((1, 1, 3), "uint8", 6)).tolist() == [[[0, 0, 63]]]
    with pytest.raises(CodecError, match=r"^x: decoded \(2,\), the layout says \(1, 1, 3\); the chunk is damaged$"):
        restored("x", np.zeros(2), layout)


def test_the_reversible_wavelet_by_hand() -> None:
    """Detail: 3 - (1 + 9 >> 1) = -2 and 5 - 9 (mirrored) = -4; coarse: 1 + (-4 + 2 >> 2) = 0, 9 + (-6 + 2 >> 2) = 8."""
    planes = np.array([1, 3, 9, 5], np.int32)
    assert forward53(planes, 1).tolist() == [0, -2, 8, -4]
    assert inverse53(np.array([0, -2, 8, -4], np.int32), 1).tolist() == [1, 3, 9, 5]


@given(st.lists(st.integers(-(2**17), 2**17), min_size=1, max_size=40), st.integers(0, 4))
@settings(deadline=None)
def test_wavelets_come_back(numbers: list[int], levels: int) -> None:
    planes = np.array(numbers, np.int32)
    assert np.array_equal(inverse53(forward53(planes, levels), levels), planes)
    floats = planes.astype(np.float32)
    assert np.allclose(inverse97(forward97(floats, levels), levels), floats, rtol=0, atol=0.25)


def test_an_error_in_any_plane_of_the_9_7_counts_about_the_same() -> None:
    for plane in range(32):
        unit = np.zeros(32, np.float32)
        unit[plane] = 1
        assert 0.5 < float((inverse97(unit, 3) ** 2).sum()) < 1.8


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=6), st.integers(0))
@settings(deadline=None)
def test_sealed_parts_come_back_and_one_changed_bit_is_refused(parts: list[bytes], bit: int) -> None:
    layout = Layout((2, 3, 4), "uint8", 8)
    payload = seal(parts, layout)
    assert opened("x", payload, len(parts), layout) == parts
    damaged = bytearray(payload)
    damaged[bit // 8 % len(payload)] ^= 1 << bit % 8
    with pytest.raises(
        CodecError, match=r"^x: the checksum of a chunk of \d+ bytes does not match; the chunk is damaged$"
    ):
        opened("x", bytes(damaged), len(parts), layout)
    with pytest.raises(CodecError, match=r"^x: the checksum"):
        opened("x", payload, len(parts), Layout((2, 4, 3), "uint8", 8))


@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from((5, 8, 10, 12, 16)))
@settings(deadline=None, max_examples=40)
def test_the_size_in_a_jpeg_xl_header_is_read_as_libjxl_writes_it(y: int, x: int, bits: int) -> None:
    layout = Layout((1, y, x), "uint8" if bits <= 8 else "uint16", bits)
    payload = CODECS["jpegxl"].encode(np.zeros(layout.shape, layout.dtype), layout, None)
    check_jpegxl("jpegxl", payload, layout)
    with pytest.raises(CodecError, match="does not describe"):
        check_jpegxl("jpegxl", payload, Layout((1, y, x + 1), layout.dtype, bits))


@pytest.mark.parametrize("name", ["jpeg2000", "htj2k", "jpegls"])
@pytest.mark.parametrize("bits", [10, 12, 15, 16])
@pytest.mark.parametrize("value", [None, 8.0])
def test_a_codestream_says_the_stored_bits(name: str, bits: int, value: float | None) -> None:
    """DICOM wants them there (PS3.5 8.2.3, 8.2.4), and a decoder clamps to them."""
    layout = Layout((1, 40, 30), "uint16", bits)
    pixels = np.random.default_rng(0).integers(0, 2**bits, layout.shape).astype(np.uint16)
    payload = CODECS[name].encode(pixels, layout, value)
    assert inspect(payload).precision == bits
    plain = imagecodecs.jpegls_decode if name == "jpegls" else imagecodecs.jpeg2k_decode
    decoded = np.asarray(plain(payload))
    assert decoded.max() < 2**bits
    assert np.array_equal(decoded[None], CODECS[name].decode(payload, layout))


def test_htj2k_of_stored_bits_is_read_by_its_own_library() -> None:
    """Raised samples, SIZ and QCD belong together: OpenJPH, which wrote the codestream, must agree with OpenJPEG."""
    layout = Layout((1, 64, 48), "uint16", 12)
    slope = np.add.outer(np.arange(64) * 40, np.arange(48) * 30).astype(np.uint16)[None]
    for value, most in ((None, 0), (1.0, 1), (16.0, 20)):
        decoded = np.asarray(imagecodecs.htj2k_decode(CODECS["htj2k"].encode(slope, layout, value)))
        assert np.abs(decoded.astype(int) - slope[0]).max() <= most
