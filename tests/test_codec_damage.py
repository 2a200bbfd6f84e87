"""Damaged chunks: 200 mutations a codec, decoded in a child process with limits on memory and time.

Asserted: what comes out is a CodecError or an array of the layout's shape and dtype; never another exception, a crash
or a hang. Not asserted: that damage is noticed. Whoever stores a chunk keeps a checksum beside it for that.

The child says which mutation it begins, so that one that ends the process is known, and the next child goes on after it.
"""

from __future__ import annotations

import queue
import subprocess
import sys
import tempfile
import threading
from typing import IO

import numpy as np
import pytest

from slimscan.codecs import CODECS
from slimscan.errors import CodecError
from slimscan.nouns import Codec, Layout, Pixels

MUTATIONS = 200
MEMORY_BYTES = 4 * 2**30  # of address space: libraries and threads reserve far more than they use
SILENCE_S = 30  # one mutation decodes in milliseconds


def chunk(found: Codec) -> tuple[Pixels, Layout]:
    """A small chunk of the first type that the codec holds from this list."""
    depth = 1 if found.chunk == "slice" else 9
    for dtype, bits, colour in (("uint16", 12, ()), ("uint8", 8, ()), ("uint8", 8, (3,))):
        layout = Layout((depth, 48, 56, *colour), dtype, bits)
        if found.holds.refuses(layout) is None:
            break
    z, y, x = np.ogrid[:depth, :48, :56]
    noise = np.random.default_rng(0).normal(scale=0.01, size=(depth, 48, 56))
    smooth = (0.5 + 0.4 * np.sin(y / 7 + z / 5) * np.cos(x / 9) + noise) * (2**layout.bits - 1)
    pixels = np.clip(np.rint(smooth), 0, 2**layout.bits - 1).astype(layout.dtype)
    return np.stack([pixels] * 3, axis=-1) if len(layout.shape) == 4 else pixels, layout


def payloads(found: Codec, pixels: Pixels, layout: Layout) -> list[bytes]:
    """Exact and lossy payloads, as far as the codec has them."""
    made = [found.encode(pixels, layout, None)] if found.lossless else []
    if found.knob is not None:
        low, high = found.knob.low, found.knob.high
        middle = (low * high) ** 0.5 if found.knob.scale == "log" else (low + high) / 2
        made.append(found.encode(pixels, layout, found.knob.check(found.name, middle)))
    return made


def damaged(payload: bytes, other: bytes, index: int) -> bytes:
    """The payload cut short, with bits flipped, a run of zeros, a byte of its header changed, or another's tail."""
    rng = np.random.default_rng([index, len(payload)])
    bad = bytearray(payload)
    at = int(rng.integers(len(bad)))
    if index % 5 == 0:
        return bytes(bad[:at])
    if index % 5 == 1:
        for place in rng.integers(len(bad), size=rng.integers(1, 9)):
            bad[place] ^= 1 << int(rng.integers(8))
    elif index % 5 == 2:
        run = bad[at : at + int(rng.integers(1, 40))]
        bad[at : at + len(run)] = bytes(len(run))
    elif index % 5 == 3:
        bad[int(rng.integers(min(160, len(bad))))] = int(rng.integers(256))
    else:
        bad[at:] = other[int(rng.integers(len(other))) :]
    return bytes(bad)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def child(name: str, first: int) -> None:
    """Decode mutations first, first + 1, ...; a line before and a line after each."""
    import resource  # not on Windows, where this test is skipped

    found = CODECS[name]
    pixels, layout = chunk(found)
    made = payloads(found, pixels, layout)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for index in range(first, MUTATIONS):
        bad = damaged(made[index // 5 % len(made)], made[(index // 5 + 1) % len(made)], index)
        say(f"begin {index}")
        try:
            decoded = found.decode(bad, layout)
        except CodecError as error:
            said = str(error)
            said = "refused" if said.startswith(name.partition("-")[0]) and "\n" not in said else f"said {said!r}"
        except BaseException as error:  # noqa: BLE001 anything else is what this test looks for
            said = f"raised {error!r}"
        else:
            fits = decoded.shape == layout.shape and decoded.dtype == np.dtype(layout.dtype)
            said = "decoded" if fits else f"gave {decoded.dtype} {decoded.shape}"
        say(f"end {index} {said}")


def outcomes(name: str) -> list[str]:
    """What became of every mutation, by index: "refused", "decoded", or what went wrong."""
    found: list[str] = []
    while len(found) < MUTATIONS:
        found += one_child(name, len(found))
    return found


def one_child(name: str, first: int) -> list[str]:
    """What became of the mutations from `first` on, as far as one child got; the last one may have ended it."""
    command = [sys.executable, "-W", "error", __file__, name, str(first)]
    found: list[str] = []
    lines: queue.Queue[str] = queue.Queue()
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        reader = threading.Thread(target=pump, args=(process.stdout, lines))
        reader.start()
        begun = False
        while True:
            try:
                line = lines.get(timeout=SILENCE_S)
            except queue.Empty:
                process.kill()
                found.append("hung")
                break
            if line.startswith("end "):
                found.append(line.split(maxsplit=2)[2].strip())
            elif not line:
                break
            begun = line.startswith("begin ")
        status = process.wait()
        reader.join()
        errors.seek(0)
        said = errors.read()
    if status and found[-1:] != ["hung"]:
        assert begun, f"the child for {name} ended by itself: {said}"
        found.append(f"ended the process with status {status}: {said}")
    return found


def pump(source: IO[str], lines: queue.Queue[str]) -> None:
    """Lines as they come, and an empty one at the end."""
    for line in source:
        lines.put(line)
    lines.put("")


@pytest.mark.skipif(sys.platform == "win32", reason="limits on memory are set by the resource module")
@pytest.mark.parametrize("name", list(CODECS))
def test_damaged_chunks_are_refused_or_decode_to_the_layout(name: str) -> None:
    for need in CODECS[name].needs:
        if need.missing():
            pytest.skip(f"{need.package} is not installed")
    found = outcomes(name)
    assert {index: said for index, said in enumerate(found) if said not in ("refused", "decoded")} == {}
    assert len(found) == MUTATIONS
    assert "decoded" not in found[::5], "a chunk that is cut short must not pass"


@pytest.mark.parametrize("name", list(CODECS))
def test_every_truncation_is_refused(name: str) -> None:
    for need in CODECS[name].needs:
        if need.missing():
            pytest.skip(f"{need.package} is not installed")
    found = CODECS[name]
    pixels, layout = chunk(found)
    for payload in payloads(found, pixels, layout):
        for keep in (0, 1, 3, 10, len(payload) // 2, len(payload) - 1):
            with pytest.raises(CodecError, match=rf"^{name.partition('-')[0]}"):
                found.decode(payload[:keep], layout)


if __name__ == "__main__":
    child(sys.argv[1], int(sys.argv[2]))
