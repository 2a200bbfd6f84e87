"""What is particular to the video codecs; what holds for every codec is in test_codecs.py.

Asserted: groups decode alone, the same bytes twice and from many threads, knobs without steps or setbacks, exact shifts to 12 bits,
the sizes at which x265 went wrong, silence on stderr, refusals. Not asserted: bytes or quality against other versions.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from slimscan.codecs import CODECS, admit, codec, video
from slimscan.errors import CodecError, InputError, LayoutRefused, MissingExtra
from slimscan.nouns import Layout

pytest.importorskip("av", reason="the extra slimscan[video] is not installed")

LOSSY = [CODECS[name] for name in ("hevc", "hevc-gop8", "hevc-intra", "av1", "av1-gop8")]
ALL = [*LOSSY, CODECS["ffv1"]]
IDS = [found.name for found in ALL]


def volume(z: int, y: int, x: int, bits: int = 12) -> NDArray[np.uint16]:
    """Moving waves and a little noise, over most of the bits."""
    rng = np.random.default_rng(7)
    k, j, i = np.mgrid[:z, :y, :x]
    waves = 0.5 + 0.2 * np.sin((i + 2 * k) / 7) + 0.15 * np.cos((j - k) / 9) + rng.normal(0, 0.002, (z, y, x))
    return np.clip(waves * (2**bits - 1), 0, 2**bits - 1).astype(np.uint16)


def there_and_back(name: str, pixels: NDArray[np.uint16], bits: int, value: float | None) -> tuple[int, float]:
    """(bytes, mean squared error)."""
    layout = Layout(pixels.shape, str(pixels.dtype), bits)
    payload = CODECS[name].encode(pixels, layout, value)
    decoded = CODECS[name].decode(payload, layout)
    return len(payload), float(np.mean((decoded.astype(np.float64) - pixels.astype(np.float64)) ** 2))


def middle(name: str) -> float | None:
    knob = CODECS[name].knob
    return None if knob is None else 12.0


@pytest.mark.parametrize("name", IDS)
def test_a_group_decodes_alone_and_one_slice_is_a_group(name: str) -> None:
    found = CODECS[name]
    for slices in {1, min(3, found.depth), found.depth}:
        pixels = volume(slices, 40, 50)
        layout = Layout(pixels.shape, "uint16", 12)
        payload = found.encode(pixels, layout, middle(name))
        alone = found.decode(payload, layout)
        found.decode(found.encode(pixels[::-1], layout, middle(name)), layout)  # another group in between
        assert np.array_equal(found.decode(payload, layout), alone)
        assert alone.shape == pixels.shape


@pytest.mark.parametrize("name", IDS)
def test_bytes_are_the_same_twice_and_from_threads(name: str) -> None:
    found = CODECS[name]
    pixels = volume(min(9, found.depth), 70, 66)
    layout = Layout(pixels.shape, "uint16", 12)
    once = found.encode(pixels, layout, middle(name))
    with ThreadPoolExecutor(4) as pool:
        payloads = list(pool.map(lambda _: found.encode(pixels, layout, middle(name)), range(6)))
        images = list(pool.map(lambda payload: found.decode(payload, layout), payloads))
    assert set(payloads) == {once}
    assert all(np.array_equal(image, images[0]) for image in images)


@pytest.mark.parametrize("name", [found.name for found in LOSSY])
def test_the_knob_is_fine_enough_for_a_ratio_within_two_percent(name: str) -> None:
    """From one whole step to the next in 32 parts: any size between is within 2 % of one that was reached."""
    pixels = volume(min(6, CODECS[name].depth), 128, 128)
    steps = 16.0 + np.arange(33) / 32 * (1.0 if name.startswith("hevc") else 0.5)
    size, error = np.array([there_and_back(name, pixels, 12, float(value)) for value in steps]).T
    gaps = np.diff(np.sort(size)) / np.sort(size)[:-1]
    assert gaps.max() < 0.04, f"no setting gives sizes inside a gap of {gaps.max():.1%}"
    assert size[-1] < size[0]
    assert error[-1] > error[0]


@pytest.mark.parametrize("found", LOSSY, ids=lambda found: found.name)
def test_from_fine_to_coarse_bytes_fall_and_error_rises(found) -> None:  # type: ignore[no-untyped-def]
    assert found.knob is not None
    pixels = volume(min(6, found.depth), 64, 80)
    values = np.linspace(found.knob.low, found.knob.high, 8)
    size, error = np.array([there_and_back(found.name, pixels, 12, float(value)) for value in values]).T
    assert np.all(np.diff(size) < 0)
    assert np.all(np.diff(error) > 0)
    assert error[0] < (2**12 - 1) ** 2 / 10**5.4, "the finest setting is 54 dB or more"
    assert error[-1] < (2**12 - 1) ** 2 / 10**1.8, "the coarsest setting still shows the picture"


@pytest.mark.parametrize("name", ["hevc", "hevc-gop8", "av1"])
@pytest.mark.parametrize("sides", [(64, 64), (128, 64), (64, 128), (33, 31), (1, 1), (1, 70), (17, 129)])
def test_every_slice_is_right_at_sizes_that_went_wrong(name: str, sides: tuple[int, int]) -> None:
    """Inter coding by x265 with blocks of 64 was wrong at 64x64 and 128x64, and frames under 32 are refused."""
    pixels = volume(6, *sides)
    layout = Layout(pixels.shape, "uint16", 12)
    found = CODECS[name]
    decoded = found.decode(found.encode(pixels, layout, 2.0), layout)
    errors = np.mean((decoded.astype(np.float64) - pixels) ** 2, axis=(1, 2))
    assert errors.max() < (60 if name == "hevc" else 150), errors


@settings(max_examples=50, deadline=None)
@given(bits=st.integers(1, 12), kind=st.sampled_from("iu"), seed=st.integers(0, 99))
def test_up_to_12_bits_map_to_12_bits_and_back_exactly(bits: int, kind: str, seed: int) -> None:
    dtype = f"{'' if kind == 'i' else 'u'}int16"
    low = -(2 ** (bits - 1)) if kind == "i" else 0
    pixels = np.random.default_rng(seed).integers(low, low + 2**bits, (2, 5, 3)).astype(dtype)
    layout = Layout(pixels.shape, dtype, bits)
    frames = list(video.scaled(pixels, layout, (8, 8), 12, 1.0))
    assert all(frame.shape == (8, 8) and frame.max() < 4096 for frame in frames)
    assert np.array_equal(video.restored(frames, layout, 12, 1.0), pixels)


def test_12_bits_are_the_frame_itself_and_16_bits_are_divided_by_16() -> None:
    pixels = np.array([[[0, 1, 2048, 4095]]], np.uint16)
    (frame,) = video.scaled(pixels, Layout(pixels.shape, "uint16", 12), (1, 5), 12, 1.0)
    assert frame.tolist() == [[0, 1, 2048, 4095, 4095]]
    pixels = np.array([[[0, 7, 9, 24, 65535]]], np.uint16)
    (frame,) = video.scaled(pixels, Layout(pixels.shape, "uint16", 16), (1, 5), 12, 1.0)
    assert frame.tolist() == [[0, 0, 1, 2, 4095]]
    back = video.restored([frame], Layout(pixels.shape, "uint16", 16), 12, 1.0)
    assert back.tolist() == [[[0, 0, 16, 32, 65520]]]


def test_a_gain_halves_the_frame_and_the_way_back_doubles_it() -> None:
    pixels = np.array([[[-4, -1, 0, 3]]], np.int16)
    layout = Layout(pixels.shape, "int16", 3)
    (frame,) = video.scaled(pixels, layout, (1, 4), 12, 0.5)
    assert frame.tolist() == [[0, 768, 1024, 1792]]
    assert video.restored([frame], layout, 12, 0.5).tolist() == pixels.tolist()
    assert video.restored([frame + 9000], layout, 12, 0.5).tolist() == [[[3, 3, 3, 3]]]


def test_whole_steps_and_parts() -> None:
    assert video.split("hevc", 20.5) == (20, 32)
    assert video.split("hevc", 20 - 1 / 256) == (20, 0)
    assert video.split("av1", 20.5, 4) == (82, 0)
    assert video.split("av1", 20.0625, 4) == (80, 16)


def test_damage_and_wrong_sizes_are_codec_errors() -> None:
    pixels = volume(4, 40, 50)
    for found in ALL:
        part = pixels[: min(4, found.depth)]
        inside = Layout(part.shape, "uint16", 12)
        payload = found.encode(part, inside, middle(found.name))
        base = found.name.split("-")[0]
        changed = payload[:20] + bytes([payload[20] ^ 1]) + payload[21:]
        with pytest.raises(
            CodecError, match=f"^{base}: the checksum of a chunk of {len(payload)} bytes does not match"
        ):
            found.decode(changed, inside)
        with pytest.raises(CodecError, match=f"^{base}: "):
            found.decode(payload[: len(payload) // 2], inside)
        for other in ((5, 40, 50), (4, 40, 52), (4, 50, 40), (3, 40, 50), (1, 50, 40)):
            with pytest.raises(CodecError, match=f"^{base}: "):
                found.decode(payload, Layout(other, "uint16", 12))


def test_a_stream_of_other_frames_is_refused_behind_the_checksum() -> None:
    """The decoders are asked for exactly the layout's frames, also when the checksum is right."""
    pixels = volume(4, 48, 50)
    options = {"x265-params": "qp=20:ctu=32:pools=none:frame-threads=1:info=0:log-level=none"}
    _, found = video.packets("libx265", pixels, "gray12le", options)
    stream = b"".join(found)
    assert len(list(video.pictures("hevc", stream, 4, (48, 50), "gray12le"))) == 4
    with pytest.raises(ValueError, match=r"^4 frames, want 5$"):
        list(video.pictures("hevc", stream, 5, (48, 50), "gray12le"))
    with pytest.raises(ValueError, match=r"^frame 4 of 3 is damaged or too many$"):
        list(video.pictures("hevc", stream, 3, (48, 50), "gray12le"))
    with pytest.raises(ValueError, match=r"^a frame of 48x50 gray12le, want 50x48 gray12le$"):
        list(video.pictures("hevc", stream, 4, (50, 48), "gray12le"))


@pytest.mark.parametrize("found", LOSSY, ids=lambda found: found.name)
def test_lossy_codecs_refuse_lossless_and_colour(found) -> None:  # type: ignore[no-untyped-def]
    pixels = volume(1, 40, 40)
    base = found.name.split("-")[0]
    with pytest.raises(InputError) as error:
        found.encode(pixels, Layout(pixels.shape, "uint16", 12), None)
    assert str(error.value) == (
        f"{base} is never exact; ask for a quality, or choose jpegxl, jpeg2000 or ffv1 for lossless"
    )
    with pytest.raises(LayoutRefused, match="cannot hold 3 samples a voxel; allowed: 1"):
        admit(found, Layout((1, 40, 40, 3), "uint8", 8))


@pytest.mark.parametrize("sides", [(1, 400), (400, 1), (288, 352), (289, 16), (16, 353), (600, 700)])
def test_ffv1_is_exact_on_both_sides_of_its_limit_for_one_piece(sides: tuple[int, int]) -> None:
    assert there_and_back("ffv1", volume(2, *sides, bits=16), 16, None)[1] == 0


def test_ffv1_refuses_a_quality() -> None:
    pixels = volume(1, 4, 4)
    with pytest.raises(InputError, match=r"^ffv1 is always exact and has no quality; ask for lossless, got 3$"):
        CODECS["ffv1"].encode(pixels, Layout(pixels.shape, "uint16", 12), 3.0)


@pytest.mark.parametrize("name", IDS)
def test_samples_outside_the_bits_are_refused(name: str) -> None:
    pixels = np.full((1, 40, 40), 300, np.uint16)
    with pytest.raises(LayoutRefused) as error:
        CODECS[name].encode(pixels, Layout(pixels.shape, "uint16", 8), middle(name))
    assert str(error.value) == (
        "samples of 300..300 do not fit 8 bits of uint16, which hold 0..255; give the layout the bits that the data need"
    )


@pytest.mark.parametrize("name", IDS)
def test_without_av_the_extra_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    with pytest.raises(MissingExtra) as error:
        codec(name)
    assert str(error.value) == (
        f'the codec {name} needs the package av, which is not installed: pip install "slimscan[video]"'
    )


def test_a_build_of_av_without_the_encoder_is_named() -> None:
    with pytest.raises(CodecError, match=r"^libnothing does not encode: .*; av from PyPI brings it with its FFmpeg$"):
        video.packets("libnothing", volume(1, 32, 32), "gray12le", {})


QUIET = """
import os, sys
import numpy as np
from slimscan.codecs import CODECS
from slimscan.errors import CodecError
from slimscan.nouns import Layout
before = dict(os.environ)
assert "av" not in sys.modules, "av is imported at use"
for name in sys.argv[1:]:
    pixels = (np.arange(40 * 40) % 4096).astype(np.uint16).reshape(1, 40, 40)
    layout = Layout(pixels.shape, "uint16", 12)
    payload = CODECS[name].encode(pixels, layout, None if CODECS[name].knob is None else 12.0)
    CODECS[name].decode(payload, layout)
    try:
        CODECS[name].decode(payload[:-9], layout)
    except CodecError:
        pass
assert dict(os.environ) == before
"""


def test_nothing_is_written_to_stdout_or_stderr() -> None:
    done = subprocess.run([sys.executable, "-c", QUIET, *IDS], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif("SLIMSCAN_DATA" not in os.environ, reason="SLIMSCAN_DATA is not set")
def test_on_a_head_ct_prediction_halves_the_bytes_of_jpeg2000() -> None:
    import nibabel

    path = Path(os.environ["SLIMSCAN_DATA"]) / "ct_head_cranium_invesalius" / "cranium_ct.nii.gz"
    stored = np.asarray(nibabel.load(path).dataobj).T[40:72].astype(np.int64)
    pixels = (stored + 1024).astype(np.uint16)
    size, error = there_and_back("hevc", pixels, 12, 12.0)
    still = [
        there_and_back("jpeg2000", pixels[k : k + 1], 12, 20 * np.log10(4095) - 10 * np.log10(error)) for k in range(32)
    ]
    assert np.mean([mse for _, mse in still]) > 0.8 * error, "JPEG 2000 is no better here"
    assert size < 0.6 * sum(count for count, _ in still)
