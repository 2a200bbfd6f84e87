"""One picture of what compression did to the worst slice: original, decoded, difference, and a profile through the
largest error.

The two images share one grey window; the difference is in the unit of the pixels, blue where the decoded image is
lower, red where it is higher, white where nothing changed. The same input gives the same bytes.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError, OutputError
from slimscan.metrics.fidelity import error_sums
from slimscan.nouns import Volume
from slimscan.press.compare import Comparison
from slimscan.report.drawing import Look, draw
from slimscan.report.view import view_of

_WINDOW_PERCENT = (0.5, 99.5)


def panel(
    reference: Volume,
    test: Volume,
    path: str | Path,
    *,
    comparison: Comparison | None = None,
    title: str = "",
    ratio: float | None = None,
    z: int | None = None,
    window: tuple[float, float] | None = None,
) -> Path:
    """Write the picture as a PNG, beside its place and renamed; gives the path. Arguments and errors as panel_png.

    OutputError: the place cannot be written. An existing file is replaced.
    """
    path = Path(path)
    png = panel_png(reference, test, comparison=comparison, title=title, ratio=ratio, z=z, window=window)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(png)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OutputError(f"{path}: the picture cannot be written: {error.strerror}; choose another place") from error
    return path


def panel_png(
    reference: Volume,
    test: Volume,
    *,
    comparison: Comparison | None = None,
    title: str = "",
    ratio: float | None = None,
    z: int | None = None,
    window: tuple[float, float] | None = None,
) -> bytes:
    """The picture as the bytes of a PNG, about 1900 dots wide.

    Volumes (z, y, x) or (z, y, x, c) of one shape. z: the slice; None takes comparison.worst_slice, or looks for the
    slice with the largest MSE. title: what made the test image, for example "jpeg2000@45"; ratio and the comparison's
    PSNR are added to it. window: grey values (black, white) in the shown unit; None takes percentiles 0.5 and 99.5 of
    the original slice, padding left out. Values are slope * stored + intercept.
    InputError: shapes differ or are no volume, z outside, NaN.
    """
    if reference.shape != test.shape or len(reference.shape) not in (3, 4) or math.prod(reference.shape) == 0:
        raise InputError(
            f"{reference.source or 'the reference'} is {reference.shape} and {test.source or 'the test'} is "
            f"{test.shape}; a panel takes two images (z, y, x) or (z, y, x, c) of one shape"
        )
    chosen = z is not None
    if z is None:
        z = comparison.worst_slice if comparison else _worst(reference, test)
    if not 0 <= z < reference.shape[0]:
        raise InputError(f"slice {z} is not there; allowed: 0 to {reference.shape[0] - 1}")
    shown = _look(reference, test, z, window)
    return draw(shown, (_headline(comparison, title, ratio), _subline(reference, shown, chosen)))


def _look(reference: Volume, test: Volume, z: int, window: tuple[float, float] | None) -> Look:
    original, decoded = _values(reference, z), _values(test, z)
    if not (np.isfinite(original).all() and np.isfinite(decoded).all()):
        raise InputError(f"slice {z} holds NaN or infinite values; replace them by numbers before drawing")
    difference = decoded - original
    y, x, *colour = (int(i) for i in np.unravel_index(np.abs(difference).argmax(), difference.shape))
    sums = error_sums(original, decoded)
    if colour and original.shape[2] != 3:
        original, decoded, difference = (plane[..., colour[0]] for plane in (original, decoded, difference))
    channel = colour[0] if original.ndim == 3 else None
    if channel is None:
        profile = (original, decoded)
        window = window or _window(reference, original)
    else:
        profile = (original[..., channel], decoded[..., channel])
        most = np.abs(difference).argmax(axis=2)[..., None]
        difference = np.take_along_axis(difference, most, axis=2)[..., 0]
        top = reference.slope * (2**reference.bits - 1) + reference.intercept
        window = window or (reference.intercept, max(top, reference.intercept + 1e-9))
    view = view_of(reference)
    return Look(
        view=view,
        stored=(y, x),
        place=view.place(y, x, original.shape),
        original=view.picture(original),
        decoded=view.picture(decoded),
        profile=(view.picture(profile[0]), view.picture(profile[1])),
        difference=view.picture(difference),
        channel=channel,
        unit=reference.unit or ("stored units" if (reference.slope, reference.intercept) == (1, 0) else "real units"),
        window=window,
        z=z,
        rmse=math.sqrt(sums.mse),
    )


def _values(volume: Volume, z: int) -> NDArray[np.float64]:
    plane = volume.slices(z, z + 1)[0].astype(np.float64)
    return np.asarray(plane * volume.slope + volume.intercept, np.float64)


def _worst(reference: Volume, test: Volume) -> int:
    """The slice with the largest MSE, the first of equals; slices with NaN are never it."""

    def mse(z: int) -> float:
        found = error_sums(_values(reference, z), _values(test, z)).mse
        return found if math.isfinite(found) else -1.0

    return max(range(reference.shape[0]), key=lambda z: (mse(z), -z))


def _window(reference: Volume, original: NDArray[np.float64]) -> tuple[float, float]:
    """Black and white: percentiles of the slice without padding, never equal."""
    values = original.ravel()
    if reference.padding is not None:
        inside = values[values != reference.padding * reference.slope + reference.intercept]
        values = inside if inside.size else values
    low, high = (float(end) for end in np.percentile(values, _WINDOW_PERCENT))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _headline(comparison: Comparison | None, title: str, ratio: float | None) -> str:
    parts = [title or "Original and decoded"]
    if ratio is not None:
        parts.append(f"ratio {ratio:.4g}")
    if comparison is not None:
        named = "" if comparison.peak == format(comparison.peak_value, "g") else f"{comparison.peak} = "
        psnr = "infinite" if math.isinf(comparison.psnr_db) else f"{comparison.psnr_db:.2f} dB"
        parts.append(f"PSNR {psnr} (peak {named}{comparison.peak_value:g})")
        if not math.isnan(comparison.ssim):
            parts.append(f"SSIM {comparison.ssim:.4f}")
    return "  ·  ".join(parts)


def _subline(reference: Volume, shown: Look, chosen: bool) -> str:
    name = f"{Path(reference.source).name}: " if reference.source else ""
    last = reference.shape[0] - 1
    where = (
        f"{name}{'slice' if chosen else 'worst slice'} z = {shown.z} (of 0 to {last})" if last else f"{name}one slice"
    )
    if shown.largest == 0:
        return f"{where}, no pixel differs"
    y, x = shown.stored
    return (
        f"{where}, root mean square error {shown.rmse:.4g}, largest error in it {shown.largest:+.4g} {shown.unit} "
        f"at (z, y, x) = ({shown.z}, {y}, {x})"
    )
