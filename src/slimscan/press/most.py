"""A ratio that must not be exceeded: the search for it, and the proof.

The ordinary search makes a file small enough; here it must stay large enough. So where the search ends above the ratio, or
says that its knob is too coarse, the nearest finer setting among those that were tried is taken, and exact coding when
there is none. Bytes are encoded ones: a header must not make room for more loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from slimscan.codecs import codec as find_codec
from slimscan.errors import TargetUnreachable
from slimscan.nouns import Check, Ratio
from slimscan.press.allot import Found
from slimscan.press.choose import Case, settle
from slimscan.press.probe import Piece, Prober
from slimscan.press.search import Curve
from slimscan.press.store import chunk_pieces

HAIR = 1e-9  # of the ratio: for the rounding of one division


def settle_most(case: Case, prober: Prober, known: Curve | None = None) -> tuple[list[Piece], Found | None]:
    """As settle(), for Ratio(most=True): no volume (per "volume") or no chunk (per "slice") is above the ratio.

    Chunks that are coded exactly may be. TargetUnreachable when the finest setting of a codec without exact mode is
    above the ratio.
    """
    assert isinstance(case.target, Ratio)
    pieces = chunk_pieces(case.volume.shape[0], prober.scheme.depth)
    try:
        _, found = settle(case, prober, known)
    except TargetUnreachable:
        found = None  # what was tried is remembered
    values: list[float | None] = list(found.values) if found else [None] * len(pieces)
    groups = [[index] for index in range(len(pieces))] if case.per == "slice" else [list(range(len(pieces)))]
    for group in groups:
        least = sum(_raw(case, pieces[index]) for index in group) / (case.target.value * (1 + HAIR))
        if found and (sum(found.samples[i].nbytes for i in group) >= least or all(values[i] is None for i in group)):
            continue
        chosen = _finer(case, prober, [pieces[index] for index in group], least)
        for index in group:
            values[index] = chosen
    return pieces, Found(tuple(values), tuple(prober.run(pieces, values)))


def _raw(case: Case, piece: Piece) -> int:
    return case.raw_bytes * (piece[1] - piece[0]) // case.volume.shape[0]


def _finer(case: Case, prober: Prober, pieces: Sequence[Piece], least: float) -> float | None:
    """The value of fewest bytes that are still `least`, of those tried on all the pieces; None for exact coding."""
    tried = {value for piece, value in prober.samples if piece == pieces[0] and value is not None}
    sums = {
        value: sum(prober.samples[piece, value].nbytes for piece in pieces)
        for value in tried
        if all((piece, value) in prober.samples for piece in pieces)
    }
    enough = {value: nbytes for value, nbytes in sums.items() if nbytes >= least}
    if enough:
        return min(enough, key=lambda value: enough[value])
    found = find_codec(prober.scheme.codec)
    if not found.lossless:
        raw = sum(_raw(case, piece) for piece in pieces)
        got = f"ratio {raw / max(sums.values()):.4g}" if sums else "more"
        raise TargetUnreachable(
            f"{case.volume.source or 'volume'}: a ratio of at most {least and raw / least:.4g} cannot be kept by {found.name}: "
            f"its finest setting tried gives {got}; take jpeg2000, which has an exact mode"
        )
    return None


def chunk_ratios(case: Case, pieces: Sequence[Piece], found: Found) -> list[float]:
    """Raw bytes / encoded bytes of every chunk that lost something."""
    return [
        _raw(case, piece) / max(1, sample.nbytes)
        for piece, value, sample in zip(pieces, found.values, found.samples, strict=True)
        if value is not None
    ]


def most_check(case: Case, pieces: Sequence[Piece], found: Found, ratio: float) -> list[Check]:
    """The promise, beside what was written. ratio: raw bytes / encoded bytes of the whole."""
    assert isinstance(case.target, Ratio)
    limit = case.target.value * (1 + 2 * HAIR)
    lossy = chunk_ratios(case, pieces, found)
    if not lossy:
        return [Check("ratio", _asked(case), f"{ratio:.4g}, and nothing is lost", True)]
    if case.per == "slice":
        got = max(lossy)
        return [Check("ratio", _asked(case), f"{got:.4g} where something is lost", got <= limit)]
    return [Check("ratio", _asked(case), f"{ratio:.4g}", ratio <= limit)]


def _asked(case: Case) -> str:
    assert isinstance(case.target, Ratio)
    return f"at most {case.target.value:g}, of the encoded bytes{' of every chunk' if case.per == 'slice' else ''}"


def measured(case: Case, pieces: Sequence[Piece], found: Found, sample_bytes: int) -> dict[str, Any]:
    """What came of a guideline's ratio, in its own definition (2 bytes a sample at most).

    ratio: of the whole. ratio_slices: the smallest and largest of the chunks that lost something, None when none did.
    above: how many of them are above the ratio by themselves, which one quality for the whole volume allows.
    """
    assert isinstance(case.target, Ratio)
    scale = min(2, sample_bytes) / sample_bytes
    lossy = np.array(chunk_ratios(case, pieces, found)) * scale
    total = sum(sample.nbytes for sample in found.samples)
    above = int((lossy > case.target.value * scale * (1 + 2 * HAIR)).sum())
    return {
        "ratio": case.raw_bytes * scale / max(1, total),
        "ratio_slices": [float(lossy.min()), float(lossy.max())] if lossy.size else None,
        "above": above,
    }
