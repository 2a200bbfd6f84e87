"""What a run of nnU-Net on compressed copies is, declared in a TOML or by options: words, ranges, and the split of patients."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimscan.codecs import codec as find_codec
from slimscan.errors import InputError
from slimscan.models.nnunet import CONFIGURATIONS, PLANNERS, Machine, Training
from slimscan.study import declaration
from slimscan.study.cases import Case, find_cases
from slimscan.study.declared import CASES
from slimscan.study.words import Word, nearest, table

STUDY = (
    Word("name", "text", "of the run, for the dataset's name too: letters, digits, - and _", default="nnunet"),
    Word("question", "text", "what is to be answered, one sentence", default=""),
)

COPIES = (
    Word("codec", "text", "`slimscan codecs` lists them", default="jpeg2000"),
    Word("trained", "numbers", "ratios at which networks are trained, one network each; 1: uncompressed", default=(1.0,), low=1.0, high=1e6),
    Word("tested", "numbers", "ratios at which every network is tested; 1: uncompressed", default=(1.0, 10.0, 20.0), low=1.0, high=1e6),
    Word("size", "text", "what a ratio counts: the whole file, or the encoded chunks alone", default="file", allowed=("file", "payload")),
    Word("per", "text", "one quality for the volume, or the target met by every slice", default="volume", allowed=("volume", "slice")),
    Word("peak", "text", "of PSNRs: stored (2^bits - 1), range, dtype, or a number as text", default="stored"),
)  # fmt: skip

NETWORK = (
    Word("configuration", "text", "of nnU-Net", default="3d_fullres", allowed=CONFIGURATIONS),
    Word("planner", "text", "of nnU-Net", default="ExperimentPlanner", allowed=tuple(PLANNERS)),
    Word("epochs", "whole", "nnU-Net's own are 1000", default=1000, low=1, high=1_000_000),
    Word("iterations", "whole", "an epoch; nnU-Net's own are 250", default=250, low=1, high=1_000_000),
    Word("validations", "whole", "batches an epoch, for nnU-Net's own curves", default=50, low=1, high=1_000_000),
    Word("save_every", "whole", "epochs between checkpoints to go on from", default=10, low=1, high=1_000_000),
    Word("held_out", "number", "share of the patients that are tested and never trained on", default=0.25, low=0.01, high=0.9),
    Word("fold", "text", "all: every other patient is trained on; 0 to 4: nnU-Net's own split of those", default="all", allowed=("all", "0", "1", "2", "3", "4")),
    Word("seed", "whole", "of the split, the weights and the batches", default=2021, low=0, high=2**31 - 1),
    Word("mirror", "flag", "predict mirrored copies too and take the mean, nnU-Net's default: 8 times the work in 3D", default=True),
    Word("step", "number", "of the sliding window, a share of the patch", default=0.5, low=0.1, high=1.0),
    Word("gpu_memory_gb", "number", "that the planner counts on; 0: nnU-Net's own", default=0.0, low=0.0, high=1000.0, unit="GB"),
)  # fmt: skip

RUN = (
    Word("device", "text", "auto: a GPU where torch finds one", default="auto", allowed=("auto", "cpu", "cuda")),
    Word("threads", "whole", "of torch, OpenMP and preprocessing; 0: all cores", default=0, low=0, high=4096),
    Word("workers", "whole", "processes that prepare batches; 0: none, and the seed decides their order", default=0, low=0, high=256),
    Word("compile", "flag", "torch.compile on a GPU; needs a C compiler", default=False),
    Word("timeout", "number", "for one planning, training or prediction", default=14 * 24.0, low=0.001, high=10_000.0, unit="hours"),
)  # fmt: skip

TABLES = {"study": STUDY, "cases": CASES, "copies": COPIES, "nnunet": NETWORK, "run": RUN}


@dataclass(frozen=True)
class Split:
    """Cases that are trained on and cases that are tested; no patient is in both."""

    train: tuple[Case, ...]
    test: tuple[Case, ...]


@dataclass(frozen=True)
class NnunetPlan:
    """A checked declaration. said: the words by table. base: the folder that patterns count from."""

    said: Mapping[str, Mapping[str, Any]]
    base: Path

    @property
    def classes(self) -> Mapping[str, tuple[int, ...]]:
        """Names and label values."""
        return dict(self.said["cases"]["classes"])

    @property
    def training(self) -> Training:
        """As nnU-Net's door wants it."""
        words = self.said["nnunet"]
        names = (
            "configuration",
            "planner",
            "fold",
            "epochs",
            "iterations",
            "validations",
            "save_every",
            "seed",
            "gpu_memory_gb",
        )
        return Training(**{name: words[name] for name in names})

    @property
    def machine(self) -> Machine:
        """Where it runs."""
        words = self.said["run"]
        return Machine(words["device"], words["threads"], words["workers"], 3600 * words["timeout"], words["compile"])


def load(path: Path) -> NnunetPlan:
    """The run that a TOML declares; InputError naming the file, the word and what is allowed."""
    return declaration.read(
        path, "docs/nnunet-monai.md has one to copy", lambda given, _: parse(given, path.resolve().parent)
    )


def parse(given: Mapping[str, Any], base: Path) -> NnunetPlan:
    """The run of parsed tables; InputError for a word that does not fit."""
    for name in given:
        if name not in TABLES:
            raise InputError(f"the table [{name}] is not known; allowed: {', '.join(TABLES)}{nearest(name, TABLES)}")
    said = {name: table(f"[{name}]", words, given.get(name, {})) for name, words in TABLES.items()}
    if not said["cases"]["classes"]:
        raise InputError("[cases] classes: nnU-Net needs names with label values, classes = {liver = 1}")
    if (said["cases"]["images"] is None) == (said["cases"]["table"] is None):
        raise InputError("[cases]: want either images or table")
    find_codec(said["copies"]["codec"])
    plan = NnunetPlan(said, base)
    _ = plan.training, plan.machine
    return plan


def split(plan: NnunetPlan, memo: Path | None = None) -> Split:
    """The cases, patients dealt by the seed. InputError without masks, or with too few patients for both sides."""
    cases = find_cases(plan.base, plan.said["cases"], memo)
    bare = next((case for case in cases if case.mask is None), None)
    if bare is not None:
        raise InputError(f"{bare.path}: has no reference mask; give [cases] masks")
    patients = sorted({case.case for case in cases})
    words = plan.said["nnunet"]
    tested = max(1, round(words["held_out"] * len(patients)))
    least = 1 if words["fold"] == "all" else 5
    if len(patients) - tested < least:
        raise InputError(
            f"[cases]: {len(patients)} patients, {tested} of them held out, leave {len(patients) - tested} to train on; "
            f"fold = {words['fold']} needs at least {least}"
        )
    random.Random(words["seed"]).shuffle(patients)
    held = set(patients[:tested])
    return Split(
        tuple(case for case in cases if case.case not in held), tuple(case for case in cases if case.case in held)
    )
