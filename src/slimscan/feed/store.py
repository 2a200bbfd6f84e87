"""nnU-Net's preprocessed cases in .ozx: the dataset class that its trainer and data loader ask for (nnU-Net 2.6 to 2.8).

A case is one .ozx a channel, `case_seg.ozx`, and nnU-Net's own `case.pkl` of properties, which is a pickle: open folders
that you trust. Data are scaled to whole numbers of `bits` bits between their ends, channel by channel, and coded;
arrays are cut like nnU-Net cuts them, data[:, z0:z1, y0:y1, x0:x1], and decode only the slices that are touched.

    from slimscan.feed.store import convert, register
    convert("nnUNet_preprocessed/Dataset004/nnUNetPlans_3d_fullres")    # beside: ..._ozx
    register()          # then infer_dataset_class(folder) and the trainer find .ozx
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.errors import InputError, NotReadable
from slimscan.feed.source import Cache, Source
from slimscan.nouns import Lossless, Needs, Pixels, Setting, Volume
from slimscan.press.compress import compress

ENDING = "ozx"
SEG = "_seg"
SETTING = Setting("htj2k", None)
LABELS = "jpegls"  # the smallest of the fast exact ones on label maps
CACHE = 512 << 20


class Channels:
    """(c, z, y, x) of one case on disk: shape, ndim, dtype, and basic slices; what is cut is a new array."""

    def __init__(self, sources: Sequence[Source], dtype: Any) -> None:
        self._sources = list(sources)
        self.dtype = np.dtype(dtype)
        self.shape: tuple[int, ...] = (len(self._sources), *self._sources[0].shape)
        self.ndim = 4

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Pixels:
        parts = list(index) if isinstance(index, tuple) else [index]
        if Ellipsis in parts:
            at = parts.index(Ellipsis)
            parts[at : at + 1] = [slice(None)] * (5 - len(parts))
        parts += [slice(None)] * (4 - len(parts))
        if len(parts) != 4:
            raise IndexError(f"{len(parts)} indices; the array has 4 axes (c, z, y, x)")
        flat, boxes = [], []
        for part, side in zip(parts, self.shape, strict=True):
            whole = part
            if isinstance(part, (int, np.integer)):
                if not -side <= part < side:
                    raise IndexError(f"index {part} is outside an axis of {side}")
                whole = slice(int(part) % side, int(part) % side + 1)
            if not isinstance(whole, slice):
                raise IndexError(f"{type(part).__name__} as an index: want whole numbers and slices")
            flat.append(not isinstance(part, slice))
            boxes.append(range(*whole.indices(side)))
        lows = [min(box, default=0) for box in boxes[1:]]
        sizes = [max(box, default=-1) + 1 - low for box, low in zip(boxes[1:], lows, strict=True)]
        out = np.empty([len(box) for box in boxes], self.dtype)
        for row, channel in enumerate(boxes[0]):
            source = self._sources[channel]
            found = source.crop(lows, sizes)
            steps = [np.array(box, int) - low for box, low in zip(boxes[1:], lows, strict=True)]
            if any(len(box) and (box.step != 1) for box in boxes[1:]):
                found = found[np.ix_(*steps)]
            out[row] = _real(found, source.volume, self.dtype)
        return out[tuple(0 if one else slice(None) for one in flat)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Pixels:
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype)


def _real(pixels: Pixels, volume: Volume, dtype: np.dtype[Any]) -> Pixels:
    if volume.slope == 1 and volume.intercept == 0:
        return pixels.astype(dtype)
    return np.asarray((pixels * np.float32(volume.slope) + np.float32(volume.intercept)).astype(dtype))


class OzxDataset:
    """The interface of nnUNetBaseDataset over a folder of preprocessed cases.

    load_case(case) -> (data (c, z, y, x) float32, seg (1, z, y, x) int16, seg of the stage before or None, properties).
    """

    def __init__(
        self,
        folder: str,
        identifiers: list[str] | None = None,
        folder_with_segs_from_previous_stage: str | None = None,
    ) -> None:
        self.source_folder = folder
        self.folder_with_segs_from_previous_stage = folder_with_segs_from_previous_stage
        self.identifiers = sorted(self.get_identifiers(folder) if identifiers is None else identifiers)
        self._cache = Cache(CACHE)
        self._opened: dict[Path, Source] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": {}}

    def __getitem__(self, identifier: str) -> tuple[Channels, Channels, Channels | None, dict[str, Any]]:
        return self.load_case(identifier)

    def _source(self, path: Path) -> Source:
        if path not in self._opened:
            self._opened[path] = Source(path, self._cache)
        return self._opened[path]

    def load_case(self, identifier: str) -> tuple[Channels, Channels, Channels | None, dict[str, Any]]:
        """One case, its pixels still on disk; NotReadable when the folder does not hold it."""
        folder = Path(self.source_folder)
        try:
            properties = pickle.loads((folder / f"{identifier}.pkl").read_bytes())
        except OSError as error:
            raise NotReadable(f"{folder}: holds no case {identifier} ({error.strerror or error})") from error
        channels = [folder / f"{identifier}.{ENDING}"]
        while (more := folder / f"{identifier}_channel{len(channels)}.{ENDING}").exists():
            channels.append(more)
        data = Channels([self._source(path) for path in channels], np.float32)
        seg = Channels([self._source(folder / f"{identifier}{SEG}.{ENDING}")], np.int16)
        before = None
        if self.folder_with_segs_from_previous_stage is not None:
            place = Path(self.folder_with_segs_from_previous_stage) / f"{identifier}.{ENDING}"
            before = Channels([self._source(place)], np.int16)
        return data, seg, before, properties

    @staticmethod
    def save_case(
        data: Pixels,
        seg: Pixels,
        properties: dict[str, Any],
        output_filename_truncated: str,
        setting: Setting = SETTING,
        bits: int = 12,
        **_unused: Any,
    ) -> None:
        """data (c, z, y, x) floats, seg (1, z, y, x) or (z, y, x) whole numbers, to files beginning with that name.

        setting: of the scaled data; bits: 8 to 16. A step is the range of a channel / (2**bits - 1).
        """
        if not 8 <= bits <= 16:
            raise InputError(f"{output_filename_truncated}: {bits} bits; allowed: 8 to 16")
        for number, channel in enumerate(np.asarray(data)):
            low, high = float(channel.min()), float(channel.max())
            step = (high - low) / (2**bits - 1) or 1.0
            codes = np.rint((channel.astype(np.float64) - low) / step).astype(np.uint16)
            name = output_filename_truncated + (f"_channel{number}" if number else "")
            volume = Volume(codes, bits=bits, slope=step, intercept=low)
            compress(volume, f"{name}.{ENDING}", target=setting, verify=False, force=True)
        OzxDataset.save_seg(seg, output_filename_truncated + SEG)
        Path(f"{output_filename_truncated}.pkl").write_bytes(pickle.dumps(properties))

    @staticmethod
    def save_seg(seg: Pixels, output_filename_truncated: str, **_unused: Any) -> None:
        """Labels, exactly."""
        whole = np.asarray(seg).astype(np.int16)
        volume = Volume(whole[0] if whole.ndim == 4 else whole)
        compress(volume, f"{output_filename_truncated}.{ENDING}", target=Lossless(), codec=LABELS, force=True)

    @staticmethod
    def get_identifiers(folder: str) -> list[str]:
        """The cases in a folder."""
        return sorted(path.name.removesuffix(f"{SEG}.{ENDING}") for path in Path(folder).glob(f"*{SEG}.{ENDING}"))

    @staticmethod
    def unpack_dataset(*_unused: Any, **_more: Any) -> None:
        """Nothing needs to be unpacked."""


def register() -> None:
    """Tell nnU-Net that folders of .ozx are read by OzxDataset; MissingExtra without nnunetv2."""
    Needs("nnunetv2", "nnunetv2", "nnunet").demand("an nnU-Net store")
    from nnunetv2.training.dataloading import nnunet_dataset

    nnunet_dataset.file_ending_dataset_mapping[ENDING] = OzxDataset


def convert(
    folder: str | Path, output: str | Path | None = None, *, setting: Setting = SETTING, bits: int = 12
) -> Path:
    """A folder of nnU-Net's preprocessed cases (.b2nd and .pkl) as .ozx at `output`, or beside it with "_ozx" behind.

    InputError when it holds none; MissingExtra without blosc2.
    """
    Needs("blosc2", "blosc2", "nnunet").demand("nnU-Net's .b2nd files")
    import blosc2

    source = Path(folder)
    cases = sorted(path for path in source.glob("*.b2nd") if not path.stem.endswith(SEG))
    if not cases:
        raise InputError(f"{source}: holds no preprocessed case (.b2nd); run nnUNetv2_preprocess first")
    target = Path(output) if output is not None else source.with_name(source.name + "_ozx")
    target.mkdir(parents=True, exist_ok=True)
    for case in cases:
        data, seg = (
            np.asarray(blosc2.open(str(path), mode="r")[:]) for path in (case, case.with_name(f"{case.stem}{SEG}.b2nd"))
        )
        properties = pickle.loads(case.with_suffix(".pkl").read_bytes())
        OzxDataset.save_case(data, seg, properties, str(target / case.stem), setting, bits)
    return target
