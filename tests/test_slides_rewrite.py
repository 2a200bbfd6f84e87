"""Slides rewritten: every tag and picture is kept, tiles are what they were told to be, and the source can be given back."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from slimscan.each import processes, threads
from slimscan.errors import ChecksumError, InputError, NotReadable, OutputError, SlimscanError
from slimscan.files.slides.rewrite import AS_IS, EMPTY, Answer, Shared, rewrite
from slimscan.files.slides.rewrite_amend import amend
from slimscan.files.slides.rewrite_ifd import Structure, structure
from slimscan.files.slides.rewrite_lay import HEADER
from slimscan.files.slides.rewrite_skeleton import from_skeleton, skeleton

SLIDE = "wsi_he/cmu_small_region.svs"


def as_is(page: int, index: int, stored: bytes) -> Answer:
    return AS_IS


def mirrored(page: int, index: int, stored: bytes) -> bytes:
    return stored[::-1]


def written(
    path: Path,
    *,
    order: str = "<",
    big: bool = False,
    subifds: int = 0,
    compression: str | None = "zlib",
    side: int = 200,
) -> Path:
    """A pyramid as tifffile writes it: tiled levels, a strip picture, private tags of several types."""
    rng = np.random.default_rng(7)
    base = rng.integers(0, 255, (side, side + 50, 3), np.uint8)
    private = [
        (65010, "d", 3, (0.5, 1.5, 2.5), True),
        (65011, "s", 0, "a private text", True),
        (65012, "q" if big else "i", 2, (1, 2), True),
    ]
    options: Any = {"tile": (64, 64), "compression": compression, "photometric": "rgb"}
    with tifffile.TiffWriter(path, byteorder=order, bigtiff=big) as writer:  # type: ignore[arg-type]
        writer.write(
            base, subifds=subifds, description="first", extratags=private, resolution=(20000, 20000), **options
        )
        for k in range(1, max(subifds, 1) + 1):
            writer.write(base[:: 2**k, :: 2**k], subfiletype=1, description=f"level {k}", **options)
        writer.write(base[:40, :30], rowsperstrip=16, photometric="rgb", description="label", compression=compression)
    return path


def tags_of(path: Path) -> list[list[tuple[int, int, Any]]]:
    """(tag, type, value) of every directory in the file's own order, but for what says where things lie."""
    found = structure(path)
    wide = {16: 4, 18: 13}
    return [
        [
            (
                entry.tag,
                wide.get(entry.kind, entry.kind),
                entry.count if entry.tag in (324, 273, 325, 279, 330) else entry.raw,
            )
            for entry in page.entries
        ]
        for page in found.pages
    ]


def payloads_of(path: Path) -> list[list[bytes]]:
    found, raw = structure(path), path.read_bytes()
    return [
        [raw[at : at + n] for at, n in zip(*(part.tolist() for part in found.payloads(page.number)), strict=True)]
        for page in found.pages
    ]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("subifds", [0, 2])
def test_what_is_kept_is_kept(tmp_path: Path, order: str, big: bool, subifds: int) -> None:
    source, out = written(tmp_path / "a.tif", order=order, big=big, subifds=subifds), tmp_path / "b.tif"
    done = rewrite(source, out, as_is)
    assert (done.kept, done.bigtiff, done.bytes_out) == (done.tiles, big, out.stat().st_size)
    assert tags_of(out) == tags_of(source)
    assert payloads_of(out) == payloads_of(source)
    with tifffile.TiffFile(source) as a, tifffile.TiffFile(out) as b:
        assert a.byteorder == b.byteorder
        assert len(a.pages) == len(b.pages)
        assert [len(page.pages or ()) for page in a.pages] == [len(page.pages or ()) for page in b.pages]  # type: ignore[union-attr]
        for one, two in zip(a.series, b.series, strict=True):
            for fine, same in zip(one.levels, two.levels, strict=True):
                assert np.array_equal(fine.asarray(), same.asarray())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("subifds", [0, 2])
@pytest.mark.parametrize("big", [False, True])
def test_from_one_form_to_the_other(tmp_path: Path, order: str, subifds: int, big: bool) -> None:
    source, out = written(tmp_path / "a.tif", order=order, big=big, subifds=subifds), tmp_path / "b.tif"
    if big:  # a value of 64 bits that fits 32 becomes one of 32
        rewrite(source, out, as_is, tags={0: {65012: None}}, bigtiff=False)
    else:
        rewrite(source, out, as_is, bigtiff=True)
    assert out.read_bytes()[:4] in ((b"II*\0", b"MM\0*") if big else (b"II+\0", b"MM\0+"))
    assert payloads_of(out) == payloads_of(source)
    with tifffile.TiffFile(source) as a, tifffile.TiffFile(out) as b:
        for one, two in zip(a.series[0].levels, b.series[0].levels, strict=True):
            assert np.array_equal(one.asarray(), two.asarray())


def test_replaced_shared_and_empty(tmp_path: Path) -> None:
    source, out = written(tmp_path / "a.tif"), tmp_path / "b.tif"
    before = payloads_of(source)

    def each_way(page: int, index: int, stored: bytes) -> Answer:
        assert stored == before[page][index]
        return (AS_IS, EMPTY, Shared(b"blank"), b"new" + bytes([index]))[index % 4]

    done = rewrite(source, out, each_way)
    after, found = payloads_of(out), structure(out)
    assert after[2] == before[2], "strips are copied"
    for page in (0, 1):
        for index, tile in enumerate(after[page]):
            assert tile == (before[page][index], b"", b"blank", b"new" + bytes([index]))[index % 4]
        offsets, counts = found.payloads(page)
        assert len(set(offsets[2::4].tolist())) == 1
        assert not offsets[1::4].any()
        assert not counts[1::4].any()
    assert done.tiles == sum(map(len, before)) == done.kept + done.replaced + done.shared + done.empty
    again = tmp_path / "c.tif"
    assert rewrite(out, again, as_is).bytes_out == done.bytes_out, "what was shared stays shared"
    assert payloads_of(again) == after
    named = rewrite(source, again, mirrored, pages={2})
    assert (named.replaced, named.kept) == (len(before[2]), len(before[0]) + len(before[1]))


def test_tags_are_changed_added_and_left_out(tmp_path: Path) -> None:
    source, out = written(tmp_path / "a.tif", order=">"), tmp_path / "b.tif"
    rewrite(
        source,
        out,
        as_is,
        tags={0: {259: 50002, 270: "other", 65011: None, 65100: b"\1\2\3\4\5", 300: 70000}, 1: {259: 7}},
    )
    found = structure(out)
    assert [found.number(page, 259, 0) for page in range(3)] == [50002, 7, structure(source).number(2, 259, 0)]
    assert found.text(0) == "other"
    numbers = [entry.tag for entry in found.pages[0].entries]
    assert 65011 not in numbers
    assert numbers == sorted(numbers)
    added, old = found.pages[0].entry(65100), found.pages[0].entry(259)
    assert added is not None
    assert (added.kind, added.raw) == (7, b"\1\2\3\4\5")
    assert old is not None
    assert old.kind == 3
    assert found.number(0, 300, 0) == 70000


@given(
    answers=st.lists(
        st.one_of(st.just(AS_IS), st.just(EMPTY), st.binary(max_size=40), st.binary(max_size=3).map(Shared)),
        min_size=30,
    ),
    order=st.sampled_from("<>"),
    big=st.booleans(),
    form=st.sampled_from([None, True, False]),
)
@settings(max_examples=25, deadline=None)
def test_any_answers(
    tmp_path_factory: pytest.TempPathFactory, answers: list[Any], order: str, big: bool, form: bool | None
) -> None:
    folder = tmp_path_factory.mktemp("any")
    source, out = written(folder / "a.tif", order=order, big=big, subifds=1, side=130), folder / "b.tif"
    if big and form is False:
        form = None
    before = payloads_of(source)
    rewrite(source, out, lambda page, index, stored: answers[(page * 7 + index) % len(answers)], bigtiff=form)
    tiled = [structure(source).tiled(page) for page in range(len(before))]
    for page, tiles in enumerate(payloads_of(out)):
        for index, tile in enumerate(tiles):
            answer = answers[(page * 7 + index) % len(answers)] if tiled[page] else AS_IS
            asked = (
                before[page][index]
                if answer is AS_IS
                else b""
                if answer is EMPTY
                else getattr(answer, "payload", answer)
            )
            assert tile == asked
    assert [row[0] for row in tags_of(out)[0]] == [row[0] for row in tags_of(source)[0]]


@pytest.mark.parametrize("make", [threads, processes])
def test_cores_give_the_same_file(tmp_path: Path, make: Callable[[int], Any]) -> None:
    source = written(tmp_path / "a.tif")
    rewrite(source, tmp_path / "one.tif", mirrored)
    rewrite(source, tmp_path / "two.tif", mirrored, each=make(2))
    assert (tmp_path / "one.tif").read_bytes() == (tmp_path / "two.tif").read_bytes()


KILLED = """
import os, sys
from pathlib import Path
from slimscan.files.slides.rewrite import Shared, rewrite
seen = 0
def replace(page, index, stored):
    global seen
    seen += 1
    if seen > int(sys.argv[3]):
        os._exit(9)
    return Shared(b"blank tile") if index % 3 else stored[::-1]
rewrite(Path(sys.argv[1]), Path(sys.argv[2]), replace, resume=True, work="mirrored")
"""


def _half(page: int, index: int, stored: bytes) -> Answer:
    return Shared(b"blank tile") if index % 3 else stored[::-1]


def test_a_killed_one_goes_on(tmp_path: Path) -> None:
    source, out = written(tmp_path / "a.tif", side=1600, compression=None), tmp_path / "b.tif"
    whole = tmp_path / "whole.tif"
    straight = rewrite(source, whole, _half)
    for at in ("400", "100"):
        gone = subprocess.run([sys.executable, "-c", KILLED, str(source), str(out), at], check=False)
        assert gone.returncode == 9
        assert not out.exists()
        assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".b")) == [
            ".b.tif.slimscan-journal",
            ".b.tif.slimscan-part",
        ]
    other = rewrite(source, tmp_path / "c.tif", _half, resume=True, work="mirrored")
    assert other.resumed == 0, "another output"
    done = rewrite(source, out, _half, resume=True, work="mirrored")
    assert 256 <= done.resumed < done.tiles
    assert out.read_bytes() == whole.read_bytes()
    assert (done.shared, done.replaced, done.kept) == (straight.shared, straight.replaced, straight.kept)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_journal_is_not_believed(tmp_path: Path) -> None:
    """Another work's journal, and bytes that are not what the journal says, are done anew."""
    source, out = written(tmp_path / "a.tif", side=1600, compression=None), tmp_path / "b.tif"
    rewrite(source, tmp_path / "whole.tif", _half)
    part = tmp_path / ".b.tif.slimscan-part"

    def kill() -> None:
        subprocess.run([sys.executable, "-c", KILLED, str(source), str(out), "400"], check=False)

    kill()
    assert rewrite(source, out, _half, resume=True, work="another").resumed == 0
    out.unlink()
    kill()
    raw = bytearray(part.read_bytes())
    raw[len(raw) // 2] ^= 255
    part.write_bytes(raw)
    done = rewrite(source, out, _half, resume=True, work="mirrored")
    assert 0 < done.resumed < 300
    assert out.read_bytes() == (tmp_path / "whole.tif").read_bytes()


def test_nothing_stays_after_a_failure(tmp_path: Path) -> None:
    source, out = written(tmp_path / "a.tif"), tmp_path / "b.tif"

    def fails(page: int, index: int, stored: bytes) -> Answer:
        if index > 4:
            raise NotReadable("tile 5 is damaged")
        return AS_IS

    with pytest.raises(NotReadable, match=r"^tile 5 is damaged$"):
        rewrite(source, out, fails)
    with pytest.raises(InputError, match=r"^tile 0 of page 0: bytes, AS_IS, EMPTY or Shared is asked for; int came$"):
        rewrite(source, out, lambda page, index, stored: 3)  # type: ignore[arg-type,return-value]
    with pytest.raises(InputError, match=r"page 7 was asked for; it has pages 0 to 2$"):
        rewrite(source, out, as_is, pages={7})
    with pytest.raises(InputError, match=r"^page 0: tag 324 is written by the rewriter itself; leave it out$"):
        rewrite(source, out, as_is, tags={0: {324: 1}})
    with pytest.raises(OutputError, match=r"cannot be written \(No such file or directory\); choose another place$"):
        rewrite(source, tmp_path / "none" / "b.tif", as_is)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif"]


def _spoil(source: Path, tag: int, where: str, value: int) -> bytes:
    """The file with a field of a tag of its first directory overwritten."""
    raw, found = bytearray(source.read_bytes()), structure(source)
    page = found.pages[0]
    k = next(k for k, entry in enumerate(page.entries) if entry.tag == tag)
    at = page.at + 2 + 12 * k + {"type": 2, "count": 4, "value": 8}[where]
    raw[at : at + (2 if where == "type" else 4)] = value.to_bytes(2 if where == "type" else 4, "little")
    return bytes(raw)


def test_damage_in_one_sentence(tmp_path: Path) -> None:
    source, out, bad = written(tmp_path / "a.tif"), tmp_path / "b.tif", tmp_path / "bad.tif"
    whole = source.read_bytes()
    loop = bytearray(whole)
    at = structure(source).pages[0].at
    end = at + 2 + 12 * len(structure(source).pages[0].entries)
    loop[end : end + 4] = at.to_bytes(4, "little")
    cases = {
        "is no TIFF file (it begins with b'IJrE'); give a slide stored as TIFF": b"IJrE" + whole[4:],
        "was cut off, copy it anew": whole[: len(whole) // 2],
        "page 0 needs 16 tiles, and lists 12 places and 16 lengths; it is damaged, copy it anew": _spoil(
            source, 324, "count", 12
        ),
        "page 0 needs 4 tiles, and lists 16 places and 16 lengths": _spoil(source, 257, "value", 64),
        "has the field type 99, which TIFF does not know": _spoil(source, 259, "type", 99),
        "its directories run in a circle": bytes(loop),
        "holds more bytes than the file has": _spoil(source, 324, "count", 1 << 31),
    }
    for says, raw in cases.items():
        bad.write_bytes(raw)
        with pytest.raises(NotReadable) as caught:
            rewrite(bad, out, as_is)
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(str(bad))
        with pytest.raises(NotReadable):
            skeleton(bad)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "bad.tif"]


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_spoiled_bytes_never_escape_the_tree(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("spoiled")
    raw = bytearray(written(folder / "a.tif", subifds=1, side=70, big=data.draw(st.booleans())).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    (folder / "bad.tif").write_bytes(raw)
    try:
        rewrite(folder / "bad.tif", folder / "out.tif", as_is)
    except SlimscanError as error:
        said = str(error)
    else:
        said = ""
    assert "\n" not in said
    assert (folder / "out.tif").exists() == (not said)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("subifds", [0, 2])
def test_a_skeleton_gives_the_same_file_back(tmp_path: Path, order: str, subifds: int) -> None:
    source, out, back = (
        written(tmp_path / "a.tif", order=order, subifds=subifds),
        tmp_path / "b.tif",
        tmp_path / "c.tif",
    )
    kept = skeleton(source)
    rewrite(source, out, mirrored, tags={0: {65100: kept}})
    tiles, found = payloads_of(out), structure(out)
    held = found.pages[0].entry(65100)
    assert held is not None
    from_skeleton(held.raw, back, lambda page, index: tiles[page][index][:: -1 if found.tiled(page) else 1])
    assert back.read_bytes() == source.read_bytes()


def test_a_skeleton_refuses_other_tiles(tmp_path: Path) -> None:
    source, back = written(tmp_path / "a.tif"), tmp_path / "c.tif"
    kept, tiles = skeleton(source), payloads_of(source)
    with pytest.raises(ChecksumError, match=r"is not the file that was compressed \(its SHA-256 differs\)"):
        from_skeleton(kept, back, lambda page, index: tiles[page][index][::-1])
    with pytest.raises(ChecksumError, match=r"payload 0 of page 0 had \d+ bytes, 3 came back"):
        from_skeleton(kept, back, lambda page, index: b"abc")
    for bad in (b"", kept[:-9], kept[:30], b"x" + kept):
        with pytest.raises(
            ChecksumError, match=r"^the skeleton of the slide is damaged; copy the compressed slide anew$"
        ):
            from_skeleton(bad, back, lambda page, index: tiles[page][index])
    assert not back.exists()


@pytest.mark.parametrize("big", [False, True])
def test_tags_of_a_finished_file(tmp_path: Path, big: bool) -> None:
    source = written(tmp_path / "a.tif", big=big, subifds=2)
    before, tags = payloads_of(source), tags_of(source)
    amend(source, {65100: b"receipt" * 50})
    amend(source, {65100: b"another receipt" * 50, 65011: None})
    assert payloads_of(source) == before
    assert [row for row in tags_of(source)[0] if row[0] != 65100] == [row for row in tags[0] if row[0] != 65011]
    assert tags_of(source)[1:] == tags[1:]
    with tifffile.TiffFile(source) as tif:
        assert tif.pages.first.tags[65100].value == b"another receipt" * 50
        assert len(tif.series[0].levels) == 3


def test_memory_does_not_grow_with_the_slide(tmp_path: Path) -> None:
    """64 MB of tiles, some at a time: what is held beside is 16 bytes a tile, and the tags."""
    source = tmp_path / "a.tif"

    def tiles() -> Any:
        tile = np.random.default_rng(1).integers(0, 255, (256, 256, 1), np.uint8)
        for k in range(1024):
            yield np.roll(tile, k)

    tifffile.imwrite(source, tiles(), shape=(8192, 8192, 1), dtype=np.uint8, tile=(256, 256), photometric="minisblack")
    tracemalloc.start()
    try:
        rewrite(source, tmp_path / "b.tif", mirrored, each=threads(2))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4e6, f"{peak} bytes"


def _real() -> Path:
    folder = os.environ.get("SLIMSCAN_DATA")
    if not folder or not (Path(folder) / SLIDE).is_file():
        pytest.skip("SLIMSCAN_DATA does not hold the slides")
    return Path(folder) / SLIDE


def _seen(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray], np.ndarray]:
    openslide = pytest.importorskip("openslide")
    with openslide.OpenSlide(path) as slide:
        pictures = {name: np.asarray(picture) for name, picture in slide.associated_images.items()}
        return dict(slide.properties), pictures, np.asarray(slide.read_region((0, 0), 0, slide.dimensions))


def test_a_real_slide(tmp_path: Path) -> None:
    """What OpenSlide tells of an SVS is equal after a rewriting; blank tiles change nothing else; the source comes back."""
    source, out, back = _real(), tmp_path / "b.svs", tmp_path / "c.svs"
    before = _seen(source)
    for form in (None, True):
        done = rewrite(source, out, as_is, bigtiff=form)
        assert done.bytes_out - done.bytes_in < 600
        after = _seen(out)
        assert after[0] == before[0]
        assert list(after[1]) == list(before[1])
        assert all(np.array_equal(after[1][k], before[1][k]) for k in before[1])
        assert np.array_equal(after[2], before[2])
    blank = payloads_of(source)[0][0]
    for answer, alpha in ((Shared(blank), 255), (EMPTY, 0)):

        def first_row(page: int, index: int, stored: bytes, answer: Answer = answer) -> Answer:
            return answer if index < 10 else AS_IS

        rewrite(source, out, first_row)
        after = _seen(out)
        assert (after[2][:240, :, 3] == alpha).all()
        assert np.array_equal(after[2][240:], before[2][240:])
        changed = {key for key in before[0] if after[0].get(key) != before[0][key]}
        assert changed <= {"openslide.quickhash-1"}, "a hash of the smallest level's tiles"
    rewrite(source, out, mirrored)
    tiles, found = payloads_of(out), structure(out)
    from_skeleton(skeleton(source), back, lambda p, k: tiles[p][k][:: -1 if found.tiled(p) else 1])
    assert back.read_bytes() == source.read_bytes()


def test_payloads_begin_where_either_header_ends(tmp_path: Path) -> None:
    source, out = written(tmp_path / "a.tif"), tmp_path / "b.tif"
    rewrite(source, out, as_is)
    found: Structure = structure(out)
    assert min(int(found.payloads(page.number)[0].min()) for page in found.pages) == HEADER
