"""One image there: read, survey, search, write, read back, sign the receipt."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import slimscan
from slimscan.child import Limits, apart
from slimscan.codecs import codec as find_codec
from slimscan.each import Each, threads
from slimscan.errors import CheckFailed, InputError
from slimscan.nouns import (
    Apart,
    Lossless,
    MaxError,
    Peak,
    Policy,
    Psnr,
    Ratio,
    Receipt,
    Region,
    Setting,
    Target,
    Volume,
)
from slimscan.press import policy
from slimscan.press.allot import Found
from slimscan.press.asked import Asked, settled, size_checks
from slimscan.press.choose import Case, Per, check_target, prober_of, settle
from slimscan.press.dicom import WHOLE
from slimscan.press.most import settle_most
from slimscan.press.open import lazy
from slimscan.press.outputs import Kind, Written, admit_codec, guess_overhead, kind_of, write_box, write_other
from slimscan.press.padding import with_room
from slimscan.press.probe import Job, Piece, Prober, run_job
from slimscan.press.receipt import setting_text, sign, travelling
from slimscan.press.roi import admit_region, codec_for, on_volume, region_on, roi_target, voxels_inside
from slimscan.press.roi_proof import region_checks, region_numbers, region_setting, region_size_checks
from slimscan.press.roi_settle import prober_for, settle_roi
from slimscan.press.scheme import Scheme
from slimscan.press.search import Curve
from slimscan.press.staging import admit_output, room, staged
from slimscan.press.store import RECEIPT
from slimscan.press.survey import survey, usable
from slimscan.press.verify import Measured, checks, measure, restored_check

IN_MEMORY = 512 << 20  # volumes up to this many bytes are held decoded; larger ones are read again for every pass
TRIES = 3  # times that a file is written until its own description is counted right
FLOATS = "pcodec"  # takes over from the default codec when floats are to be kept exactly

Progress = Callable[[str, int, int], None]  # (what is done, slices done more, slices of the volume)


@dataclass(frozen=True)
class Order:
    """What was asked, in one value. asked: in the words of a person, with what the image's past and a guideline say."""

    output: Path
    kind: Kind
    target: Target
    peak: Peak
    verify: bool
    force: bool
    started: float
    candidates: tuple[dict[str, Any], ...] = ()
    asked: Asked | None = None
    residual: bool = False


def compress(
    source: str | Path | Volume,
    output: str | Path,
    *,
    target: Target | Policy | None = None,
    codec: str | None = None,
    per: Per = "volume",
    peak: Peak = "stored",
    each: Each | None = None,
    verify: bool = True,
    force: bool = False,
    allow_lossy_again: bool = False,
    untrusted: bool | Limits = False,
    frames: bool = False,
    roi: str | Region | None = None,
    inside: str | None = None,
    outside: str | None = None,
    roi_grow: str = "",
    roi_threshold: float | None = None,
    residual: bool = False,
    progress: Progress | None = None,
) -> Receipt:
    """Compress an image to a target, read it back, and return everything that was measured.

    target: Ratio, Psnr, MaxError, Lossless, Setting or Policy. codec: a name in CODECS, "auto", or None for the setting's own,
    else jpeg2000. peak: of the PSNR in the receipt (a Psnr target brings its own). each: a map from slimscan.each.
    verify False skips reading back, and leaves psnr_db, mse, max_abs_error and identical None. untrusted: the source is
    decoded by child processes under limits. frames: the source is one DICOM file whose frames may make no volume.
    allow_lossy_again: an image that was compressed with loss before may be so once
    more; slimscan.press.history says how that is known.
    roi: a region of interest, as text (slimscan.press.where) or made already; then `outside` says what happens outside it
    and `inside` what must be kept within (slimscan.press.roi has the words; both in place of a target), or the target is a
    Ratio for the whole file. roi_grow, roi_threshold: of a region named by text.
    residual: keep what restores the original bit for bit beside it, in .ozx and .zarr; the target speaks of the rest.

    Raises InputError, LayoutRefused, TargetUnreachable or OutputError before anything stands at `output`, and
    CheckFailed when what was read back is not what was promised; nothing is left at `output` then either.
    """
    started = time.perf_counter()
    target = roi_target(roi, target, inside, outside, peak, per, codec, roi_grow, roi_threshold)
    if isinstance(target, Policy):
        codec = policy.codec_for(target, codec)
    else:
        check_target(target)
    kind, place = kind_of(output), Path(output)
    admit_output(place, force, None if isinstance(source, Volume) else Path(source))
    if isinstance(target, Setting) and codec not in (None, target.codec):
        raise InputError(f"--codec {codec} and --setting {target} name two codecs; leave one out")
    name = target.codec if isinstance(target, Setting) else codec
    if name not in (None, "auto"):
        admit_codec(kind, find_codec(name).name, output)
    if residual and (kind != "box" or not verify):
        said = (
            f"{output}: a residual has its place in .ozx and .zarr" if kind != "box" else "--no-verify with --residual"
        )
        raise InputError(f"{said}; {'choose one' if kind != 'box' else 'what restores the original must be proven'}")
    volume = _in_memory(usable(source if isinstance(source, Volume) else lazy(source, untrusted, frames=frames)))
    asked = settled(target, codec, volume, allow_lossy_again)
    volume, target = asked.volume, asked.target
    if frames and kind == "dicom" and volume.about.get("dicom"):
        # Files that are compressed one by one stay one series, whatever settings each of them came to.
        made_as = f"{slimscan.__version__} {asked.said} {codec or ''}"
        volume = replace(volume, about={**volume.about, "dicom": {**volume.about["dicom"], "made_as": made_as}})
    slices = volume.shape[0] if volume.shape else 0
    seen = survey(volume, threads())
    if kind == "dicom" and not _keeps_all(target):
        volume, seen = with_room(volume, seen)
    region = None
    if isinstance(target, Apart):
        target = on_volume(target, volume)
        assert roi is not None
        region = region_on(roi, volume, roi_grow, roi_threshold, bool(untrusted))
    case = Case(
        volume,
        seen,
        _on_grid(target),
        per,
        each or threads(),
        plain=kind in ("tiff", "dicom"),
        dicom=kind == "dicom",
        spool_folder=place.parent,
        progress=None if progress is None else (lambda done: progress("encoding", done, slices)),
        region=region,
    )
    if region is not None:
        return _apart(case, kind, place, codec, peak, verify, force, started, asked, untrusted, residual)
    _admit_lossy(volume, case.target)
    if isinstance(target, Psnr):
        peak = target.peak
    order = Order(place, kind, case.target, peak, verify, force, started, asked=asked, residual=residual)
    with room(place), apart(untrusted):  # before the search: what it keeps lies on the output's disk
        if name == "auto":
            from slimscan.press.auto import choose_codec

            choice = choose_codec(case, kind, lambda scheme: _guess(order, case, scheme))
            return _press(replace(order, candidates=choice.table), case, choice.prober, choice.curve)
        return _press(order, case, prober_of(case, name or _default(case)))


def _apart(
    case: Case,
    kind: Kind,
    place: Path,
    codec: str | None,
    peak: Peak,
    verify: bool,
    force: bool,
    started: float,
    asked: Asked,
    untrusted: bool | Limits,
    residual: bool,
) -> Receipt:
    """compress() with a region."""
    found = find_codec(codec or codec_for(case.target, kind))
    admit_codec(kind, found.name, place)
    admit_region(kind, found.name, place)
    _admit_lossy(case.volume, case.target)
    case = replace(case, envelope=kind == "box" or (kind == "pixels" and found.lossy))
    case = replace(case, plain=not case.envelope)
    if kind == "dicom":
        kept = f"the region {case.region.name or 'of interest'} kept ({case.target})" if case.region else ""
        case = replace(case, volume=replace(case.volume, about={**case.volume.about, "region_kept": kept}))
    order = Order(place, kind, case.target, peak, verify, force, started, asked=asked, residual=residual)
    with room(place), apart(untrusted):
        return _press(order, case, prober_for(case, found.name))


def _keeps_all(target: Target) -> bool:
    """Whether nothing may change."""
    exact = isinstance(target, Setting) and target.value is None
    return exact or isinstance(target, Lossless) or (isinstance(target, MaxError) and target.value < 1)


def _guess(order: Order, case: Case, scheme: Scheme) -> int:
    """Bytes of the output beside its payloads, before it is written."""
    single = order.output.suffix.lower() == ".dcm"
    return guess_overhead(order.kind, case.volume, scheme, case.bits, single=single)


def _press(order: Order, case: Case, prober: Prober, known: Curve | None = None) -> Receipt:
    """Search and write; again when the file's own description turned out larger or smaller than was counted."""
    extra = _guess(order, case, prober.scheme)
    try:
        for attempt in range(TRIES):
            case = replace(case, overhead=extra)
            most = isinstance(case.target, Ratio) and case.target.most
            inner: int | None = None
            found: Found | None
            if case.region is not None:
                pieces, found, inner = settle_roi(case, prober)
            else:
                pieces, found = (settle_most if most else settle)(case, prober, known)
            with staged(order.output, order.force) as stage:
                receipt = _write(order, case, prober, pieces, found, stage.path, inner)
                failed = [check for check in receipt.checks if not check.passed]
                miscounted = order.kind != "pixels" and [c for c in failed if c.name == "ratio"] == failed != []
                if not failed:
                    return receipt
                stage.keep = False
                counted = receipt.file_bytes - (receipt.residual_bytes or 0) - receipt.payload_bytes
                if not miscounted or attempt == TRIES - 1 or counted == extra:
                    raise CheckFailed(
                        "; ".join(f"{case.volume.source}: {c.name}: asked {c.asked}, got {c.got}" for c in failed)
                    )
                extra = counted
    finally:
        prober.spool.close()
    raise AssertionError("the loop returns or raises")


def _write(
    order: Order,
    case: Case,
    prober: Prober,
    pieces: list[Piece],
    found: Found | None,
    hidden: Path,
    inner: int | None = None,
) -> Receipt:
    """inner: bytes of a region's inside."""
    volume, scheme = case.volume, prober.scheme
    values = found.values if found else (_given(order.target),) * len(pieces)
    written: Written
    if order.kind == "box":
        payloads = _payloads(case, prober, pieces, found)
        beside = case.seen if order.residual and not _is_exact(values, case, scheme) else None
        written = write_box(hidden, volume, scheme, case.bits, payloads, RECEIPT, beside)
    else:
        if found is None and not (order.kind == "dicom" and scheme.codec in WHOLE):
            prober.run(pieces, values)
        keys = list(zip(pieces, values, strict=True))
        exact = all(value is None for value in values) and case.region is None
        setting = _setting(case, prober, values)
        fetch: Callable[[int], bytes] = lambda index: prober.payload(*keys[index])  # noqa: E731
        written = write_other(order.kind, hidden, volume, scheme, fetch, exact, setting)
    peak = case.peak(order.peak)
    measured: Measured | None = None
    if order.verify:
        measured = measure(volume, written.decode, pieces, threads(), _kept(case, prober), case.region)
    if measured and case.region is not None:
        promised = region_checks(case, scheme, measured)
    else:
        promised = checks(order.target, measured, peak, str(order.peak), case.per) if measured else []
    if order.asked is not None and measured is not None:
        promised = order.asked.in_words(promised, measured.worst)
    promised = [*promised, *written.checks]
    if order.verify and written.restored is not None:
        promised.append(restored_check(volume, written.restored, pieces, threads()))
    receipt = sign(order, case, scheme, values, prober.log, written.payload_bytes, measured, promised)
    receipt = replace(receipt, notes=written.notes, residual_bytes=written.residual_bytes)
    sizes = (0, 0)
    if inner is not None:
        inner = min(inner, written.payload_bytes)
        sizes = (inner, written.payload_bytes - inner)
        numbers = region_numbers(case, measured, sizes, peak)
        receipt = replace(receipt, setting=_setting(case, prober, values), regions=numbers)
    if order.asked is not None:
        receipt = order.asked.onto(receipt, pieces, found, case)
    written.finish(travelling(receipt, measured))
    receipt = receipt.on_disk(_size(hidden))
    if inner is None:
        promised = [*promised, *size_checks(case, pieces, found, receipt, order.kind == "pixels", scheme)]
    else:
        assert case.region is not None
        outer = case.seen.samples - voxels_inside(case.region) * (case.volume.shape[3] if len(volume.shape) == 4 else 1)
        ratio = receipt.ratio_payload if order.kind == "pixels" else receipt.ratio
        nothing_lost = all(value is None for value in values) and (prober.treat is None or prober.treat.searched)
        promised = [*promised, *region_size_checks(case, sizes, outer, ratio, nothing_lost)]
    seconds = time.perf_counter() - order.started
    speed = receipt.raw_bytes / 1e6 / seconds
    return replace(receipt, checks=tuple(promised), seconds=seconds, megabytes_per_second=speed)


def _setting(case: Case, prober: Prober, values: Sequence[float | None]) -> str:
    """What the receipt and DICOM's block call the setting."""
    treat = prober.treat
    if treat is None or not treat.searched:
        text = setting_text(prober.scheme.codec, values)
    else:
        told = sorted({"exact" if value is None else f"{value:.4g}" for value in values})
        text = (
            setting_text(prober.scheme.codec, [treat.near])
            + f" after {treat.kind} {'..'.join([told[0], *told[1:][-1:]])}"
        )
    return text if case.region is None else region_setting(case, prober.scheme, text, treat.kind if treat else "")


def _kept(case: Case, prober: Prober) -> float | None:
    """The background that must have come back exactly; JPEG-LS with NEAR has no place for it."""
    if case.region is None or case.envelope:
        return prober.scheme.background
    return None if prober.treat is not None and prober.treat.near is not None else case.seen.background


def _payloads(case: Case, prober: Prober, pieces: list[Piece], found: Found | None) -> Iterator[bytes]:
    """The chunks in order: from the spool after a search, else encoded as they are written."""
    if found is not None:
        for piece, value in zip(pieces, found.values, strict=True):
            yield prober.payload(piece, value)
        return
    value = _given(case.target)
    jobs = (Job(prober.scheme, case.volume.slices(*piece), value, False) for piece in pieces)
    for piece, (payload, _, _) in zip(pieces, case.each(run_job, jobs), strict=True):
        if case.progress is not None:
            case.progress(piece[1] - piece[0])
        yield payload


def _is_exact(values: Sequence[float | None], case: Case, scheme: Scheme) -> bool:
    """Whether the chunks are the original already."""
    return all(value is None for value in values) and scheme.exact and case.region is None


def _given(target: Target) -> float | None:
    return target.value if isinstance(target, Setting) else None


def _size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    return path.stat().st_size if path.is_file() else sum(f.stat().st_size for f in path.rglob("*") if f.is_file())


def _on_grid(target: Target) -> Target:
    """A setting with its value checked and put on the knob's grid."""
    if not isinstance(target, Setting):
        return target
    found = find_codec(target.codec)
    if target.value is None:
        if not found.lossless:
            raise InputError(f"{target}: {found.name} has no exact mode; `slimscan codecs` lists those that have")
        return target
    if found.knob is None:
        raise InputError(f"{target}: {found.name} is exact only; want {found.name}@lossless")
    return Setting(found.name, found.knob.check(found.name, target.value))


def _admit_lossy(volume: Volume, target: Target) -> None:
    exact = isinstance(target, Lossless) or (isinstance(target, Setting) and target.value is None)
    if volume.about.get("palette") and not exact:
        raise InputError(
            f"{volume.source}: palette colours are numbers of a table, not brightness; only --lossless is safe"
        )
    if volume.about.get("segments") and not exact:
        raise InputError(
            f"{volume.source}: a segmentation says what each voxel is, not how bright; only --lossless is safe"
        )


def _default(case: Case) -> str:
    """The codec when none is named: JPEG 2000, or one that takes floats when they must be kept exactly."""
    fits = case.seen.plain and case.seen.high - case.seen.low <= 65535
    return FLOATS if isinstance(case.target, Lossless) and not fits else "jpeg2000"


def _in_memory(volume: Volume) -> Volume:
    """Small volumes are read once; large ones stay on disk, and those that are read again at no cost."""
    if getattr(volume.pixels, "cheap", False):
        return volume
    size = int(np.prod(volume.shape, dtype=np.int64)) * np.dtype(volume.pixels.dtype).itemsize
    if isinstance(volume.pixels, np.ndarray) or size > IN_MEMORY or 0 in volume.shape:
        return volume
    return replace(volume, pixels=np.asarray(volume.pixels[0 : volume.shape[0]]))
