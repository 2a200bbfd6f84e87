"""The two torch datasets over Patches; imported when torch is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

if TYPE_CHECKING:
    from slimscan.feed.patches import Patch, Patches

Item = Callable[["Patch", Any], Any]


class _Epoch:
    """The epoch, seen by workers that stay alive between two of them."""

    def __init__(self) -> None:
        self._shared = torch.zeros((), dtype=torch.int64).share_memory_()

    def __call__(self) -> int:
        return int(self._shared)

    def set(self, epoch: int) -> None:
        self._shared.fill_(epoch)


class MapPatches(Dataset[Any]):  # type: ignore[misc, unused-ignore]
    """Item i is patch i of the epoch."""

    def __init__(self, patches: Patches, length: int, transform: Any, item: Item) -> None:
        self.patches, self.length, self.transform, self.item, self.epoch = patches, length, transform, item, _Epoch()

    def set_epoch(self, epoch: int) -> None:
        """Other patches from the next item on."""
        self.epoch.set(epoch)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < self.length:
            raise IndexError(f"patch {index} is outside 0..{self.length - 1}")
        return self.item(self.patches.get(index, self.epoch()), self.transform)


class StreamPatches(IterableDataset[Any]):  # type: ignore[misc, unused-ignore]
    """The patches of the epoch; each worker reads pools of its own."""

    def __init__(self, patches: Patches, length: int, transform: Any, item: Item) -> None:
        self.patches, self.length, self.transform, self.item, self.epoch = patches, length, transform, item, _Epoch()

    def set_epoch(self, epoch: int) -> None:
        """Other patches from the next pass on."""
        self.epoch.set(epoch)

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        size = self.patches.pool
        count = -(-self.length // size)
        pools = ((pool, 0, min(size, self.length - pool * size)) for pool in range(first, count, step))
        for patch in self.patches.run(pools, self.epoch()):
            yield self.item(patch, self.transform)
