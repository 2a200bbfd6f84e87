"""What a derived instance must say of itself (PS3.3 C.7.6.1.1.3 to .5, C.8.13.3.1, C.12.4.1).

A lossy instance gets new UIDs, says DERIVED, keeps LossyImageCompression "01" for ever, and appends one ratio and one
method for its generation. UIDs are made of the source's UID and the new bytes, so that the same work gives the same
UIDs; no time is written that the source did not have.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from slimscan.files.dicom.syntax import SYNTAXES

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://slimscan.org/dicom")
IMPLEMENTATION = f"2.25.{uuid.uuid5(_NAMESPACE, 'implementation').int}"
_UNCOMPRESSED_PREDECESSOR = ("121320", "DCM", "Uncompressed predecessor")
_SOURCE = ("121322", "DCM", "Source image for image processing operation")  # a predecessor that was lossy itself
_LOSSY = ("113040", "DCM", "Lossy Compression")
_TEXT_LIMIT = 1024  # of VR ST
_DESCRIPTION_LIMIT = 64  # of VR LO
_STALE = (
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "InstanceCreationDate",
    "InstanceCreationTime",
)


def uid(*parts: str) -> str:
    """The same UID for the same parts: 2.25 and a name-based UUID (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, '|'.join(parts)).int}"


def derive(
    found: Dataset,
    *,
    digest: str,
    series: str,
    ratio: float | None,
    method: str | None,
    lossy: bool,
    copy: str = "",
    more: str = "",
) -> None:
    """Turn the source's data set into that of a derived instance, in place.

    digest, series: hashes of the new pixel data of the instance and of the series. ratio, method: of this generation;
    None leaves the parallel lists as they are. lossy False: the values changed without a lossy codec (YBR to RGB).
    copy: what was done instead, when every value stayed as it was (exact recoding under new UIDs). more: a remark on it.
    """
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    source = Dataset()
    source.ReferencedSOPClassUID = found.SOPClassUID
    source.ReferencedSOPInstanceUID = found.SOPInstanceUID
    before = int(found.get("LossyImageCompression", "") == "01")
    purpose = _SOURCE if before else _UNCOMPRESSED_PREDECESSOR
    source.PurposeOfReferenceCodeSequence = Sequence([_code(*purpose)])
    evidence = _evidence(found, source) if "SharedFunctionalGroupsSequence" in found else None
    found.SOPInstanceUID = uid("instance", str(found.SOPInstanceUID), digest)
    found.SeriesInstanceUID = uid("series", str(found.get("SeriesInstanceUID", "")), series)
    said = f"slimscan: {copy}" if copy else _sentence(ratio, method, lossy) + (f", {more}" if more else "")
    suffix = " lossy" if lossy else " lossless" if copy else " RGB"
    old = str(found.get("SeriesDescription", "") or "")
    if not old.endswith(suffix.strip()):
        found.SeriesDescription = (old[: _DESCRIPTION_LIMIT - len(suffix)] + suffix).strip()
    if not copy:  # the values of a copy are still the original ones
        found.ImageType = _derived(found.get("ImageType"))
    for keyword in _STALE[4:] if copy else _STALE:
        if keyword in found:
            del found[keyword]
    if lossy:
        claim(found, before, ratio, method)
    for item in () if copy else _frame_types(found):
        item.FrameType = _derived(item.FrameType)
    places = _derivations(found)
    if evidence is not None and places and places[0] is not found:
        found.SourceImageEvidenceSequence = Sequence([*(found.get("SourceImageEvidenceSequence") or []), evidence])
    for place in places:
        place.DerivationDescription = _appended(str(place.get("DerivationDescription", "") or ""), said)
        if lossy:
            codes = list(place.get("DerivationCodeSequence") or [])
            if all((code.get("CodeValue"), code.get("CodingSchemeDesignator")) != _LOSSY[:2] for code in codes):
                place.DerivationCodeSequence = Sequence([*codes, _code(*_LOSSY)])
        place.SourceImageSequence = Sequence([*(place.get("SourceImageSequence") or []), source])


def _evidence(found: Dataset, source: Dataset) -> Dataset:
    """Where the referenced source stands: study, series, instance (C.8.13.2); for functional-group images."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    instance, series, study = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID = source.ReferencedSOPClassUID
    instance.ReferencedSOPInstanceUID = source.ReferencedSOPInstanceUID
    series.SeriesInstanceUID, series.ReferencedSOPSequence = found.SeriesInstanceUID, Sequence([instance])
    study.StudyInstanceUID, study.ReferencedSeriesSequence = found.StudyInstanceUID, Sequence([series])
    return study


def claim(found: Dataset, generations: int, ratio: float | None, method: str | None) -> None:
    """LossyImageCompression "01", and one entry of ratio and method more, the two lists kept parallel.

    generations: how many lossy generations there were at least; those without an entry get an empty one.
    """
    found.LossyImageCompression = "01"
    ratios = _values(found, "LossyImageCompressionRatio")
    methods = _values(found, "LossyImageCompressionMethod")
    if method is None:
        return
    known = max(len(ratios), len(methods), generations)
    ratios += [""] * (known - len(ratios))
    methods += [""] * (known - len(methods))
    found.LossyImageCompressionRatio = [*ratios, "" if ratio is None else f"{ratio:.5g}"]
    found.LossyImageCompressionMethod = [*methods, method]


def remember(found: Dataset, syntax: str, raw_bytes: int, coded_bytes: int) -> None:
    """Before a lossy transfer syntax is left: put into attributes what only the syntax said of the generation it made."""
    method = SYNTAXES[syntax].method if syntax in SYNTAXES else ""
    if not method:
        return
    methods = _values(found, "LossyImageCompressionMethod")
    if found.get("LossyImageCompression") == "01" and (method in methods or not methods):
        if methods:
            return
        ratios = _values(found, "LossyImageCompressionRatio")
        found.LossyImageCompressionMethod = [*[""] * (len(ratios) - 1), method]
        if not ratios:
            found.LossyImageCompressionRatio = f"{raw_bytes / max(1, coded_bytes):.5g}"
        return
    claim(found, 0, raw_bytes / max(1, coded_bytes), method)


def _values(found: Dataset, keyword: str) -> list[str]:
    value = found.get(keyword)
    if value is None or value == "":
        return []
    return [str(value)] if isinstance(value, (str, float, int)) else [str(one) for one in value]


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    from pydicom.dataset import Dataset

    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _derived(image_type: object) -> list[str]:
    """ImageType or FrameType with value 1 DERIVED and the rest as it was."""
    values = (
        [] if image_type is None or image_type == "" else [image_type] if isinstance(image_type, str) else image_type
    )
    return ["DERIVED", *[str(value) for value in list(values)[1:]]] if values else ["DERIVED", "PRIMARY"]  # type: ignore[call-overload]


def _groups(found: Dataset) -> Iterator[Dataset]:
    """The items of the functional groups: the shared one first, then one a frame."""
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        yield from found.get(keyword) or []


def _frame_types(found: Dataset) -> Iterator[Dataset]:
    for group in _groups(found):
        for element in group:
            if element.VR == "SQ":
                yield from (item for item in element.value if "FrameType" in item)


def _derivations(found: Dataset) -> list[Dataset]:
    """Where derivation is described: the data set itself, or the Derivation Image macro of a functional-group image.

    Nowhere in an enhanced image that lost its functional groups: its IOD has no other place for it. The lossy attributes
    and the series description say it there.
    """
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence
    from pydicom.uid import UID

    if "SharedFunctionalGroupsSequence" not in found or not found.SharedFunctionalGroupsSequence:
        return [] if "Enhanced" in UID(found.SOPClassUID).name else [found]
    per_frame = [
        group for group in found.get("PerFrameFunctionalGroupsSequence") or [] if "DerivationImageSequence" in group
    ]
    places = per_frame or [found.SharedFunctionalGroupsSequence[0]]
    for group in places:
        group.DerivationImageSequence = Sequence([*(group.get("DerivationImageSequence") or []), Dataset()])
    return [group.DerivationImageSequence[-1] for group in places]


def _sentence(ratio: float | None, method: str | None, lossy: bool) -> str:
    if not lossy:
        return "slimscan: YBR turned into RGB"
    at = f", ratio {ratio:.4g}:1" if ratio is not None else ""
    return f"slimscan: lossy compression{f' by {method}' if method else ''}{at}"


def _appended(old: str, new: str) -> str:
    return f"{old[: _TEXT_LIMIT - len(new) - 2]}; {new}" if old else new
