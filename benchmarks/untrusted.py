"""What it costs to decode in child processes: 100 MB in threads here, and by children, in one process and in turn.

    python benchmarks/untrusted.py [--rounds 3] [--only jpeg2000,sperr] [--quick]

A slab of 32 slices is encoded once by each codec, lossless where it can, and decoded over and over until 100 MB of
pixels came out. Both ways use one thread a core; the children are started before the clock is. The first slice is
timed apart, in a fresh interpreter each: opened and decoded, imports done, the child's own start included.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import SEED, alternate, enlarged, images, ratio, run, table, where

from slimscan import CODECS, Volume, compress
from slimscan.child import Limits, close
from slimscan.nouns import Setting
from slimscan.press.grid import Grid
from slimscan.press.open import ChunkedPixels
from slimscan.press.scheme import Scheme, encode, prepare

SLAB = 32  # slices that are encoded
MOST = 1.6  # a codec is decoded by children without being asked when that costs less than this
KNOBS = {"max_error": 4.0, "qp": 20.0, "crf": 20.0, "quality": 90.0}
FIRST = (
    "import time, slimscan, slimscan.press.open as o\n"
    "from slimscan.press import scheme\n"
    "scheme.child.available = lambda: {fragile}  # a fragile codec stays here when False\n"
    "t = time.perf_counter(); slimscan.open({path!r}, untrusted={untrusted})[0]; print(time.perf_counter() - t)"
)


def main(arguments: list[str]) -> int:
    """Print the table; 1 when a codec that always goes through a child costs more than MOST."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(CODECS), help="codecs between commas")
    parser.add_argument(
        "--quick", action="store_true", help="a tiny volume: shows that it runs, the times mean nothing"
    )
    given = parser.parse_args(arguments)
    names = [name for name in given.only.split(",") if not any(need.missing() for need in CODECS[name].needs)]
    names = names[:2] if given.quick else names
    side, slices, rounds = (96, 64, 1) if given.quick else (512, 192, given.rounds)
    print(f"## Decoding in children\n\n{where(SEED)}\n")
    pixels = enlarged(next(iter(images(("head CT",)).values())), (SLAB, side, side))
    pixels = np.clip(pixels.astype(np.int32) + 1024, 0, 4095).astype(np.uint16)
    rows, missed = [], 0
    with tempfile.TemporaryDirectory() as held:
        for name in names:
            row, cost = one(name, pixels, slices, rounds, Path(held))
            rows.append(row)
            missed += CODECS[name].fragile and cost > MOST
            print(" ".join(row), file=sys.stderr, flush=True)
    head = ["codec", "chunk MB", "here MB/s", "children MB/s", "children/here", "first slice here ms", "by a child ms"]
    print(table(head, rows))
    print(
        f"\n{slices} slices of {side}x{side}, uint16, medians of {rounds} rounds; asked of fragile codecs: up to {MOST}"
    )
    return int(missed > 0 and not given.quick)


def one(name: str, pixels: np.ndarray, slices: int, rounds: int, folder: Path) -> tuple[list[str], float]:
    """One codec's row, and how many times longer the children take."""
    found = CODECS[name]
    scheme = Scheme(name, Grid("uint16", 0.0, 1.0, 12, "uint16"), found.depth)
    value = None if found.lossless else KNOBS[found.knob.name]  # type: ignore[union-attr]
    depth = found.depth
    payloads = [encode(scheme, prepare(scheme, pixels[z : z + depth]), value) for z in range(0, SLAB, depth)]
    shape = (slices, *pixels.shape[1:])

    def timed(limits: Limits | None) -> Callable[[], tuple[float, np.ndarray]]:
        def call() -> tuple[float, np.ndarray]:
            volume = ChunkedPixels(shape, scheme, lambda index: payloads[index % len(payloads)], name, limits)
            started = time.perf_counter()
            got = volume[0:slices]
            return time.perf_counter() - started, got

        return call

    calls = {"here": timed(None), "children": timed(Limits())}
    warm = [call()[1] for call in calls.values()]
    assert (warm[0] == warm[1]).all(), f"{name}: the children gave other pixels"
    got = alternate(calls, rounds)
    close()
    times = {side: [seconds for seconds, _ in runs] for side, runs in got.items()}
    speed = [f"{warm[0].nbytes / 1e6 / statistics.median(times[side]):.0f}" for side in ("here", "children")]
    cost = ratio(times["children"], times["here"])
    path = str(folder / f"{name}.ozx")
    compress(Volume(pixels[:depth]), path, target=Setting(name, value), verify=False)
    first = []
    for untrusted in (False, True):
        code = FIRST.format(path=path, untrusted=untrusted, fragile=untrusted)
        runs = [float(run([sys.executable, "-c", code]).stdout) for _ in range(rounds)]
        first.append(f"{1e3 * statistics.median(runs):.0f}")
    chunk = f"{depth * pixels[0].nbytes / 1e6:.1f}"
    return [name, chunk, *speed, f"{cost:.2f}", *first], cost


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
