"""Training of the tissue network on slides with masks: patches of every magnification, scored on slides held back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.models.spec import FitSpec
from slimscan.models.tissue_net_sample import Ground, batches
from slimscan.models.tissue_net_words import MAGNIFICATIONS, NET, NORM
from slimscan.nouns.slide import Slide
from slimscan.press.slide.sample import magnification
from slimscan.press.slide.scaled import Scaled, scaled
from slimscan.regions.tissue import Tissue

MANY = 400  # patches of a slide and magnification; from that on every 4th of 20x and every 8th of 40x (wsi2025, 2.2.1)
_SCORED = 24  # patches of every magnification that a validation looks at, evenly spread


@dataclass(frozen=True)
class Pair:
    """A slide and where its tissue is."""

    slide: Slide
    tissue: Tissue


def grounds(pairs: Sequence[Pair], magnifications: Sequence[float] = MAGNIFICATIONS, patch: int = 512) -> list[Ground]:
    """All patches of the slides, side by side, by magnification; those that no slide was scanned at are left out.

    Patches at the border go on in white and without tissue. Where a slide has more than 400 at 20x (40x), every 4th (8th).
    InputError: no pair, or no slide was scanned at any of the magnifications.
    """
    found = []
    for at in magnifications:
        places: list[tuple[Pair, Scaled, int, int]] = []
        for pair in pairs:
            power = magnification(pair.slide)
            if at > power * 1.02:
                continue
            view = scaled(pair.slide, max(1.0, power / at))
            corners = [(y, x) for y in range(0, view.shape[0], patch) for x in range(0, view.shape[1], patch)]
            apart = (8 if at > 30 else 4 if at > 15 else 1) if len(corners) > MANY else 1
            places += [(pair, view, y, x) for y, x in corners[::apart]]
        if places:
            found.append(Ground(at, len(places), _loader(places, patch)))
    if not found:
        shown = ", ".join(f"{at:g}" for at in magnifications)
        raise InputError(f"no slide to train on at {shown}x: give slides that were scanned at one of these or more")
    return found


def trained(
    pairs: Sequence[Pair],
    held: Sequence[Pair],
    fit: FitSpec,
    folder: Path,
    *,
    magnifications: Sequence[float] = MAGNIFICATIONS,
    start: Path | None = None,
    log: Callable[[Mapping[str, Any]], None] | None = None,
) -> Path:
    """Train, or go on with a training that was stopped; the path of best.pt (last.pt where no slide is held back).

    held: slides that score the network, Dice of tissue by magnification and its mean; never trained on. Errors: as fit().
    """
    from slimscan.models.checkpoint import Network
    from slimscan.models.fit import fit as run

    side = fit.patch[-1]
    grown = grounds(pairs, magnifications, side)
    judged = grounds(held, magnifications, side) if held else []

    def feed(step: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        return batches(grown, fit, NORM, step)

    def validate(network: Network) -> Mapping[str, float]:
        return scores(network, judged, fit.device)

    return run(NET, NORM, fit, feed, folder, validate=validate if judged else None, start=start, log=log)


def scores(network: Any, judged: Sequence[Ground], device: str = "auto") -> dict[str, float]:
    """Dice of tissue over up to 24 patches of every magnification, "2.5x" ..., and "mean" of those that are numbers.

    Patches are counted together: a magnification without tissue, found or there, has none.
    """
    from slimscan.metrics.segmentation import dice
    from slimscan.models.normal import ready
    from slimscan.models.predict import chosen, opened

    forward = opened(network, str(chosen(device)))
    found: dict[str, float] = {}
    for ground in judged:
        said, true = [], []
        for at in np.unique(np.linspace(0, ground.count - 1, min(_SCORED, ground.count)).astype(int)):
            pixels, mask = ground.load(int(at))
            logits = forward(np.ascontiguousarray(np.moveaxis(ready(pixels[None], network.norm), -1, 1)))[0]
            said.append(logits[1] > logits[0])
            true.append(mask > 0)
        score = dice(np.stack(said), np.stack(true))
        if not math.isnan(score):
            found[f"{ground.magnification:g}x"] = score
    return found | {"mean": sum(found.values()) / len(found) if found else 0.0}


def _loader(
    places: list[tuple[Pair, Scaled, int, int]], patch: int
) -> Callable[[int], tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    def load(number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        pair, view, y, x = places[number]
        pixels = view.read(y, x, patch, patch)
        mask = np.zeros((patch, patch), np.uint8)
        spans = []
        for at, axis in ((y, 0), (x, 1)):
            middle = (at + np.arange(min(patch, view.shape[axis] - at)) + 0.5) * view.step[axis]
            where = (middle / pair.tissue.step[axis]).astype(np.int64)
            spans.append(np.minimum(where, pair.tissue.pixels.shape[axis] - 1))
        mask[: len(spans[0]), : len(spans[1])] = pair.tissue.pixels[np.ix_(*spans)]
        return pixels, mask

    return load
