"""Calming 90 slices of 512x512 beside ITK's gradient anisotropic diffusion, and a loop compiled without further thought.

    python benchmarks/calm.py [--rounds 3] [--quick]

All with 15 iterations, on the same cores, in this process, in turn, each round in the other order; ratios are medians
over rounds of ITK's time over the other's. ITK runs as it does with Perona and Malik's exponent (a squared one: it has no
other), in float32, input and output in memory, slice by slice in two dimensions and the volume in three. Ours takes int16
and gives int16, measures the scale of the gradient, and keeps a region. Compiling is done before and told apart. Whole
seconds are wall clock; core seconds (user and system time of the process over its cores) are less troubled by whatever
else runs. Asked for: at least 40 times ITK, with two and with three dimensions.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from common import SEED, alternate, enlarged, images, ratio, table, where

from slimscan.each import cores, threads
from slimscan.regions.calm import calm, gradient_scale

LEAST = 40.0
ITERATIONS = 15


def measured(call: Callable[[], Any]) -> tuple[float, float]:
    """Wall seconds, and core seconds over the number of cores."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, (time.process_time() - cpu) / cores()


def itk(pixels: np.ndarray, dims: int) -> Callable[[], Any]:
    """ITK's filter; slices one after the other, each on all cores, when dims is 2."""
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(cores())
    image = SimpleITK.GetImageFromArray(pixels.astype(np.float32))
    work = SimpleITK.GradientAnisotropicDiffusionImageFilter()
    work.SetNumberOfIterations(ITERATIONS)
    work.SetConductanceParameter(0.4)
    work.SetTimeStep(0.125 if dims == 2 else 0.0625)
    if dims == 3:
        return lambda: work.Execute(image)
    return lambda: [work.Execute(image[:, :, z]) for z in range(image.GetDepth())]


def naive(k: float) -> Callable[[np.ndarray], np.ndarray]:
    """What one writes first: a compiled loop over the pixels of a slice, in two dimensions, every coefficient as it comes."""
    from numba import njit

    @njit(nogil=True)
    def once(u: Any, new: Any) -> None:
        rows, n = u.shape
        for y in range(rows):
            for x in range(n):
                gained = 0.0
                for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
                    b, a = y + dy, x + dx
                    if 0 <= b < rows and 0 <= a < n:
                        d = u[b, a] - u[y, x]
                        s, t = abs(dx), abs(dy)
                        c = 0.0
                        for yy, xx in ((y, x), (b, a)):
                            c += u[min(rows - 1, yy + s), min(n - 1, xx + t)] - u[max(0, yy - s), max(0, xx - t)]
                        gained += np.exp(-np.sqrt(d * d + c * c / 16) / k) * d
                new[y, x] = u[y, x] + 0.125 * gained

    def run(plane: np.ndarray) -> np.ndarray:
        u = plane.astype(np.float32)
        new = np.empty_like(u)
        for _ in range(ITERATIONS):
            once(u, new)
            u, new = new, u
        return np.rint(u).astype(plane.dtype)

    return run


def compile_seconds() -> float:
    """Wall seconds of the first call in a fresh interpreter with an empty cache, less those of the second."""
    code = (
        "import time, numpy as np; from slimscan.regions.calm import calm; v = np.arange(2048, dtype=np.int16).reshape(2, 32, 32)\n"
        "w = np.zeros(v.shape, bool); t = []\n"
        "for _ in range(2):\n    s = time.perf_counter(); calm(v, w, engine='numba', dims=2); calm(v, w, engine='numba', dims=3); "
        "t.append(time.perf_counter() - s)\nprint(t[0] - t[1])"
    )
    import os

    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "NUMBA_CACHE_DIR": cache}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main(arguments: list[str]) -> int:
    """Print the table; 1 when a requirement is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--quick", action="store_true", help="a tiny volume: shows that it runs, the times mean nothing"
    )
    given = parser.parse_args(arguments)
    shape, rounds = ((6, 64, 64), 1) if given.quick else ((90, 512, 512), given.rounds)
    print(f"## Calming\n\n{where(SEED)}\n")
    pixels = enlarged(next(iter(images(("head CT",)).values())), shape)
    region = np.zeros(shape, bool)
    region[:, shape[1] // 3 : shape[1] // 2, shape[2] // 3 : shape[2] // 2] = True
    each = threads()
    k = 0.4 * gradient_scale(pixels)
    loop = naive(k)
    loop(pixels[0])
    for dims in (2, 3):
        calm(pixels[:2], region[:2], dims=dims)
    source, target = pixels.astype(np.float32), np.empty(shape, np.float32)
    calls: dict[str, Callable[[], Any]] = {
        "ITK, slices": itk(pixels, 2),
        "ITK, volume": itk(pixels, 3),
        "naive compiled loop, slices": lambda: list(each(loop, pixels)),
        "slimscan, slices": lambda: calm(pixels, region, each=each),
        "slimscan, volume": lambda: calm(pixels, region, dims=3, each=each),
        "slimscan without numba, slices": lambda: calm(pixels, region, engine="numpy", each=each),
        "copy of float32, once": lambda: list(each(lambda z: np.copyto(target[z], source[z]), range(len(source)))),
    }
    got = alternate({name: lambda call=call: measured(call) for name, call in calls.items()}, rounds)
    inside = all((calm(pixels, region, dims=dims, each=each)[region] == pixels[region]).all() for dims in (2, 3))
    rows, missed = [], int(not inside)
    for name, runs in got.items():
        cells = [
            name,
            f"{statistics.median(run[0] for run in runs):.3f}",
            f"{statistics.median(run[1] for run in runs):.3f}",
        ]
        for base in ("ITK, slices", "ITK, volume"):
            other = got[base]
            cells.append(f"{ratio([run[1] for run in other], [run[1] for run in runs]):.1f}")
        copies = ratio([run[1] for run in runs], [run[1] for run in got["copy of float32, once"]]) / ITERATIONS
        rows.append([*cells, "-" if name.startswith("copy") else f"{copies:.2f}"])
    for ours, theirs in (("slimscan, slices", "ITK, slices"), ("slimscan, volume", "ITK, volume")):
        missed += ratio([run[1] for run in got[theirs]], [run[1] for run in got[ours]]) < LEAST
    head = ["", "seconds", "core s / cores", "ITK slices / it", "ITK volume / it", "copies an iteration"]
    print(table(head, rows))
    print(
        f"\nasked: at least {LEAST:g} times ITK; {shape[0]} slices of {shape[1]}x{shape[2]}, {ITERATIONS} iterations, medians"
    )
    print(
        f"of {rounds} rounds, {cores()} cores; inside bit-identical: {'yes' if inside else 'NO'}; compiling once: {compile_seconds():.1f} s"
    )
    return int(missed > 0 and not given.quick)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
