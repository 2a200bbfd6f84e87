"""Where tissue lies on a slide, by every way that was asked for together, and which tiles are glass.

Safety first: nothing goes that any enabled mask calls tissue, a margin around it stays as well, and where nothing was found
at all nothing goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.nouns.slide import Slide
from slimscan.press.slide import tissue_files
from slimscan.press.slide.sample import magnification
from slimscan.press.slide.scaled import Scaled, fitting, scaled
from slimscan.regions.tissue import METHODS, Tissue, glass, united
from slimscan.regions.tissue.picture import left_out

USUAL = ("colour", "otsu", "relative", "entropy")
AT = 2.5  # magnification: the paper's for glass removal
MARGIN = 64.0  # pixels of level 0
_UNKNOWN_SIDE = 4096  # pixels of the longer side where no magnification is known
_MOST_PIXELS = 64 << 20  # of the picture that the colour methods see


@dataclass(frozen=True)
class Wanted:
    """How tissue is found; all of it together counts.

    methods: names of METHODS; None: colour, otsu, relative, entropy when nothing else is said, else none. masks, annotations: files
    that tissue_files reads. model: best.pt of `slimscan slide train-tissue`. at: magnification at which all of them look,
    None: 2.5, or the slide's own where that is less. margin: pixels of level 0 around tissue that stay. chance: of the
    model, above which a pixel is tissue. device: of the model.
    """

    methods: tuple[str, ...] | None = None
    masks: tuple[Path, ...] = ()
    annotations: tuple[Path, ...] = ()
    model: Path | None = None
    at: float | None = None
    margin: float = MARGIN
    chance: float = 0.5
    device: str = "auto"

    def __post_init__(self) -> None:
        unknown = [name for name in self.methods or () if name not in METHODS]
        if unknown:
            raise InputError(f'no tissue method is called "{unknown[0]}"; allowed: {", ".join(METHODS)}')
        if self.methods == () and not (self.masks or self.annotations or self.model):
            raise InputError("nothing says where tissue is: name a method, a mask, annotations or a model")
        if not 0 <= self.margin < float("inf"):
            raise InputError(f"margin {self.margin:g}: want 0 or more pixels of the largest level")
        if not 0 < self.chance < 1:
            raise InputError(
                f"chance {self.chance:g}: want a share of tissue above 0 and below 1; 0.5 is the usual one"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The methods that are on."""
        if self.methods is None:
            return () if self.masks or self.annotations or self.model else USUAL
        return self.methods


def found(slide: Slide, wanted: Wanted | None = None) -> Tissue:
    """Tissue on the slide: the union of every method, mask, annotation file and model of `wanted` (None: as Wanted()).

    InputError: a magnification that the slide has not, or that makes a picture of more than 64 million pixels; masks and
    annotations of another slide. MissingExtra: a model without torch.
    """
    wanted = wanted or Wanted()
    at = view(slide, wanted.at)
    masks = [tissue_files.mask(Path(path), slide) for path in wanted.masks]
    masks += [tissue_files.drawn(Path(path), slide, at.step[0]) for path in wanted.annotations]
    if wanted.model is not None:
        masks.append(_by_model(at, wanted.model, wanted.chance, wanted.device))
    if wanted.names:
        pixels = at.whole()
        for name in wanted.names:  # one after the other: a mask of a large slide is 40 MB
            masks = [united([*masks, Tissue(METHODS[name](pixels), at.step, slide.levels[0].shape, (name,))])]
    return united(masks)


def view(slide: Slide, at: float | None = None) -> Scaled:
    """The slide at a magnification; None: 2.5, or its own where that is less, or 4096 pixels where none is known."""
    try:
        power = magnification(slide)
    except InputError:
        if at is not None:
            raise
        return fitting(slide, _UNKNOWN_SIDE)
    if at is not None and not 0 < at <= power * 1.02:
        raise InputError(
            f"{slide.path}: was scanned at {power:g}x; want a magnification above 0 and up to that, got {at:g}"
        )
    seen = scaled(slide, max(1.0, power / (at or AT)))
    if seen.shape[0] * seen.shape[1] > _MOST_PIXELS:
        if at is not None:
            raise InputError(
                f"{slide.path}: is {seen.shape[1]} x {seen.shape[0]} at {at:g}x, more than {_MOST_PIXELS >> 20} million"
                " pixels; choose a lower magnification"
            )
        return fitting(slide, _UNKNOWN_SIDE)
    return seen


def grids(slide: Slide, tissue: Tissue, margin: float = MARGIN) -> Mapping[int, NDArray[np.bool_]]:
    """For every level that has tiles: bool (rows, columns), True where a tile is glass and may be left out.

    margin: pixels of level 0 around tissue that stay. A mask without any tissue leaves everything in: a blank slide is
    more often a mask that failed.
    """
    found: dict[int, NDArray[np.bool_]] = {}
    for number, level in enumerate(slide.levels):
        if not level.tiles:
            continue
        grid = glass(tissue, level.shape, level.tile, margin)
        found[number] = grid if tissue.pixels.any() else np.zeros_like(grid)
    return found


def picture(
    slide: Slide, tissue: Tissue, grid: Mapping[int, NDArray[np.bool_]], level: int = 0, side: int = 1600
) -> NDArray[np.uint8]:
    """What is left out of a level: the slide, longer side at most `side`, uint8 (h, w, 3); see regions.tissue.picture."""
    if level not in grid:
        raise InputError(f"{slide.path}: level {level} has no tiles that can go; levels with tiles: {sorted(grid)}")
    one = slide.levels[level]
    return left_out(fitting(slide, side).whole(), tissue, grid[level], one.shape, one.tile)


def _by_model(at: Scaled, model: Path, chance: float, device: str) -> Tissue:
    from slimscan.models.network import TORCH

    TORCH.demand("finding tissue with a network")
    from slimscan.models.checkpoint import load
    from slimscan.models.predict import chosen, opened
    from slimscan.models.tissue_net_run import segmented

    network = load(model)
    forward = opened(network, str(chosen(device)))
    pixels = segmented(
        at.read, at.shape, forward, network.net, network.norm, patch=network.fit.patch[-1], chance=chance
    )
    return Tissue(pixels, at.step, at.slide.levels[0].shape, (f"network {network.sha256[:12]}",))
