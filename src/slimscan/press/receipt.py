"""The receipt: everything measured about one compression, and the part of it that travels in the file.

What lies in the file must not change from one run to the next, and cannot know the size of the file that holds it: time,
place and size are left out there, and `slimscan info` measures the size anew.
"""

from __future__ import annotations

import math
import platform
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slimscan
from slimscan.codecs import codec as find_codec
from slimscan.files.ozx import compact
from slimscan.nouns import Check, Needs, Receipt
from slimscan.press.choose import Case
from slimscan.press.scheme import Scheme
from slimscan.press.verify import Measured

if TYPE_CHECKING:
    from slimscan.press.compress import Order

LEFT_OUT = (
    "source",
    "output",
    "seconds",
    "megabytes_per_second",
    "file_bytes",
    "ratio",
    "ratio_bits",
    "bits_per_voxel",
)


def sign(
    order: Order,
    case: Case,
    scheme: Scheme,
    values: Sequence[float | None],
    probes: Sequence[Mapping[str, Any]],
    payload_bytes: int,
    measured: Measured | None,
    promised: Sequence[Check],
) -> Receipt:
    """The receipt before the file is closed: sizes of the file and times are zero until on_disk()."""
    psnr = measured.psnr_db(case.peak(order.peak)) if measured else None
    return Receipt(
        source=case.volume.source,
        output=str(order.output),
        codec=scheme.codec,
        setting=setting_text(scheme.codec, values),
        target=str(order.target),
        raw_bytes=case.raw_bytes,
        file_bytes=0,
        payload_bytes=payload_bytes,
        ratio=0.0,
        ratio_payload=case.raw_bytes / max(1, payload_bytes),
        ratio_bits=0.0,
        bits_per_voxel=0.0,
        psnr_db=None if psnr is None or math.isinf(psnr) else psnr,
        peak=str(order.peak),
        max_abs_error=measured.worst if measured else None,
        mse=measured.mse if measured else None,
        identical=measured.identical if measured else None,
        seconds=0.0,
        megabytes_per_second=0.0,
        probes=tuple(probes),
        checks=tuple(promised),
        versions=versions(scheme.codec),
        candidates=order.candidates,
        samples=case.seen.samples,
        bits=case.bits,
        sha256=measured.sha256 if measured else None,
        decoded_sha256=measured.decoded_sha256 if measured else None,
    )


def setting_text(codec: str, values: Sequence[float | None]) -> str:
    """ "jpeg2000@38.2" when all chunks share it; else the finest and coarsest, "hevc@30..31"."""
    told = ["lossless" if value is None else f"{value:.6g}" for value in sorted(set(values), key=_finest_first(codec))]
    return f"{codec}@{told[0]}" + (f"..{told[-1]}" if len(told) > 1 else "")


def _finest_first(codec: str) -> Any:
    knob = find_codec(codec).knob
    sign_of = 1 if knob is None or knob.finer == "low" else -1
    return lambda value: -math.inf if value is None else sign_of * value


def versions(codec: str) -> dict[str, str]:
    """Of slimscan, Python, NumPy and everything that the codec uses."""
    needs = (Needs("numpy", "numpy"), *find_codec(codec).needs)
    return {"slimscan": slimscan.__version__, "python": platform.python_version()} | {
        need.package: need.version() for need in needs
    }


def travelling(receipt: Receipt, measured: Measured | None) -> bytes:
    """The receipt as it lies in the file: compressed JSON, the same in every run."""
    said = asdict(receipt) | {"source": Path(receipt.source).name, "probes": len(receipt.probes)}
    kept = {key: value for key, value in said.items() if key == "source" or key not in LEFT_OUT}
    for name in ("candidates", "history"):  # earlier generations stand in the header that is carried on
        kept.pop(name)
    kept.pop("ratio_exact")
    if receipt.residual_bytes is None:
        kept.pop("residual_bytes")
    if receipt.regions is None:
        kept.pop("regions")
    if receipt.policy is None:
        kept.pop("policy")
    else:
        kept["policy"] = {key: receipt.policy[key] for key in ("name", "row", "ratio_at_most", "ratio", "status")}
    if not receipt.unit:
        kept = {key: value for key, value in kept.items() if key not in ("unit", "max_abs_error_real")}
    return zlib.compress(compact(kept | {"verified": measured is not None}), 9)
