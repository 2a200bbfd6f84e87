"""What a mask file holds, as weights: a mask, a probability map, or classes of a label map.

One pass over the values says what they are; after that slices become weights when they are asked for. Nothing is
guessed: labels need a class, values beyond 1 need a scale, and the message says how both are written.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.nouns import Pixels, Volume

_ROUNDED = 1e-5  # probabilities that were resampled or stored in steps end this far beyond 0..1
_SLAB_VOXELS = 8 << 20


@dataclass(frozen=True)
class Chosen:
    """kind: what the values were taken for. name: of the classes, "" without. weigh: stored slices to weights of dtype.

    classes: the label values that count, () for a mask or a probability map.
    """

    kind: Literal["mask", "probability", "classes"]
    name: str
    dtype: np.dtype[Any]
    weigh: Callable[[Pixels], NDArray[Any]]
    classes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """Real values in a mask. labels: those that occur when all are whole and lie in 0..65535, else None."""

    low: float
    high: float
    finite: bool
    labels: tuple[int, ...] | None


def look(mask: Volume) -> Seen:
    """What values the mask holds, in one pass over its slices."""
    plane = max(1, int(np.prod(mask.shape[1:], dtype=np.int64)))
    step = max(1, _SLAB_VOXELS // plane)
    counts = np.zeros(65536, bool)
    low, high, whole = np.inf, -np.inf, True
    for start in range(0, mask.shape[0], step):
        real = _real(mask, mask.slices(start, min(start + step, mask.shape[0])))
        if real.dtype.kind == "f" and not np.isfinite(real).all():
            return Seen(np.nan, np.nan, False, None)
        low, high = min(low, float(real.min())), max(high, float(real.max()))
        whole = whole and low >= 0 and high <= 65535
        if whole and real.dtype.kind == "f":
            whole = bool((real == np.rint(real)).all())
        if whole:
            counts[real.astype(np.uint16)] = True
    return Seen(low + 0.0, high + 0.0, True, tuple(int(value) for value in np.flatnonzero(counts)) if whole else None)


def choose(mask: Volume, asked: str = "", names: Mapping[int, str] | None = None) -> Chosen:
    """The weights that the mask gives for what was asked of it.

    asked: "" (a mask of 0 and one other value, or probabilities 0..1); "5", "liver" or "5,spleen" (classes); "any" (all
    that is not 0); "p" or "p/N" (probabilities, stored values divided by N: 100 for percent, 255 for bytes).
    names: what label values are called. InputError, in one line, for NaN, colours, values beyond 0..1, a label map without
    a class, and a class that is not there.
    """
    what = mask.source or "mask"
    if len(mask.shape) != 3:
        raise InputError(
            f"{what}: holds {mask.shape[3]} samples a voxel; a region needs one; split the channels and give the one that counts"
        )
    names = dict(names or {})
    seen = look(mask)
    if not seen.finite:
        raise InputError(f"{what}: holds NaN or infinity; want a mask, labels, or probabilities from 0 to 1")
    if asked == "p" or asked.startswith("p/"):
        return _probability(mask, what, seen, asked)
    if asked:
        return _classes(mask, what, seen, asked, names)
    if seen.labels is None:
        return _probability(mask, what, seen, "p")
    if len(set(seen.labels) - {0}) <= 1:
        only = max(seen.labels)
        return Chosen("mask", names.get(only, ""), np.dtype(bool), lambda part: _real(mask, part) != 0)
    hint = _scale_hint(seen) if len(seen.labels) > 50 and not names else ""
    raise InputError(
        f"{what}: holds the labels {listed(seen.labels, names)}; say which one is meant by #5, #1,5 or #name behind the"
        f" file, or #any for all{hint}"
    )


def picked(asked: str, names: Mapping[int, str], held: Sequence[int], what: str) -> tuple[int, ...]:
    """The label values that "5", "liver" or "5,spleen" means; InputError naming what there is. Names match without case."""
    out: list[int] = []
    for word in (part.strip() for part in asked.split(",")):
        if word.isdecimal() and (int(word) in held or int(word) in names or int(word) == 0):
            found = [int(word)]
        else:
            found = [value for value, name in names.items() if _plain(name) == _plain(word)]
        if not found:
            near = difflib.get_close_matches(_plain(word), [_plain(name) for name in names.values()], 1)
            meant = next((name for name in names.values() if near and _plain(name) == near[0]), "")
            hint = f'; did you mean "{meant}"?' if meant else ""
            nameless = (
                "" if names or word.isdecimal() else " (it names none: give a number, or a labels file beside it)"
            )
            raise InputError(f'{what}: has no class "{word}"{nameless}; it has {listed(held, names)}{hint}')
        if 0 in found:
            raise InputError(f"{what}: class 0 is the background of a label map; it has {listed(held, names)}")
        out += [value for value in found if value not in out]
    return tuple(out)


def listed(values: Sequence[int], names: Mapping[int, str], most: int = 12) -> str:
    """ "1 spleen, 5 liver and 3 more": labels for a message, the background left out."""
    held = [value for value in values if value]
    shown = ", ".join(f"{value} {names[value]}" if value in names else str(value) for value in held[:most])
    return (shown + (f" and {len(held) - most} more" if len(held) > most else "")) or "no label but 0"


def _classes(mask: Volume, what: str, seen: Seen, asked: str, names: Mapping[int, str]) -> Chosen:
    if seen.labels is None:
        raise InputError(
            f"{what}: #{asked} names a class, and the values are no labels ({seen.low:g} to {seen.high:g}); leave it out for a"
            " probability map"
        )
    if asked == "any":
        return Chosen("mask", "", np.dtype(bool), lambda part: _real(mask, part) != 0)
    values = picked(asked, names, seen.labels, what)
    absent = [value for value in values if value not in seen.labels]
    if absent:
        raise InputError(
            f"{what}: no voxel holds the class {listed(absent, names)}; those that occur: {listed(seen.labels, names)}"
        )
    name = ", ".join(names.get(value, str(value)) for value in values)

    def weigh(part: Pixels) -> NDArray[Any]:
        real = _real(mask, part)
        out = real == values[0]
        for value in values[1:]:
            out |= real == value
        return np.asarray(out)

    return Chosen("classes", name, np.dtype(bool), weigh, values)


def _probability(mask: Volume, what: str, seen: Seen, asked: str) -> Chosen:
    try:
        scale = float(asked[2:]) if asked != "p" else 1.0
    except ValueError:
        scale = 0.0
    if not (scale > 0 and np.isfinite(scale)):
        raise InputError(f"{what}: #{asked} says no scale; want #p/100 for percent, #p/255 for bytes, or #p")
    if seen.low / scale < -_ROUNDED or seen.high / scale > 1 + _ROUNDED:
        raise InputError(
            f"{what}: values from {seen.low:g} to {seen.high:g}"
            + (f" divided by {scale:g}" if scale != 1 else "")
            + " are no probabilities from 0 to 1"
            + (_scale_hint(seen) or "; scores of a network need a sigmoid or a softmax first")
        )

    def weigh(part: Pixels) -> NDArray[Any]:
        real = _real(mask, part)
        return np.clip(real if scale == 1 else real / scale, 0.0, 1.0).astype(np.float32)

    return Chosen("probability", "", np.dtype(np.float32), weigh)


def _scale_hint(seen: Seen) -> str:
    if seen.low < 0 or not 1 < seen.high <= 65535:
        return ""
    scale = 100 if seen.high <= 100 else 255 if seen.high <= 255 else 65535 if seen.high > 1000 else 1000
    return f"; if they are probabilities times {scale}, write #p/{scale} behind the file"


def _real(mask: Volume, part: Pixels) -> Pixels:
    if (mask.slope, mask.intercept) == (1.0, 0.0):
        return part
    return part.astype(np.float64) * mask.slope + mask.intercept


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
