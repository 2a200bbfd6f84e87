"""nnU-Net v2 run by slimscan: plan and preprocess, train, predict; each in a child process with folders of its own.

    Folders(root)                root/nnUNet_raw, root/nnUNet_preprocessed, root/nnUNet_results
    plan(...)    -> Path         the plans, after fingerprint, planning and preprocessing
    train(...)   -> Path         the trained model's folder; goes on from checkpoint_latest.pth when there is one
    predict(...) -> None         label images of files

nnU-Net is called through its Python interface: its command lines look a trainer up by importing every variant, which fails
where torchvision is missing. What is trained here is a plain nnUNetTrainer of another length, so nnU-Net's own commands
read it. Isensee et al., nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation,
Nature Methods 18, 2021.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slimscan import child
from slimscan.errors import InputError
from slimscan.models import command
from slimscan.models.answer import BadAnswer
from slimscan.models.nnunet_data import Dataset
from slimscan.nouns import Needs

NNUNET = Needs("nnunetv2", "nnunetv2", "nnunet")
CONFIGURATIONS = ("2d", "3d_fullres", "3d_lowres")
PLANNERS = {  # nnU-Net's planners, and what each calls its plans
    "ExperimentPlanner": "nnUNetPlans",
    "nnUNetPlannerResEncM": "nnUNetResEncUNetMPlans",
    "nnUNetPlannerResEncL": "nnUNetResEncUNetLPlans",
    "nnUNetPlannerResEncXL": "nnUNetResEncUNetXLPlans",
}
TRAINER = "nnUNetTrainer"
DAY = 86400.0


@dataclass(frozen=True)
class Machine:
    """Where it runs. device: auto, cpu, cuda. threads: of torch, OpenMP and preprocessing, 0: all cores.

    workers: processes that prepare batches; 0 draws them in the training process itself, in an order that the seed
    decides. timeout: seconds after which a child is stopped; compile: torch.compile on a GPU (needs a C compiler).
    """

    device: str = "auto"
    threads: int = 0
    workers: int = 0
    timeout: float = 14 * DAY
    compile: bool = False


@dataclass(frozen=True)
class Training:
    """How long and on what. fold: "all" or "0".."4" of nnU-Net's own five. 1000 epochs of 250 iterations is nnU-Net's own.

    validations: validation batches an epoch, for nnU-Net's curves. planner: see PLANNERS. save_every: epochs between two
    checkpoints to go on from, at most a fifth of them. gpu_memory_gb: what the planner may count on, 0 for nnU-Net's own (8; 9 to 40 for ResEnc).
    """

    configuration: str = "3d_fullres"
    planner: str = "ExperimentPlanner"
    fold: str = "all"
    epochs: int = 1000
    iterations: int = 250
    validations: int = 50
    save_every: int = 10
    seed: int = 2021
    gpu_memory_gb: float = 0.0

    def __post_init__(self) -> None:
        if self.configuration not in CONFIGURATIONS:
            raise InputError(f'nnU-Net configuration "{self.configuration}": allowed are {", ".join(CONFIGURATIONS)}')
        if self.planner not in PLANNERS:
            raise InputError(f'nnU-Net planner "{self.planner}": allowed are {", ".join(PLANNERS)}')
        if self.fold not in ("all", "0", "1", "2", "3", "4"):
            raise InputError(f'nnU-Net fold "{self.fold}": allowed are all, 0, 1, 2, 3, 4')
        for name in ("epochs", "iterations", "validations", "save_every"):
            if not 1 <= getattr(self, name) <= 1_000_000:
                raise InputError(f"nnU-Net {name} {getattr(self, name)}: allowed are 1 to 1000000")


@dataclass(frozen=True)
class Folders:
    """The three folders that nnU-Net reads from its environment, under one root."""

    root: Path

    @property
    def raw(self) -> Path:
        """Datasets."""
        return self.root / "nnUNet_raw"

    @property
    def preprocessed(self) -> Path:
        """Plans and what preprocessing made."""
        return self.root / "nnUNet_preprocessed"

    @property
    def results(self) -> Path:
        """Trained models."""
        return self.root / "nnUNet_results"

    def model(self, dataset: Dataset, training: Training) -> Path:
        """The folder of a trained model."""
        plans = PLANNERS[training.planner]
        return self.results / dataset.title / f"{TRAINER}__{plans}__{training.configuration}"


def plan(folders: Folders, dataset: Dataset, training: Training, machine: Machine) -> Path:
    """Fingerprint, plan and preprocess a dataset; the plans file. Done once: what stands there already is kept.

    MissingExtra without the package; BadAnswer with the child's last line when nnU-Net refuses the dataset.
    """
    answer = _run("planning", folders, machine, {"number": dataset.number, "training": asdict(training)})
    return Path(answer["plans"])


def train(folders: Folders, dataset: Dataset, training: Training, machine: Machine) -> Path:
    """Train, or go on with a training that was stopped; the model's folder.

    InputError when what stands there was trained otherwise; BadAnswer with the child's last line when it fails.
    """
    model = folders.model(dataset, training)
    fold = model / f"fold_{training.fold}"
    said = asdict(training)
    kept = fold / "slimscan.json"
    if kept.is_file():
        before = json.loads(kept.read_text("utf-8"))
        other = [
            f"{name} {before.get(name)} there, {said[name]} here" for name in said if before.get(name) != said[name]
        ]
        if other:
            raise InputError(f"{fold}: was trained otherwise ({'; '.join(other)}); give another folder or remove it")
    if (fold / "checkpoint_final.pth").is_file():
        return model
    fold.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(said, indent=2) + "\n", "utf-8")
    answer = _run("training", folders, machine, {"dataset": dataset.title, "training": said, "model": str(model)})
    return Path(answer["model"])


def predict(
    model: Path,
    images: Mapping[Path, Path],
    machine: Machine,
    *,
    folds: Sequence[str] = (),
    checkpoint: str = "checkpoint_final.pth",
    mirror: bool = True,
    step: float = 0.5,
    trust: bool = False,
) -> None:
    """Write the label image of every image: {image file: label file}, both with the model's own file ending.

    folds: those whose scores are averaged, all that are there by default. mirror: the mean over mirrored copies, nnU-Net's
    default, 8 times the work in 3D. step: of the sliding window, as a share of the patch. trust: unpickle a checkpoint that
    holds more than numbers. BadAnswer with the child's last line when it fails.
    """
    job = {
        "model": str(model.resolve()),
        "images": [[str(Path(a).resolve()), str(Path(b).resolve())] for a, b in images.items()],
        "folds": list(folds),
        "checkpoint": checkpoint,
        "mirror": mirror,
        "step": step,
        "trust": trust,
    }
    with tempfile.TemporaryDirectory(prefix="slimscan-nnunet-") as name:
        _run("prediction", Folders(Path(name)), machine, job)
    missing = next((b for b in images.values() if not b.is_file()), None)
    if missing:
        raise BadAnswer(f"nnU-Net's prediction ended without writing {missing.name}")


def clear(folders: Folders) -> None:
    """Remove everything under the root that nnU-Net made."""
    for place in (folders.raw, folders.preprocessed, folders.results):
        shutil.rmtree(place, ignore_errors=True)


def environment(what: str, folders: Folders, machine: Machine) -> dict[str, str]:
    """What the child sees beside the usual: nnU-Net's folders, and no more threads than were given."""
    workers = machine.workers if what == "training" else max(1, machine.workers)  # planning refuses 0
    threads = str(machine.threads or os.cpu_count() or 1)
    limits = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "BLOSC_NTHREADS")
    return {
        "nnUNet_raw": str(folders.raw.resolve()),
        "nnUNet_preprocessed": str(folders.preprocessed.resolve()),
        "nnUNet_results": str(folders.results.resolve()),
        "nnUNet_n_proc_DA": str(workers),
        "nnUNet_def_n_proc": threads,
        "nnUNet_compile": "t" if machine.compile else "f",
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": threads,
        "MPLBACKEND": "agg",
        **dict.fromkeys(limits, threads),
    }


def _run(what: str, folders: Folders, machine: Machine, job: Mapping[str, Any]) -> dict[str, Any]:
    """One job in a child; what it answered. BadAnswer naming the step and the child's last line."""
    NNUNET.demand(f"nnU-Net's {what}")
    if not child.available():
        raise BadAnswer(f"nnU-Net's {what} is run by a child process, which needs a Python interpreter")
    for place in (folders.raw, folders.preprocessed, folders.results):
        place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="slimscan-nnunet-") as name:
        folder = Path(name)
        (folder / "job.json").write_text(json.dumps({"what": what, "machine": asdict(machine), **job}), "utf-8")
        words = [sys.executable, "-m", "slimscan.models.nnunet_worker", name]
        try:
            command.run(words, machine.timeout, None, f"nnU-Net's {what}", env=environment(what, folders, machine))
        except BadAnswer as error:
            said = folder / "said.txt"
            text = said.read_text("utf-8") if said.is_file() else str(error)
            raise BadAnswer(hinted(text)) from None
        return dict(json.loads((folder / "answer.json").read_text("utf-8")))


def hinted(text: str) -> str:
    """A failure's line with what to do next, where that is known."""
    low = text.lower()
    if "out of memory" in low:
        return f"{text}; give the planner less: gpu_memory_gb, or use configuration 2d"
    if "compiler" in low or "triton" in low or "inductor" in low:
        return f"{text}; leave compile off (nnUNet_compile=f)"
    if "torchvision" in low or "timm" in low:
        return f"{text}; install torchvision, or use a model of the plain nnUNetTrainer"
    return text
