"""A MONAI bundle run on one image: configs/inference.json (or .yaml) with models/model.pt or models/model.ts beside it.

What is taken of the configuration: network_def (not needed for model.ts), preprocessing, inferer, postprocessing; the
steps between them are those of MONAI's evaluator. A bundle's configuration is a program ("$..." is evaluated): run those
of people that you trust. Source: MONAI, Bundle Specification.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.errors import InputError
from slimscan.models.answer import BadAnswer
from slimscan.models.monai_door import weights_of
from slimscan.nouns import Pixels

CONFIGS = ("inference.json", "inference.yaml", "inference.yml")
MODELS = ("model.pt", "model.ts")
CHANNELS = ("argmax", "overlap")


def config_of(bundle: Path) -> Path:
    """The inference configuration; InputError when the folder is no bundle."""
    found = next((bundle / "configs" / name for name in CONFIGS if (bundle / "configs" / name).is_file()), None)
    if found is None:
        raise InputError(f"{bundle}: is no MONAI bundle that can be run; want configs/{', '.join(CONFIGS)} in it")
    return found


def model_of(bundle: Path) -> Path:
    """The weights; InputError when there are none."""
    found = next((bundle / "models" / name for name in MODELS if (bundle / "models" / name).is_file()), None)
    if found is None:
        raise InputError(f"{bundle}: its weights are not there; want models/{' or models/'.join(MODELS)}")
    return found


def predict(
    bundle: Path, pixels: Pixels, affine_mm: Pixels, key: str = "image", channels: str = "argmax", device: str = "cpu"
) -> Pixels:
    """Labels (z, y, x) uint16, on the image's own grid, of pixels (z, y, x) in their real unit.

    key: the image's name in the bundle's dictionaries. channels: what several channels after postprocessing mean, one label
    a voxel (the largest), or classes that may overlap (above 0.5; a later one is drawn over an earlier one).
    Whatever the bundle raises comes through; BadAnswer for an answer that is no label image.
    """
    nibabel: Any = importlib.import_module("nibabel")  # its types are half there
    import torch
    from monai.bundle import ConfigParser
    from monai.data import decollate_batch, list_data_collate
    from monai.transforms import Compose

    sys.path.insert(0, str(bundle))  # a bundle's own scripts/
    parser = ConfigParser()
    parser.read_config(str(config_of(bundle)))
    meta = bundle / "configs" / "metadata.json"
    if meta.is_file():
        parser.read_meta(str(meta))
    with tempfile.TemporaryDirectory(prefix="slimscan-bundle-") as name:
        image = Path(name) / "image.nii.gz"
        nibabel.save(nibabel.Nifti1Image(pixels.astype(np.float32).transpose(2, 1, 0), np.asarray(affine_mm)), image)
        known = {"bundle_root": str(bundle), "dataset_dir": name, "output_dir": name, "device": torch.device(device)}
        for word, value in known.items():
            parser[word] = value
        _leave_out_saving(parser)  # before anything is made: a change unmakes what was made of the configuration
        before = _wanted(parser, "preprocessing")
        after = parser.get_parsed_content("postprocessing") if "postprocessing" in parser else None
        network = _network(parser, bundle, device)
        inferer = parser.get_parsed_content("inferer") if "inferer" in parser else _simple()
        with torch.no_grad():
            batch = list_data_collate([before({key: str(image)})])
            batch["pred"] = inferer(inputs=batch[key].to(device), network=network)
            answer = (after or Compose([]))(decollate_batch(batch)[0])
    if "pred" not in answer:
        raise BadAnswer("the bundle's postprocessing leaves no pred; slimscan reads its answer under that name")
    return _on_grid(answer["pred"], pixels.shape, np.asarray(affine_mm, np.float64), channels)


def _wanted(parser: Any, name: str) -> Any:
    if name not in parser:
        raise InputError(f"the bundle's configuration has no {name}; its words are {', '.join(parser.get())}")
    return parser.get_parsed_content(name)


def _leave_out_saving(parser: Any) -> None:
    """Take the transforms that write files out of the postprocessing."""
    config = parser.get("postprocessing")
    if isinstance(config, dict) and isinstance(config.get("transforms"), list):
        kept = [one for one in config["transforms"] if "SaveImage" not in str(_target(one))]
        parser["postprocessing"] = {**config, "transforms": kept}


def _target(said: Any) -> Any:
    return said.get("_target_", "") if isinstance(said, dict) else ""


def _network(parser: Any, bundle: Path, device: str) -> Any:
    import torch

    model = model_of(bundle)
    if model.suffix == ".ts":
        return torch.jit.load(str(model), map_location=device).eval()
    network = _wanted(parser, "network_def")
    own = network.state_dict()
    state = weights_of(model, own)
    lacking = [name for name in own if name not in state]
    strange = [name for name in state if name not in own]
    if lacking or strange:
        raise InputError(f"{model.name} does not fit network_def: {(lacking or strange)[0]} is in one of them only")
    network.load_state_dict(state)
    return network.to(device).eval()


def _simple() -> Any:
    from monai.inferers import SimpleInferer

    return SimpleInferer()


def _on_grid(answer: Any, shape: tuple[int, ...], affine_mm: Pixels, channels: str) -> Pixels:
    """Labels (z, y, x) of an answer (channels, x, y, z) on any grid: nearest neighbours where it is another one."""
    import torch
    from monai.data import MetaTensor
    from monai.transforms import SpatialResample

    size = tuple(reversed(shape))
    tensor = answer.detach().cpu()
    if tensor.ndim == 3:
        tensor = tensor[None]
    if tensor.ndim != 4:
        raise BadAnswer(f"the bundle's answer is {tuple(tensor.shape)}; want (channels, x, y, z)")
    if not torch.isfinite(tensor.float()).all():
        raise BadAnswer("the bundle's answer holds NaN or infinity")
    if len(tensor) > 1:
        labels = _drawn(tensor) if channels == "overlap" else tensor.argmax(dim=0, keepdim=True)
    else:
        labels = tensor.round()
    own = np.asarray(answer.affine, np.float64) if isinstance(answer, MetaTensor) else affine_mm
    labels = torch.as_tensor(labels).float()
    if tuple(labels.shape[1:]) != size or not np.allclose(own, affine_mm, atol=1e-3):
        if not isinstance(answer, MetaTensor):
            raise BadAnswer(
                f"the bundle's answer is {tuple(tensor.shape)} on an unknown grid, the image {size} (x, y, z)"
            )
        placed = MetaTensor(labels.clone(), affine=torch.as_tensor(own))
        labels = SpatialResample(mode="nearest", padding_mode="zeros")(
            placed, dst_affine=torch.as_tensor(affine_mm), spatial_size=size
        )
    found = np.asarray(labels)[0].transpose(2, 1, 0)
    if found.min(initial=0) < 0 or found.max(initial=0) > 65535:
        raise BadAnswer(f"the bundle's labels go from {found.min():g} to {found.max():g}; allowed are 0 to 65535")
    return np.asarray(np.rint(found), np.uint16)


def _drawn(scores: Any) -> Any:
    import torch

    out = torch.zeros((1, *scores.shape[1:]))
    for index, one in enumerate(scores, start=1):
        out[0][one > 0.5] = index
    return out
