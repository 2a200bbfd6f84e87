"""What was promised of a region's inside and outside, beside what was measured on the written file."""

from __future__ import annotations

import math
from typing import Any

from slimscan.nouns import Apart, Check, Lossless, MaxError, Psnr, Ratio
from slimscan.press import units
from slimscan.press.choose import Case
from slimscan.press.goal import PSNR_TOLERANCE_DB, RATIO_TOLERANCE
from slimscan.press.roi_settle import asked_of
from slimscan.press.scheme import Scheme
from slimscan.press.verify import Measured, Share


def region_checks(case: Case, scheme: Scheme, measured: Measured) -> list[Check]:
    """The promises about pixels inside and outside."""
    asked, _ = asked_of(case)
    assert measured.inside is not None
    assert measured.outside is not None
    found = [
        Check("decodes", "every chunk, its checksum right", "yes", True),
        _inside(case, asked, scheme, measured.inside),
    ]
    outside = asked.outside.target
    if isinstance(outside, (Psnr, MaxError)):
        found.append(_of(case, "outside", outside, measured.outside, free=measured.outside.mse == 0))
    if measured.background_kept is not None:
        kept = measured.background_kept
        found.append(Check("background", "every background voxel exact", "yes" if kept else "no", kept))
    return found


def _inside(case: Case, asked: Apart, scheme: Scheme, share: Share) -> Check:
    if asked.whole is not None:
        told = "nothing differs" if share.worst == 0 else f"off by {share.worst:g} at most"
        return Check("inside", f"as good as the ratio allows, at best {asked.inside}", told, True)
    if not isinstance(asked.inside, Lossless):
        return _of(case, "inside", asked.inside, share, free=True)
    rounds = 0.0 if scheme.grid.exact else scheme.grid.step / 2 * (1 + 1e-6)
    wanted = (
        "identical samples" if not rounds else f"lossless but for the mapping to 16 bits, {scheme.grid.step / 2:.3g}"
    )
    got = "yes" if share.worst == 0 else f"off by {share.worst:.6g} at most"
    return Check("inside", wanted, got, share.worst <= rounds)


def _of(case: Case, name: str, target: Psnr | MaxError, share: Share, free: bool) -> Check:
    """free: no upper end is promised of a PSNR."""
    if isinstance(target, MaxError):
        met = share.worst <= target.value + 1e-9 * max(1.0, target.value)
        return Check(name, f"max error at most {target.value:g}", f"{share.worst:g}", met)
    psnr = share.psnr_db(case.peak(target.peak))
    most = target.db + PSNR_TOLERANCE_DB + 1e-6
    asked = f"{target.db:g} dB (peak {target.peak})" + ("" if free else f", at most {PSNR_TOLERANCE_DB:g} dB more")
    return Check(name, asked, f"{psnr:.3f} dB", target.db - 1e-6 <= psnr and (psnr <= most or free))


def region_size_checks(case: Case, sizes: tuple[int, int], samples: int, ratio: float, exact: bool) -> list[Check]:
    """The promises about bytes. sizes: of the inside and of all else that is coded; samples: outside; exact: nothing is lost
    outside; ratio: of the file, or of the codec's bytes where pixels are written.
    """
    asked, _ = asked_of(case)
    target = asked.whole or asked.outside.target
    if not isinstance(target, Ratio):
        return []
    got = ratio
    if asked.whole is None:
        got = samples * (case.raw_bytes / case.seen.samples) / max(1, sizes[1])
    low, high = target.value * (1 - RATIO_TOLERANCE), target.value * (1 + RATIO_TOLERANCE)
    name = "ratio" if asked.whole is not None else "outside"
    of = "" if asked.whole is not None else ", raw bytes outside / bytes spent on them"
    more = ", and nothing is lost" if exact and got > high else ""
    return [Check(name, f"{target.value:g} within 2 %{of}", f"{got:.4g}{more}", low <= got and (got <= high or exact))]


def region_numbers(case: Case, measured: Measured | None, sizes: tuple[int, int], peak: float) -> dict[str, Any]:
    """The receipt's `regions`: {region: {name, about}, inside: {...}, outside: {...}}, each with voxels and what was measured.

    voxels (samples of colour images), bytes, psnr_db (None when nothing differs), max_abs_error, mse, identical, and the
    unit's max_abs_error_real; only bytes when the file was not read back.
    """
    _, region = asked_of(case)
    about = {key: value.rsplit("/", 1)[-1] if key == "spec" else value for key, value in region.about.items()}
    # Not the folder: that is this machine's business, and differs between runs.
    found: dict[str, Any] = {"region": {"name": region.name, "source": region.source.rsplit("/", 1)[-1], **about}}
    for index, name in enumerate(("inside", "outside")):
        share = None if measured is None else (measured.inside, measured.outside)[index]
        found[name] = {"bytes": sizes[index]} | ({} if share is None else _numbers(case, share, peak))
    return found


def _numbers(case: Case, share: Share, peak: float) -> dict[str, Any]:
    psnr = share.psnr_db(peak)
    return {
        "voxels": share.samples,
        "psnr_db": None if math.isinf(psnr) else psnr,
        "max_abs_error": share.worst,
        "max_abs_error_real": units.real(share.worst, case.volume),
        "mse": share.mse,
        "identical": share.mse == 0,
    }


def region_setting(case: Case, scheme: Scheme, setting: str, treat_kind: str) -> str:
    """The setting with what was done apart: "jpeg2000@45.2 outside, inside lossless"."""
    asked, _ = asked_of(case)
    how = asked.outside.how or treat_kind
    outside = f"{setting} outside{f' ({how})' if how else ''}"
    if scheme.inside is None:
        outside = setting + (f", outside {how}" if how else ", outside")
    inside = "inside first" if asked.whole is not None else f"inside {asked.inside}"
    return f"{outside}, {inside}"
