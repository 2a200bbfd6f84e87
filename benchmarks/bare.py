"""The bare loop that speed.py measures against: the library calls alone, as one would write them in an afternoon.

    python benchmarks/bare.py SOURCE.nii OUT CODEC VALUE OFFSET BITS THREADS DEPTH BACKGROUND

Reads with nibabel, encodes slices (or slabs of DEPTH) with imagecodecs or glymur in threads, writes the codestreams one
after the other: no search for a range, no container, no checksum. VALUE, OFFSET, BITS and BACKGROUND (or "none") are
told, not found; where there is background its mask is coded beside each slice, as slimscan does. Afterwards everything
is decoded once more in the same threads; prints the seconds that this took, on the clock and of the processor.
"""

from __future__ import annotations

import math
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel
import numpy as np


def encoder(codec: str, value: float | None, bits: int) -> Any:
    """(codes of a slice or slab) -> bytes: the library call with the arguments that slimscan gives it."""
    import imagecodecs as ic

    exact = value is None
    if codec == "jpeg2000":
        level: Any = 0 if value is None else value
        return lambda codes: ic.jpeg2k_encode(
            codes, level=level, reversible=exact, bitspersample=bits, codecformat="J2K", resolutions=6, numthreads=1
        )
    if codec == "htj2k":
        step = None if value is None else value / 2.0**16
        return lambda codes: ic.htj2k_encode(codes, level=step, reversible=exact, resolutions=5)
    if codec == "jpegls":
        return lambda codes: ic.jpegls_encode(codes, level=0 if value is None else round(value))
    if codec == "jpegxl":
        return lambda codes: ic.jpegxl_encode(
            codes, lossless=exact, distance=value, effort=3 if exact else 5, bitspersample=bits, numthreads=1
        )
    if codec == "sperr":
        return lambda codes: ic.sperr_encode(codes.astype(np.float32), value, "pwe", numthreads=1)
    if codec == "zfp":
        return lambda codes: ic.zfp_encode(codes.astype(np.float32), level=value, mode="a", numthreads=1)
    raise SystemExit(f"no bare loop for {codec}")


def decoder(codec: str) -> Any:
    """bytes -> codes."""
    import imagecodecs as ic

    return {
        "jpeg2000": lambda payload: ic.jpeg2k_decode(payload, numthreads=1),
        "htj2k": lambda payload: ic.jpeg2k_decode(payload, numthreads=1),
        "jpegls": ic.jpegls_decode,
        "jpegxl": lambda payload: ic.jpegxl_decode(payload, numthreads=1),
        "sperr": lambda payload: ic.sperr_decode(payload, numthreads=1),
        "zfp": lambda payload: ic.zfp_decode(payload, numthreads=1),
    }[codec]


def with_glymur(codes: list[np.ndarray], out: Path, value: float | None, bits: int) -> None:
    """The papers' tool: one file a slice, one thread, the same wavelet and quality."""
    import glymur

    glymur.set_option("lib.num_threads", 1)
    more: dict[str, Any] = {} if value is None else {"irreversible": True}
    if value is not None:
        more["psnr"] = [value + 20 * math.log10((2.0**16 - 1) / (2.0**bits - 1))]
    for z, code in enumerate(codes):
        glymur.Jp2k(f"{out}.{z}.j2k", data=code, numres=6, **more)


def main(arguments: list[str]) -> None:
    """Read, encode, write."""
    source, out, codec, value, offset, bits, threads, depth, flat = arguments
    knob = None if value == "lossless" else float(value)
    pixels = np.asarray(nibabel.load(source).dataobj).transpose(2, 1, 0)
    shift = np.int16(int(offset)) if pixels.dtype.kind == "i" else np.uint16(int(offset))

    def codes(z: int) -> np.ndarray:
        slab = (pixels[z : z + int(depth)] - shift).view(np.uint16)
        if flat != "none":
            slab = np.where(pixels[z : z + int(depth)] == int(flat), np.uint16(0), slab)
        return np.ascontiguousarray(slab if int(depth) > 1 else slab[0])

    starts = range(0, len(pixels), int(depth))
    if codec == "glymur":
        with_glymur([codes(z) for z in starts], Path(out), knob, int(bits))
        return
    encode = encoder(codec, knob, int(bits))

    def coded(z: int) -> tuple[bytes, bytes]:
        if flat == "none":
            return encode(codes(z)), b""
        return encode(codes(z)), mask_encoded(pixels[z : z + int(depth)] == int(flat))

    payloads = []
    if codec == "htj2k":
        encode(np.zeros((8, 8), np.uint16))  # OpenJPH fills tables at its first call, unguarded against other threads
    with ThreadPoolExecutor(int(threads)) as pool:
        with Path(out).open("wb") as file:
            for payload, mask in pool.map(coded, starts):
                file.write(mask)
                file.write(payload)
                payloads.append((payload, mask))
        used, started = time.process_time(), time.perf_counter()
        decode = decoder(codec)
        for _ in pool.map(lambda coded: (decode(coded[0]), mask_decoded(coded[1])), payloads):
            pass
        print(time.perf_counter() - started, time.process_time() - used)


def mask_encoded(mask: np.ndarray) -> bytes:
    """A mask (z, y, x) as the envelope of slimscan has it."""
    import imagecodecs

    tall = np.ascontiguousarray(mask.reshape(-1, mask.shape[2]), np.uint8)
    return imagecodecs.jpegxl_encode(tall, lossless=True, effort=3, bitspersample=1, numthreads=1)


def mask_decoded(coded: bytes) -> np.ndarray | None:
    """What mask_encoded was given, slices below one another."""
    import imagecodecs

    return imagecodecs.jpegxl_decode(coded, numthreads=1) if coded else None


if __name__ == "__main__":
    main(sys.argv[1:])
