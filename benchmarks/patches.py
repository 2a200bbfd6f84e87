"""Random 64^3 patches a second for training: .ozx beside .nii.gz, raw .npy and blosc2; and compression as augmentation.

    python benchmarks/patches.py [--rounds 2] [--workers 2] [--only patches|noise] [--quick]

A real head CT, enlarged to 200 slices of 512x512 (105 MB), under four names, so that a set of 420 MB is drawn from. Every
contender is a torch DataLoader with the same workers and batches of 2, timed from its start to its last batch, workers'
start included, in turn with the others; patches are float32 tensors. The files lie in the page cache. Asked for: an .ozx
with HTJ2K or JPEG-LS at least 20 times faster than .nii.gz through nibabel.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import SEED, alternate, enlarged, images, ratio, save_nifti, table, where
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from slimscan import compress
from slimscan.feed.augment import CodecNoise
from slimscan.feed.patches import Patches, dataset, stream
from slimscan.nouns import Setting

NAMES = 4
VISIT = 32
CACHE = 128 << 20
CODECS = ("htj2k@lossless", "htj2k@32", "jpegls@lossless", "jpegls@8")
NOISES = ("htj2k@4..64", "jpegls@1..16", "jpeg2000@40..60", "jpegxl@0.5..4", "sperr@4..32")
LEAST = 20.0


class Places:
    """Evenly drawn (name, corner)."""

    def __init__(self, shape: tuple[int, ...], side: tuple[int, ...]) -> None:
        self.room = [n - s for n, s in zip(shape, side, strict=True)]

    def __call__(self, number: int) -> tuple[int, list[int]]:
        rng = np.random.default_rng([SEED, number])
        return int(rng.integers(NAMES)), [int(rng.integers(n + 1)) for n in self.room]


class One(Dataset):  # type: ignore[type-arg]
    """Patch by patch, by a function that cuts one from a file."""

    def __init__(self, paths: list[Path], places: Places, cut: Callable[[Path, list[int]], Any], length: int) -> None:
        self.paths, self.places, self.cut, self.length = paths, places, cut, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> torch.Tensor:
        name, corner = self.places(number)
        return torch.from_numpy(np.ascontiguousarray(self.cut(self.paths[name], corner), np.float32)[None])


class Loaded(IterableDataset):  # type: ignore[type-arg]
    """nibabel with the visits that slimscan has: a file is loaded whole, and VISIT patches are drawn from it."""

    def __init__(self, paths: list[Path], places: Places, side: tuple[int, ...], length: int) -> None:
        self.paths, self.places, self.side, self.length = paths, places, side, length

    def __iter__(self) -> Iterator[torch.Tensor]:
        import nibabel

        worker = get_worker_info()
        for visit in range(worker.id, self.length // VISIT, worker.num_workers):
            name, _ = self.places(visit)
            whole = np.asarray(nibabel.load(self.paths[name]).dataobj).T
            for turn in range(VISIT):
                _, (z, y, x) = self.places(visit * VISIT + turn)
                a, b, c = self.side
                cut = whole[z : z + a, y : y + b, x : x + c]
                yield torch.from_numpy(np.ascontiguousarray(cut, np.float32)[None])


class Sliced:
    """How the others cut a patch from a file."""

    def __init__(self, kind: str, side: tuple[int, ...]) -> None:
        self.kind, self.side = kind, side
        self.opened: dict[Path, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"kind": self.kind, "side": self.side, "opened": {}}

    def __call__(self, path: Path, corner: list[int]) -> Any:
        z, y, x = (slice(at, at + n) for at, n in zip(corner, self.side, strict=True))
        if self.kind == "nibabel":
            import nibabel

            return np.asarray(nibabel.load(path).dataobj[x, y, z]).T
        if path not in self.opened:
            if self.kind == "npy":
                self.opened[path] = np.load(path, mmap_mode="r")
            else:
                import blosc2

                blosc2.set_nthreads(1)
                self.opened[path] = blosc2.open(str(path), mode="r", mmap_mode="r", dparams={"nthreads": 1})
        found = self.opened[path]
        return found[z, y, x] if self.kind == "npy" else found[0:1, z, y, x][0]


def main(arguments: list[str]) -> int:
    """Print the tables; 1 when a requirement is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=("patches", "noise"), help="one table instead of both")
    parser.add_argument("--quick", action="store_true", help="a tiny volume: shows that it runs, times mean nothing")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    missed = 0
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        volume = next(iter(images(("head CT",)).values()))
        shape, side = ((24, 96, 96), (8, 32, 32)) if given.quick else ((200, 512, 512), (64, 64, 64))
        pixels = enlarged(volume, shape)
        if given.only != "noise":
            missed += patches(pixels, side, folder, given)
        if given.only != "patches":
            missed += noise(pixels, folder, given)
    return int(missed > 0 and not given.quick)


def named(path: Path) -> list[Path]:
    """The file under NAMES names: caches know files by their names, and the disk is spared."""
    paths = [path.with_name(f"{number}-{path.name}") for number in range(NAMES)]
    for one in paths:
        os.link(path, one)
    return paths


def passed(loader: DataLoader[Any]) -> float:
    """Patches a second."""
    return both(loader)[0]


def both(loader: DataLoader[Any]) -> tuple[float, float]:
    """(patches a second of the clock, patches a second of the workers' processors)."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    started, count = time.perf_counter(), 0
    for batch in loader:
        count += len(batch["image"] if isinstance(batch, dict) else batch)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)  # the workers have ended and were waited for
    return count / wall, count / (after.ru_utime + after.ru_stime - spent.ru_utime - spent.ru_stime)


def patches(pixels: np.ndarray, side: tuple[int, ...], folder: Path, given: argparse.Namespace) -> int:
    """The table of data paths; 1 when none of ours is LEAST times as fast as nibabel."""
    print(f"## Random patches of {'x'.join(map(str, side))}\n\n{where(SEED)}\n", flush=True)
    few, many = (4, 64) if given.quick else (8, 256)
    places = Places(pixels.shape, side)
    packed = named(save_nifti(pixels, folder / "ct.nii.gz"))
    np.save(folder / "ct.npy", pixels)
    raw = named(folder / "ct.npy")
    import blosc2

    chunks, blocks = ((1, 12, 48, 48), (1, 8, 32, 32)) if given.quick else ((1, 96, 96, 96), (1, 64, 32, 32))
    blosc2.asarray(  # as nnU-Net 2.8 lays out and codes a volume of this size for this patch, but in int16
        pixels[None],
        urlpath=str(folder / "ct.b2nd"),
        chunks=chunks,
        blocks=blocks,
        cparams={"codec": blosc2.Codec.LZ4HC, "clevel": 5, "filters": [blosc2.Filter.SHUFFLE], "nthreads": 2},
    )
    blosced = named(folder / "ct.b2nd")

    def loader(data: Any) -> DataLoader[Any]:
        return DataLoader(data, batch_size=2, num_workers=given.workers, prefetch_factor=4)

    calls: dict[str, Callable[[], tuple[float, float]]] = {
        "nibabel": lambda: both(loader(One(packed, places, Sliced("nibabel", side), few))),
        "loaded": lambda: both(loader(Loaded(packed, places, side, 4 * VISIT))),
        "npy": lambda: both(loader(One(raw, places, Sliced("npy", side), many))),
        "blosc2": lambda: both(loader(One(blosced, places, Sliced("blosc2", side), many))),
    }
    sizes = {"nibabel": packed[0], "loaded": packed[0], "npy": raw[0], "blosc2": blosced[0]}
    told = {
        "nibabel": [".nii.gz, nibabel", "a patch from any file", "nothing"],
        "loaded": [".nii.gz, nibabel", f"{VISIT} patches of a file", "that file, decoded"],
        "npy": [".npy, memory map", "a patch from any file", "nothing"],
        "blosc2": [".b2nd, blosc2 as in nnU-Net", "a patch from any file", "nothing"],
    }
    for setting in CODECS:
        path = folder / f"{setting.replace('@', '-')}.ozx"
        compress(folder / "ct.nii.gz", path, target=Setting.parse(setting), verify=False)
        files = named(path)
        fast = setting == "htj2k@32"
        alone = dataset(Patches(files, patch=side, per_visit=1, mixed=1, seed=SEED, cache_bytes=0, fast=fast), 4 * few)
        window = Patches(files, patch=side, per_visit=VISIT, mixed=2, seed=SEED, cache_bytes=CACHE, fast=fast)
        calls[f"{setting} alone"] = lambda alone=alone: both(loader(alone))
        calls[f"{setting} visits"] = lambda window=window: both(loader(stream(window, many)))
        sizes[f"{setting} alone"] = sizes[f"{setting} visits"] = path
        told[f"{setting} alone"] = [f".ozx, {setting}{', fast' * fast}", "a patch from any file", "nothing"]
        told[f"{setting} visits"] = [
            f".ozx, {setting}{', fast' * fast}",
            f"{VISIT} patches of a file, 2 files mixed",
            "128 MB a worker",
        ]
        check(path, pixels, side, exact=setting.endswith("lossless"))
    got: dict[str, list[tuple[float, float]]] = alternate(calls, 1 if given.quick else given.rounds)
    clock = {name: [speed for speed, _ in runs] for name, runs in got.items()}
    cpu = {name: [speed for _, speed in runs] for name, runs in got.items()}
    rows, best = [], 0.0
    for name in got:
        faster = [ratio(side[name], side["nibabel"]) for side in (clock, cpu)]
        best = max(best, faster[1]) if "@" in name else best
        row = [*told[name], f"{sizes[name].stat().st_size / 1e6:.1f}", f"{statistics.median(clock[name]):.1f}"]
        row += [f"{1e3 / statistics.median(cpu[name]):.1f}", *(f"{one:.1f}" for one in faster)]
        rows.append([*row, f"{ratio(cpu[name], cpu['loaded']):.1f}"])
    head = ["file", "order", "decoded pixels kept", "MB a file", "patches/s", "CPU ms a patch"]
    head += ["times nibabel a patch, clock", "CPU", "times nibabel a file, CPU"]
    print(table(head, rows))
    print(
        f"\nasked: at least {LEAST:g} times; load {os.getloadavg()[0]:.1f} at the end; {given.workers} workers, medians of "
        f"{given.rounds}. CPU: user and system time of the workers, which a busy machine disturbs least"
    )
    return int(best < LEAST)


def check(path: Path, pixels: np.ndarray, side: tuple[int, ...], *, exact: bool) -> None:
    """The patches are those of the volume."""
    one = Patches([path], patch=side).get(3)
    z, y, x = one.corner
    wanted = pixels[z : z + side[0], y : y + side[1], x : x + side[2]]
    error = np.abs(one.image[0] - wanted.astype(np.float32))
    assert error.max() == 0 if exact else error.mean() < 30, f"{path}: another patch"


class Crops(Dataset):  # type: ignore[type-arg]
    """Crops of a volume in memory, with noise or without."""

    def __init__(self, pixels: np.ndarray, side: tuple[int, ...], noise: CodecNoise | None, length: int) -> None:
        self.pixels, self.side, self.noise, self.length = pixels, side, noise, length
        self.places = Places(pixels.shape, side)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> torch.Tensor:
        z, y, x = self.places(number)[1]
        a, b, c = self.side
        crop = self.pixels[z : z + a, y : y + b, x : x + c]
        if self.noise is not None:
            crop = self.noise(crop, np.random.default_rng(number))
        return torch.from_numpy(np.ascontiguousarray(crop, np.float32)[None] / 1000)


def noise(pixels: np.ndarray, folder: Path, given: argparse.Namespace) -> int:  # noqa: ARG001
    """Crops a second through every noise, beside what a training step eats; 1 when a default one does not stay ahead."""
    from slimscan.models.spec import NetSpec
    from slimscan.models.unet import build

    side = (16, 32, 32) if given.quick else (48, 64, 48)
    count = 8 if given.quick else 64
    print(f"\n## Compression as augmentation, crops of {'x'.join(map(str, side))}\n\n{where(SEED)}\n", flush=True)
    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    net = build(NetSpec(classes=3)).to(memory_format=torch.channels_last_3d)
    optimiser = torch.optim.AdamW(net.parameters(), 1e-3)
    target = torch.zeros((2, *side), dtype=torch.int64)

    def step(batch: torch.Tensor) -> None:
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(batch), target).backward()
        optimiser.step()

    def trained(made: CodecNoise | None) -> float:
        """Seconds a step, the first two left out."""
        steps = 3 if given.quick else 5
        loader = DataLoader(Crops(pixels, side, made, 2 * (steps + 2)), batch_size=2, num_workers=given.workers)
        for number, batch in enumerate(loader):
            if number == 2:
                started = time.perf_counter()
            step(batch)
        return (time.perf_counter() - started) / steps

    rows, missed = [], 0
    plain = trained(None)
    for text in NOISES:
        made = CodecNoise([text], bits=12, span=(-1024, 3071), seed=SEED)
        speed = passed(DataLoader(Crops(pixels, side, made, count), batch_size=2, num_workers=given.workers))
        with_noise, without = trained(made), trained(None)
        eaten = 2 / without
        rows.append([text, f"{speed:.0f}", f"{eaten:.1f}", f"{speed / eaten:.1f}", f"{with_noise / without:.2f}"])
        missed += speed < eaten and text in NOISES[:2]
    made = CodecNoise(codecs=["htj2k"], psnr=(40, 55), bits=12, span=(-1024, 3071), seed=SEED)
    speed = passed(DataLoader(Crops(pixels, side, made, count), batch_size=2, num_workers=given.workers))
    with_noise, without = trained(made), trained(None)
    found = [f"{speed:.0f}", f"{2 / without:.1f}", f"{speed * without / 2:.1f}", f"{with_noise / without:.2f}"]
    rows.append(["htj2k, 40 to 55 dB searched", *found])
    print(table(["noise", "crops/s", "crops/s a training eats", "crops/s / eaten", "step with / without"], rows))
    print(
        f"\n{given.workers} workers; the step is a 3D U-Net of 3 levels, 8 maps, batch 2, on the same cores ({plain:.2f} s "
        f"the first time); load {os.getloadavg()[0]:.1f} at the end"
    )
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
