"""What may be asked of a compression, and what is measured about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from slimscan.nouns.codec import Setting

Peak = Literal["stored", "range", "dtype"] | float


@dataclass(frozen=True, slots=True)
class Ratio:
    """raw bytes / bytes on disk is to be `value`, within 2 %.

    most: `value` is the largest that is allowed, of raw bytes / encoded bytes, which no header flatters: what guidelines
    and LossyImageCompressionRatio speak of. It is met as closely as the codec can, from below, and never exceeded.
    """

    value: float
    most: bool = False

    def __str__(self) -> str:
        return f"ratio:{'at most ' if self.most else ''}{self.value:g}"


@dataclass(frozen=True, slots=True)
class Psnr:
    """PSNR over the whole volume is to be at least `db` and at most 0.1 dB more; the peak is named."""

    db: float
    peak: Peak = "stored"

    def __str__(self) -> str:
        return f"psnr:{self.db:g}dB,peak={self.peak}"


@dataclass(frozen=True, slots=True)
class MaxError:
    """No voxel may be off by more than `value`, in the unit that the image's header names, "" for stored units."""

    value: float
    unit: str = ""

    def __str__(self) -> str:
        return f"max-error:{self.value:g}{f' {self.unit}' if self.unit else ''}"


@dataclass(frozen=True, slots=True)
class Lossless:
    """Every voxel comes back as it was."""

    def __str__(self) -> str:
        return "lossless"


@dataclass(frozen=True, slots=True)
class Policy:
    """The largest ratio that a published guideline allows for the image, with the codec that it speaks of.

    name: a key of slimscan's table of guidelines. modality: a DICOM defined term ("CT"), needed when the image's header
    says none. body_part: such a term, or a word like it; "" for the header's.
    """

    name: str
    modality: str = ""
    body_part: str = ""

    def __str__(self) -> str:
        return f"policy:{self.name}"


@dataclass(frozen=True, slots=True)
class Outside:
    """What happens outside a region. target: of the voxels there (a Ratio: their raw bytes / bytes spent on them), or None.

    how: "", or what is done before coding: "calm", "constant" or "coarse", with its options.
    """

    target: Ratio | Psnr | MaxError | Setting | None = None
    how: str = ""
    options: Mapping[str, float | str] = field(default_factory=dict)

    def __str__(self) -> str:
        options = ",".join(
            f"{key}={value if isinstance(value, str) else format(value, 'g')}" for key, value in self.options.items()
        )
        how = f"{self.how}{f':{options}' if options else ''}" if self.how else ""
        return "+".join(part for part in (how, "" if self.target is None else str(self.target)) if part)


@dataclass(frozen=True, slots=True)
class Apart:
    """What is asked with a region of interest: of its inside, and of the outside, or of the whole file.

    inside: what its voxels must keep. whole: the ratio of the file; then `inside` is the best that is wanted, and as good as
    that ratio allows, and the outside gets what is left.
    """

    inside: Lossless | MaxError | Psnr
    outside: Outside
    whole: Ratio | None = None

    def __str__(self) -> str:
        if self.whole is not None:
            return f"{self.whole}, bytes inside first, at best {self.inside}"
        return f"inside {self.inside}, outside {self.outside}"


Target = Ratio | Psnr | MaxError | Lossless | Setting | Apart


@dataclass(frozen=True, slots=True)
class Check:
    """One promise and what was measured of it on the written file."""

    name: str
    asked: str
    got: str
    passed: bool


@dataclass(frozen=True)
class Receipt:
    """Everything measured about one compression; it travels in the file. The fields are the keys of `compress --json`.

    ratio: raw_bytes / file_bytes. ratio_payload: raw_bytes / payload_bytes. ratio_bits: stored bits / file bits.
    psnr_db, max_abs_error, mse: None when the file was not read back (--no-verify); psnr_db is also None when nothing
    differs (it would be infinite; `identical` says so). probes: every encoding tried. candidates: the table that "auto"
    chose from. samples: voxels x colours. bits: stored bits of one. sha256: of the source's samples in C order, little
    endian; decoded_sha256: of what came back. max_abs_error_real: the largest error times the rescale slope, in `unit`,
    the one of the image's header ("" when it names none). policy: the guideline that decided, None without one.
    history: what is known of earlier lossy generations, None when nothing was looked for. notes: what whoever opens the
    file should know, a sentence each. regions: with a region of interest what it is and numbers for inside and outside
    apart, None without one. residual_bytes: of file_bytes, those that only restore the original, None without a residual;
    ratio, ratio_bits and bits_per_voxel then count the others, and ratio_exact is raw_bytes / file_bytes.
    """

    source: str
    output: str
    codec: str
    setting: str
    target: str
    raw_bytes: int
    file_bytes: int
    payload_bytes: int
    ratio: float
    ratio_payload: float
    ratio_bits: float
    bits_per_voxel: float
    psnr_db: float | None
    peak: str
    max_abs_error: float | None
    mse: float | None
    identical: bool | None
    seconds: float
    megabytes_per_second: float
    probes: tuple[Mapping[str, Any], ...]
    checks: tuple[Check, ...]
    versions: Mapping[str, str]
    candidates: tuple[Mapping[str, Any], ...] = ()
    samples: int = 0
    bits: int = 0
    sha256: str | None = None
    decoded_sha256: str | None = None
    max_abs_error_real: float | None = None
    unit: str = ""
    policy: Mapping[str, Any] | None = None
    history: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    regions: Mapping[str, Any] | None = None
    residual_bytes: int | None = None
    ratio_exact: float | None = None

    def on_disk(self, file_bytes: int) -> Receipt:
        """The receipt once the size of the whole output is known; ratios speak of what stands beside the residual."""
        base = file_bytes - (self.residual_bytes or 0)
        return replace(
            self,
            file_bytes=file_bytes,
            ratio=self.raw_bytes / base,
            ratio_bits=self.samples * self.bits / (8 * base),
            bits_per_voxel=8 * base / self.samples,
            ratio_exact=None if self.residual_bytes is None else self.raw_bytes / file_bytes,
        )
