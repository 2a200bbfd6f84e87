"""Swin UNETR as MONAI has it, from a NetSpec, and weights that others published for it, from a file on disk.

Hatamizadeh et al., Swin UNETR: Swin Transformers for Semantic Segmentation of Brain Tumors in MRI Images, BrainLes 2021;
Tang et al., Self-Supervised Pre-Training of Swin Transformers for 3D Medical Image Analysis, CVPR 2022. Published weights
saw arrays in MONAI's order, (x, y, z) in RAS; to run them on images of any orientation take their bundle (monai_bundle.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from slimscan.errors import InputError, NotReadable
from slimscan.models.spec import NetSpec
from slimscan.nouns import Needs

MONAI = Needs("monai", "monai", "monai")
TORCH = Needs("torch", "torch", "torch")
SIDES = 32  # a patch embedding by 2 and four mergings by 2
WIDTHS = 12  # attention heads share a level's features: 3, 6, 12, 24 of them

_INSIDE = (
    "state_dict",
    "model",
    "network",
    "net",
    "model_state_dict",
    "network_weights",
)  # where files keep the weights
_BEFORE = ("module.", "model.", "network.", "net.", "_orig_mod.")  # what wrappers put before every name
_ENCODER = "swinViT."


def swin(spec: NetSpec) -> Any:
    """An untrained SwinUNETR: (n, inputs, [z,] y, x) float32 to (n, classes, ...) logits.

    spec.width is MONAI's feature_size: 24 is small, 48 is what was published. InputError for a width that is no multiple
    of 12, and, when it is called, for sides that are none of 32; MissingExtra without MONAI.
    """
    MONAI.demand("Swin UNETR")
    if spec.width % WIDTHS:
        raise InputError(
            f"network width = {spec.width}: Swin UNETR takes multiples of {WIDTHS}; 24 is small, 48 as published"
        )
    from monai.networks.nets import SwinUNETR

    net: Any = SwinUNETR(
        in_channels=spec.inputs, out_channels=spec.classes, feature_size=spec.width, spatial_dims=spec.dims
    )
    net.register_forward_pre_hook(_admit)
    return net


def check_sides(sides: tuple[int, ...]) -> None:
    """InputError unless every side, in voxels, is a multiple of 32, and one at least 64.

    At 32 voxels a side the deepest level is a single voxel, which instance norm cannot take.
    """
    if any(side % SIDES or side < SIDES for side in sides):
        best = tuple(max(SIDES, -(-side // SIDES) * SIDES) for side in sides)
        raise InputError(f"Swin UNETR: sides {sides} are not all multiples of {SIDES}; take {best}")
    if max(sides) < 2 * SIDES:
        raise InputError(f"Swin UNETR: sides {sides} leave one voxel at its deepest level; one side must be 64 or more")


def load_weights(net: Any, path: Path, *, encoder: bool = False) -> tuple[str, ...]:
    """Put the weights of a file into a Swin UNETR; the names in the network that the file did not fill.

    All of them must fit; with `encoder` only the transformer (swinViT), as self-supervised pre-training leaves it, and the
    decoder keeps what it has. InputError naming the first weight that is missing or has another shape.
    """
    own = net.state_dict()
    found = weights_of(path, own)
    if encoder:
        found = {_full(name): value for name, value in found.items()}
        found = {name: value for name, value in found.items() if name in own and name.startswith(_ENCODER)}
        wanted = [name for name in own if name.startswith(_ENCODER)]
    else:
        wanted = list(own)
        strange = [name for name in found if name not in own]
        if strange:
            raise InputError(
                f"{path}: holds {strange[0]} and {len(strange) - 1} more weights that Swin UNETR does not have; "
                "a pre-trained transformer alone is loaded with encoder = true"
            )
    missing = [name for name in wanted if name not in found]
    if missing:
        raise InputError(f"{path}: {missing[0]} and {len(missing) - 1} more weights of Swin UNETR are not in it")
    for name, value in found.items():
        if tuple(value.shape) != tuple(own[name].shape):
            what = "; so many classes were trained" if name.startswith("out.") else "; the width or the inputs differ"
            raise InputError(f"{path}: {name} is {tuple(value.shape)}, the network's is {tuple(own[name].shape)}{what}")
    net.load_state_dict(found, strict=False)
    return tuple(name for name in own if name not in found)


def spec_of(path: Path) -> NetSpec:
    """The spec of the Swin UNETR whose weights a file holds; InputError when it holds no whole one."""
    found = weights_of(path, ("out.conv.conv.weight",))
    try:
        first, last = found["swinViT.patch_embed.proj.weight"], found["out.conv.conv.weight"]
    except KeyError as error:
        raise InputError(f"{path}: holds no whole Swin UNETR ({error.args[0]} is missing)") from None
    return NetSpec("swin_unetr", first.ndim - 2, first.shape[1], last.shape[0], 5, first.shape[0])


def weights_of(path: Path, own: Iterable[str] = ()) -> dict[str, Any]:
    """name -> tensor in a checkpoint as MONAI's and others' trainers leave it: plain, or under "state_dict" or "model".

    Prefixes of wrappers ("module.") are taken off, until the names are some of `own`. NotReadable for a file that is no checkpoint or holds more than
    numbers: nothing in it is run.
    """
    TORCH.demand("weights of a network")
    import torch

    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise NotReadable(f"{path}: is not there") from None
    except Exception as error:  # noqa: BLE001 torch and pickle raise errors of many kinds
        why = " ".join(str(error).split())[:120]
        raise NotReadable(f"{path}: is no checkpoint of weights that can be read safely ({why})") from None
    for name in _INSIDE:
        inner = held.get(name) if isinstance(held, Mapping) else None
        if isinstance(inner, Mapping):
            held = inner
            break
    weights = (
        {str(name): value for name, value in held.items() if torch.is_tensor(value)}
        if isinstance(held, Mapping)
        else {}
    )
    if not weights:
        raise NotReadable(f"{path}: holds no weights; looked for them at the top and under {', '.join(_INSIDE)}")
    return _plain(weights, frozenset(own))


def _plain(weights: dict[str, Any], own: frozenset[str]) -> dict[str, Any]:
    """Without what every name begins with; networks have parts called "model" too, so it stops at their own names."""
    while True:
        if any(name in own for name in weights):
            return {name if name in own else _renamed(name): value for name, value in weights.items()}
        shared = next((word for word in _BEFORE if all(name.startswith(word) for name in weights)), None)
        if shared is None:
            return {_renamed(name): value for name, value in weights.items()}
        weights = {name[len(shared) :]: value for name, value in weights.items()}


def _renamed(name: str) -> str:
    """The names of the published pre-training where MONAI's are others: its perceptron has fc1 and fc2."""
    return name.replace(".mlp.fc1.", ".mlp.linear1.").replace(".mlp.fc2.", ".mlp.linear2.")


def _full(name: str) -> str:
    return name if name.startswith(_ENCODER) else _ENCODER + name


def _admit(_net: Any, given: tuple[Any, ...]) -> None:
    import torch

    if not torch.jit.is_tracing():
        check_sides(tuple(int(side) for side in given[0].shape[2:]))
