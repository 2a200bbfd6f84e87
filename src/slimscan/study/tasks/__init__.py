"""The kinds of tasks: one a file, its words and the function that makes a task of them; the registry KINDS.

A kind is added by one file that defines WORDS, ABOUT and make(), and one word in the table below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimscan.study.task import Task
from slimscan.study.tasks import command, features, monai_bundle, network, nnunet, otsu, python, readers, unet
from slimscan.study.words import Word, table

COMMON = (
    Word("name", "text", "of the task, for rows and titles"),
    Word("kind", "text", "what is done"),
    Word(
        "against", "text", "what the answer on the compressed image is held against: truth (the reference mask) or itself "
        "(the answer on the uncompressed image)", default="itself", allowed=("truth", "itself"),
    ),
    Word("classes", "labels", "label values in the answer; left out: those of [cases], or everything that is not 0", default=None),
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """One kind of task. make(said, base): the task from its checked words; patterns count from base."""

    about: str
    words: Sequence[Word]
    make: Callable[[Mapping[str, Any], Path], Task]


KINDS: Mapping[str, Kind] = {
    "otsu": Kind(otsu.ABOUT, otsu.WORDS, otsu.make),
    "threshold": Kind(otsu.ABOUT_FIXED, otsu.FIXED_WORDS, otsu.make),
    "python": Kind(python.ABOUT, python.WORDS, python.make),
    "command": Kind(command.ABOUT, command.WORDS, command.make),
    "torchscript": Kind(network.ABOUT_TORCH, network.WORDS, network.make_torch),
    "onnx": Kind(network.ABOUT_ONNX, network.WORDS, network.make_onnx),
    "unet": Kind(unet.ABOUT, unet.WORDS, unet.make),
    "nnunet": Kind(nnunet.ABOUT, nnunet.WORDS, nnunet.make),
    "monai_bundle": Kind(monai_bundle.ABOUT, monai_bundle.WORDS, monai_bundle.make),
    "readers": Kind(readers.ABOUT, readers.WORDS, readers.make),
    "texture": Kind(features.ABOUT_TEXTURE, features.TEXTURE_WORDS, features.make_texture),
    "features": Kind(features.ABOUT, features.WORDS, features.make),
}


def check(where: str, given: Any) -> dict[str, Any]:
    """The words of one [[tasks]] checked, by its kind; InputError as for words.table."""
    kind = Word("kind", "text", "what is done", allowed=tuple(KINDS)).check(
        where, given.get("kind") if isinstance(given, Mapping) else None
    )
    return table(f"{where} ({kind})", (*COMMON, *KINDS[kind].words), given)


def make(said: Mapping[str, Any], base: Path) -> Task:
    """The task of checked words; MissingExtra when its package is not installed."""
    task = KINDS[said["kind"]].make(said, base)
    for need in task.needs:
        need.demand(f'the task "{task.name}" ({said["kind"]})')
    return task
