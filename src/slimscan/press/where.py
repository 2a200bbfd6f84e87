"""A region from one line of text: a mask, a class, contours, a model, a command, or the image itself.

    liver.nii.gz                a mask of 0 and one other value, or a probability map 0..1 (any image format)
    organs.nii.gz#5  #liver     classes of a label map, by number or by name; #1,5 several, #any all that is not 0
    liver.nii.gz#p/255          probabilities times 255
    seg.dcm#Liver               a segment of a DICOM Segmentation, or a region of an RT Structure Set
    image:body                  lung, bone, nonair: from the image itself; image:body,hu or ,otsu says its scale
    model:net.pt  model:net.onnx   a network; net.toml beside it says how it is fed (slimscan.models.way), a checkpoint of
                  `slimscan net train` says so itself
    python:module:function      or python:file.py:function
    command:prog {image} {mask}

Whatever it is lies on the voxels of the image, or is turned there exactly; nothing is resampled.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from slimscan import files
from slimscan.errors import InputError, NotReadable, SlimscanError
from slimscan.models import BadAnswer, apart, command, network, way
from slimscan.nouns import Region, Volume
from slimscan.press.named import names_beside
from slimscan.press.open import lazy
from slimscan.press.turned import turned
from slimscan.regions import image as from_image
from slimscan.regions import labels
from slimscan.regions.grow import Kernel, ball, ellipsoid, grown
from slimscan.regions.grow import parse as parse_kernel
from slimscan.regions.keep import Extent, Made, keep, not_empty

THRESHOLD = 0.75  # Luu 2021, III.C
TIMEOUT_S = 3600.0
_CLASS = re.compile(r"[^#{}]*\Z")


@dataclass(frozen=True)
class Drawn:
    """What a spec gives before it grows. load: slices (n, y, x) of dtype; kind: what it is; how: by what it was found."""

    load: Callable[[int, int], Any]
    dtype: Any
    kind: str
    name: str = ""
    how: str = ""


def region_of(
    spec: str,
    volume: Volume,
    *,
    threshold: float = THRESHOLD,
    grow_mm: float | None = None,
    grow_voxels: tuple[float, float, float] | None = None,
    grow: str = "",
    timeout: float = TIMEOUT_S,
    untrusted: bool = False,
) -> Region:
    """The region that `spec` names, on the voxels of the volume, grown, and 1 where it is above the threshold afterwards.

    grow_mm: radius of a ball; grow_voxels: diameters (z, y, x) of an ellipsoid; grow: either as text, "10mm" or "30x30x1"
    (x, y, z). timeout: seconds for a model or command. A mask is bool, a probability map float32 with 1 above the
    threshold. about: {spec, kind, name, how, threshold, grow, voxels, inside, part, slices: [first, last], millilitres}.

    InputError, NotReadable, GeometryError, MissingExtra, in one line: no such file or class, another grid, NaN, values
    beyond 0..1, nothing inside, a model that failed.
    """
    if not 0 <= threshold < 1:
        raise InputError(f"threshold {threshold:g}: want a probability from 0 to below 1, such as 0.75")
    kernel = kernel_of(volume, grow_mm=grow_mm, grow_voxels=grow_voxels, grow=grow)
    drawn = _drawn(spec.strip(), volume, timeout, untrusted)
    shape = volume.shape[:3]
    raw = Made(shape, np.dtype(drawn.dtype), drawn.load)
    if kernel is not None and kernel.reach:  # slices are looked at several times: make them once
        raw = keep(shape, raw.dtype, raw.load)[0]
    made, extent = keep(shape, raw.dtype, grown(raw, kernel, threshold))
    not_empty(extent, spec, threshold)
    name = drawn.name or _stem(spec)
    about: dict[str, Any] = {"spec": spec, "kind": drawn.kind, "name": name, "how": drawn.how}
    about |= {"threshold": None if drawn.dtype == np.bool_ else threshold, "grow": kernel.text if kernel else ""}
    return Region(made, name, about | _measured(extent, volume), spec)


def kernel_of(
    volume: Volume,
    *,
    grow_mm: float | None = None,
    grow_voxels: tuple[float, float, float] | None = None,
    grow: str = "",
) -> Kernel | None:
    """The kernel that a region grows by, None for none; InputError when it is said twice."""
    said = [one for one in (grow_mm, grow_voxels, grow or None) if one is not None]
    if len(said) > 1:
        raise InputError("grow: said twice; want one of a radius in mm, diameters in voxels, or either as text")
    if grow_mm is not None:
        return ball(grow_mm, volume.spacing_mm)
    if grow_voxels is not None:
        return ellipsoid(grow_voxels)
    return parse_kernel(grow, volume.spacing_mm) if grow else None


def split(spec: str) -> tuple[str, str]:
    """(what, class) of "organs.nii.gz#liver"; a file whose name holds a # is taken as it is."""
    what, mark, asked = spec.rpartition("#")
    if not mark or not _CLASS.match(asked) or (":" not in spec.partition("#")[0] and Path(spec).exists()):
        return spec, ""
    if not asked.strip():
        raise InputError(f"{spec}: want a class behind the #, a number or a name")
    return what, asked.strip()


def _drawn(spec: str, volume: Volume, timeout: float, untrusted: bool) -> Drawn:
    kind, _, rest = spec.partition(":")
    if kind == "image":
        name, _, scale = rest.partition(",")
        found = from_image.find(volume, name.strip(), scale.strip())
        return Drawn(lambda start, stop: found.mask[start:stop], np.bool_, f"image:{name}", name, found.how)
    what, asked = split(spec)
    if kind in ("model", "python", "command") and rest:
        what = what.partition(":")[2]
        if not what.strip():
            raise InputError(f"{spec}: want something behind {kind}:")
        try:
            return _answered(kind, what, asked, volume, timeout, untrusted)
        except BadAnswer as error:
            raise InputError(f"{kind}:{what}: {error}") from None
    return _from_file(what, asked, volume, untrusted)


def _answered(kind: str, what: str, asked: str, volume: Volume, timeout: float, untrusted: bool) -> Drawn:
    source = f"{kind}:{what}"
    if kind == "command":
        answer = _commanded(what, volume, timeout, untrusted)
        return _chosen(replace(answer, source=source), asked, names_beside(answer, None), volume, "a command")
    if kind == "python":
        mask = apart.function(what, volume, timeout)
        held = Volume(mask, volume.affine_mm, source=source)
        return _chosen(held, asked, {}, volume, "a Python function")
    path = Path(what)
    need = network.needs_of(path)
    if not path.is_file():
        raise NotReadable(f"{path}: there is no such file or folder; check the name")
    need.demand(f"the model {path}")
    said = way.beside(path)
    if asked:
        if not asked.isdecimal():
            raise InputError(
                f'{source}: "#{asked}": a model has channels by number, from 0; write #1, or class = 1 in its TOML'
            )
        said = replace(said, index=int(asked))
    held = Volume(apart.network(path, said, volume, timeout), volume.affine_mm, source=source)
    fed = "as it was trained" if network.is_checkpoint(path) else f"{said.run}, {said.normalise}, {said.output}"
    how = f"{fed}, channel {said.index}"
    return replace(_chosen(held, "p", {}, volume, how), name=said.name)


def _commanded(text: str, volume: Volume, timeout: float, untrusted: bool) -> Volume:
    words = command.words_of(text, ("{image}", "{mask}"), Path(), f"command:{text}")
    with tempfile.TemporaryDirectory(prefix="slimscan-region-") as folder:
        image, mask = Path(folder) / "image.nii.gz", Path(folder) / "mask.nii.gz"
        files.write(replace(volume, pixels=volume.slices(0, volume.shape[0])), image)
        said = command.run(command.filled(words, {"{image}": str(image), "{mask}": str(mask)}), timeout, None)
        if not mask.exists():
            raise BadAnswer(f"the command ended without writing {{mask}}; its last words: {said or 'none'}")
        try:
            found = lazy(mask, untrusted)
            return replace(found, pixels=np.array(found.pixels[0 : found.shape[0]]))
        except SlimscanError as error:
            raise BadAnswer(f"what the command wrote cannot be read: {error}") from None


def _from_file(name: str, asked: str, volume: Volume, untrusted: bool) -> Drawn:
    from slimscan.files.dicom import rtstruct, seg
    from slimscan.files.dicom.open import is_dicom
    from slimscan.files.guard import read_head

    path = Path(name)
    head = read_head(path)
    if head and is_dicom(path, head):
        if rtstruct.is_structure_set(head):
            return _structures(path, asked, volume)
        if seg.is_segmentation(head) and asked not in ("", "any"):
            return _segments(path, asked, volume)
    mask = lazy(path, untrusted)
    return _chosen(mask, asked, names_beside(mask, path), volume, "")


def _structures(path: Path, asked: str, volume: Volume) -> Drawn:
    from slimscan.files.dicom import rtstruct

    held = rtstruct.structures(path)
    names = {one.number: one.name for one in held}
    drawn = [one for one in held if one.contours]
    if asked == "any":
        numbers: Sequence[int] = [one.number for one in drawn]
    elif asked:
        numbers = labels.picked(asked, names, list(names), str(path))
    elif len(drawn) == 1:
        numbers = [drawn[0].number]
    else:
        raise InputError(
            f"{path}: holds the regions {rtstruct.listed(held)}; say which one is meant by #name or #number"
        )
    mask = rtstruct.read_structures(path, numbers, volume)
    name = ", ".join(names[number] for number in numbers)
    how = "contours, voxel centres inside or on them"
    return Drawn(lambda start, stop: mask.slices(start, stop).astype(bool), np.bool_, "contours", name, how)


def _segments(path: Path, asked: str, volume: Volume) -> Drawn:
    """Segments taken one by one, since they may overlap."""
    from slimscan.files.dicom import seg
    from slimscan.files.dicom.segheader import open_segmentation

    if asked == "p" or asked.startswith("p/"):
        return _chosen(files.read(path), asked, {}, volume, "")
    names = {one.number: one.label for one in open_segmentation(path).segments}
    numbers = labels.picked(asked, names, list(names), str(path))
    parts = [_chosen(seg.read_segment(path, number), "", {}, volume, "") for number in numbers]
    name = ", ".join(names[number] for number in numbers)
    if len(parts) == 1:
        return replace(parts[0], kind="segment", name=name)

    def union(start: int, stop: int) -> Any:
        out = parts[0].load(start, stop).astype(np.float32)
        for part in parts[1:]:
            out = np.maximum(out, part.load(start, stop))
        return out if dtype == np.float32 else out.astype(bool)

    dtype = np.bool_ if all(part.dtype == np.bool_ for part in parts) else np.float32
    return Drawn(union, dtype, "segments", name)


def _chosen(mask: Volume, asked: str, names: Any, volume: Volume, how: str) -> Drawn:
    on_grid = turned(mask, volume)
    chosen = labels.choose(on_grid, asked, names)
    return Drawn(
        lambda start, stop: chosen.weigh(on_grid.slices(start, stop)), chosen.dtype, chosen.kind, chosen.name, how
    )


def _stem(spec: str) -> str:
    name = Path(split(spec)[0].rpartition(":")[2]).name
    return name.split(".")[0] if name else spec


def _measured(extent: Extent, volume: Volume) -> dict[str, Any]:
    voxel_ml = abs(float(np.linalg.det(np.asarray(volume.affine_mm, np.float64)[:3, :3]))) / 1000
    return {
        "voxels": extent.voxels,
        "inside": extent.inside,
        "part": extent.part,
        "fraction": extent.inside / max(1, extent.voxels),
        "slices": [extent.first, extent.last],
        "slices_inside": extent.slices,
        "millilitres": extent.inside * voxel_ml,
    }
