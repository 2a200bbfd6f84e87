"""Which trainings the experiments need, each once, and at which ratios each is tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slimscan.study.experiments.folds import Fold
from slimscan.study.experiments.words import Experiment, Net, fine_tuning, ratio_text

CLEAN = "1"


@dataclass(frozen=True)
class Training:
    """One network to be trained. trained: "1" clean, "48" on copies at 48, "1+48" fine-tuned at 48, "few:0.2" on a fifth.

    patients: trained on. ratios: the copies that it sees. start: the training that it begins from, or None.
    tests: (ratio, letters of the experiments that ask for it), mildest first.
    """

    fold: Fold
    net: Net
    trained: str
    patients: tuple[str, ...]
    ratios: tuple[str, ...]
    start: str | None
    tests: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """For messages and files: fold, network and training."""
        return f"{self.fold.number}/{self.net.name}/{self.trained.replace(':', '-')}"

    def folder(self, root: Path) -> Path:
        """Where its weights lie."""
        return root / "nets" / self.name

    def before(self, root: Path) -> Path | None:
        """The folder of the training that it begins from."""
        return None if self.start is None else root / "nets" / str(self.fold.number) / self.net.name / self.start


def share_text(share: float) -> str:
    """few:0.2."""
    return f"few:{share:.4g}"


def shares_of(experiment: Experiment) -> tuple[float, ...]:
    """Of the training patients, largest first: as said, or as many bytes as each ratio leaves of all."""
    said = experiment.said["experiments"]["shares"]
    return tuple(sorted(said or [1 / ratio for ratio in experiment.ratios if ratio > 1], reverse=True))


def trainings(experiment: Experiment, folds: Sequence[Fold]) -> list[Training]:
    """All trainings; one comes after that from which it begins."""
    return [one for fold in folds for net in experiment.networks for one in _of(experiment, fold, net)]


def _of(experiment: Experiment, fold: Fold, net: Net) -> list[Training]:
    which, plan = experiment.which, experiment.said["experiments"]
    every = [ratio_text(ratio) for ratio in experiment.ratios]
    tuned = net.name in experiment.fine_tuned and bool({"b", "c"} & set(which))
    scratch = net.name in experiment.scratch and bool({"d", "e"} & set(which))
    at_one = {ratio_text(ratio) for ratio in plan["fine_tune_at"] or experiment.ratios}
    letters: dict[tuple[str, str], str] = {}

    def ask(letter: str, trained: str, tested: Sequence[str]) -> None:
        if letter in which:
            for ratio in tested:
                letters[trained, ratio] = letters.get((trained, ratio), "") + letter

    ask("a", CLEAN, every)
    for ratio in every[1:]:
        if tuned:
            ask("b", f"1+{ratio}", [ratio])
        if tuned and ratio in at_one:
            ask("c", f"1+{ratio}", every)
    if tuned:
        for letter in ("b", "c"):
            ask(letter, CLEAN, every)
    if scratch:
        for ratio in every:
            ask("d", ratio, every)
            ask("e", ratio, [CLEAN, ratio] if ratio != CLEAN else [CLEAN])
        if "e" in which:
            for few in shares_of(experiment):
                ask("e", share_text(few), [CLEAN])
    out = []
    for trained in dict.fromkeys(trained for trained, _ in letters):
        tests = tuple((ratio, letters[trained, ratio]) for ratio in every if (trained, ratio) in letters)
        if trained.startswith("few:"):
            out.append(Training(fold, net, trained, fold.few(float(trained[4:])), (CLEAN,), None, tests))
        elif "+" in trained:
            tuning = Net(net.name, net.spec, fine_tuning(net, experiment))
            ratios = (CLEAN, trained.partition("+")[2])
            out.append(Training(fold, tuning, trained, fold.train, ratios, CLEAN, tests))
        else:
            out.append(Training(fold, net, trained, fold.train, (trained,), None, tests))
    return out
