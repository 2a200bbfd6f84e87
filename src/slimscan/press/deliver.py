"""Delivery of one image: a usable file at OUT after every step, and what a server shows of one."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from slimscan import child, files
from slimscan.errors import InputError, OutputError
from slimscan.files.ozx import open_box
from slimscan.nouns import Check, Volume
from slimscan.press.ahead import Ahead
from slimscan.press.arriving import StepDone, Writer
from slimscan.press.open import lazy
from slimscan.press.outputs import kind_of
from slimscan.press.partial import State, told, volume_at
from slimscan.press.staging import admit_output, staged
from slimscan.press.store import receipt_of
from slimscan.wire import client
from slimscan.wire.fetch import door_of
from slimscan.wire.plan import STEPS, Plan, lay_out

UNTIL = STEPS
OURS = "ours"  # in OUT.part: OUT is what an earlier run of this transfer wrote, and may be replaced
PREVIEW_VOXELS = 4_000_000
MOST_SHOWN = 4 << 30  # bytes of one decoded volume that the page may ask for


@dataclass(frozen=True)
class Received:
    """What was received. exact: OUT is the image that was compressed, voxel for voxel, by the receipt's checksum.

    complete: nothing of the file is left to come. part: where the rest goes on, "" when it is complete.
    """

    url: str
    output: str
    exact: bool
    complete: bool
    steps: tuple[StepDone, ...]
    file_bytes: int
    fetched_bytes: int
    found_bytes: int
    requests: int
    cuts: int
    seconds: float
    part: str
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()


def receive(
    url: str,
    output: str | Path,
    *,
    until: str = "exact",
    token: str = "",
    force: bool = False,
    untrusted: bool | child.Limits = False,
    passed: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Received:
    """Fetch a file step by step; after each, OUT is the best volume of what is here, whole or not at all.

    until: look, region, rest or exact; a file that has no such step goes to the one before it. OUT.part beside OUT
    holds what came, and the same command goes on from it after any interruption. The last volume is checked against the
    receipt. untrusted: chunks are decoded by children under limits.

    InputError for the URL, OutputError for OUT, ServerError for the line and the server, CheckFailed when the checksums
    of the receipt are not met.
    """
    started = time.perf_counter()
    place, door = Path(output), door_of(url, token)
    kind = kind_of(output)
    if str(output).endswith("/") or place.suffix.lower() == ".zarr":
        raise InputError(
            f"{output}: receive writes one file: .nii .nii.gz .tif .mha .nrrd, or .ozx for the file as it is"
        )
    if until not in UNTIL:
        raise InputError(f"--until {until}: allowed: {', '.join(UNTIL)}")
    part = place.with_name(place.name + ".part")
    admit_output(place, force or (part / OURS).is_file())
    try:
        part.mkdir(parents=True, exist_ok=True)
        (part / OURS).touch()
    except OSError as error:
        raise OutputError(f"{part}: cannot be written ({error.strerror or error})") from error
    ahead = Ahead(untrusted)
    writer = Writer(place, kind == "pixels", started, untrusted, ahead)
    came = ahead.came if kind != "box" else None
    try:
        with ahead, writer:
            done = client.receive(door, part, until, arrived=writer.arrived, passed=passed, came=came, say=say)
    finally:
        door.close()
    last = [name for name in done.plan.steps if STEPS.index(name) <= STEPS.index(until)][-1]
    complete = last == done.plan.steps[-1]
    checks, notes, exact = writer.checks, [], False
    receipt = receipt_of(open_box(part / client.BODY))
    if kind == "box":
        if complete:
            _hand_over(part / client.BODY, place)
            checks = (Check("bytes", "every byte by its checksum", "yes", True),)
        else:
            notes.append(f"{place} is written when the whole file is here; {part} holds what came")
    elif kind != "pixels" and not writer.final:
        notes.append(f"{place} is written when all slices are here")
    if writer.final:
        exact = (last == "exact" and complete) or receipt.get("identical") is True
    if complete and not exact and kind != "box":
        notes.append("the file holds no residual and was compressed with loss: the original cannot be restored from it")
    if complete:
        shutil.rmtree(part, ignore_errors=True)
    return Received(
        url,
        str(output),
        exact,
        complete,
        tuple(writer.steps),
        done.plan.size,
        done.fetched,
        done.found,
        done.requests,
        done.cuts,
        time.perf_counter() - started,
        "" if complete else str(part),
        checks,
        tuple(notes),
    )


def _hand_over(body: Path, place: Path) -> None:
    """The body becomes OUT."""
    with staged(place, True) as stage:
        try:
            os.link(body, stage.path)
        except OSError:
            shutil.copyfile(body, stage.path)


def plan_of(path: str | Path) -> Plan:
    """The plan of an .ozx on this machine."""
    with Path(path).open("rb") as file:
        return lay_out(file, str(path))


def shown(path: Path, step: int) -> tuple[int, Iterator[bytes]]:
    """(bytes, a NIfTI file in pieces) of what a viewer sees after a step, for the server.

    Until the region is there, only the slices that came, at half the resolution where they are large: the viewer
    interpolates. InputError for a volume of more than MOST_SHOWN bytes.
    """
    plan = plan_of(path)
    step = STEPS.index(plan.steps[step])
    volume, state = volume_at(path, plan, step)
    if int(np.prod(volume.shape, dtype=np.int64)) * volume.pixels.dtype.itemsize > MOST_SHOWN:
        raise InputError(f"{path}: is too large for a page; receive it instead")
    if step == 0:
        volume = preview(volume, state)
    elif step == STEPS.index("exact"):
        volume = lazy(path, exact=True)
    folder = tempfile.TemporaryDirectory(prefix="slimscan-shown-")
    try:
        made = Path(folder.name) / "volume.nii"
        files.write(told(volume, state) if state.whole < state.slices else volume, made)
        return made.stat().st_size, _pieces(made, folder)
    except BaseException:
        folder.cleanup()
        raise


def preview(volume: Volume, state: State) -> Volume:
    """The slices that a first step brings, evenly spaced, thinned in plane to PREVIEW_VOXELS, its geometry to match."""
    dz = state.spacing if state.interpolated else 1
    planes = -(-volume.shape[0] // dz)
    step = 1
    while planes * (volume.shape[1] // step) * (volume.shape[2] // step) > PREVIEW_VOXELS:
        step += 1
    pixels = np.concatenate([volume.slices(z, z + 1)[:, ::step, ::step] for z in range(0, volume.shape[0], dz)])
    affine = np.array(volume.affine_mm, np.float64)
    affine[:3, :3] *= (step, step, dz)
    return replace(volume, pixels=np.ascontiguousarray(pixels), affine_mm=affine)


def _pieces(made: Path, folder: tempfile.TemporaryDirectory[str]) -> Iterator[bytes]:
    try:
        with made.open("rb") as file:
            while block := file.read(1 << 18):
                yield block
    finally:
        folder.cleanup()


__all__ = ["Received", "StepDone", "plan_of", "preview", "receive", "shown"]
