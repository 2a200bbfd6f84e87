"""The child that runs a model: python -m slimscan.models.worker FOLDER, which holds job.json and image.npy."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.errors import InputError, NotReadable
from slimscan.models.answer import BadAnswer
from slimscan.models.network import is_checkpoint, open_network, predict, probability
from slimscan.models.python import arguments, load
from slimscan.models.way import Way
from slimscan.nouns import Pixels


def main(folder: Path) -> int:
    """Write answer.npy, or said.txt with one line of what went wrong; the exit status."""
    job = json.loads((folder / "job.json").read_text("utf-8"))
    sys.path[:] = job["path"]
    image = np.load(folder / "image.npy", mmap_mode="r", allow_pickle=False)
    try:
        answer = next(run for name, run in KINDS.items() if name in job)(job, image)
    except MemoryError:
        return _say(folder, "the model does not fit into memory; run it on slices or patches")
    except (BadAnswer, InputError, NotReadable) as error:
        return _say(folder, str(error))
    except Exception as error:  # noqa: BLE001 somebody's model may raise anything
        root: BaseException = error
        while root.__cause__ is not None:  # MONAI wraps what went wrong in what it was about to do
            root = root.__cause__
        said = f"failed: {type(root).__name__}: {' '.join(str(root).split())[:200]}"
        if "call" in job:
            return _say(folder, f"the function {said}")
        if "bundle" in job:
            return _say(folder, f"the bundle {said}")
        return _say(
            folder, f"the model {said}; it was run on {job['way']['run']}: run = in the TOML file beside it says how"
        )
    np.save(folder / "answer.npy", answer, allow_pickle=False)
    return 0


def _network(job: dict[str, Any], image: Pixels) -> Pixels:
    words = job["way"] | {"patch": tuple(job["way"]["patch"])}
    if is_checkpoint(Path(job["network"])):
        from slimscan.models import checkpoint
        from slimscan.models import predict as trained  # torch is there for those who trained a network

        scores = trained.logits(checkpoint.load(job["network"]), _real(job, image), "cpu")
        return probability(scores, Way(**words | {"output": "softmax"}))
    return predict(_real(job, image), open_network(job["network"]), Way(**words))


def _function(job: dict[str, Any], image: Pixels) -> Pixels:
    known = {"spacing_mm": tuple(job["spacing_mm"]), "affine_mm": np.asarray(job["affine_mm"])}
    call = load(job["call"], Path())
    takes = arguments(call, job["call"], tuple(known))
    answer = np.asarray(call(_real(job, image), **{name: known[name] for name in takes}))
    if answer.dtype.kind not in "biuf":
        raise BadAnswer(f"the function's answer is an array of {answer.dtype}; want a mask, labels or probabilities")
    return answer


def _bundle(job: dict[str, Any], image: Pixels) -> Pixels:
    from slimscan.models import monai_bundle  # MONAI is there for those who have a bundle

    return monai_bundle.predict(Path(job["bundle"]), _real(job, image), np.asarray(job["affine_mm"]), **job["words"])


def _real(job: dict[str, Any], image: Pixels) -> Pixels:
    pixels = image.astype(np.float64)
    if pixels.ndim == 4:
        pixels = pixels.mean(axis=3)
    return np.asarray(pixels * job["slope"] + job["intercept"])


KINDS = {"network": _network, "call": _function, "bundle": _bundle}


def _say(folder: Path, text: str) -> int:
    (folder / "said.txt").write_text(" ".join(text.split()), "utf-8")
    return 30


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
