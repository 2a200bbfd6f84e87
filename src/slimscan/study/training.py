"""The images and masks of one training: found, checked against each other, made ready; some patients held back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.errors import InputError
from slimscan.models.crops import crops
from slimscan.models.normal import ready
from slimscan.models.spec import FitSpec, NetSpec, NormSpec
from slimscan.nouns import Pixels
from slimscan.press.open import read
from slimscan.study import patterns
from slimscan.study.apart import NEAR_MM, apart_mm
from slimscan.study.task import real


@dataclass(frozen=True)
class Pair:
    """One image in its real unit, float32 (z, y, x), and its labels as they stand in the mask."""

    patient: str
    name: str
    pixels: Pixels
    labels: Pixels


@dataclass(frozen=True)
class Split:
    """Pairs that are trained on, and those of the patients that are held back."""

    train: Sequence[Pair]
    held: Sequence[Pair]


def pairs(base: Path, images: Sequence[str], masks: str) -> list[Pair]:
    """Every image of the patterns with its mask, in the order of the names.

    The patient is {patient} of the pattern, else {case}, else the file's name. InputError for an image without a mask, a
    mask on another grid, labels that are no whole numbers from 0 to 65535, and NaN in an image.
    """
    found = []
    for pattern in images:
        for one in patterns.find(base, pattern):
            name = one.holes.get("case", one.stem)
            place = patterns.fill(base, masks, {"case": name, **one.holes})
            if place is None:
                raise InputError(f"{one.path}: has no mask ({masks}); add it, or leave the image out")
            found.append(_pair(one.holes.get("patient", name), name, one.path, place))
    return sorted(found, key=lambda pair: (pair.patient, pair.name))


def _pair(patient: str, name: str, image: Path, mask: Path) -> Pair:
    picture, drawn = read(image), read(mask)
    labels = np.asarray(drawn.pixels)
    if labels.shape != picture.shape[:3]:
        raise InputError(
            f"{mask}: the mask is {labels.shape}, its image {picture.shape[:3]}; give it on the image's grid"
        )
    apart = apart_mm(picture, drawn)
    if apart > NEAR_MM:
        raise InputError(f"{mask}: lies up to {apart:.3g} mm beside its image {image}; give it on the image's grid")
    whole = np.rint(labels.astype(np.float64))
    if not np.array_equal(whole, labels) or whole.min(initial=0) < 0 or whole.max(initial=0) > 65535:
        raise InputError(f"{mask}: holds values that are no labels; want whole numbers from 0 to 65535")
    pixels = real(picture)
    if not np.isfinite(pixels).all():
        raise InputError(
            f"{image}: holds NaN or infinity; a network cannot learn from them, so replace or leave it out"
        )
    return Pair(patient, name, pixels.astype(np.float32), whole.astype(np.uint16))


def classes_of(found: Sequence[Pair], said: Mapping[str, int] | None) -> dict[str, int]:
    """Names and label values of the classes: as said, else every value that occurs, called by its number.

    InputError for a class that occurs in no mask, two of one value, and masks without any label.
    """
    counts: dict[int, int] = {}
    for pair in found:
        for value in np.unique(pair.labels):
            counts[int(value)] = counts.get(int(value), 0) + 1
    counts.pop(0, None)
    there = ", ".join(map(str, sorted(counts))) or "none"
    if not said:
        if not 0 < len(counts) < 256:
            raise InputError(f"the masks hold {len(counts)} labels beside 0; want 1 to 255, or name those that count")
        return {str(value): value for value in sorted(counts)}
    if len(set(said.values())) != len(said):
        raise InputError(f"classes {dict(said)}: two have the same label")
    for name, value in said.items():
        if value not in counts:
            raise InputError(
                f'class "{name}" (label {value}) occurs in none of {len(found)} masks; labels there: {there}'
            )
    return dict(said)


def split(found: Sequence[Pair], share: float, seed: int) -> Split:
    """A share of the patients held back, at least one unless share is 0. InputError when nobody is left to train on."""
    patients = sorted({pair.patient for pair in found})
    count = 0 if share == 0 else max(1, round(share * len(patients)))
    if count >= len(patients):
        raise InputError(f"{len(patients)} patients, {count} of them held back: none is left to train on; add cases")
    back = {patients[i] for i in np.random.default_rng(seed).permutation(len(patients))[:count]}
    return Split([pair for pair in found if pair.patient not in back], [pair for pair in found if pair.patient in back])


def digest(parts: Split) -> str:
    """SHA-256 of the voxels that are trained on and held back, in their order; names and places do not count."""
    found = hashlib.sha256()
    for some in (parts.train, parts.held):
        found.update(f"{len(some)}\n".encode())
        for pair in some:
            found.update(f"{pair.pixels.shape}\n".encode())
            found.update(np.ascontiguousarray(pair.pixels).tobytes() + np.ascontiguousarray(pair.labels).tobytes())
    return found.hexdigest()


def channels(labels: Pixels, net: NetSpec) -> Pixels:
    """Label values to channel indices, uint8; values that the network does not know are background."""
    table = np.zeros(65536, np.uint8)
    for index, value in enumerate(net.values):
        table[value] = index
    return table[labels]


def batches_of(train: Sequence[Pair], net: NetSpec, norm: NormSpec, fit: FitSpec) -> Callable[[int], Any]:
    """What models.fit wants: crops from a step on. norm: measured already."""
    images = [ready(pair.pixels, norm) for pair in train]
    masks = [channels(pair.labels, net) for pair in train]
    return lambda step: crops(images, masks, fit, net.dims, fit.seed, step)


def validation(held: Sequence[Pair], net: NetSpec, device: str) -> Callable[[Any], dict[str, float]] | None:
    """DSC of every class over the held-back pairs, by name, and "mean"; None when there are none.

    Each is the mean over pairs in which the class is drawn or predicted (El Khoury 2021, eq. 1); in none: left out.
    """
    if not held:
        return None

    def validate(network: Any) -> dict[str, float]:
        from slimscan.models.predict import labels

        scores: dict[str, list[float]] = {}
        for pair in held:
            answer = labels(network, pair.pixels, device)
            for index, value in enumerate(net.values[1:]):
                found, true = answer == value, pair.labels == value
                total = int(found.sum()) + int(true.sum())
                if total:
                    name = net.names[index] if net.names else str(value)
                    scores.setdefault(name, []).append(2 * int((found & true).sum()) / total)
        means = {name: float(np.mean(values)) for name, values in scores.items()}
        return means | {"mean": float(np.mean(list(means.values()))) if means else 0.0}

    return validate
