"""Random patches straight from compressed files, for torch: a map-style dataset, a stream, and batches for fit().

The order is written down before anything is read. A visit goes to one image, in an order shuffled anew for every pass
over the images, and draws `per_visit` patches there; the patches of `mixed` visits make a pool, whose order is shuffled
again. So patch number i is a function of (seed, epoch, i): the same on every machine, with any number of workers, and
from any step on. A pool is decoded visit by visit, each touched chunk once, while the pool before it is handed out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.each import Each, cores, serial, threads
from slimscan.errors import GeometryError, InputError
from slimscan.feed.source import CACHE_BYTES, Cache, Source, Triple
from slimscan.models.crops import flipped
from slimscan.models.spec import FitSpec, NetSpec, NormSpec
from slimscan.nouns import Needs, Pixels

Paths = Sequence[str | Path | Sequence[str | Path]]
TORCH = Needs("torch", "torch", "torch")
KNOWN_VOXELS = 2000  # labelled voxels that are remembered of each value of a mask, drawn evenly
_ORDER, _POOL, _PLACE, _VOXELS = range(4)  # what a random generator is for


@dataclass(frozen=True)
class Patch:
    """image: (c, z, y, x) float32 in real units. mask: (z, y, x) as stored, None without masks.

    case: the number of the image. corner: (z, y, x), negative where the image was too small and the patch hangs over.
    affine_mm: 4x4 of the patch, voxel (x, y, z) to RAS+ mm.
    """

    image: Pixels
    mask: Pixels | None
    case: int
    corner: Triple
    affine_mm: Pixels


class Patches:
    """The patches of images, by number. Without torch; `dataset` and `stream` wrap it for torch.

    images: a path a case, or several (channels on one grid). masks: a path a case, of whole numbers, or None. patch:
    (z, y, x) voxels; where an image is smaller, it and its mask are continued by their edge. foreground: the share of patches
    that are centred on a labelled voxel, every value equally often. cache_bytes: of decoded chunks, in each process.
    threads: that decode, in this process; in a loader's workers leave it at 1. fast: lossy HTJ2K at three times the speed,
    some voxels off by one step from what slimscan.read gives (slimscan.feed.source.decoded). InputError for what cannot be.
    """

    def __init__(
        self,
        images: Paths,
        masks: Sequence[str | Path] | None = None,
        *,
        patch: Sequence[int] = (64, 64, 64),
        per_visit: int = 16,
        mixed: int = 4,
        foreground: float = 0.0,
        seed: int = 2021,
        cache_bytes: int = CACHE_BYTES,
        threads: int = 1,
        fast: bool = False,
    ) -> None:
        if not images:
            raise InputError("patches of no images: name at least one")
        if masks is not None and len(masks) != len(images):
            raise InputError(f"{len(images)} images and {len(masks)} masks: want a mask for every image, in order")
        if len(patch) != 3 or min(patch) < 1:
            raise InputError(f"patch {tuple(patch)}: want three sides (z, y, x) of 1 voxel or more")
        if min(per_visit, mixed, threads) < 1:
            raise InputError(f"per_visit {per_visit}, mixed {mixed}, threads {threads}: each must be 1 or more")
        if not 0 <= foreground <= 1 or (foreground and masks is None):
            raise InputError(f"foreground {foreground:g}: want a share of 0 to 1, and masks to find it in")
        self.cache = Cache(cache_bytes)
        self.images = [
            [Source(one, self.cache, fast=fast) for one in ([case] if isinstance(case, (str, Path)) else case)]
            for case in images
        ]
        self.masks = None if masks is None else [Source(one, self.cache) for one in masks]
        self.patch: Triple = (int(patch[0]), int(patch[1]), int(patch[2]))
        self.per_visit, self.mixed, self.foreground, self.seed = per_visit, mixed, foreground, seed
        self._threads = threads
        self._labelled: dict[int, list[Pixels]] = {}

    def share(self, cache: Cache) -> None:
        """Keep decoded chunks in that cache, which others keep theirs in too."""
        self.cache = cache
        for source in [*(one for case in self.images for one in case), *(self.masks or [])]:
            source.cache = cache

    @property
    def pool(self) -> int:
        """Patches in a pool."""
        return self.per_visit * self.mixed

    def get(self, number: int, epoch: int = 0) -> Patch:
        """Patch `number` of an epoch; there is no last one."""
        pool, slot = divmod(number, self.pool)
        visit, turn = divmod(int(self._rng(_POOL, epoch, pool).permutation(self.pool)[slot]), self.per_visit)
        return self._visit(pool * self.mixed + visit, epoch, [turn])[0]

    def get_pool(self, pool: int, epoch: int = 0, start: int = 0, stop: int | None = None) -> list[Patch]:
        """The patches start..stop-1 of a pool in their order, read visit by visit."""
        order = self._rng(_POOL, epoch, pool).permutation(self.pool)[start:stop]
        out: list[Patch | None] = [None] * len(order)
        for visit in range(self.mixed):
            slots = [at for at, one in enumerate(order) if one // self.per_visit == visit]
            turns = [int(order[at]) % self.per_visit for at in slots]
            found = self._visit(pool * self.mixed + visit, epoch, turns) if slots else []
            for at, patch in zip(slots, found, strict=True):
                out[at] = patch
        return [patch for patch in out if patch is not None]

    def run(self, pools: Iterator[tuple[int, int, int | None]], epoch: int = 0) -> Iterator[Patch]:
        """The patches of (pool, start, stop) one after the other; a thread reads a pool ahead of the one handed out."""
        with ThreadPoolExecutor(1, "slimscan-feed") as reader:
            under_way = None
            for pool, start, stop in pools:
                following = reader.submit(self.get_pool, pool, epoch, start, stop)
                if under_way is not None:
                    yield from under_way.result()
                under_way = following
            if under_way is not None:
                yield from under_way.result()

    def _rng(self, what: int, *numbers: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, what, *numbers])

    def _each(self) -> Each:
        return serial if self._threads == 1 else threads(self._threads)

    def case_of(self, visit: int, epoch: int = 0) -> int:
        """The image that a visit goes to."""
        turn, at = divmod(visit, len(self.images))
        return int(self._rng(_ORDER, epoch, turn).permutation(len(self.images))[at])

    def _visit(self, visit: int, epoch: int, turns: Sequence[int]) -> list[Patch]:
        case = self.case_of(visit, epoch)
        sources = self.images[case]
        shape = sources[0].shape[:3]
        beside = [*sources[1:], *([self.masks[case]] if self.masks else [])]
        for one in beside:
            if one.shape[:3] != shape:
                raise GeometryError(
                    f"{one.path}: {one.shape[:3]} voxels, {sources[0].path} has {shape}; resample one to the other's grid"
                )
        corners = [self._corner(case, shape, self._rng(_PLACE, epoch, visit, turn)) for turn in turns]
        images = [self._cut(source, shape, corners) for source in sources]
        masks: Sequence[Pixels | None] = (
            self._cut(self.masks[case], shape, corners) if self.masks else [None] * len(corners)
        )
        found = []
        for at, corner in enumerate(corners):
            parts = [real(patches[at], source) for patches, source in zip(images, sources, strict=True)]
            found.append(
                Patch(
                    parts[0] if len(parts) == 1 else np.concatenate(parts),
                    masks[at],
                    case,
                    corner,
                    moved(sources[0].volume.affine_mm, corner),
                )
            )
        return found

    def _corner(self, case: int, shape: Sequence[int], rng: np.random.Generator) -> Triple:
        room = [side - want for side, want in zip(shape, self.patch, strict=True)]
        corner = [int(rng.integers(min(0, n), max(0, n) + 1)) for n in room]
        if rng.random() < self.foreground and (labelled := self._voxels(case)):
            voxels = labelled[int(rng.integers(len(labelled)))]
            voxel = voxels[int(rng.integers(len(voxels)))]
            for axis, n in enumerate(room):
                if n > 0:
                    corner[axis] = min(n, max(0, int(voxel[axis]) - self.patch[axis] // 2))
        return corner[0], corner[1], corner[2]

    def _voxels(self, case: int) -> list[Pixels]:
        """(n, 3) places (z, y, x) of every value of a mask but 0; found once in a process, by reading the mask."""
        if case not in self._labelled:
            assert self.masks is not None
            source = self.masks[case]
            whole = source.crop((0, 0, 0), source.shape[:3])
            rng, found = self._rng(_VOXELS, case), []
            flat = whole.reshape(-1)
            where = np.flatnonzero(flat)
            values = flat[where]
            for value in np.unique(values):
                places = where[values == value]
                if len(places) > KNOWN_VOXELS:
                    places = places[np.sort(rng.choice(len(places), KNOWN_VOXELS, replace=False))]
                found.append(np.stack(np.unravel_index(places, whole.shape), axis=1).astype(np.int32))
            self._labelled[case] = found
        return self._labelled[case]

    def _cut(self, source: Source, shape: Sequence[int], corners: Sequence[Triple]) -> list[Pixels]:
        size = [min(side, want) for side, want in zip(shape, self.patch, strict=True)]
        found = source.crops([[max(0, at) for at in corner] for corner in corners], size, self._each())
        if tuple(size) == self.patch:
            return found
        out = []
        for corner, one in zip(corners, found, strict=True):
            before = [max(0, -at) for at in corner]
            around = [(b, want - n - b) for b, n, want in zip(before, size, self.patch, strict=True)]
            out.append(np.pad(one, [*around, *[(0, 0)] * (one.ndim - 3)], mode="edge"))
        return out


def moved(affine_mm: Pixels, corner: Triple) -> Pixels:
    """The affine of what begins at a corner (z, y, x) of an image."""
    out = np.array(affine_mm, np.float64)
    out[:3, 3] += out[:3, :3] @ np.array(corner[::-1], np.float64)
    return out


def real(pixels: Pixels, source: Source) -> Pixels:
    """(c, z, y, x) float32 in real units."""
    volume = source.volume
    values = pixels.astype(np.float32)
    if volume.slope != 1 or volume.intercept != 0:
        values = (pixels * np.float64(volume.slope) + volume.intercept).astype(np.float32)
    return values[np.newaxis] if values.ndim == 3 else np.ascontiguousarray(np.moveaxis(values, -1, 0))


Transform = Callable[[dict[str, Any]], Any]


def _item(patch: Patch, transform: Transform | None) -> Any:
    """What a torch dataset yields: {"image", "mask", "case", "corner", "affine"}; the mask as (1, z, y, x)."""
    import torch

    item: dict[str, Any] = {"image": torch.from_numpy(patch.image), "case": patch.case}
    item["corner"], item["affine"] = torch.tensor(patch.corner), torch.from_numpy(patch.affine_mm)
    if patch.mask is not None:
        whole = patch.mask.astype(np.int64 if patch.mask.dtype.kind == "f" else np.dtype(patch.mask.dtype), copy=False)
        safe = whole.astype(np.int64) if whole.dtype in (np.uint16, np.uint32, np.uint64) else whole
        item["mask"] = torch.from_numpy(np.ascontiguousarray(safe[np.newaxis]))
    return item if transform is None else transform(item)


def dataset(patches: Patches, length: int | None = None, transform: Transform | None = None) -> Any:
    """A map-style torch Dataset of `length` patches (default: per_visit for every image): item i is patch i of the epoch.

    set_epoch(n) draws others. Leave the loader's shuffle off: the order is random already, and neighbours share chunks.
    """
    TORCH.demand("patches for torch")
    from slimscan.feed.torch_sets import MapPatches

    return MapPatches(patches, _length(patches, length), transform, _item)


def stream(patches: Patches, length: int | None = None, transform: Transform | None = None) -> Any:
    """An iterable torch Dataset of `length` patches: the fastest way, each worker reads pools of its own, one ahead.

    Worker w of n hands out pools w, w + n, ...; all workers together the same patches whatever n is.
    """
    TORCH.demand("patches for torch")
    from slimscan.feed.torch_sets import StreamPatches

    return StreamPatches(patches, _length(patches, length), transform, _item)


def _length(patches: Patches, length: int | None) -> int:
    if length is not None and length < 1:
        raise InputError(f"length {length}: want 1 patch or more")
    return length or len(patches.images) * patches.per_visit


def batches(
    images: Paths,
    masks: Sequence[str | Path],
    net: NetSpec,
    norm: NormSpec,
    fit: FitSpec,
    *,
    per_visit: int = 8,
    mixed: int = 8,
    cache_bytes: int = CACHE_BYTES,
) -> Callable[[int], Iterator[tuple[Pixels, Pixels]]]:
    """What models.fit.fit() asks for: (first step) -> endless (x, y), a function of (fit.seed, step) alone.

    x (n, inputs, [z,] y, x) float32, normalised as models.normal.ready does; y (n, [z,] y, x) uint8 channel numbers. With
    norm zscore the mean and deviation of every image are measured when it is first visited, by reading it once.
    InputError for a mask with a value that is not among net.values.
    """
    from slimscan.feed.level import Levels

    side: Any = (1, *fit.patch[1:]) if net.dims == 2 else fit.patch
    patches = Patches(
        images, masks, patch=side, per_visit=per_visit, mixed=mixed, foreground=fit.foreground, seed=fit.seed,
        cache_bytes=cache_bytes, threads=max(1, fit.threads or cores()),
    )  # fmt: skip
    levels = Levels(patches, norm)
    channel = {int(value): number for number, value in enumerate(net.values)}

    def start(first_step: int) -> Iterator[tuple[Pixels, Pixels]]:
        first, skip = divmod(first_step * fit.batch, patches.pool)

        def pools() -> Iterator[tuple[int, int, int | None]]:
            yield first, skip, None
            pool = first
            while True:
                pool += 1
                yield pool, 0, None

        handed = patches.run(pools())
        step = first_step
        while True:
            found = [next(handed) for _ in range(fit.batch)]
            xs = np.stack([levels.ready(one.image, one.case) for one in found])
            ys = np.stack([_channels(one, patches, channel) for one in found])
            if net.dims == 2:
                xs, ys = xs[:, :, 0], ys[:, 0]
            rng = np.random.default_rng([fit.seed, 9, step])
            for at in range(fit.batch):
                axes = tuple(axis + net.dims - 3 for axis in flipped(fit, rng) if axis + net.dims >= 3)
                if axes:
                    xs[at] = np.flip(xs[at], tuple(axis + 1 for axis in axes)).copy()
                    ys[at] = np.flip(ys[at], axes).copy()
            step += 1
            yield xs, ys

    return start


def _channels(patch: Patch, patches: Patches, channel: Mapping[int, int]) -> Pixels:
    assert patch.mask is not None
    assert patches.masks is not None
    out = np.zeros(patch.mask.shape, np.uint8)
    for value in np.unique(patch.mask):
        if float(value) not in channel:
            raise InputError(
                f"{patches.masks[patch.case].path}: holds the value {value}; the network knows {', '.join(map(str, channel))}"
            )
        out[patch.mask == value] = channel[int(value)]
    return out


__all__ = ["Patch", "Patches", "batches", "dataset", "stream"]
