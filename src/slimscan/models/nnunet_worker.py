"""The child that runs nnU-Net: python -m slimscan.models.nnunet_worker FOLDER, which holds job.json.

Everything here imports nnunetv2 inside functions: its modules read their environment when they are imported.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from slimscan.models.nnunet_data import checkpoints, model_json


def main(folder: Path) -> int:
    """Write answer.json, or said.txt with one line of what went wrong; the exit status."""
    job = json.loads((folder / "job.json").read_text("utf-8"))
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    try:
        answer = {"planning": plan, "training": train, "prediction": predict}[job["what"]](job)
    except MemoryError:
        return _say(folder, f"nnU-Net's {job['what']} does not fit into memory")
    except Exception as error:  # noqa: BLE001 nnU-Net and what it calls may raise anything
        traceback.print_exc()
        words = " ".join(str(error).split())[:300]
        return _say(folder, f"nnU-Net's {job['what']} failed: {type(error).__name__}{': ' if words else ''}{words}")
    (folder / "answer.json").write_text(json.dumps(answer), "utf-8")
    return 0


def plan(job: dict[str, Any]) -> dict[str, Any]:
    """Fingerprint, plan, preprocess; what an earlier run finished is kept."""
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api
    from nnunetv2.paths import nnUNet_preprocessed
    from nnunetv2.utilities.dataset_name_id_conversion import convert_id_to_dataset_name

    number, training = job["number"], job["training"]
    place = Path(str(nnUNet_preprocessed)) / convert_id_to_dataset_name(number)
    done = place / f"slimscan_{training['planner']}_{training['configuration']}.json"
    if done.is_file():
        return dict(json.loads(done.read_text("utf-8")))
    processes = max(1, job["machine"]["threads"] or os.cpu_count() or 1)
    api.extract_fingerprints([number], num_processes=processes, check_dataset_integrity=True, show_progress_bar=False)
    memory = training["gpu_memory_gb"] or None
    if training["planner"] == "ExperimentPlanner":  # found without importing every other one
        from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

        _, name = api.plan_experiment_dataset(number, ExperimentPlanner, memory)
    else:
        name = api.plan_experiments([number], training["planner"], memory)
    plans = place / f"{name}.json"
    there = json.loads(plans.read_text("utf-8"))["configurations"]
    if training["configuration"] not in there:
        raise ValueError(
            f"nnU-Net planned no {training['configuration']} for images this small; it has {', '.join(there)}"
        )
    api.preprocess([number], name, (training["configuration"],), [processes], show_progress_bar=False)
    answer = {"plans": str(plans), "name": name}
    done.write_text(json.dumps(answer), "utf-8")
    return answer


def train(job: dict[str, Any]) -> dict[str, Any]:
    """Train to the end, from checkpoint_latest.pth when there is one; checkpoint_final.pth when done."""
    import numpy as np
    import torch
    from nnunetv2.paths import nnUNet_preprocessed
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    training, model = job["training"], Path(job["model"])
    device = _device(job["machine"])
    np.random.seed(training["seed"])
    torch.manual_seed(training["seed"])
    place = Path(str(nnUNet_preprocessed)) / job["dataset"]
    plans = json.loads((place / f"{model.name.split('__')[1]}.json").read_text("utf-8"))
    dataset = json.loads((place / "dataset.json").read_text("utf-8"))
    fold = training["fold"] if training["fold"] == "all" else int(training["fold"])
    latest = model / f"fold_{training['fold']}" / "checkpoint_latest.pth"
    plans["continue_training"] = latest.is_file()  # nnU-Net 2.8 takes it from here
    trainer = nnUNetTrainer(plans, training["configuration"], fold, dataset, device)
    trainer.plans_manager.plans.pop("continue_training", None)
    trainer.num_epochs = training["epochs"]
    trainer.num_iterations_per_epoch = training["iterations"]
    trainer.num_val_iterations_per_epoch = training["validations"]
    trainer.save_every = min(training["save_every"], max(1, training["epochs"] // 5))  # a short one can go on too
    if latest.is_file():
        trainer.load_checkpoint(str(latest))
        torch.manual_seed(training["seed"] + trainer.current_epoch)  # not the batches of the first epochs once more
        np.random.seed(training["seed"] + trainer.current_epoch)
    trainer.run_training()
    return {"model": str(trainer.output_folder_base), "epochs": int(trainer.current_epoch)}


def predict(job: dict[str, Any]) -> dict[str, Any]:
    """Label images of all files."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    model = Path(job["model"])
    dataset, plans = model_json(model)
    device = _device(job["machine"])
    predictor: Any = nnUNetPredictor(
        tile_step_size=job["step"], use_mirroring=job["mirror"], device=device, allow_tqdm=False
    )
    load(predictor, model, dataset, plans, job)
    predictor.network.to(device)
    with torch.inference_mode():
        for image, label in job["images"]:
            place = Path(label)
            place.parent.mkdir(parents=True, exist_ok=True)
            stem = str(place)[: -len(dataset["file_ending"])]
            predictor.predict_from_files_sequential([[image]], [stem], overwrite=True)
            for name in ("predict_from_raw_data_args.json", "dataset.json", "plans.json"):
                with contextlib.suppress(OSError):
                    (place.parent / name).unlink()
    return {"images": len(job["images"])}


def load(predictor: Any, model: Path, dataset: dict[str, Any], plans: dict[str, Any], job: dict[str, Any]) -> None:
    """Put a trained model into the predictor, without nnU-Net's search for the trainer's class when it is the plain one."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    states = [_checkpoint(path, job["trust"]) for path in checkpoints(model, job["folds"], job["checkpoint"])]
    trainer = str(states[0]["trainer_name"])
    made_by: Any = nnUNetTrainer
    if trainer != nnUNetTrainer.__name__:
        with contextlib.suppress(ImportError, RuntimeError):  # most variants share the plain network; weights must fit
            from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

            made_by = recursive_find_trainer_class_by_name(trainer)
    manager = PlansManager(plans)
    configuration = manager.get_configuration(states[0]["init_args"]["configuration"])
    inputs = determine_num_input_channels(manager, configuration, dataset)
    outputs = manager.get_label_manager(dataset).num_segmentation_heads
    network = made_by.build_network_architecture(manager, configuration, inputs, outputs, enable_deep_supervision=False)
    weights = [state["network_weights"] for state in states]
    network.load_state_dict(weights[0])
    mirrored = states[0].get("inference_allowed_mirroring_axes")
    predictor.manual_initialization(network, manager, configuration, weights, dataset, trainer, mirrored)


def _checkpoint(path: Path, trust: bool) -> dict[str, Any]:
    """A checkpoint's content. Unless trusted only numbers, texts and containers of them are unpickled: no code runs."""
    import numpy as np
    import torch

    if trust:
        return dict(torch.load(path, map_location="cpu", weights_only=False))
    core: Any = np._core if hasattr(np, "_core") else np.core  # np.core before NumPy 2
    known = [core.multiarray.scalar, core.multiarray._reconstruct, np.ndarray, np.dtype]
    known += [type(np.dtype(kind)) for kind in (np.float16, np.float32, np.float64, np.int32, np.int64, np.bool_)]
    named: list[Any] = [(core.multiarray.scalar, "numpy.core.multiarray.scalar")]
    named += [(core.multiarray._reconstruct, "numpy.core.multiarray._reconstruct")]
    try:
        with torch.serialization.safe_globals([*known, *named]):
            return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # noqa: BLE001 pickle's own errors are of many kinds
        why = " ".join(str(error).split())[:120]
        raise ValueError(
            f"{path.name} holds more than weights ({why}); say trust = true if you trust who made it"
        ) from None


def _device(machine: dict[str, Any]) -> Any:
    import torch

    name = machine["device"]
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if machine["threads"]:
        torch.set_num_threads(machine["threads"])
    return torch.device(name)


def _follow(parent: int) -> None:
    """End with whoever started this: a training that nobody waits for would write beside the next one."""
    while os.getppid() == parent:
        time.sleep(2)
    if hasattr(os, "killpg"):
        os.killpg(os.getpgid(0), signal.SIGKILL)
    os._exit(1)


def _say(folder: Path, text: str) -> int:
    (folder / "said.txt").write_text(" ".join(text.split()), "utf-8")
    return 30


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
