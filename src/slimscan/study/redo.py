"""One case of a finished study once more, for pictures: the images and masks that its rows speak of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimscan.errors import InputError
from slimscan.nouns import Pixels, Volume
from slimscan.study.bench import Bench, Failed, task_of
from slimscan.study.cache import Cache
from slimscan.study.cases import Case
from slimscan.study.folder import Folder
from slimscan.study.plan import load


@dataclass(frozen=True)
class Redone:
    """original, decoded: the images. truth: the reference labels (z, y, x), or None. before, after: what the task
    answered on them, labels (z, y, x); None when it failed or gives numbers. classes: names and label values of answers.
    """

    original: Volume
    decoded: Volume
    truth: Pixels | None
    before: Pixels | None
    after: Pixels | None
    classes: dict[str, tuple[int, ...]]


def redo(folder: Folder, image: str, codec: str, level: float, task: str | None = None) -> Redone:
    """Compress a case again exactly as the study did, and ask the task again (the contract's own when None).

    InputError when the image, codec or level is not in the study, the files have moved, or the level was unreachable.
    """
    plan = folder.read_plan()
    study = load(folder.toml, Path(plan["base"]))
    said = next((one for one in plan["cases"] if one["image"] == image), None)
    plans = {one.name: one for one in study.codecs}
    step = next((one for one in plans[codec].levels if one.nominal == level), None) if codec in plans else None
    if said is None or step is None:
        raise InputError(f"{folder.path}: has no {image} at {codec} {level:g}; its plan.json lists what it has")
    case = Case(**{name: said[name] for name in ("case", "image", "path", "sha256", "mask", "mask_sha256")})
    bench = Bench(case, study.base, Cache(folder.cache, case.sha256), False)
    try:
        key, facts = bench.copy_facts(plans[codec], step, plans)
        if facts["status"] != "ok":
            raise InputError(f"{image} at {codec} {level:g}: {facts['note']}")
        words = next(one for one in study.tasks if one["name"] == (task or study.contract["task"]))
        made = task_of(words, study.base)
        decoded = bench.decoded(plans[codec], bench.target(plans[codec], step, plans), key, facts)
        before = after = None
        if made.kind == "mask":
            before = _answer(lambda: bench.answer(made, "raw", lambda: bench.volume, bench.asked(), keep=True))
            after = _answer(lambda: bench.answer(made, key, lambda: decoded, bench.asked(codec, step.text), keep=False))
        classes = dict(words["classes"] or study.organs or {"foreground": ()})
        return Redone(bench.volume, decoded, bench.mask, before, after, classes)
    finally:
        bench.close()


def _answer(ask: Callable[[], Any]) -> Pixels | None:
    """What the task says; None when it failed."""
    try:
        found: Pixels = ask()
        return found
    except Failed:
        return None
