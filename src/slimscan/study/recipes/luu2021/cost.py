"""What one coder costs on one volume: bytes, seconds and memory, there and back, measured in a process of its own."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from slimscan.study.recipes.luu2021.coders import Voxels, checked, chosen

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Cost:
    """bytes: of all streams. seconds: the shortest of the repeats, one core. mb: memory beyond what the process held
    with the volume loaded, in 10^6 bytes; None where the system does not say.
    """

    bytes: int
    encode_s: float
    decode_s: float
    encode_mb: float | None
    decode_mb: float | None


def measure(name: str, pixels: Voxels, *, hevc_qp: float = 0.0, av1_crf: float = 1.0, repeats: int = 1) -> tuple[Cost, Voxels]:  # fmt: skip
    """Cost and the decoded volume (int16, the same shape), in this process. CodecError when an exact coder is not.

    A first run on a scrap of the volume loads libraries, so that they are not timed.
    """
    coder = chosen((name,), hevc_qp, av1_crf)[name]
    shape = (int(pixels.shape[0]), int(pixels.shape[1]), int(pixels.shape[2]))
    scrap = np.ascontiguousarray(pixels[:2, :64, :64])
    coder.unpack(coder.pack(scrap), (len(scrap), *scrap.shape[1:]))
    streams, encode_s, encode_mb = _watched(lambda: coder.pack(pixels), repeats)
    decoded, decode_s, decode_mb = _watched(lambda: coder.unpack(streams, shape), repeats)
    checked(coder, pixels, decoded)
    return Cost(sum(map(len, streams)), encode_s, decode_s, encode_mb, decode_mb), decoded


def measure_apart(name: str, place: Path, decoded: Path | None, options: dict[str, Any]) -> Cost:
    """`measure` of a volume saved as .npy, in a fresh process; the decoded volume goes to `decoded` when it is named."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_in_child, name, place, decoded, options).result()


def _in_child(name: str, place: Path, decoded: Path | None, options: dict[str, Any]) -> Cost:
    cost, back = measure(name, np.load(place), **options)
    if decoded is not None:
        np.save(decoded, back)
    return cost


def _watched(work: Callable[[], _T], repeats: int) -> tuple[_T, float, float | None]:
    before = _resident("VmRSS:")
    if before is not None:
        _CLEAR.write_text("5")  # the kernel forgets the peak so far (proc(5))
    seconds, found = float("inf"), None
    for _ in range(repeats):
        started = time.perf_counter()
        found = work()
        seconds = min(seconds, time.perf_counter() - started)
    peak = _resident("VmHWM:")
    assert found is not None
    return found, seconds, None if before is None or peak is None else max(0.0, peak - before) / 1e6


def _resident(word: str) -> float | None:
    """Bytes that the kernel tells of this process; None where there is no /proc that can be written."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith(word)), None)
