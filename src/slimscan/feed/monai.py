"""Compressed files for MONAI: a reader for LoadImage, and a crop that decodes only what it keeps.

Imported where MONAI is used.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.errors import GeometryError, InputError
from slimscan.feed.patches import Patches, moved, real
from slimscan.feed.source import CACHE_BYTES, Cache, Source, Triple
from slimscan.nouns import Needs, Pixels

Needs("monai", "monai", "monai").demand("slimscan.feed.monai")

import torch  # noqa: E402
from monai.config import KeysCollection  # noqa: E402
from monai.data import ImageReader, MetaTensor  # noqa: E402
from monai.transforms import MapTransform, Randomizable  # noqa: E402

SUFFIXES = (".ozx", ".zarr")


class OzxReader(ImageReader):  # type: ignore[misc, unused-ignore]
    """LoadImage(reader=OzxReader), or reader=OzxReader() beside others: whole images, in real units.

    Arrays are (x, y, z[, c]) with an affine in RAS+ mm, as MONAI's NibabelReader gives them. Several files become
    channels; GeometryError when their grids differ.
    """

    def __init__(self, **_unused: Any) -> None:
        super().__init__()

    def verify_suffix(self, filename: Sequence[str | Path] | str | Path) -> bool:
        """Whether the names end as a compressed container does."""
        names = [filename] if isinstance(filename, (str, Path)) else list(filename)
        return all(str(name).lower().rstrip("/").endswith(SUFFIXES) for name in names)

    def read(self, data: Sequence[str | Path] | str | Path, **_unused: Any) -> list[Source]:
        """The files opened; NotReadable when one cannot be. Nothing is decoded yet."""
        names = [data] if isinstance(data, (str, Path)) else list(data)
        sources = [Source(name, Cache(0)) for name in names]
        for one in sources:
            if one.shape != sources[0].shape:
                raise GeometryError(f"{one.path}: {one.shape} voxels, {sources[0].path} has {sources[0].shape}")
        return sources

    def get_data(self, img: Sequence[Source]) -> tuple[Pixels, dict[str, Any]]:
        """(array, meta data)."""
        parts = [_exact(one.volume.slices(0, one.shape[0]), one) for one in img]  # (c, z, y, x)
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return _of_monai(whole), _meta(img[0].volume.affine_mm, whole.shape, img[0].path)


def _exact(pixels: Pixels, source: Source) -> Pixels:
    """(c, z, y, x) in real units; whole numbers without a slope stay as they are stored."""
    if source.volume.slope != 1 or source.volume.intercept != 0:
        return real(pixels, source)
    return pixels[np.newaxis] if pixels.ndim == 3 else np.moveaxis(pixels, -1, 0)


def _of_monai(channels: Pixels) -> Pixels:
    turned = np.ascontiguousarray(channels.transpose(3, 2, 1, 0))
    return turned[..., 0] if turned.shape[3] == 1 else turned


def _meta(affine_mm: Pixels, shape: Sequence[int], path: Path) -> dict[str, Any]:
    affine = np.array(affine_mm, np.float64)
    return {
        "affine": affine,
        "original_affine": affine.copy(),
        "spatial_shape": np.array(shape[:0:-1]),
        "space": "RAS",
        "original_channel_dim": float("nan") if shape[0] == 1 else -1,
        "filename_or_obj": str(path),
    }


class RandLoadCropsd(Randomizable, MapTransform):  # type: ignore[misc, unused-ignore]
    """In place of LoadImaged and RandCropByPosNegLabeld: `num_samples` random crops, of which only the chunks are decoded.

    keys: of paths to images and labels on one grid. roi_size: (x, y, z) voxels, as everywhere in MONAI; smaller images
    are continued by their edge. label_key: one of the keys; a share pos / (pos + neg) of the crops is centred on a voxel of
    it that is not 0. Returns a list of dictionaries of MetaTensors (c, x, y, z) with the crop's own affine: float32 in
    real units, labels as stored. cache_bytes: decoded chunks that a worker keeps.
    """

    def __init__(
        self,
        keys: KeysCollection,
        roi_size: Sequence[int],
        *,
        num_samples: int = 4,
        label_key: str | None = None,
        pos: float = 1.0,
        neg: float = 1.0,
        cache_bytes: int = CACHE_BYTES,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        if len(roi_size) != 3 or min(*roi_size, num_samples) < 1:
            raise InputError(f"roi_size {tuple(roi_size)}, num_samples {num_samples}: want (x, y, z) and 1 or more")
        if label_key is not None and (label_key not in self.keys or min(pos, neg) < 0 or pos + neg <= 0):
            raise InputError(f'label_key "{label_key}", pos {pos:g}, neg {neg:g}: want one of the keys, and shares')
        self.side: Triple = (int(roi_size[2]), int(roi_size[1]), int(roi_size[0]))
        self.num_samples, self.label_key, self.share = num_samples, label_key, pos / (pos + neg)
        self.cache = Cache(cache_bytes)
        self._known: dict[tuple[Any, ...], Patches] = {}
        self._seed = 0

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_known": {}}

    def randomize(self, data: Any = None) -> None:  # noqa: ARG002
        """Draws where."""
        self._seed = int(self.R.randint(2**31))

    def __call__(self, data: Mapping[Hashable, Any]) -> list[dict[Hashable, Any]]:
        """One dictionary a crop."""
        self.randomize()
        keys = list(self.key_iterator(dict(data)))
        images = [key for key in keys if key != self.label_key]
        names = tuple(str(data[key]) for key in keys)
        if names not in self._known:
            label = None if self.label_key is None else [str(data[self.label_key])]
            made = Patches(
                [[str(data[key]) for key in images]],
                label,
                patch=self.side,
                per_visit=self.num_samples,
                mixed=1,
                foreground=0.0 if label is None else self.share,
            )
            made.share(self.cache)
            self._known[names] = made
        patches = self._known[names]
        out: list[dict[Hashable, Any]] = []
        for one in patches.get_pool(0, self._seed):
            item = dict(data)
            first = 0
            for key, source in zip(images, patches.images[0], strict=True):
                count = source.shape[3] if len(source.shape) == 4 else 1
                item[key] = _tensor(one.image[first : first + count], source, one.corner)
                first += count
            if one.mask is not None and patches.masks is not None:
                item[self.label_key] = _tensor(one.mask[np.newaxis], patches.masks[0], one.corner)
            out.append(item)
        return out


def _tensor(channels: Pixels, source: Source, corner: Triple) -> Any:
    """(c, z, y, x) as a MetaTensor (c, x, y, z)."""
    turned = np.ascontiguousarray(channels.transpose(0, 3, 2, 1))
    if turned.dtype in (np.uint16, np.uint32, np.uint64):
        turned = turned.astype(np.int64)
    affine = moved(source.volume.affine_mm, corner)
    meta = _meta(affine, channels.shape, source.path)
    return MetaTensor(torch.from_numpy(turned), affine=torch.from_numpy(affine), meta=meta)
