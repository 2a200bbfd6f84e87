"""Parts of delivery that need no server: plans, ranges, tokens, names, the line on paper."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phantoms import head

import slimscan
from slimscan import Lossless, Volume
from slimscan.errors import InputError, NotReadable
from slimscan.press.deliver import plan_of
from slimscan.press.partial import volume_at
from slimscan.wire import gate, model, paths, plan, ranges


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one lossless file of 20 slices."""
    folder = tmp_path_factory.mktemp("served")
    slimscan.compress(head((20, 48, 40)), folder / "ct.ozx", target=Lossless(), codec="jpegls")
    return folder


# The plan


def test_a_plan_holds_every_byte_once_and_its_first_step_opens_the_file(served: Path) -> None:
    place = served / "ct.ozx"
    found = plan_of(place)
    assert found.steps == ("look", "rest")
    assert sum(found.bytes_of(step) for step in found.steps) == found.size == place.stat().st_size
    assert plan.from_json(found.as_json(), "again") == found
    content = place.read_bytes()
    body = served / "part.bin"
    with body.open("wb") as file:
        file.truncate(found.size)
        for span in found.spans:
            if span.step == 0:
                file.seek(span.start)
                file.write(content[span.start : span.stop])
    volume, state = volume_at(body, found, 0)
    body_there = np.asarray(volume.pixels[0:20])
    body.unlink()
    original = np.asarray(head((20, 48, 40)).pixels)
    assert (state.whole, state.base, state.interpolated) == (4, 0, 16)
    for z in (0, 8, 16, 19):
        assert (body_there[z] == original[z]).all()
    between = np.rint((original[0].astype(float) * 5 + original[8].astype(float) * 3) / 8)
    assert (body_there[3] == between).all()


def test_the_order_of_slices_is_coarse_first() -> None:
    assert plan.interleaved(10, 8) == [(0, 0), (8, 0), (9, 0), (4, 1), (2, 2), (6, 2), (1, 3), (3, 3), (5, 3), (7, 3)]
    assert plan.interleaved(1, 8) == [(0, 0)]
    assert [plan.stride_of(depth) for depth in (1, 2, 3, 4, 8, 16)] == [8, 4, 2, 2, 1, 1]


@given(st.integers(1, 300), st.sampled_from([1, 2, 4, 8]))
def test_interleaving_forgets_nothing(count: int, stride: int) -> None:
    assert sorted(index for index, _ in plan.interleaved(count, stride)) == list(range(count))


def test_a_copy_keeps_its_etag_and_a_change_does_not(served: Path, tmp_path: Path) -> None:
    content = (served / "ct.ozx").read_bytes()
    other = tmp_path / "other.ozx"
    slimscan.compress(head((20, 48, 40), seed=5), other, target=Lossless(), codec="jpegls")
    tags = {plan.lay_out(io.BytesIO(each), "x").etag for each in (content, content, other.read_bytes())}
    assert len(tags) == 2


@pytest.mark.parametrize("cut", [0, 10, 1000, -120])
def test_a_damaged_file_has_no_plan(served: Path, cut: int) -> None:
    content = (served / "ct.ozx").read_bytes()[:cut]
    with pytest.raises(NotReadable, match=r"^ct\.ozx: is no \.ozx of slimscan, or is damaged \(\w+\)$"):
        plan.lay_out(io.BytesIO(content), "ct.ozx")


def test_a_plan_that_lies_is_refused(served: Path) -> None:
    said = plan_of(served / "ct.ozx").as_json()
    spans = said["spans"]
    for wrong in (
        {"plan": 2}, {"size": 10**18}, {"slices": 0}, {"spans": spans[:-1]}, {"spans": [*spans, spans[0]]},
        {"spans": spans[::-1]}, {"spans": [["a", 1, 2, 3]]}, {"spans": None}, {"size": "x"},
    ):  # fmt: skip
        with pytest.raises(NotReadable, match="the server's plan is damaged or not one"):
            plan.from_json(said | wrong, "http://x/bytes/ct.ozx")


# Ranges


def test_ranges_as_rfc_9110_writes_them() -> None:
    assert ranges.wanted("bytes=0-499", 10_000) == [(0, 500)]
    assert ranges.wanted("bytes=-500", 10_000) == [(9500, 10_000)]
    assert ranges.wanted("bytes=9500-", 10_000) == [(9500, 10_000)]
    assert ranges.wanted("bytes=0-0,-1", 10_000) == [(0, 1), (9999, 10_000)]
    assert ranges.wanted("bytes= 0-999, 4500-5499, -1000", 10_000) == [(0, 1000), (4500, 5500), (9000, 10_000)]
    assert ranges.wanted("bytes=0-99999", 100) == [(0, 100)]
    assert ranges.wanted(None, 100) is None
    assert ranges.wanted("lines=1-2", 100) is None


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("bytes=100-", "none of the ranges lies in this file of 100 bytes"),
        ("bytes=-0", "none of the ranges lies in this file of 100 bytes"),
        ("bytes=5-4", "a range ends before it begins"),
        ("bytes=", "a range is first-last, first- or -count, in whole bytes"),
        ("bytes=a-b", "a range is first-last, first- or -count, in whole bytes"),
        ("bytes=-", "a range is first-last, first- or -count, in whole bytes"),
        ("bytes=1-2-3", "a range is first-last, first- or -count, in whole bytes"),
        ("bytes=٣-٤", "a range is first-last, first- or -count, in whole bytes"),
        ("bytes=0-50,40-60", "ranges overlap; ask for every byte once"),
        ("bytes=" + "0-0," * 200, "more than 128 ranges are asked for; ask in several requests"),
        ("bytes=" + "9" * 40 + "-", "a range is first-last, first- or -count, in whole bytes"),
    ],
)
def test_ranges_that_are_refused(field: str, says: str) -> None:
    with pytest.raises(ranges.BadRange) as caught:
        ranges.wanted(field, 100)
    assert str(caught.value) == says


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), min_size=1, max_size=20))
def test_a_written_range_field_reads_back(parts: list[tuple[int, int]]) -> None:
    at, asked = 0, []
    for gap, length in parts:
        asked.append((at + gap, at + gap + length))
        at += gap + length
    assert ranges.wanted(ranges.field_of(asked), at) == asked
    assert [ranges.said_range(ranges.content_range(one, at)) for one in asked] == [(*one, at) for one in asked]


def test_a_multipart_answer_is_as_long_as_it_says() -> None:
    content = bytes(range(100))
    asked = [(0, 10), (50, 51), (90, 100)]
    length, body = ranges.multipart(asked, 100, "mark", lambda one: iter([content[one[0] : one[1]]]))
    whole = b"".join(body)
    assert len(whole) == length
    assert whole.count(b"--mark") == 4
    assert b"Content-Range: bytes 50-50/100\r\n\r\n2\r\n--mark" in whole


# Tokens and hosts


def test_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIMSCAN_TOKEN", raising=False)
    assert gate.token_from(None) == ""
    assert gate.right(None, "")
    good = "0123456789abcdef"
    (tmp_path / "t").write_text(good + "\n")
    assert gate.token_from(tmp_path / "t") == good
    assert gate.right(f"Bearer {good}", good)
    assert gate.right(f"bearer {good}", good)
    for wrong in (None, "", good, f"Basic {good}", f"Bearer {good}x", "Bearer ", "Bearer é"):
        assert not gate.right(wrong, good)
    monkeypatch.setenv("SLIMSCAN_TOKEN", "short")
    with pytest.raises(InputError, match=r"^SLIMSCAN_TOKEN: a token has at least 16 printable characters"):
        gate.token_from(None)
    with pytest.raises(InputError, match="the token cannot be read"):
        gate.token_from(tmp_path / "none")


def test_other_hosts_need_a_token() -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"):
        gate.admit_host(host, "")
    for host in ("0.0.0.0", "::", "192.168.1.2", "example.org", ""):
        with pytest.raises(InputError, match=r"a token is needed .* and TLS in front of it"):
            gate.admit_host(host, "")
        gate.admit_host(host, "0123456789abcdef")


def test_host_names_that_were_pointed_here() -> None:
    assert all(gate.right_host(name, "") for name in ("localhost:8765", "127.0.0.1", "[::1]:80", "[::1]"))
    assert not any(gate.right_host(name, "") for name in (None, "", "evil.example", "evil.example:8765", "127.0.0.1.x"))
    assert gate.right_host("hospital.example", "0123456789abcdef")


def test_an_allowance_runs_out_and_comes_back() -> None:
    now = [0.0]
    allowed = gate.Allowance(rate=1, burst=3, clock=lambda: now[0])
    assert [allowed.take("a") for _ in range(4)] == [True, True, True, False]
    assert allowed.take("b")
    now[0] = 1.5
    assert [allowed.take("a") for _ in range(2)] == [True, False]


# Names


def test_only_plain_files_inside_are_served(served: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (tmp_path / "secret.ozx").write_bytes(b"secret")
    for name in ("a.ozx", "sub/b.ozx", ".c.ozx", ".hidden/d.ozx", "e.txt"):
        (folder / name).write_bytes(b"x")
    (folder / "link.ozx").symlink_to(tmp_path / "secret.ozx")
    (folder / "up").symlink_to(tmp_path)
    (folder / "dir.ozx").mkdir()
    os.mkfifo(folder / "pipe.ozx")
    assert [name for name, _ in paths.served(folder)] == ["a.ozx", "sub/b.ozx"]
    for name in ("a.ozx", "sub/b.ozx"):
        with paths.open_inside(folder, name) as file:
            assert file.read() == b"x"
    for name in (
        "../secret.ozx", "sub/../a.ozx", "/etc/passwd", str(tmp_path / "secret.ozx"), "link.ozx", "up/secret.ozx",
        "dir.ozx", "pipe.ozx", ".c.ozx", ".hidden/d.ozx", "e.txt", "", "a.ozx\0", "a.ozx/", "./a.ozx", "sub//b.ozx",
        "..\\secret.ozx", "a" * 5000 + ".ozx", "%2e%2e/secret.ozx", "sub", "a.ozx\n.ozx", "C:a.ozx",
    ):  # fmt: skip
        with pytest.raises(paths.NotServed):
            paths.open_inside(folder, name)


@given(st.text(max_size=30))
def test_no_name_leads_outside(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = Path(__file__).parent
    for tried in (name, f"../{name}", f"{name}.ozx", f"{name}/../../x.ozx"):
        with pytest.raises(paths.NotServed):
            paths.open_inside(folder, tried)


# The line on paper


def test_lines_are_read() -> None:
    assert model.line_of("2mbps,loss=1%,rtt=120ms") == model.Line(2e6, 0.01, 0.12)
    assert model.line_of("500 kbps") == model.Line(5e5)
    assert model.line_of("1gbit, rtt=0.5s") == model.Line(1e9, 0, 0.5)
    assert model.line_of(str(model.Line(2e6, 0.01, 0.12))) == model.Line(2e6, 0.01, 0.12)
    for wrong in ("", "fast", "2mbps,loss=1", "2mbps,loss=80%", "rtt=1ms", "0mbps", "2mbps,rtt=90s", "loss=1%,2mbps"):
        with pytest.raises(InputError, match="is no part of a line; write RATE"):
            model.line_of(wrong)


def test_what_one_flow_carries_by_hand() -> None:
    free = model.Line(2e6)
    assert free.bytes_per_s == pytest.approx(250_000 * 1460 / 1500)
    assert free.seconds(1e6) == pytest.approx(1e6 / free.bytes_per_s)
    lossy = model.Line(2e6, 0.01, 0.12)
    assert lossy.bytes_per_s == pytest.approx(1460 / 0.12 * 1.2247449 / 0.1)
    far = model.Line(1e9, 0, 0.1)  # 14.6 kB, 29.2 kB and 58.4 kB take a round trip each, after one to connect
    assert far.seconds(14_600 * 7) == pytest.approx(0.4, abs=0.01)


@given(st.floats(0, 1e8), st.floats(0, 1e8), st.floats(0.01, 0.5), st.floats(0, 0.1))
def test_more_bytes_take_longer_and_parts_add_up(a: float, b: float, rtt: float, loss: float) -> None:
    line = model.Line(1e7, loss, rtt)
    assert line.seconds(a + b) >= line.seconds(a) - 1e-9
    assert line.seconds(a) + line.more_seconds(a, b) == pytest.approx(line.seconds(a + b) + rtt)


def test_told_is_in_the_header_where_viewers_show_it(served: Path, tmp_path: Path) -> None:
    import nibabel

    from slimscan import files
    from slimscan.press.partial import told

    volume, state = volume_at(served / "ct.ozx", plan_of(served / "ct.ozx"), 0)
    assert isinstance(volume, Volume)
    files.write(told(volume, state), tmp_path / "x.nii")
    image = nibabel.load(tmp_path / "x.nii")
    assert bytes(image.header["descrip"]).startswith(b"INCOMPLETE look: 4 of 20 slices as stored, 16 interpolated")
    assert image.shape == (40, 48, 20)
    assert np.allclose(image.affine, volume.affine_mm)
