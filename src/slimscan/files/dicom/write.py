"""DICOM out: a folder of single-frame instances or one multi-frame file, from codestreams or from plain pixels.

An image that was read from DICOM takes its data sets from its source files again, element for element (private and
unknown ones too); only the pixels, what describes them, and for lossy work the derivation change. Lossless recoding
keeps every UID and claim. An image from elsewhere gets a minimal data set (dicom_new).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from slimscan import child
from slimscan.errors import InputError, LayoutRefused, SlimscanError
from slimscan.files.dicom import block
from slimscan.files.dicom import derive as dicom_derive
from slimscan.files.dicom import frames as dicom_frames
from slimscan.files.dicom import geometry as dicom_geometry
from slimscan.files.dicom import header as dicom_header
from slimscan.files.dicom import new as dicom_new
from slimscan.files.dicom import save as dicom_save
from slimscan.files.dicom import source as dicom_source
from slimscan.files.dicom.block import Note
from slimscan.files.dicom.describe import checked, describe
from slimscan.files.dicom.open import quiet
from slimscan.files.dicom.syntax import DEFLATED, EXPLICIT, RLE, SYNTAXES
from slimscan.files.guard import damaged, one_line, writing
from slimscan.nouns import Pixels, Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Change = Literal["none", "colour", "lossy"]


@dataclass(frozen=True, slots=True)
class Files:
    """What was written. coded_bytes: of pixels as they lie in the files. lowest: the instance of the lowest slice."""

    coded_bytes: int
    lowest: Path


def write(volume: Volume, path: Path) -> None:
    """Plain pixels, Explicit VR Little Endian: a folder, or one file when the name ends in .dcm."""
    write_exact(volume, path, EXPLICIT)


def write_exact(volume: Volume, path: Path, transfer_syntax: str = EXPLICIT, note: Note | None = None) -> Files:
    """Pixels exactly as they are in the volume: native, deflated or RLE.

    A volume whose DICOM source still exists is compared with it slice by slice: equal pixels keep their UIDs, others
    make derived instances that are marked lossy, because a decoded lossy volume looks like any other.
    """
    if transfer_syntax not in (EXPLICIT, DEFLATED, RLE):
        raise InputError(f"{path}: transfer syntax {transfer_syntax}; allowed here: {EXPLICIT}, {DEFLATED} and {RLE}")
    encode: Callable[[Pixels], bytes] = dicom_frames.rle_frame if transfer_syntax == RLE else dicom_frames.native_frame
    source = dicom_source.sources(volume)
    equal, bits = True, volume.bits
    held = {file: dicom_header.header(file) for file in {file for file, _ in source or ()}}
    limits = child.asked()

    def frames() -> Iterator[bytes]:
        nonlocal equal, bits
        for k in range(volume.shape[0]):
            pixels = volume.slices(k, k + 1)[0]
            bits = max(bits, _bits_of(pixels))
            if source is not None and equal:
                equal = bool(np.array_equal(dicom_frames.decode(held[source[k][0]], source[k][1], limits), pixels))
            yield encode(pixels)

    with dicom_save.Spool(path, frames()) as spool:
        before = volume.about.get("lossy")  # pixels that were decoded from a lossy file say so, wherever they came from
        change: Change = "lossy" if before or not equal else "none"
        ratio, method = (float(before["ratio"]), str(before["method"])) if before else (None, None)
        volume = replace(volume, bits=bits)
        return _write(path, volume, source, spool, transfer_syntax, ratio, method, change, None, note)


def _bits_of(pixels: Pixels) -> int:
    """Bits that these integers need, sign and all: -900..2979 spans 12 bits, and is stored in 13."""
    if pixels.dtype.kind not in "iu" or not pixels.size:
        return 0
    low, high = int(pixels.min()), int(pixels.max())
    return max(high, -1 - low).bit_length() + (pixels.dtype.kind == "i")


def write_encoded(
    path: Path,
    volume: Volume,
    frames: Iterable[bytes],
    *,
    transfer_syntax: str,
    ratio: Sequence[float] | float | None,
    method: str | None,
    lossless: bool,
    padding_range: tuple[int, int] | None = None,
    note: Note | None = None,
) -> Files:
    """Write codestreams, one a slice in z order, as DICOM: a folder, or one file when the name ends in .dcm.

    frames: bare codestreams of volume.shape[1:]. Codestreams of signed pixels that carry no sign themselves (JPEG-LS,
    JPEG XL) hold two's complement, in volume.bits bits or in all of the sample's. ratio: of every slice, or one for all; None: raw bytes (bits
    allocated) / encoded bytes of each instance. method: defined term of LossyImageCompressionMethod; None: the one of
    the transfer syntax. lossless: decoding gives the volume's pixels exactly; UIDs and claims stay.
    padding_range: (PixelPaddingValue, PixelPaddingRangeLimit) when padding came back as a range of values. note: put our
    private block into every instance (block.py), with room for a receipt in the one of the lowest slice.

    InputError: frames and volume do not agree, palette indices to be lossy, a transfer syntax that cannot hold them.
    CodecError: a codestream of another size or without its end. GeometryError: an affine that DICOM cannot say.
    """
    syntax = SYNTAXES.get(transfer_syntax)
    if syntax is None or not syntax.encapsulated:
        raise InputError(
            f"{path}: transfer syntax {transfer_syntax} holds no codestreams; write_exact writes plain pixels"
        )
    if lossless and syntax.method and syntax.kind != "jpegls" and transfer_syntax not in _EITHER:
        raise InputError(f"{path}: {syntax.name} is a lossy transfer syntax; lossless pixels go into a lossless one")
    if not lossless and not syntax.method:
        raise InputError(f"{path}: {syntax.name} is lossless; lossy codestreams need a transfer syntax that says so")
    if not lossless and volume.about.get("palette"):
        raise LayoutRefused(f"{path}: palette indices must not become lossy; allowed: lossless")
    with dicom_save.Spool(path, frames) as spool:
        change: Change = "none" if lossless else "lossy"
        return _write(
            path,
            volume,
            dicom_source.sources(volume),
            spool,
            transfer_syntax,
            ratio,
            method or syntax.method,
            change,
            padding_range,
            note,
        )


_EITHER = ("1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203", "1.2.840.10008.1.2.4.112")  # may hold exact pixels too


def _write(
    path: Path,
    volume: Volume,
    source: list[tuple[Path, int]] | None,
    spool: dicom_save.Spool,
    syntax: str,
    ratio: Sequence[float] | float | None,
    method: str | None,
    change: Change,
    padding_range: tuple[int, int] | None,
    note: Note | None,
) -> Files:
    if len(spool) != volume.shape[0]:
        raise InputError(
            f"{path}: {len(spool)} encoded frames for a volume of {volume.shape[0]} slices; want one a slice"
        )
    if volume.about.get("segments"):
        raise InputError(
            f"{path}: segments are no image; `slimscan dicom seg MASK --on SERIES -o OUT.dcm` writes a Segmentation"
        )
    if volume.pixels.dtype.kind not in "iu" or volume.pixels.dtype.itemsize > 2:
        raise LayoutRefused(
            f"{path}: samples of type {volume.pixels.dtype}; DICOM holds int8, uint8, int16 and uint16 here"
        )
    ratios = [ratio] * len(spool) if ratio is None or isinstance(ratio, (int, float)) else list(ratio)
    if len(ratios) != len(spool):
        raise InputError(f"{path}: {len(ratios)} ratios for {len(spool)} slices; want one, or one a slice")
    stream = checked(path, volume, spool, syntax)
    single = path.suffix.lower() == ".dcm"
    if change == "none" and source is not None and dicom_source.about_dicom(volume).get("converted"):
        change = "colour"
    planes = dicom_geometry.planes_of(volume.affine_mm, volume.shape[0]) if source is None else []
    names = _names(volume, spool.digest)
    lowest, coded_bytes, encapsulated = path, 0, SYNTAXES[syntax].encapsulated
    with writing(path):
        if not single:
            path.mkdir(parents=True, exist_ok=True)
        for instance in dicom_source.instances(path, volume, source, single):
            digest = hashlib.sha256("".join(spool.digests[k] for k in instance.slices).encode()).hexdigest()
            raw = len(instance.slices) * int(np.prod(volume.shape[1:])) * volume.pixels.dtype.itemsize
            coded = sum(spool.length(k) for k in instance.slices)
            known = [r for k in instance.slices if (r := ratios[k]) is not None]
            mean = len(known) / sum(1 / r for r in known) if known else raw / max(1, coded)
            with quiet(), _blaming(instance.source):
                if instance.source is None:
                    found = dicom_new.fresh(
                        volume, [planes[k] for k in instance.slices], names, digest, instance.slices[0]
                    )
                    preamble, meta = b"\0" * 128, None
                    if change == "lossy" or dicom_source.about_dicom(volume).get("lossy_before"):
                        _claim_new(found, volume, mean, method, change)
                else:
                    found, preamble, meta = dicom_source.taken(volume, instance, source, names)
                    if change != "none":
                        dicom_derive.derive(
                            found,
                            digest=digest,
                            series=str(dicom_source.about_dicom(volume).get("made_as") or spool.digest),
                            ratio=mean if method else None,
                            method=method,
                            lossy=change == "lossy",
                            more=str(volume.about.get("region_kept", "")),
                        )
                describe(found, volume, stream, padding_range, instance.source is None)
                target = path if single else path / instance.name
                if note is not None:
                    sums = [spool.checksum(k, encapsulated) for k in instance.slices]
                    block.put(found, note, syntax, sums, receipt=0 in instance.slices)
                if 0 in instance.slices:
                    lowest = target
                coded_bytes += dicom_save.save(target, found, preamble, meta, syntax, spool, instance.slices)
    return Files(coded_bytes, lowest)


@contextmanager
def _blaming(source: Path | None) -> Iterator[None]:
    """What a library raises at an element of the source's data set becomes NotReadable, naming that file."""
    try:
        yield
    except (SlimscanError, OSError, MemoryError):
        raise
    except Exception as error:
        if source is None:
            raise
        raise damaged(source, "DICOM", one_line(error)) from error


def _names(volume: Volume, digest: str) -> dicom_new.Names:
    """UIDs of a new image; only its file's own name and its geometry decide which study it is."""
    geometry = f"{volume.shape}{np.round(np.asarray(volume.affine_mm), 5).tolist()}"
    name = Path(volume.source).name
    return dicom_new.Names(
        dicom_derive.uid("study", name, geometry),
        dicom_derive.uid("frame of reference", name, geometry),
        dicom_derive.uid("series", name, geometry, digest),
    )


def _claim_new(found: Dataset, volume: Volume, ratio: float, method: str | None, change: Change) -> None:
    """The lossy history of an image whose DICOM source is gone, and this generation."""
    dicom = dicom_source.about_dicom(volume)
    found.LossyImageCompression = "01"
    if dicom.get("lossy_methods"):
        found.LossyImageCompressionMethod = list(dicom["lossy_methods"])
    if dicom.get("lossy_ratios"):
        found.LossyImageCompressionRatio = ["" if one is None else f"{one:.5g}" for one in dicom["lossy_ratios"]]
    if change == "lossy":
        found.ImageType = ["DERIVED", *list(found.ImageType)[1:]]
        dicom_derive.claim(found, int(bool(dicom.get("lossy_before"))), ratio, method)
