"""nnU-Net's dataset format (version 2): a folder DatasetNNN_Name with imagesTr, labelsTr and dataset.json.

    nnUNet_raw/Dataset501_Liver/dataset.json
                               /imagesTr/CASE_0000.nii.gz   one file a channel, the channel's number in four digits
                               /labelsTr/CASE.nii.gz        0 is background, then 1, 2, 3 ... without a gap

How an image becomes a file is the caller's: `write(volume, path)`.
Source: nnU-Net v2, documentation/dataset_format.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.errors import InputError
from slimscan.nouns import Pixels, Volume

ENDINGS = (".nii.gz", ".nii", ".mha", ".nrrd")  # those that nnU-Net's readers and slimscan's writers share
CHANNELS = {"CT": "CT"}  # nnU-Net cuts and scales values named CT by the training set, and takes z-scores of all others

Write = Callable[[Volume, Path], Any]
Classes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Dataset:
    """One dataset on disk. classes: their names and the label values that they have in the user's masks.

    In nnU-Net's masks they are 1, 2, 3 ... in this order. raw: the folder that nnUNet_raw names.
    """

    raw: Path
    number: int
    name: str
    classes: Classes
    channel: str = "image"
    ending: str = ".nii.gz"

    def __post_init__(self) -> None:
        if not 1 <= self.number <= 999:
            raise InputError(f"nnU-Net dataset number {self.number}: allowed are 1 to 999")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", self.name):
            raise InputError(f'nnU-Net dataset name "{self.name}": want letters, digits, - and _')
        if self.ending not in ENDINGS:
            raise InputError(f'nnU-Net file ending "{self.ending}": allowed are {", ".join(ENDINGS)}')
        if not self.classes:
            raise InputError("nnU-Net: no classes; want names with label values, {liver = 1}")
        seen: dict[int, str] = {}
        for name, values in self.classes.items():
            for value in values:
                if value == 0 or value in seen:
                    why = "is the background" if value == 0 else f"is {seen[value]} already"
                    raise InputError(
                        f"nnU-Net: class {name}, label value {value} {why}; every value belongs to one class"
                    )
                seen[value] = name

    @property
    def title(self) -> str:
        """Dataset501_Liver."""
        return f"Dataset{self.number:03d}_{self.name}"

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.raw / self.title

    def add(self, case: str, image: Volume, mask: Pixels, write: Write) -> tuple[Path, Path]:
        """Write one training case: its image and its labels (z, y, x), any values. (image file, label file).

        InputError for a mask of another shape, and for a case name that nnU-Net would not find again.
        """
        if mask.shape != image.shape[:3]:
            raise InputError(
                f"{case}: its mask is {mask.shape}, its image {image.shape[:3]}; give masks on the same grid"
            )
        paths = (
            self.folder / "imagesTr" / channel_file(case, self.ending),
            self.folder / "labelsTr" / f"{case}{self.ending}",
        )
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        write(bare(image), paths[0])
        write(bare(image, to_indices(mask, self.classes)), paths[1])
        return paths

    def finish(self, cases: int) -> Path:
        """Write dataset.json for so many training cases."""
        said = {
            "channel_names": {"0": self.channel},
            "labels": {"background": 0} | {name: index for index, name in enumerate(self.classes, start=1)},
            "numTraining": cases,
            "file_ending": self.ending,
            "name": self.name,
        }
        place = self.folder / "dataset.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(said, indent=2) + "\n", "utf-8")
        return place


def channel_file(case: str, ending: str, channel: int = 0) -> str:
    """CASE_0000.nii.gz; InputError for names that are no plain file names."""
    if not re.fullmatch(r"[^/\\\s]+", case) or case.startswith("."):
        raise InputError(f'case "{case}": nnU-Net needs names without blanks and slashes that begin with no dot')
    return f"{case}_{channel:04d}{ending}"


def bare(image: Volume, pixels: Pixels | None = None) -> Volume:
    """The image with its grid and nothing else of its header, so that image and mask get the same one.

    pixels: labels to put in its place; without, the stored samples with slope and intercept.
    """
    if len(image.shape) != 3:
        raise InputError(
            f"{image.source or 'image'}: has {image.shape[3]} colours a voxel; nnU-Net takes grey volumes here"
        )
    if pixels is not None:
        bits = 8 * pixels.dtype.itemsize
        return Volume(pixels, image.affine_mm, bits=bits, source=image.source)
    return Volume(
        np.asarray(image.pixels[0 : image.shape[0]]),
        image.affine_mm,
        bits=image.bits,
        slope=image.slope,
        intercept=image.intercept,
        source=image.source,
    )


def to_indices(mask: Pixels, classes: Classes) -> Pixels:
    """Labels (z, y, x) of any values as uint8 0, 1, 2 ... in the order of the classes; values of no class become 0."""
    out = np.zeros(mask.shape, np.uint8)
    for index, values in enumerate(classes.values(), start=1):
        out[np.isin(mask, values)] = index
    return out


def model_json(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(dataset.json, plans.json) of a trained model's folder; InputError in a sentence when it is none."""
    found = []
    for name in ("dataset.json", "plans.json"):
        place = folder / name
        try:
            found.append(json.loads(place.read_text("utf-8")))
        except (OSError, ValueError):
            raise InputError(
                f"{folder}: is no trained nnU-Net model ({name} is missing or damaged); want a folder like "
                "nnUNet_results/Dataset501_Name/nnUNetTrainer__nnUNetPlans__3d_fullres"
            ) from None
    dataset, plans = found
    for key in ("channel_names", "labels", "file_ending"):
        if key not in dataset:
            raise InputError(f"{folder / 'dataset.json'}: has no {key}; it was not written by nnU-Net version 2")
    return dataset, plans


def checkpoints(folder: Path, folds: Sequence[str], name: str) -> list[Path]:
    """The checkpoints of these folds, of all that are there when none is named; InputError when one is missing."""
    wanted = [folder / f"fold_{fold}" / name for fold in folds] or sorted(folder.glob(f"fold_*/{name}"))
    missing = next((place for place in wanted if not place.is_file()), None)
    if missing or not wanted:
        there = ", ".join(sorted(str(one.relative_to(folder)) for one in folder.glob("fold_*/*.pth"))) or "none"
        raise InputError(f"{missing or folder / 'fold_*' / name}: no such checkpoint; there are: {there}")
    return wanted
