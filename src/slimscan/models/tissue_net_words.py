"""What the tissue network is and how it is trained, without torch: section 2.2 of the slide paper (wsi2025)."""

from __future__ import annotations

from dataclasses import dataclass

from slimscan.models.spec import FitSpec, NetSpec, NormSpec

NET = NetSpec("tissue", dims=2, inputs=3, classes=2, levels=6, width=32, names=("tissue",))
NORM = NormSpec("none", 0.0, 255.0)
MAGNIFICATIONS = (1.25, 2.5, 5.0, 10.0, 20.0, 40.0)
PATCH = 512  # the side at which the paper gives its time a patch
OVERLAP = 0.1


def usual(steps: int = 10_000, patch: int = PATCH, batch: int = 8, **words: object) -> FitSpec:
    """Dice without the background, AdamW with at most 1e-4, early stopping after 20 validations without gain.

    The paper holds the rate; here it is the top of one cycle, as in every training of this package. It prints neither batch
    nor steps: up to 300 epochs.
    """
    said = {"loss": "dice", "patch": (1, patch, patch), "batch": batch, "steps": steps, "rate": 1e-4, "patience": 20}
    said |= {"decay": 4e-3, "flips": "yx", "foreground": 0.0, "every": min(100, steps)}  # 4e-3: TensorFlow's default
    made: object = FitSpec
    return made(**(said | words))  # type: ignore[operator, no-any-return] # checked by FitSpec itself


@dataclass(frozen=True, slots=True)
class Augment:
    """The paper's augmentations. Each happens to a share `chance` of the patches, flips to a half.

    From the paper: the kinds, what is added to brightness (-15 to 15), the 30 x 30 grid of glass lines and their factor 0.4.
    Its other ranges are not in the text that we have; those here are ours.
    """

    chance: float = 0.5
    blur: tuple[float, float] = (0.0, 1.5)  # deviation of the Gaussian, pixels
    pool: tuple[int, int] = (2, 4)  # side of the squares that become their mean
    factor: tuple[float, float] = (0.8, 1.2)  # of brightness
    added: tuple[float, float] = (-15.0, 15.0)  # to brightness
    hue: tuple[float, float] = (0.8, 1.2)  # factor of hue and saturation
    grid: int = 30  # rows and columns that may become glass lines
    line: float = 0.05  # chance of each
    dark: float = 0.4  # factor of a glass line
