"""Bytes that nobody vouches for: claims that are checked, bombs that cost nothing, mutations under a right checksum."""

from __future__ import annotations

import io
import json
import re
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from commands import child as command_child
from commands import here, scan
from test_codec_damage import chunk, damaged, payloads
from test_files_dicom import SLICE, codestreams, encapsulated

import slimscan
from slimscan import child
from slimscan.child import Limits, pool
from slimscan.codecs import CODECS
from slimscan.codecs.sealed import opened, seal
from slimscan.errors import CodecError, NotReadable, SlimscanError
from slimscan.files.dicom import frames as dicom_frames
from slimscan.nouns import Layout, Pixels, Volume
from slimscan.press.grid import Grid
from slimscan.press.outputs import write_box
from slimscan.press.scheme import ENVELOPE, Scheme
from slimscan.press.store import RECEIPT

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to RLIMIT_AS")
# How many parts a payload under our own checksum has, for a grey slab of so many slices; and whether it covers the shape.
SEALED: dict[str, tuple[Callable[[int], int], bool]] = {
    **{name: (lambda _: 1, False) for name in ("hevc", "hevc-gop8", "hevc-intra", "av1", "av1-gop8")},
    **{name: (lambda _: 1, True) for name in ("sperr", "sz3", "pcodec")},
    "zfp": (lambda _: 2, True),
    "jpeg2000z": (lambda depth: 1 + depth, True),
    "ffv1": (lambda depth: 2 + depth, False),
}
WAITS = Limits(30, 1 << 30)
DIED = r"the decoder (stopped with SIG[A-Z]+|wanted more than \d+ MB and was stopped); the data are damaged, or made to"


@pytest.fixture(autouse=True, scope="module")
def _ended() -> Iterator[None]:
    yield
    child.close()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The functions that children were asked for."""
    found: list[str] = []
    whole = pool.call

    def counted(request: Any, out: Pixels, limits: Limits) -> None:
        found.append(request[0])
        whole(request, out, limits)

    monkeypatch.setattr(pool, "call", counted)
    return found


def usable(name: str) -> None:
    for need in CODECS[name].needs:
        if need.missing():
            pytest.skip(f"{need.package} is not installed")


def resealed(name: str, payload: bytes, layout: Layout, change: Callable[[bytes], bytes]) -> bytes:
    """The payload with its content changed, and the checksum of our own, where it has one, made right again."""
    if name not in SEALED:
        return change(payload)
    return seal([change(payload[4:])], layout if SEALED[name][1] else None)


def box(path: Path, name: str, layout: Layout, chunks: list[bytes], background: bool = False) -> Path:
    """A container of these payloads, each a chunk of the layout, every checksum right."""
    count, depth = len(chunks), layout.shape[0]
    volume = Volume(np.zeros((count * depth, *layout.shape[1:]), layout.dtype), bits=layout.bits, source="bad")
    grid = Grid(layout.dtype, 0.0, 1.0, layout.bits, layout.dtype)
    scheme = Scheme(name, grid, depth, 0.0 if background else None)
    if not scheme.bare and not background:
        chunks = [ENVELOPE.pack(depth, 0) + one for one in chunks]
    write_box(path, volume, scheme, layout.bits, chunks, RECEIPT).finish(b"")
    return path


# ---- the same pixels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(CODECS))
def test_every_codec_decodes_to_the_same_pixels_in_a_child(name: str, tmp_path: Path, calls: list[str]) -> None:
    usable(name)
    pixels, layout = chunk(CODECS[name])
    made = payloads(CODECS[name], pixels, layout)
    path = box(tmp_path / "a.ozx", name, layout, made)
    trusted = np.asarray(slimscan.read(path).pixels)
    assert bool(calls) == CODECS[name].fragile, "fragile codecs are never decoded here"
    calls.clear()
    apart = np.asarray(slimscan.read(path, untrusted=True).pixels)
    assert calls == ["slimscan.press.scheme:decode"] * len(made)
    assert (trusted == apart).all()
    assert (slimscan.open(path, untrusted=Limits(30))[0:1] == apart[:1]).all()


def test_fragile_codecs_are_those_that_were_seen_to_end_their_process() -> None:
    assert {name for name, found in CODECS.items() if found.fragile} == {"sperr", "sz3", "pcodec"}


def test_what_this_process_wrote_is_verified_here(tmp_path: Path, calls: list[str]) -> None:
    slimscan.compress(scan(tmp_path / "a.nii"), tmp_path / "a.ozx", target=slimscan.MaxError(4), codec="sz3")
    assert calls == []


def test_a_frozen_program_still_reads_fragile_codecs(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slimscan.compress(scan(tmp_path / "a.nii"), tmp_path / "a.ozx", target=slimscan.MaxError(4), codec="sperr")
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert slimscan.read(tmp_path / "a.ozx").shape == (6, 40, 44)
    assert calls == []


@pytest.mark.parametrize("kind", ["jpeg2000", "jpegls", "jpeg", "jpegxl"])
def test_dicom_frames_are_decoded_by_children(kind: str, tmp_path: Path, calls: list[str]) -> None:
    syntax, stream = codestreams(SLICE)[kind]
    path = encapsulated(tmp_path / "a.dcm", [stream], syntax)
    assert (np.asarray(slimscan.read(path, untrusted=True).pixels)[0] == SLICE).all()
    assert calls == ["slimscan.files.dicom.frames:from_bytes"]
    slimscan.read(path)
    assert len(calls) == 1


def test_a_source_is_looked_at_again_by_children_when_its_own_format_is_written(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DICOM written from DICOM keeps what the source says when its pixels are the source's, which is checked."""
    path = encapsulated(tmp_path / "a.dcm", [codestreams(SLICE)["jpegls"][1]], codestreams(SLICE)["jpegls"][0])

    def here_never(*_: object) -> Pixels:
        raise AssertionError("decoded in this process")

    # What comes back of the output is native, which no decoder sees.
    whole = dicom_frames.from_bytes
    native = "1.2.840.10008.1.2.1"
    monkeypatch.setattr(
        dicom_frames, "from_bytes", lambda head, *more: (whole if head.syntax == native else here_never)(head, *more)
    )
    slimscan.decompress(path, tmp_path / "b.dcm", untrusted=True)
    assert len(calls) >= 2
    calls.clear()
    slimscan.compress(path, tmp_path / "c.ozx", target=slimscan.Lossless(), untrusted=True)
    assert calls


def test_native_dicom_needs_no_decoder(tmp_path: Path, calls: list[str]) -> None:
    scan(tmp_path / "a.dcm", (1, 30, 20))
    slimscan.read(tmp_path / "a.dcm", untrusted=True)
    assert calls == []


def tiff_folder(folder: Path, compression: str) -> Path:
    import tifffile

    folder.mkdir()
    for z in range(3):
        tifffile.imwrite(folder / f"s{z:03}.tif", SLICE + z, compression=compression)
    return folder


@pytest.mark.parametrize("compression", ["zlib", "lzw", "jpeg2000", "zstd"])
def test_tiff_pages_are_decoded_by_children(compression: str, tmp_path: Path, calls: list[str]) -> None:
    import tifffile

    pixels = np.stack([SLICE, SLICE + 1, SLICE + 2])
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression=compression, photometric="minisblack")
    for path in (tmp_path / "a.tif", tiff_folder(tmp_path / "folder", compression)):
        calls.clear()
        assert (np.asarray(slimscan.read(path, untrusted=True).pixels) == pixels).all()
        assert calls == ["slimscan.files.tiff:slice_of"] * 3


def test_zarr_of_others_is_decoded_by_children(tmp_path: Path, calls: list[str]) -> None:
    import zarr

    pixels = np.arange(6 * 8 * 10, dtype=np.uint16).reshape(6, 8, 10)
    array = zarr.create_array(tmp_path / "a.zarr", shape=pixels.shape, chunks=(2, 8, 10), dtype="uint16")
    array[:] = pixels
    assert (slimscan.open(tmp_path / "a.zarr", untrusted=True)[1:5:2] == pixels[1:5:2]).all()
    assert calls == ["slimscan.files.zarr_foreign:slices"]


# ---- bombs ---------------------------------------------------------------------------------------------------------

HUGE = 60000


def blank(name: str) -> tuple[bytes, Layout]:
    """A payload of a large image of nothing, and a layout that is a thousandth of it."""
    found = CODECS[name]
    _, small = chunk(found)
    depth = 1 if found.chunk == "slice" else 2
    large = Layout((depth, 1536, 1536, *small.shape[3:]), small.dtype, small.bits)
    value = None if found.lossless else found.knob.check(name, {"quality": 50.0}.get(found.knob.name, 20.0))  # type: ignore[union-attr]
    payload = found.encode(np.zeros(large.shape, large.dtype), large, value)
    return payload, replace(small, shape=(depth, 48, 56, *small.shape[3:]))


def claims(name: str, payload: bytes, layout: Layout) -> bytes | None:
    """The payload with 60000 x 60000 for its sides, where a codestream says them at a known place."""
    sides = struct.pack(">II", HUGE, HUGE)
    if name in ("jpeg2000", "htj2k"):
        return payload[:8] + sides + payload[16:24] + sides + payload[32:]
    if name == "jpeg2000z":
        head, *parts = opened(name, payload, 1 + layout.shape[0], layout)
        return seal([head[:9] + sides + head[17:25] + sides + head[33:], *parts], layout)
    if name in ("jpeg", "jpegls"):
        at = next(match.start() for match in re.finditer(rb"\xff[\xc0\xc1\xf7]\0[\x0b\x11]", payload))
        return payload[: at + 5] + struct.pack(">HH", HUGE, HUGE) + payload[at + 9 :]
    if name == "jpegxl":  # SizeHeader of a small image: 14 bits; of a square one: 36
        rest = int.from_bytes(payload[2:], "little") >> 14
        bits = 3 << 1 | (HUGE - 1) << 3 | 1 << 33 | rest << 36
        return payload[:2] + bits.to_bytes(len(payload) + 4, "little")
    if name == "sperr":
        (stream,) = opened(name, payload, 1, layout)
        return seal([stream[:2] + struct.pack("<II", HUGE, HUGE) + stream[10:]], layout)
    if name == "blosc2":
        return payload[:4] + struct.pack("<I", 1 << 31) + payload[8:]
    return None


@LINUX
@pytest.mark.parametrize("name", list(CODECS))
def test_a_stream_larger_than_its_header_costs_no_memory(name: str) -> None:
    """The decoder is let loose in a child with 32 MB beyond what an honest chunk left it with; a bomb needs more."""
    usable(name)
    payload, layout = blank(name)
    if name in SEALED:
        payload = seal([payload[4:]], layout if SEALED[name][1] else None)
    good = payloads(CODECS[name], *chunk(CODECS[name]))[0]
    _, full = chunk(CODECS[name])
    crafted = claims(name, good, full)
    tried = [(payload, layout)] + ([(crafted, full)] if crafted else [])
    for bomb, told in tried:
        if name == "zfp":  # has no size of its own, and stops where the layout's is full
            child.decode("harm:within", (name, good, full, bomb, told, 32 << 20), told.shape, told.dtype, WAITS)
            continue
        with pytest.raises(CodecError) as caught:
            child.decode("harm:within", (name, good, full, bomb, told, 32 << 20), told.shape, told.dtype, WAITS)
        said = str(caught.value)
        if name != "sz3":  # tells its size inside its own packing: only the child's limits hold it
            assert said.startswith(name.partition("-")[0]), said


@LINUX
@pytest.mark.parametrize("name", ["gzip", "deflate", "bz2", "xz", "zstd", "blosc2", "pcodec"])
def test_a_quarter_of_a_gigabyte_in_a_few_bytes_costs_no_memory(name: str) -> None:
    found = CODECS[name]
    pixels, full = chunk(found)
    good = payloads(found, pixels, full)[0]
    large = Layout((64, 1024, 2048), "uint16", 16)
    payload = found.encode(np.zeros(large.shape, np.uint16), large, None)
    if name in SEALED:
        # pco's chunks are all unpacked, whatever its header says: only the child's limits hold that.
        payload = seal([hinted(good[4:], payload[4:])], full)
    assert len(payload) < 1 << 20
    with pytest.raises(CodecError, match=DIED if found.fragile else rf"^{name}: "):
        child.decode("harm:within", (name, good, full, payload, full, 32 << 20), full.shape, full.dtype, WAITS)


def test_a_background_mask_that_is_a_bomb_is_not_decoded(tmp_path: Path) -> None:
    layout = Layout((1, 8, 10), "uint16", 12)
    bomb = bytes(imagecodecs.jpegxl_encode(np.zeros((4000, 4000), np.uint8), lossless=True, bitspersample=1))
    path = box(tmp_path / "a.ozx", "jpeg2000", layout, [ENVELOPE.pack(1, len(bomb)) + bomb], background=True)
    with pytest.raises(CodecError) as caught:
        slimscan.read(path)
    assert str(caught.value) == (
        f"{path}: chunk 0: the background mask: the codestream does not describe 10x8 with 1 samples of uint8;"
        " the chunk is damaged"
    )


def rewritten(path: Path, change: dict[str, bytes], packed: bool = False) -> Path:
    """The container with some of its entries replaced, or deflated ones added."""
    held = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(held, "w") as new:
        for name in [*old.namelist(), *(key for key in change if key not in old.namelist())]:
            kind = zipfile.ZIP_DEFLATED if packed and name in change else zipfile.ZIP_STORED
            new.writestr(zipfile.ZipInfo(name), change.get(name) or old.read(name), kind)
    path.write_bytes(held.getvalue())
    return path


@pytest.mark.parametrize("entry", ["slimscan/about.json.z", "slimscan/receipt.json.z", "slimscan/header.nifti.z"])
def test_metadata_that_are_a_bomb_are_refused(entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slimscan.press.store.MOST_BESIDE", 1 << 20)
    path = box(tmp_path / "a.ozx", "zstd", *_small("zstd"))
    rewritten(path, {entry: zlib.compress(bytes(4 << 20))})
    with pytest.raises(NotReadable, match=r"a\.ozx: .*an entry is cut off, or more than 1048576 bytes"):
        slimscan.read(path)


@pytest.mark.parametrize("entry", ["slimscan/about.json.z", "zarr.json"])
def test_a_zip_entry_that_is_a_bomb_is_refused(entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slimscan.files.ozx.MOST_BESIDE", 1 << 20)
    path = rewritten(box(tmp_path / "a.ozx", "zstd", *_small("zstd")), {entry: bytes(4 << 20)}, packed=True)
    with pytest.raises(NotReadable, match=r"a\.ozx: .*stands beside its pixels is more than 1048576 bytes"):
        slimscan.read(path)


def _small(name: str) -> tuple[Layout, list[bytes]]:
    pixels, layout = chunk(CODECS[name])
    return layout, payloads(CODECS[name], pixels, layout)[:1]


def test_a_chunk_that_claims_gigabytes_is_not_decoded_untrusted(tmp_path: Path) -> None:
    path = box(tmp_path / "a.ozx", "zstd", *_small("zstd"))
    with zipfile.ZipFile(path) as held:
        array = json.loads(held.read("0/zarr.json"))
    depth = array["shape"][0]
    array["shape"] = [depth, HUGE, HUGE]
    rewritten(path, {"0/zarr.json": json.dumps(array).encode()})
    with pytest.raises(CodecError) as caught:
        slimscan.open(path, untrusted=True)[0]
    assert str(caught.value) == (
        f"{path}: chunk 0: {depth * HUGE * HUGE * 2} bytes of pixels in one piece, allowed when untrusted: 1073741824;"
        " not decoded"
    )


def hinted(small: bytes, large: bytes) -> bytes:
    """A pco stream of many numbers under the header of one with few."""

    def end(stream: bytes) -> int:
        return 6 + -(-(6 + (stream[6] & 63) + 1) // 8)

    return small[: end(small)] + large[end(large) :]


DEFLATED, RLE = "1.2.840.10008.1.2.8.1", "1.2.840.10008.1.2.5"


def dicom_bomb(kind: str) -> tuple[str, bytes]:
    if kind == "deflate":
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        return DEFLATED, packer.compress(bytes(256 << 20)) + packer.flush()
    if kind == "rle":
        run = b"\x81\0" * (1 << 20)  # each two bytes are 128
        return RLE, struct.pack("<16I", 2, 64, 64 + len(run), *[0] * 13) + run * 2
    syntax, stream = codestreams(SLICE)[kind]
    stream = bytes(stream)
    if kind == "jpeg2000":
        return syntax, claims("jpeg2000", stream, Layout((1, 8, 10), "uint16", 12)) or b""
    if kind == "jpegxl":
        bare = bytes(imagecodecs.jpegxl_encode(SLICE, lossless=True, bitspersample=12, usecontainer=False))
        return syntax, claims("jpegxl", bare, Layout((1, 8, 10), "uint16", 12)) or b""
    at = next(match.start() for match in re.finditer(rb"\xff[\xc3\xf7]\0\x0b", stream))
    return syntax, stream[: at + 5] + struct.pack(">HH", HUGE, HUGE) + stream[at + 9 :]


@LINUX
@pytest.mark.parametrize("untrusted", [False, True])
@pytest.mark.parametrize("kind", ["jpeg2000", "jpegls", "jpeg", "jpegxl", "deflate", "rle"])
def test_a_dicom_bomb_is_an_error_and_costs_no_memory(kind: str, untrusted: bool, tmp_path: Path) -> None:
    syntax, bomb = dicom_bomb(kind)
    path = encapsulated(tmp_path / "a.dcm", [bomb], syntax)
    code = (
        "import resource, sys, slimscan, slimscan.files.dicom.frames, imagecodecs, numpy as np\n"
        "imagecodecs.packbits_decode(b'\\x81\\0'); size = int(open('/proc/self/statm').read().split()[0]) * 4096\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + (600 << 20),) * 2)\n"
        f"try: print(np.asarray(slimscan.read({str(path)!r}, untrusted={untrusted}).pixels).shape)\n"
        "except slimscan.errors.SlimscanError as error: print('error:', error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    if kind in ("deflate", "rle"):  # what is more than the frame is passed over
        assert done.stdout.startswith(("(1, 8, 10)", f"error: {path}")), done.stdout
    else:
        assert done.stdout.startswith(f"error: {path}: the codestream says {HUGE} x {HUGE} x"), done.stdout


# ---- mutations under a right checksum ------------------------------------------------------------------------------


def mutated(path: Path, name: str, count: int, first: int = 0) -> tuple[Path, int]:
    """A container of `count` chunks, each another mutation, and the slices of a chunk."""
    found = CODECS[name]
    pixels, layout = chunk(found)
    made = payloads(found, pixels, layout)
    chunks = []
    for index in range(first, first + count):
        one, other = made[index // 5 % len(made)], made[(index // 5 + 1) % len(made)]
        inner = other[4:] if name in SEALED else other
        chunks.append(resealed(name, one, layout, lambda body, inner=inner, index=index: damaged(body, inner, index)))  # type: ignore[misc]
    return box(path, name, layout, chunks), layout.shape[0]


def survives(path: Path, depth: int, count: int) -> None:
    """Every chunk is its pixels or one line that names the file and the chunk."""
    image = slimscan.open(path, untrusted=WAITS)
    for index in range(count):
        try:
            got = image[index * depth : (index + 1) * depth]
        except CodecError as error:
            said = str(error)
            assert said.startswith(f"{path}: chunk {index}: "), said
            assert "\n" not in said
        else:
            assert got.shape == (depth, *image.shape[1:])
            assert got.dtype == image.dtype


@pytest.mark.parametrize("name", list(CODECS))
def test_mutations_under_a_right_checksum(name: str, tmp_path: Path) -> None:
    usable(name)
    survives(*mutated(tmp_path / "a.ozx", name, 20), 20)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CODECS))
def test_many_mutations_under_a_right_checksum(name: str, tmp_path: Path) -> None:
    usable(name)
    survives(*mutated(tmp_path / "a.ozx", name, 200, first=20), 200)


@pytest.mark.parametrize("kind", ["jpeg2000", "jpegls", "jpeg", "jpegxl"])
def test_mutations_of_dicom_frames(kind: str, tmp_path: Path) -> None:
    syntax, stream = codestreams(SLICE)[kind]
    frames = [bytes(stream)] + [damaged(bytes(stream), bytes(stream), index) or b"\0\0" for index in range(20)]
    path = encapsulated(tmp_path / "a.dcm", frames, syntax, NumberOfFrames=len(frames))
    image = slimscan.open(path, untrusted=WAITS)
    assert (image[0] == SLICE).all()
    for index in range(1, len(frames)):
        try:
            assert image[index].shape == SLICE.shape
        except SlimscanError as error:
            assert str(error).startswith(f"{path}: frame {index + 1} of {len(frames)} ")  # noqa: PT017


def deadly(tmp_path: Path) -> Path:
    """A container with an SZ3 chunk that ends its decoder's process, checksums right."""
    pixels, layout = chunk(CODECS["sz3"])
    good = payloads(CODECS["sz3"], pixels, layout)[0]
    bad = resealed("sz3", good, layout, lambda body: body[:40] + bytes(40) + body[80:])
    return box(tmp_path / "deadly.ozx", "sz3", layout, [good, bad, good])


def test_a_deadly_chunk_is_one_error_without_being_asked(tmp_path: Path) -> None:
    path = deadly(tmp_path)
    image = slimscan.open(path)
    before = image[0]
    with pytest.raises(CodecError, match=rf"^{re.escape(str(path))}: chunk 1: {DIED}"):
        image[9]
    assert (image[18] == before).all(), "the chunks around it are as they were"


def test_a_deadly_chunk_is_one_error_through_plain_zarr(tmp_path: Path) -> None:
    import zarr

    array = zarr.open(zarr.storage.ZipStore(deadly(tmp_path), mode="r"), mode="r")["0"]
    with pytest.raises(CodecError, match=DIED):
        np.asarray(array[9:10])


def test_a_deadly_page_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiff_folder(tmp_path / "folder", "zlib")
    monkeypatch.setattr("slimscan.files.tiff.SLICE_OF", "harm:killed_by_page")
    with pytest.raises(CodecError, match=rf"^{re.escape(str(path))}/s000\.tif: page 1: {DIED}"):
        slimscan.read(path, untrusted=True)


# ---- the command line ----------------------------------------------------------------------------------------------


def test_commands_take_untrusted(tmp_path: Path, calls: list[str]) -> None:
    source = scan(tmp_path / "a.nii")
    slimscan.compress(source, tmp_path / "a.ozx", target=slimscan.Lossless())
    assert here("decompress", tmp_path / "a.ozx", "-o", tmp_path / "b.nii", "--untrusted").status == 0
    assert calls
    calls.clear()
    assert here("compare", source, tmp_path / "a.ozx", "--untrusted", "--json").json["identical"]
    assert calls
    calls.clear()
    assert here("compress", tmp_path / "a.ozx", "-o", tmp_path / "c.ozx", "--lossless", "--untrusted").status == 0
    assert calls
    assert here("info", tmp_path / "a.ozx", "--untrusted", "--json").json["shape"] == [6, 40, 44]
    assert (slimscan.read(tmp_path / "c.ozx").pixels == slimscan.read(source).pixels).all()


def test_a_deadly_file_is_one_line_on_the_command_line(tmp_path: Path) -> None:
    path = deadly(tmp_path)
    said = command_child("decompress", path, "-o", tmp_path / "b.nii", "--untrusted")
    assert re.match(rf"{re.escape(str(path))}: chunk 1: {DIED}", said.error())
    assert said.status == 2
    assert not (tmp_path / "b.nii").exists()
