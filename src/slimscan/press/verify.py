"""Proof: what was written is read back from the disk and compared with the source, slice by slice."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from slimscan.each import Each
from slimscan.errors import CheckFailed, CodecError
from slimscan.nouns import Check, Lossless, MaxError, Pixels, Psnr, Ratio, Region, Target, Volume
from slimscan.press.goal import PSNR_TOLERANCE_DB, RATIO_TOLERANCE
from slimscan.press.probe import Piece, errors

Fetch = Callable[[int], tuple[Callable[[], Pixels], Pixels]]


@dataclass(frozen=True, slots=True)
class Share:
    """Errors of a part of the image, in stored units. samples: voxels x colours of it; mse is 0 for none."""

    samples: int
    mse: float
    worst: float

    def psnr_db(self, peak: float) -> float:
        """As Measured has it."""
        return 10 * math.log10(peak**2 / self.mse) if self.mse > 0 else math.inf


@dataclass(frozen=True, slots=True)
class Measured:
    """Errors in stored units over all samples. sha256: of the source's stored samples, C order, little endian.

    decoded_sha256: the same of what came back. background_kept: None when there was no background to keep. inside, outside:
    of a region, None without one.
    """

    mse: float
    worst: float
    identical: bool
    sha256: str
    decoded_sha256: str
    background_kept: bool | None
    inside: Share | None = None
    outside: Share | None = None

    def psnr_db(self, peak: float) -> float:
        """10 log10(peak**2 / mse) in dB; infinite when nothing differs."""
        return 10 * math.log10(peak**2 / self.mse) if self.mse > 0 else math.inf


def measure(
    volume: Volume,
    decode: Callable[[int], Pixels],
    pieces: Sequence[Piece],
    each: Each,
    background: float | None,
    region: Region | None = None,
) -> Measured:
    """Decode every piece from what lies on the disk and compare. decode: index of a piece -> its stored pixels.

    region: count its inside apart.

    CheckFailed when a piece does not decode, or comes back in another shape or type.
    """

    def compare(index: int) -> tuple[float, float, bytes, bytes, bool, tuple[int, float, float]]:
        source = volume.slices(*pieces[index])
        try:
            decoded = decode(index)
        except CodecError as error:
            raise CheckFailed(f"{volume.source or 'volume'}: what was written does not decode: {error}") from error
        if decoded.shape != source.shape or decoded.dtype != np.dtype(source.dtype).newbyteorder("="):
            raise CheckFailed(
                f"{volume.source or 'volume'}: slices {pieces[index]} came back as {decoded.shape} {decoded.dtype}, "
                f"they were {source.shape} {source.dtype}"
            )
        kept = background is None or bool(((decoded == background) | (source != background)).all())
        within = (0, 0.0, 0.0)
        if region is not None:
            inside = region.inside(*pieces[index])
            picked = source[inside]
            within = (picked.size, *errors(picked, decoded[inside]))
            source_out, decoded_out = source[~inside], decoded[~inside]
        else:
            source_out, decoded_out = source, decoded
        return *errors(source_out, decoded_out), _little(source), _little(decoded), kept, within

    sums, worst, kept = [], 0.0, True
    source_hash, decoded_hash = hashlib.sha256(), None
    samples, picked, picked_sums, picked_worst = 0, 0, [], 0.0
    for sse, largest, source, decoded, chunk_kept, within in each(compare, range(len(pieces))):
        if decoded_hash is None and decoded != source:
            decoded_hash = source_hash.copy()  # up to here both are the same: hashed once
        if decoded_hash is not None:
            decoded_hash.update(decoded)
        sums.append(sse)
        picked += within[0]
        picked_sums.append(within[1])
        picked_worst = max(picked_worst, within[2])
        worst = max(worst, largest)
        kept = kept and chunk_kept
        samples += len(source)
        source_hash.update(source)
    samples //= np.dtype(volume.pixels.dtype).itemsize
    same = decoded_hash is None
    total = math.fsum([*sums, *picked_sums])
    return Measured(
        total / samples,
        max(worst, picked_worst),
        same,
        source_hash.hexdigest(),
        (decoded_hash or source_hash).hexdigest(),
        None if background is None else kept,
        None if region is None else Share(picked, math.fsum(picked_sums) / max(1, picked), picked_worst),
        None if region is None else Share(samples - picked, math.fsum(sums) / max(1, samples - picked), worst),
    )


def restored_check(
    volume: Volume, restored: Callable[[int, int], Pixels], pieces: Sequence[Piece], each: Each
) -> Check:
    """That base and residual, read back from the disk, are the source bit for bit. restored: slices start..stop-1."""

    def same(piece: Piece) -> bool:
        try:
            return _little(restored(*piece)) == _little(volume.slices(*piece))
        except CodecError as error:
            raise CheckFailed(f"{volume.source or 'volume'}: what was written does not decode: {error}") from error

    exact = all(each(same, pieces))
    return Check("residual", "restores every bit of the source", "yes" if exact else "no", exact)


def _little(pixels: Pixels) -> bytes:
    return np.ascontiguousarray(pixels, dtype=np.dtype(pixels.dtype).newbyteorder("<")).tobytes()


def checks(target: Target, measured: Measured, peak: float, peak_name: str, per: str = "volume") -> list[Check]:
    """The promises about pixels, each beside what came back.

    Per slice a flat slice that codes exactly lifts the PSNR of the whole: no upper end is promised then.
    """
    found = [Check("decodes", "every chunk, its checksum right", "yes", True)]
    psnr = measured.psnr_db(peak)
    if isinstance(target, Psnr):
        more = f"at most {PSNR_TOLERANCE_DB:g} dB more" if per == "volume" else "in every chunk"
        asked = f"{target.db:g} dB (peak {peak_name}), {more}"
        free = per == "slice" or measured.identical
        met = target.db - 1e-6 <= psnr and (psnr <= target.db + PSNR_TOLERANCE_DB + 1e-6 or free)
        found.append(Check("psnr", asked, f"{psnr:.3f} dB", met))
    if isinstance(target, MaxError):
        met = measured.worst <= target.value + 1e-9 * max(1.0, target.value)
        found.append(Check("max_error", f"at most {target.value:g}", f"{measured.worst:g}", met))
    if isinstance(target, Lossless):
        found.append(Check("lossless", "identical samples", "yes" if measured.identical else "no", measured.identical))
    if measured.background_kept is not None:
        kept = measured.background_kept
        found.append(Check("background", "every background voxel exact", "yes" if kept else "no", kept))
    return found


def ratio_check(
    target: Target, per: str, ratio: float, exact: bool, of: str = "the file", *, rounds: bool = False
) -> list[Check]:
    """The promise about bytes on disk. An exact file that is smaller than asked has kept it.

    Per slice the promise is that no slice is above its share; a codestream ends between coding passes, so that the whole
    may end up to some per cent smaller.
    """
    if not isinstance(target, Ratio):
        return []
    low, high = target.value * (1 - RATIO_TOLERANCE), target.value * (1 + RATIO_TOLERANCE)
    asked = f"{target.value:g} within 2 %" if per == "volume" else f"at least {target.value:g} in every chunk"
    asked += "" if of == "the file" else f", of {of}"
    kept = "nothing is lost but in the mapping to 16 bits" if rounds else "nothing is lost"
    got = f"{ratio:.4g}" + (f", and {kept}" if exact and ratio > high else "")
    return [Check("ratio", asked, got, low <= ratio and (ratio <= high or exact or per == "slice"))]
