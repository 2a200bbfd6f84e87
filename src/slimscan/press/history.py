"""What was done to an image before: earlier lossy generations, from what its file says and from traces in its pixels.

A second lossy compression is measured against pixels that are no original, so none of its numbers speak of the original. It is
refused unless --allow-lossy-again says so, and then every generation that is known stands in the output. Lossless work
is always welcome, and carries the history on.

Where a file says it: DICOM (LossyImageCompression, its parallel lists, the transfer syntax, the codestream), the receipt in
a container of slimscan's, a TIFF's compression. Pixels without such words are searched for the grid of an earlier JPEG
(slimscan.metrics.traces) and for the steps of an earlier JPEG 2000 (slimscan.metrics.wavelet_traces); other codecs are not
looked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from slimscan.errors import InputError
from slimscan.nouns import Lossless, Pixels, Policy, Setting, Target, Volume

if TYPE_CHECKING:
    from slimscan.metrics.traces import Trace
    from slimscan.metrics.wavelet_traces import WaveletTrace

SLICES = 2  # that are searched for traces
JPEG, JPEG_2000 = "ISO_10918_1", "ISO_15444_1"  # defined terms of LossyImageCompressionMethod


@dataclass(frozen=True, slots=True)
class Past:
    """why: what says that the image was compressed with loss, "" when nothing does. generations: {method, ratio} each.

    trace, wavelet: of an earlier JPEG or JPEG 2000 in the pixels; None when they were not searched. A generation that only a
    trace shows has no ratio.
    """

    why: str
    generations: tuple[Mapping[str, Any], ...]
    trace: Trace | None = None
    wavelet: WaveletTrace | None = None

    @property
    def traced(self) -> bool:
        """Whether traces alone tell of a generation."""
        return (self.trace is not None and self.trace.found) or (self.wavelet is not None and self.wavelet.found)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for --json."""
        return {
            "lossy_before": bool(self.why),
            "why": self.why,
            "generations": [dict(one) for one in self.generations],
            "jpeg_trace": None if self.trace is None else _plain(self.trace, "offset"),
            "jpeg2000_trace": None if self.wavelet is None else _plain(self.wavelet, "wavelet"),
        }

    @property
    def note(self) -> str:
        """A remark for a trace that is too weak to refuse upon, "" without one."""
        weak = [one for one in (self.trace, self.wavelet) if one is not None and one.suspected]
        if self.why or not weak:
            return ""
        name = "JPEG" if weak[0] is self.trace else "JPEG 2000"
        return f"the pixels may have been a {name} once: {weak[0].votes} of {weak[0].asked} signs of it, too few to be sure"


def _plain(trace: Trace | WaveletTrace, more: str) -> dict[str, Any]:
    keys = ("votes", "asked", "control", more)
    return {"certain": trace.found, "suspected": trace.suspected} | {key: getattr(trace, key) for key in keys}


def is_exact(target: Target | Policy) -> bool:
    """Whether the target loses nothing."""
    return isinstance(target, Lossless) or (isinstance(target, Setting) and target.value is None)


def told(volume: Volume) -> Past:
    """What the image's file says of its past, without a look at the pixels."""
    dicom = volume.about.get("dicom") or {}
    why = []
    if dicom.get("lossy_before"):
        why.append(str(dicom.get("lossy_why") or "its DICOM source was marked lossy"))
    before = volume.about.get("lossy")
    if before:
        why.append(f"its receipt says {before['method']} at a ratio of {before['ratio']:.4g}")
    if volume.about.get("lossy_why"):
        why.append(str(volume.about["lossy_why"]))
    return Past("; ".join(why), tuple(generations(volume)))


def generations(volume: Volume) -> list[dict[str, Any]]:
    """The known lossy generations, the first one first: {"method", "ratio"}; a ratio that nobody wrote down is None."""
    dicom = volume.about.get("dicom") or {}
    ratios, methods = list(dicom.get("lossy_ratios") or ()), list(dicom.get("lossy_methods") or ())
    count = max(len(ratios), len(methods), int(bool(dicom.get("lossy_before"))))
    found = [
        {"method": methods[k] if k < len(methods) else "", "ratio": ratios[k] if k < len(ratios) else None}
        for k in range(count)
    ]
    own = list(volume.about.get("generations") or ())
    if not own and volume.about.get("lossy"):
        own = [volume.about["lossy"]]
    if not found and not own and volume.about.get("lossy_why"):
        found = [{"method": "", "ratio": None}]
    return found + [{"method": str(one["method"]), "ratio": one["ratio"]} for one in own]


def admit(volume: Volume, target: Target | Policy, allow_lossy_again: bool) -> Past:
    """What is known of the image's past.

    InputError, before anything is written, when a lossy target meets an image that was compressed with loss before, unless
    allow_lossy_again. Pixels are searched for traces only when the target is lossy and the file says nothing.
    """
    past = told(volume)
    if is_exact(target):
        return past
    if not past.why:
        past = seen(volume)
    if past.why and not allow_lossy_again:
        raise InputError(
            f"{volume.source or 'volume'}: was compressed with loss before ({past.why}), and what is lost now would be measured "
            "against that, not against the original; use --lossless, or --allow-lossy-again to add a generation"
        )
    return past


def seen(volume: Volume) -> Past:
    """What the pixels show: some slices spread over the volume, away from its ends where it has many."""
    from slimscan.metrics.traces import jpeg_trace  # metrics cost more to import than a lossless copy of a slice
    from slimscan.metrics.wavelet_traces import wavelet_trace

    depth = volume.shape[0]
    picks = sorted({int((k + 0.5) * depth / min(SLICES, depth)) for k in range(min(SLICES, depth))}) if depth else []
    slices: list[Pixels] = [np.asarray(volume.slices(z, z + 1))[0] for z in picks]
    trace = jpeg_trace(slices)
    if trace.found:
        why = f"its pixels were a JPEG once: {trace.votes} of {trace.asked} frequencies of an 8 x 8 grid are quantised"
        return Past(why, ({"method": JPEG, "ratio": None},), trace)
    wavelet = wavelet_trace(slices)
    if wavelet.found:
        told = f"{wavelet.votes} of {wavelet.asked} code-blocks of its {wavelet.wavelet} wavelet are quantised"
        return Past(
            f"its pixels were a JPEG 2000 once: {told}", ({"method": JPEG_2000, "ratio": None},), trace, wavelet
        )
    return Past("", (), trace, wavelet)


def carried(volume: Volume, past: Past) -> Volume:
    """The volume with its earlier generations in `about`, where a container keeps them; as it was without any.

    What DICOM's own lists say stays there; a trace is added, since nothing else would know of it.
    """
    own = list(volume.about.get("generations") or ([volume.about["lossy"]] if volume.about.get("lossy") else []))
    if past.traced:
        own = [*past.generations, *own]
    return replace(volume, about={**volume.about, "generations": own}) if own else volume


def for_dicom(volume: Volume, *, decoded: bool = False) -> Volume:
    """The volume with the generations of slimscan's own files among those of DICOM, so that a data set claims them all.

    An image whose DICOM source is at hand keeps what that says. decoded: plain pixels are written, and their writer claims
    the last generation by itself, from about["lossy"].
    """
    dicom = dict(volume.about.get("dicom") or {})
    own = list(volume.about.get("generations") or ())
    if decoded and volume.about.get("lossy"):
        own = own[:-1]
    if not own or dicom.get("folder"):
        return volume
    ratios, methods = list(dicom.get("lossy_ratios") or ()), list(dicom.get("lossy_methods") or ())
    known = max(len(ratios), len(methods))
    dicom["lossy_ratios"] = [*ratios, *[None] * (known - len(ratios)), *(one["ratio"] for one in own)]
    dicom["lossy_methods"] = [*methods, *[""] * (known - len(methods)), *(str(one["method"]) for one in own)]
    return replace(volume, about={**volume.about, "dicom": dicom | {"lossy_before": True}})
