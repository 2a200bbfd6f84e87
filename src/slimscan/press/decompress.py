"""One image back: decoded pixels in an ordinary file, read back and compared with what was decoded."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slimscan import child, files
from slimscan.each import threads
from slimscan.errors import CheckFailed, InputError
from slimscan.nouns import Check
from slimscan.press.about import receipt_at
from slimscan.press.history import for_dicom
from slimscan.press.open import lazy
from slimscan.press.outputs import kind_of
from slimscan.press.staging import admit_output, staged
from slimscan.press.verify import measure


@dataclass(frozen=True)
class Decoded:
    """What was written. shape: (z, y, x[, c]). The fields are the keys of `decompress --json`."""

    source: str
    output: str
    shape: tuple[int, ...]
    dtype: str
    raw_bytes: int
    file_bytes: int
    seconds: float
    checks: tuple[Check, ...]


def decompress(
    source: str | Path,
    output: str | Path,
    *,
    force: bool = False,
    untrusted: bool | child.Limits = False,
    exact: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Decoded:
    """Decode an image into the format that `output` names, read it back, and check it against the file's receipt.

    untrusted: the source is decoded by child processes under limits. exact: the original, from base and residual, and
    checked against its own sha256; InputError when the file was compressed with loss and holds no residual.
    NotReadable, CodecError or ChecksumError for a damaged source, OutputError for the destination, InputError for an
    output that holds compressed chunks (that is `compress`), CheckFailed when what came back differs.
    """
    started = time.perf_counter()
    place = Path(output)
    kind = kind_of(output)
    if kind == "box":
        raise InputError(f"{output}: decompress writes decoded pixels (.nii.gz .tif .mha .nrrd); use compress for .ozx")
    admit_output(place, force, Path(source))
    volume = lazy(source, untrusted, exact=exact)
    step = max(1, 4_000_000 // max(1, int(np.prod(volume.shape[1:]))))
    pieces = [(start, min(start + step, volume.shape[0])) for start in range(0, volume.shape[0], step)]
    with staged(place, force) as stage, child.apart(untrusted):
        kept = for_dicom(volume, decoded=True) if kind == "dicom" else volume
        files.write(kept, f"{stage.path}/" if kind == "dicom" and place.suffix.lower() != ".dcm" else stage.path)
        back = files.read(stage.path)
        if back.shape != volume.shape:
            raise CheckFailed(f"{source}: shape {volume.shape} came back from {output} as {back.shape}")
        measured = measure(volume, lambda index: back.slices(*pieces[index]), pieces, threads(), None)
        said = receipt_at(Path(source), volume).get("sha256" if exact else "decoded_sha256")
        same = measured.identical
        checks = [Check("written", "identical samples", "yes" if same else "no", same)]
        if said is not None:
            # The source's samples went through the same hash when they were compressed.
            agrees = said == measured.sha256
            whose = "the original's samples, by their sha256" if exact else "the samples that were verified"
            checks.append(Check("exact" if exact else "receipt", whose, "yes" if agrees else "no", agrees))
        elif exact:
            checks.append(Check("exact", "the original's sha256 in the receipt", "none there", False))
        failed = [check for check in checks if not check.passed]
        if failed:
            raise CheckFailed("; ".join(f"{source}: {c.name}: asked {c.asked}, got {c.got}" for c in failed))
        file_bytes = stage.path.stat().st_size if stage.path.is_file() else _folder_bytes(stage.path)
    if progress is not None:
        progress("decoded", volume.shape[0], volume.shape[0])
    dtype = np.dtype(volume.pixels.dtype)
    raw = int(np.prod(volume.shape, dtype=np.int64)) * dtype.itemsize
    seconds = time.perf_counter() - started
    return Decoded(str(source), str(output), volume.shape, str(dtype), raw, file_bytes, seconds, tuple(checks))


def _folder_bytes(path: Path) -> int:
    return sum(inner.stat().st_size for inner in path.rglob("*") if inner.is_file())
