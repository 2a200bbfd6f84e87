"""Who is trained on and who tests: parts of the patients, by the seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slimscan.errors import InputError
from slimscan.study.experiments.words import Experiment


@dataclass(frozen=True)
class Fold:
    """number: from 1. train, validation, test: patients; none is in two of them."""

    number: int
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def few(self, share: float) -> tuple[str, ...]:
        """The first patients of the training set in its shuffled order, at least one: smaller sets lie in larger ones."""
        return self.train[: max(1, round(share * len(self.train)))]


def folds_of(experiment: Experiment) -> tuple[Fold, ...]:
    """The folds; InputError when there are too few patients for one of them."""
    said = experiment.said["experiments"]
    patients, count = experiment.patients, said["folds"]
    order = [patients[i] for i in np.random.default_rng(experiment.said["run"]["seed"]).permutation(len(patients))]
    if count > 1 and len(patients) < count:
        raise InputError(
            f"[experiments] folds = {count}: there are {len(patients)} patients; want at most that many folds"
        )
    if count == 1:
        tests = [order[: max(1, round(said["test"] * len(order)))]]
    else:
        tests = [order[number::count] for number in range(count)]
    return tuple(_fold(number, order, test, said["validation"]) for number, test in enumerate(tests, start=1))


def _fold(number: int, order: Sequence[str], test: Sequence[str], share: float) -> Fold:
    rest = [one for one in order if one not in set(test)]
    held = max(1, round(share * len(rest))) if share > 0 else 0
    if len(rest) - held < 1:
        raise InputError(
            f"fold {number}: {len(test)} patients test, {held} validate, and none of {len(order)} is left to train on; "
            "add patients, or make [experiments] test and validation smaller"
        )
    return Fold(number, tuple(rest[held:]), tuple(rest[:held]), tuple(test))
