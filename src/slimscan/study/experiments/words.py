"""The TOML of the experiments: every word declared once; those of networks and trainings come from models.spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slimscan.codecs import codec as find_codec
from slimscan.errors import InputError
from slimscan.models.spec import PRESETS, FitSpec, NetSpec, NormSpec, preset, usual
from slimscan.study import declaration
from slimscan.study.cases import Case, find_cases
from slimscan.study.declared import CASES, STUDY
from slimscan.study.training_words import NET_WORDS, NORM_WORDS, words_of
from slimscan.study.words import Word, nearest, table

RECIPES = ("elkhoury2021", "kurmukov2024")
EXPERIMENTS = ("a", "b", "c", "d", "e")
FIT_WORDS = ("loss", "weights", "patch", "batch", "steps", "rate", "decay", "flips", "foreground", "every", "patience")

NETWORK = (
    Word("name", "text", "short name of the network, for tables and folders", example="3d"),
    Word(
        "preset",
        "text",
        "a known network, whose words hold where nothing else is said",
        default=None,
        allowed=tuple(PRESETS),
    ),
    *words_of(NetSpec, NET_WORDS),
    *words_of(FitSpec, FIT_WORDS),
)
GRID = (
    Word("spacing_mm", "numbers", "images and masks are resampled to steps x, y, z; left out: as they are", default=None, low=1e-6, high=1e3, unit="mm"),
    Word("size", "numbers", "and cropped or padded about their centre to x, y, z voxels; left out: all that there is", default=None, low=1, high=4096),
    Word("bits", "whole", "values become 0 .. 2^bits - 1 between low and high; 0: whole numbers as they are", default=0, low=0, high=16),
    Word("low", "number", "that becomes 0; left out: each image's smallest value", default=None),
    Word("high", "number", "that becomes 2^bits - 1; left out: each image's largest value", default=None),
)  # fmt: skip
COPIES = (
    Word("codec", "text", "slice by slice: jpeg2000 ...; whole slabs: sperr, jpeg2000z ...; `slimscan codecs` lists them", default="jpeg2000"),
    Word("ratios", "numbers", "raw bytes / stored bytes; 1 is the uncompressed image and always among them", low=1.0, high=1e6),
    Word("size", "text", "stored bytes are the encoded chunks alone, or the whole file", default="payload", allowed=("payload", "file")),
    Word("per", "text", "the ratio is met by the volume with one quality, or by every slice", default="volume", allowed=("volume", "slice")),
    Word("peak", "number", "of PSNRs; left out: 4096 for CT in its own numbers, else max - min over the set (Kurmukov eq. 3)", default=None, low=1e-9),
)  # fmt: skip
PLAN = (
    Word("which", "texts", "a: clean, tested at all ratios; b: fine-tuned and tested at each; c: fine-tuned at one, tested at all; d: trained at each, tested at all; e: few-shot", allowed=EXPERIMENTS),
    Word("folds", "whole", "parts of the patients, each tested once by networks trained on the others; 1: one split", default=1, low=1, high=1000),
    Word("test", "number", "share of the patients that test when folds = 1", default=0.2, low=0.0, high=1.0),
    Word("validation", "number", "share of the training patients that choose the best weights; 0: the last weights", default=0.0, low=0.0, high=0.9),
    Word("fine_tuned", "texts", "networks of experiments b, c; left out: all", default=None),
    Word("fine_tune_steps", "whole", "steps of fine-tuning, on clean and compressed images together", default=200, low=1, high=10_000_000),
    Word("fine_tune_rate", "number", "its highest learning rate", default=1e-3, low=1e-8, high=1.0),
    Word("fine_tune_at", "numbers", "ratios of experiment c; left out: all", default=None, low=1.0),
    Word("scratch", "texts", "networks of experiments d, e; left out: all", default=None),
    Word("shares", "numbers", "of the training patients in experiment e; left out: 1 / ratio for every ratio", default=None, low=1e-6, high=1.0),
    Word("threshold", "number", "tolerance: the highest ratio with a mean DSC of at least this", default=0.7, low=0.0, high=1.0),
)  # fmt: skip
CONTRACT = (
    Word("delta", "number", "mean loss of DSC below this is no harm; the reference is the same network on uncompressed images", default=0.02, low=1e-6, high=1.0),
    Word("cap", "number", "a single patient's loss counts at most this much; left out: 5 delta", default=None, low=1e-6, high=1.0),
    Word("pi0", "number", "at most this share of patients may lose more than the cap", default=0.10, low=1e-6, high=0.999999),
    Word("alpha", "number", "risk of certifying a harmful ratio", default=0.05, low=1e-6, high=0.5),
)  # fmt: skip
RUN = (
    Word("seed", "whole", "of folds, weights, crops and flips", default=2021, low=0, high=2**31 - 1),
    Word("workers", "whole", "trainings at once; left out: the cores of this machine", default=None, low=1, high=4096),
    Word("threads", "whole", "of each training on the CPU", default=1, low=1, high=4096),
    Word("device", "text", "auto: a GPU when torch finds one", default="auto", allowed=("auto", "cpu", "cuda")),
)
TABLES: Mapping[str, tuple[Word, ...]] = {
    "study": (Word("recipe", "text", "which protocol this is", allowed=RECIPES), *STUDY),
    "cases": CASES, "normalise": words_of(NormSpec, NORM_WORDS), "grid": GRID, "copies": COPIES,
    "experiments": PLAN, "contract": CONTRACT, "run": RUN,
}  # fmt: skip


@dataclass(frozen=True)
class Net:
    """A network with how it is trained."""

    name: str
    spec: NetSpec
    fit: FitSpec


@dataclass(frozen=True)
class Experiment:
    """A checked TOML with its cases. said: every table's words. ratios: in order, 1 first. classes: name -> label values.

    fine_tuned, scratch: names of the networks of experiments b, c and of d, e.
    """

    said: Mapping[str, Mapping[str, Any]]
    cases: tuple[Case, ...]
    networks: tuple[Net, ...]
    norm: NormSpec
    ratios: tuple[float, ...]
    classes: Mapping[str, tuple[int, ...]]
    fine_tuned: tuple[str, ...]
    scratch: tuple[str, ...]
    base: Path

    @property
    def which(self) -> tuple[str, ...]:
        """The experiments, in the order of their letters."""
        return tuple(one for one in EXPERIMENTS if one in self.said["experiments"]["which"])

    @property
    def patients(self) -> tuple[str, ...]:
        """The independent units, in the order of their names."""
        return tuple(sorted({case.case for case in self.cases}))

    def network(self, name: str) -> Net:
        """The network of that name."""
        return next(one for one in self.networks if one.name == name)


def ratio_text(ratio: float) -> str:
    """1, 24, 2.5."""
    return f"{ratio:g}"


def load(path: Path) -> Experiment:
    """The experiment that a TOML declares; patterns count from its folder. InputError naming the file and the word."""
    return declaration.read(
        path,
        "`slimscan study new --recipe elkhoury2021` writes one",
        lambda given, _: parse(given, path.resolve().parent),
    )


def parse(given: Mapping[str, Any], base: Path) -> Experiment:
    """The experiment of parsed TOML."""
    allowed = (*TABLES, "networks")
    for name in given:
        if name not in allowed:
            raise InputError(f"the table [{name}] is not known; allowed: {', '.join(allowed)}{nearest(name, allowed)}")
    said: dict[str, dict[str, Any]] = {
        name: table(f"[{name}]", words, given.get(name, {})) for name, words in TABLES.items()
    }
    classes = said["cases"]["classes"]
    if not classes:
        raise InputError("[cases]: classes is missing; want names with label values, {anterior = 1, posterior = 2}")
    values = [value for some in classes.values() for value in some]
    if len(set(values)) != len(values):
        raise InputError("[cases] classes: a label value belongs to two classes; a voxel has one class")
    if not said["cases"]["masks"] and not said["cases"]["table"]:
        raise InputError("[cases]: masks is missing; networks are trained and measured by reference masks")
    _admit(said)
    networks = _networks(given.get("networks"), classes, said["run"])
    norm = NormSpec(**{name: said["normalise"][name] for name in NORM_WORDS})
    fine_tuned, scratch = (_named(said["experiments"], word, networks) for word in ("fine_tuned", "scratch"))
    ratios = tuple(sorted({1.0, *said["copies"]["ratios"]}))
    cases = find_cases(base, said["cases"])
    return Experiment(said, cases, networks, norm, ratios, classes, fine_tuned, scratch, base)


def _admit(said: Mapping[str, Mapping[str, Any]]) -> None:
    if find_codec(said["copies"]["codec"]).knob is None:
        raise InputError(f'[copies] codec = "{said["copies"]["codec"]}": is exact only; it has no ratios to study')
    for word in ("spacing_mm", "size"):
        if said["grid"][word] is not None and len(said["grid"][word]) != 3:
            raise InputError(f"[grid] {word} = {list(said['grid'][word])}: want three numbers, x, y and z")
    grid = said["grid"]
    if grid["bits"] == 0 and (grid["low"] is not None or grid["high"] is not None):
        raise InputError("[grid]: low and high scale the values and need bits, for example bits = 8")
    if grid["low"] is not None and grid["high"] is not None and not grid["low"] < grid["high"]:
        raise InputError(f"[grid]: low {grid['low']:g} must be below high {grid['high']:g}")
    plan, ratios = said["experiments"], said["copies"]["ratios"]
    for ratio in plan["fine_tune_at"] or ():
        if ratio not in ratios or ratio == 1:
            told = ", ".join(ratio_text(one) for one in sorted(ratios) if one > 1)
            raise InputError(f"[experiments] fine_tune_at = {ratio:g}: is no ratio of [copies]; allowed: {told}")
    if all(ratio == 1 for ratio in ratios):
        raise InputError("[copies] ratios: want at least one above 1")


def _networks(given: Any, classes: Mapping[str, Any], run: Mapping[str, Any]) -> tuple[Net, ...]:
    if not isinstance(given, list) or not given:
        raise InputError('[[networks]]: want at least one, for example [[networks]] name = "3d"')
    out: dict[str, Net] = {}
    labels = (0, *(values[0] for values in classes.values()))
    for number, one in enumerate(given, start=1):
        said = table(f"[[networks]] {number}", NETWORK, _preset(one))
        if said["name"] in out or "/" in said["name"]:
            raise InputError(f'[[networks]] {number}: name = "{said["name"]}" comes twice or holds a /; choose another')
        net = NetSpec(
            **{word: said[word] for word in NET_WORDS}, classes=len(labels), labels=labels, names=tuple(classes)
        )
        patch = tuple(int(side) for side in said["patch"] if side == int(side))
        if len(patch) == 3 and net.dims == 2:
            patch = (1, *patch[1:])
        if len(patch) != 3 or any(side % net.multiple for side in patch[3 - net.dims :]):
            raise InputError(
                f"[[networks]] {said['name']}: patch = {list(patch)}: want z, y, x, multiples of {net.multiple} "
                f"for {net.levels} levels"
            )
        fit = FitSpec(
            **{word: said[word] for word in FIT_WORDS if word != "patch"},
            patch=(patch[0], patch[1], patch[2]), seed=run["seed"], device=run["device"], threads=run["threads"],
        )  # fmt: skip
        out[said["name"]] = Net(said["name"], net, fit)
    return tuple(out.values())


def _preset(one: Any) -> Any:
    """A table of a network with the words of its preset where it says none."""
    if not isinstance(one, Mapping) or one.get("preset") not in PRESETS:
        return one
    known = preset(one["preset"])
    fit = usual(known)
    own = {word: getattr(known, word) for word in NET_WORDS} | {word: getattr(fit, word) for word in FIT_WORDS}
    return {**{word: value for word, value in own.items() if value != ()}, **one}


def _named(plan: Mapping[str, Any], word: str, networks: Sequence[Net]) -> tuple[str, ...]:
    names = [net.name for net in networks]
    for name in plan[word] or ():
        if name not in names:
            raise InputError(f'[experiments] {word} = "{name}": is no network; allowed: {", ".join(names)}')
    return tuple(plan[word] or names)


def fine_tuning(net: Net, experiment: Experiment) -> FitSpec:
    """How a network is fine-tuned: as it was trained, but for steps and rate."""
    plan = experiment.said["experiments"]
    return replace(net.fit, steps=plan["fine_tune_steps"], rate=plan["fine_tune_rate"])
