"""Every kind of DICOM that slimscan writes, checked by dciodvfy and decoded by other programs: two tables in Markdown.

    SLIMSCAN_DATA=... python benchmarks/dicom_matrix.py [--sources 3] [--settings jpeg2000@lossless,rle@lossless]

For each source and setting the source is compressed in this process, verified, and then
- dciodvfy looks at source and output: a line that the source did not have is listed. It is of 2022 and knows neither
  HTJ2K nor JPEG XL nor deflated data sets: SHOWN_AS and UNKNOWN below say what is done about that, by name;
- each other program decodes the output, and its stored values are compared with those that slimscan reads: the same,
  at most 1 apart, others, or none because it refuses.
A program that is not installed has a column of "absent".
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import common

import slimscan
from slimscan.errors import SlimscanError
from slimscan.nouns import Setting

# dciodvfy cannot parse these at all. It is shown a copy of the file that names a transfer syntax which it knows, of the
# same fragments; deflated data sets are inflated. Every other byte of the data set stays.
SHOWN_AS = {
    "1.2.840.10008.1.2.4.201": "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.203": "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.110": "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.112": "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.1.99": "1.2.840.10008.1.2.1",
}
# Lines that are left out, by name: the methods are younger than dciodvfy; and it will have no acquisition attributes in
# an enhanced MR whose Image Type is DERIVED, where PS3.3 2024e says "May be present otherwise" (C.8.13.4, C.7.6.18.3).
UNKNOWN = (
    "<ISO_15444_15>",
    "<ISO_18181_1>",
    "(which may not be present otherwise) Type 1C Conditional Element=<BulkMotionCompensationTechnique>",
)
_DERIVED_MR = ("(which may not be present otherwise) Type 1C", "Module=<MRPulseSequence>")
# Coarser settings would mix padding with pixels here, which slimscan refuses.
FINER = {("CT signed, padded", "jpeg2000@60"): "jpeg2000@85"}
SETTINGS = (
    "jpeg2000@lossless",
    "jpeg2000@60",
    "jpegls@lossless",
    "jpegls@2",
    "htj2k@lossless",
    "htj2k@4",
    "rle@lossless",
    "deflate@lossless",
    "jpegxl@lossless",
    "jpegxl@1",
)
ZOO = "dicom_zoo/"
# Name -> where it lies in the folder of real images; "+": made from it by `unsigned` below.
SOURCES: Mapping[str, str] = {
    "CT signed, padded": f"{ZOO}wg04_ct_mr/RLE/CT1_RLE",
    "CT signed, 14 bits": f"{ZOO}pydicom-data/693_UNCR.dcm",
    "CT unsigned, padded": f"+{ZOO}pydicom-data/693_UNCR.dcm",
    "CT series": "ct_head_phantom_philips_5mm_dicom",
    "MR": f"{ZOO}pydicom-data/MR2_UNCR.dcm",
    "CR MONOCHROME1": f"{ZOO}pydicom-data/RG3_J2KR.dcm",
    "US RGB": f"{ZOO}pydicom-data/US1_UNCR.dcm",
    "US YBR_RCT": f"{ZOO}pydicom-data/US1_J2KR.dcm",
    "multi-frame RGB": f"{ZOO}pydicom-data/SC_rgb_2frame.dcm",
    "enhanced CT": f"{ZOO}pydicom-data/eCT_Supplemental.dcm",
    "enhanced MR": f"{ZOO}pydicom-data/emri_small.dcm",
    "palette": f"{ZOO}pydicom-data/OBXXXX1A_2frame.dcm",
}


# --- outputs ---------------------------------------------------------------------------------------------------------


def source(name: str, data: Path, folder: Path) -> Path:
    """A source by its name: the real file, a few slices of the real series, or the file with unsigned pixels."""
    place = SOURCES[name]
    made = folder / name.replace(" ", "_").replace(",", "")
    if place.startswith("+"):
        return made if made.exists() else unsigned(data / place[1:], made)
    if not (data / place).is_dir():
        return data / place
    if not made.exists():
        made.mkdir(parents=True)
        for file in sorted((data / place).iterdir(), key=lambda one: int(re.sub(r"\D", "", one.name)))[3:6]:
            shutil.copy(file, made)
    return made


def unsigned(path: Path, out: Path) -> Path:
    """A signed CT with padding as scanners that write unsigned pixels have it: counted from the padding, which is 0."""
    from pydicom import dcmread

    found = dcmread(path)
    pixels = found.pixel_array.astype(np.int32)
    shift = int(found.PixelPaddingValue)
    found.PixelData = (pixels - shift).astype("<u2").tobytes()
    found.PixelRepresentation = 0
    found.add_new("PixelPaddingValue", "US", 0)
    for keyword in ("SmallestImagePixelValue", "LargestImagePixelValue"):
        if keyword in found:
            del found[keyword]
    found.RescaleIntercept = float(found.RescaleIntercept) + shift
    found.save_as(out)
    return out


def compressed(path: Path, setting: str, out: Path) -> list[Path] | str:
    """The files that compressing made, or the reason of a refusal."""
    target = f"{out}/" if path.is_dir() else out.with_suffix(".dcm")
    allow: dict[str, Any] = {}
    try:
        slimscan.compress(path, target, target=Setting.parse(setting), **allow)
    except SlimscanError as error:
        return str(error).replace(f"{path}: ", "").replace(f"{target}: ", "")
    return sorted(Path(target).iterdir()) if path.is_dir() else [Path(target)]


# --- dciodvfy --------------------------------------------------------------------------------------------------------


def complaints(path: Path) -> Counter[str]:
    """The lines of dciodvfy about one file."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["dciodvfy", str(_shown(path, Path(folder)))], capture_output=True, text=True, errors="replace", check=False
        )
    return Counter(
        line.strip() for line in (done.stdout + done.stderr).splitlines() if line.startswith(("Error", "Warning"))
    )


def _shown(path: Path, folder: Path) -> Path:
    from pydicom import dcmread

    found = dcmread(path)
    syntax = str(found.file_meta.get("TransferSyntaxUID", ""))
    if syntax not in SHOWN_AS:
        return path
    found.file_meta.TransferSyntaxUID = SHOWN_AS[syntax]
    found.save_as(folder / path.name)
    return folder / path.name


def new_complaints(before: Path, after: Path) -> list[str]:
    """What dciodvfy says of `after` and did not say of `before`, but for lines with UNKNOWN terms."""
    new = complaints(after) - complaints(before)
    return [
        line
        for line in new.elements()
        if not any(known in line for known in UNKNOWN) and not all(part in line for part in _DERIVED_MR)
    ]


def predecessor(output: Path, sources: Sequence[Path]) -> Path:
    """The file that an output was made from: what it refers to, or has the UID of."""
    from pydicom import dcmread

    if len(sources) == 1:
        return sources[0]
    found = dcmread(output, stop_before_pixels=True)
    said = {str(found.SOPInstanceUID)}
    said |= {str(item.ReferencedSOPInstanceUID) for item in found.get("SourceImageSequence", [])}
    return next(one for one in sources if str(dcmread(one, stop_before_pixels=True).SOPInstanceUID) in said)


# --- decoders: a file -> its stored values (frames, y, x[, c]) ---------------------------------------------------------


def ours(path: Path) -> np.ndarray:
    """Stored values in the order of the frames in the file."""
    from slimscan.files.dicom.frames import decode
    from slimscan.files.dicom.header import header

    held = header(path)
    return np.stack([decode(held, k) for k in range(held.frames)])


def by_pydicom(path: Path, plugin: str = "") -> np.ndarray:
    from pydicom import dcmread
    from pydicom.pixels import pixel_array

    return np.asarray(pixel_array(dcmread(path), raw=True, decoding_plugin=plugin))


def by_pydicom_gdcm(path: Path) -> np.ndarray:
    return by_pydicom(path, "gdcm")


def by_gdcm(path: Path) -> np.ndarray:
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    if not reader.Read():
        raise ValueError("gdcm does not read it")
    image = reader.GetImage()
    buffer = image.GetBuffer()
    kinds = {"UINT8": "u1", "INT8": "i1", "UINT16": "u2", "INT16": "i2", "UINT12": "u2", "INT12": "i2"}
    kind = kinds[image.GetPixelFormat().GetScalarTypeAsString()]
    values = np.frombuffer(buffer.encode("utf-8", "surrogateescape"), kind)
    if image.GetPlanarConfiguration():
        raise ValueError("colour by plane")
    return values


def by_simpleitk(path: Path) -> np.ndarray:
    import SimpleITK as sitk  # noqa: N813 its own habit
    from pydicom import dcmread

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    found = dcmread(path, stop_before_pixels=True)
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO")).astype(np.float64)
    if "SharedFunctionalGroupsSequence" in found:  # it applies the scale of the first frame
        groups = (found.SharedFunctionalGroupsSequence[0], found.PerFrameFunctionalGroupsSequence[0])
        scale: Any = next((g.PixelValueTransformationSequence[0] for g in groups if _scaled(g)), {})
    else:
        scale = found
    slope, intercept = float(scale.get("RescaleSlope") or 1), float(scale.get("RescaleIntercept") or 0)
    stored = np.rint((values - intercept) / slope).astype(np.int64)
    if found.PhotometricInterpretation == "MONOCHROME1":  # it turns the greys around
        return 2**found.BitsStored - 1 - stored
    return stored


def _scaled(group: Any) -> bool:
    return "PixelValueTransformationSequence" in group


def by_dcmtk(path: Path) -> np.ndarray:
    from pydicom import dcmread

    syntax = str(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID)
    tool = {"1.2.840.10008.1.2.5": "dcmdrle", "1.2.840.10008.1.2.1.99": "dcmconv"}.get(syntax, "dcmdjpls")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "native.dcm"
        extra = ["+te"] if tool == "dcmconv" else []
        done = subprocess.run([tool, *extra, str(path), str(out)], capture_output=True, text=True, check=False)
        if done.returncode or not out.exists():
            raise ValueError(done.stderr.strip()[-200:])
        return by_pydicom(out)


def by_highdicom(path: Path) -> np.ndarray:
    import highdicom

    image = highdicom.imread(path)
    return np.stack([image.get_stored_frame(k + 1) for k in range(image.number_of_frames)])


DECODERS: Mapping[str, Callable[[Path], np.ndarray]] = {
    "pydicom": by_pydicom,
    "pydicom, gdcm plugin": by_pydicom_gdcm,
    "python-gdcm": by_gdcm,
    "SimpleITK": by_simpleitk,
    "DCMTK": by_dcmtk,
    "highdicom": by_highdicom,
}
_NEEDS = {"pydicom": "openjpeg", "SimpleITK": "SimpleITK", "highdicom": "highdicom"}


def installed(decoder: str) -> bool:
    """Whether the program is there."""
    from importlib.util import find_spec

    if decoder == "DCMTK":
        return all(shutil.which(tool) for tool in ("dcmdjpls", "dcmdrle", "dcmconv"))
    return find_spec(_NEEDS.get(decoder, "gdcm")) is not None


def verdict(decoder: str, path: Path) -> str:
    """ "same", "within 1", "differs by N" or "refused: why", against what slimscan reads."""
    expected = ours(path).astype(np.int64)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = np.asarray(DECODERS[decoder](path)).astype(np.int64)
    except Exception as error:  # noqa: BLE001 they raise many kinds
        said = re.sub(r"\S*/\S+|0x[0-9a-f]+", "...", " ".join(str(error).split()))
        return f"refused: {said[:60] or type(error).__name__}"
    if got.size == 3 * expected.size:
        return "colours: it looks palette indices up"
    if got.size != expected.size:
        return f"differs: {got.size} values, {expected.size} are there"
    worst = int(np.abs(got.reshape(-1) - expected.reshape(-1)).max())
    return "same" if worst == 0 else "within 1" if worst == 1 else f"differs by {worst}"


# --- the tables --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One source and setting. refused: why slimscan did not write it. new: lines of dciodvfy; said: decoder -> verdict."""

    source: str
    setting: str
    refused: str
    new: tuple[str, ...]
    said: Mapping[str, str]


def cells(names: Sequence[str], settings: Sequence[str], folder: Path) -> Iterator[Cell]:
    """Every source with every setting."""
    data = common.data()
    if data is None:
        raise SystemExit("error: SLIMSCAN_DATA does not name the folder of real images, which holds the sources")
    there = [name for name in DECODERS if installed(name)]
    for number, name in enumerate(names):
        path = source(name, data, folder)
        before = sorted(path.iterdir()) if path.is_dir() else [path]
        for setting in settings:
            out = compressed(
                path, FINER.get((name, setting), setting), folder / f"{number}-{setting.replace('@', '-')}"
            )
            if isinstance(out, str):
                yield Cell(name, setting, out, (), {})
                continue
            new = sorted({line for one in out for line in new_complaints(predecessor(one, before), one)})
            said = {decoder: _worst([verdict(decoder, one) for one in out]) for decoder in there}
            yield Cell(name, setting, "", tuple(new), said)


def _worst(verdicts: Sequence[str]) -> str:
    return max(verdicts, key=lambda one: ("same", "within 1").index(one) if one in ("same", "within 1") else 2)


def tables(found: Sequence[Cell]) -> str:
    """The two tables, and beneath them what is not "same" or "0", one line each."""
    settings, names = (list(dict.fromkeys(getattr(cell, key) for cell in found)) for key in ("setting", "source"))
    at = {(cell.source, cell.setting): cell for cell in found}

    def new(cell: Cell) -> str:
        return "not written" if cell.refused else str(len(cell.new))

    def said(setting: str, decoder: str) -> str:
        mine = [cell for cell in found if cell.setting == setting and not cell.refused]
        if not installed(decoder):
            return "absent"
        count = Counter(cell.said[decoder].split(":")[0].split(" by")[0] for cell in mine)
        return (
            ", ".join(
                f"{count[word]} {word}" for word in ("same", "within 1", "colours", "differs", "refused") if count[word]
            )
            or "-"
        )

    lines = ["### New lines of dciodvfy", ""]
    lines.append(common.table(["source", *settings], [[n, *(new(at[n, s]) for s in settings)] for n in names]))
    lines += ["", "### The same stored values as slimscan reads", ""]
    lines.append(common.table(["setting", *DECODERS], [[s, *(said(s, d) for d in DECODERS)] for s in settings]))
    told: dict[str, list[str]] = {}
    for cell in found:
        where = f"{cell.source} ({cell.setting})"
        for line in cell.new:
            told.setdefault(f"dciodvfy: {line}", []).append(where)
        if cell.refused:
            told.setdefault(f"not written: {cell.refused}", []).append(where)
        for decoder, text in cell.said.items():
            if text.startswith(("refused", "colours")):
                told.setdefault(f"{decoder} {text}", []).append(cell.setting)
            elif text != "same":
                told.setdefault(f"{decoder}: {text}", []).append(where)
    listed = [f"- {text}: {', '.join(dict.fromkeys(places))}" for text, places in sorted(told.items())]
    return "\n".join([*lines, "", "### What is not the same, and why", "", *(listed or ["- nothing"])])


def versions() -> str:
    """One line: who decoded."""
    said = []
    for package in (
        "pydicom",
        "pylibjpeg-openjpeg",
        "pyjpegls",
        "python-gdcm",
        "SimpleITK",
        "highdicom",
        "imagecodecs",
    ):
        try:
            said.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            said.append(f"{package} absent")
    if shutil.which("dcmdjpls"):
        told = subprocess.run(["dcmdjpls", "--version"], capture_output=True, text=True, check=False)
        said.append(
            (re.search(r"dcmtk: \S+ v(\S+)", told.stdout + told.stderr) or ["", "unknown"])[1].join(("DCMTK ", ""))
        )
    said.append(_package("dicom3tools"))
    return ", ".join(said)


def _package(name: str) -> str:
    if not shutil.which("dpkg-query"):
        return name
    told = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True, text=True, check=False)
    return f"{name} {told.stdout.strip() or 'unknown'}"


def main() -> None:
    """Print the tables."""
    ask = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ask.add_argument("--sources", type=int, default=len(SOURCES), help="the first N only")
    ask.add_argument("--settings", default=",".join(SETTINGS))
    args = ask.parse_args()
    if not shutil.which("dciodvfy"):
        raise SystemExit("error: dciodvfy is not installed; Debian has it in dicom3tools")
    found = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for cell in cells(list(SOURCES)[: args.sources], args.settings.split(","), Path(folder)):
            print(cell.source, cell.setting, cell.refused[:80], cell.new, file=sys.stderr, flush=True)
            found.append(cell)
    print(f"{versions()}.\n")
    print(tables(found))


if __name__ == "__main__":
    main()
