"""What is asked with --roi: from words to a target, and to a region on the volume's voxels.

inside     lossless   max-error:N[UNIT]   psnr:DB
outside    ratio:R   max-error:N[UNIT]   psnr:DB   setting:C@K   calm[:k=0.4,iterations=15,dims=2]   constant[:V]
           coarse:N (the N finest levels of the wavelet left out), and calm, constant or coarse + ratio or setting
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from slimscan.errors import InputError
from slimscan.nouns import Apart, Lossless, MaxError, Outside, Policy, Psnr, Ratio, Region, Setting, Target, Volume
from slimscan.nouns.press import Peak
from slimscan.press import units

HOWS = {"calm": ("k", "iterations", "dims"), "constant": ("value",), "coarse": ("levels",)}
_INSIDE = "lossless, max-error:N or psnr:DB"
_OUTSIDE = "ratio:R, max-error:N, psnr:DB, setting:CODEC@VALUE, calm, constant:V or coarse:N"


def roi_target(
    roi: str | Region | None,
    target: Target | Policy | None,
    inside: str | None,
    outside: str | None,
    peak: Peak,
    per: str,
    codec: str | None,
    grow: str,
    threshold: float | None,
) -> Target | Policy:
    """The target that all of these options mean; InputError when they do not go together."""
    if roi is None:
        said = {"--inside": inside, "--outside": outside, "--roi-grow": grow or None, "--roi-threshold": threshold}
        alone = next((name for name, value in said.items() if value is not None), None)
        if alone:
            raise InputError(f"{alone} belongs to a region; say --roi too, or leave it out")
        if target is None:
            raise InputError("want one target: a Ratio, Psnr, MaxError, Lossless, Setting or Policy")
        return target
    if per != "volume":
        raise InputError(f"--per {per} with --roi: inside and outside are targets by themselves; leave --per out")
    if codec == "auto":
        raise InputError("--codec auto with --roi: name a codec, for example hevc or jpeg2000")
    asked = wish(target, inside, outside, peak)
    named = asked.outside.target
    if isinstance(named, Setting) and codec not in (None, named.codec):
        raise InputError(f"--codec {codec} and --outside {named} name two codecs; leave one out")
    return asked


def codec_for(target: Target, kind: str) -> str:
    """The codec when none is named: JPEG 2000, and deflate's relative for files of decoded pixels."""
    if isinstance(target, Apart) and isinstance(target.outside.target, Setting):
        return target.outside.target.codec
    return "gzip" if kind == "pixels" else "jpeg2000"


def admit_region(kind: str, name: str, output: Path) -> None:
    """InputError for DICOM whose transfer syntax says that nothing was ever lost."""
    if kind == "dicom" and name in ("rle", "deflate"):
        raise InputError(
            f"{output}: {name} in DICOM has no lossy form; with --roi take jpeg2000, jpegls, htj2k or jpegxl"
        )


def wish(target: Target | Policy | None, inside: str | None, outside: str | None, peak: Peak = "stored") -> Apart:
    """The target of a compression with a region; InputError when the words do not go together."""
    if isinstance(target, Apart) and inside is None and outside is None:
        return target
    kept = parse_inside(inside, peak) if inside else Lossless()
    if outside is not None:
        if target is not None:
            raise InputError(
                f"--outside {outside} and {target}: two targets; with --roi say --outside, or --ratio alone"
            )
        return Apart(kept, parse_outside(outside, peak))
    if isinstance(target, Ratio) and not target.most:
        if isinstance(kept, Psnr):
            raise InputError(
                "--roi with --ratio: --inside psnr cannot be traded for bytes; say --inside lossless or max-error:N"
            )
        return Apart(kept, Outside(), target)
    came = "nothing" if target is None else str(target)
    raise InputError(f"--roi: want --outside ({_OUTSIDE}) or --ratio R for the whole file; came: {came}")


def parse_inside(text: str, peak: Peak = "stored") -> Lossless | MaxError | Psnr:
    """What the inside must keep; InputError with what is allowed."""
    word, _, rest = text.strip().partition(":")
    if word == "lossless" and not rest:
        return Lossless()
    if word == "max-error" and rest:
        return units.parse(rest)
    if word == "psnr" and rest:
        return Psnr(_number("--inside", text, rest), peak)
    raise InputError(f'--inside "{text}": want {_INSIDE}')


def parse_outside(text: str, peak: Peak = "stored") -> Outside:
    """What happens outside; InputError with what is allowed."""
    target: Ratio | Psnr | MaxError | Setting | None = None
    how, options = "", dict[str, float | str]()
    for part in text.split("+"):
        word, _, rest = part.strip().partition(":")
        if word in HOWS and not how:
            how, options = word, _options(word, rest, text)
        elif word in ("ratio", "max-error", "psnr", "setting") and rest and target is None:
            if word == "ratio":
                target = Ratio(_number("--outside", text, rest))
            elif word == "psnr":
                target = Psnr(_number("--outside", text, rest), peak)
            else:
                target = units.parse(rest) if word == "max-error" else Setting.parse(rest)
        else:
            raise InputError(f'--outside "{text}": want {_OUTSIDE}, or one of the last three + ratio or setting')
    if how and isinstance(target, (Psnr, MaxError)):
        raise InputError(f"--outside {text}: {how} changes pixels by itself; it goes with ratio or setting, or alone")
    if isinstance(target, Setting) and target.value is None:
        raise InputError(f"--outside {text}: exact outside too; use --lossless without a region")
    return Outside(target, how, options)


def _options(how: str, text: str, whole: str) -> dict[str, float | str]:
    names, found = HOWS[how], dict[str, float | str]()
    for index, part in enumerate(part for part in text.split(",") if part):
        name, mark, value = part.partition("=")
        if not mark:
            name, value = names[index] if index < len(names) else "", part
        if name.strip() not in names:
            raise InputError(f'--outside "{whole}": {how} takes {", ".join(names)}; came: {part}')
        found[name.strip()] = value.strip() if how == "calm" else _number("--outside", whole, value)
    if how == "coarse" and found.get("levels", 0) not in (1, 2, 3, 4, 5):
        raise InputError(f'--outside "{whole}": want coarse:N, with 1 to 5 of the finest levels left out')
    if how == "calm":
        from slimscan.press.calm import settings

        settings(found)
    return found


def _number(option: str, text: str, word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise InputError(f'{option} "{text}": "{word}" is no number; write for example ratio:40 or max-error:1')
    return value


def on_volume(asked: Apart, volume: Volume) -> Apart:
    """The target with its bounds in stored units of that volume."""
    inside, outside = asked.inside, asked.outside
    if isinstance(inside, MaxError):
        inside = units.stored(inside, volume)
    if isinstance(outside.target, MaxError):
        outside = replace(outside, target=units.stored(outside.target, volume))
    return replace(asked, inside=inside, outside=outside)


def region_on(roi: str | Region, volume: Volume, grow: str, threshold: float | None, untrusted: bool) -> Region:
    """The region that was named, or the one that was given, on the volume's voxels; InputError when it does not fit."""
    if isinstance(roi, str):
        from slimscan.press.where import THRESHOLD, region_of

        most = THRESHOLD if threshold is None else threshold
        return region_of(roi, volume, threshold=most, grow=grow, untrusted=untrusted)
    if roi.shape != volume.shape[:3]:
        raise InputError(
            f"{roi.source or 'region'}: shape {roi.shape} (z, y, x), the image has {volume.shape[:3]}; want its grid"
        )
    if grow or threshold is not None:
        raise InputError("grow and threshold belong to a region that is named; a Region is taken as it is")
    return roi


def voxels_inside(region: Region) -> int:
    """How many voxels are inside."""
    step = max(1, (32 << 20) // max(1, int(np.prod(region.shape[1:]))))
    return sum(
        int(np.count_nonzero(region.inside(start, min(start + step, region.shape[0]))))
        for start in range(0, region.shape[0], step)
    )
