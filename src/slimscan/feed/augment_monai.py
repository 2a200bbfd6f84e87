"""CodecNoise as a dictionary transform of MONAI. Imported where MONAI is used."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from slimscan.feed.augment import CodecNoise, Wanted, on_channels, turned
from slimscan.nouns import Needs

Needs("monai", "monai", "monai").demand("slimscan.feed.augment_monai")

from monai.config import KeysCollection  # noqa: E402
from monai.transforms import MapTransform, RandomizableTransform  # noqa: E402
from monai.utils import convert_data_type, convert_to_dst_type  # noqa: E402


class RandCodecNoised(RandomizableTransform, MapTransform):  # type: ignore[misc, unused-ignore]
    """Codes and decodes the images under `keys` at one random setting for all of them, with probability `prob`.

    Images are (c, x, y[, z]) tensors, MetaTensors or arrays, as LoadImaged(ensure_channel_first=True) gives them; each
    channel is coded by itself, slices along the last axis, and type, device and meta data stay. The other arguments are
    those of CodecNoise (settings, codecs, psnr, ratio, bits, span). set_random_state and Compose seed it as any transform.
    """

    def __init__(
        self, keys: KeysCollection, *, prob: float = 0.5, allow_missing_keys: bool = False, **noise: Any
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.noise = CodecNoise(**noise)
        self.wanted: Wanted | None = None

    def randomize(self, data: Any = None) -> None:
        """Draws whether, which codec, and how strong."""
        super().randomize(data)
        self.wanted = None
        if self._do_transform:
            self.wanted = self.noise.draw(np.random.default_rng(int(self.R.randint(2**31))))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary with its images coded and decoded."""
        out = dict(data)
        self.randomize()
        if self.wanted is None:
            return out
        for key in self.key_iterator(out):
            pixels = convert_data_type(out[key], np.ndarray)[0]
            noise = self.noise.settle(self.wanted, turned(pixels[0]) if len(pixels) == 1 else _all(pixels))
            if noise is not None:
                out[key] = convert_to_dst_type(on_channels(noise, pixels, self.noise.workers), dst=out[key])[0]
        return out


def _all(pixels: Any) -> Any:
    """The channels of (c, x, y[, z]) below one another, for one span and one search."""
    return np.concatenate([turned(part) for part in pixels])
