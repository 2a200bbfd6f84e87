"""Compression as a transform of TorchIO, repeatable from a subject's history. Imported where TorchIO is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from slimscan.feed.augment import CodecNoise, Noise, on_channels, turned
from slimscan.nouns import Needs, Setting

Needs("torchio", "torchio", "torchio").demand("slimscan.feed.augment_torchio")

from torchio.transforms import IntensityTransform  # noqa: E402
from torchio.transforms.augmentation import RandomTransform  # noqa: E402


class RandomCodecNoise(RandomTransform, IntensityTransform):  # type: ignore[misc, unused-ignore]
    """Codes and decodes the intensity images of a subject at a random setting, the same codec and strength for all.

    Arguments are those of CodecNoise (settings, codecs, psnr, ratio, bits, span) and of every TorchIO transform (p,
    include, exclude ...). Chance is torch's. What was drawn stands in the subject's history as CodecNoiseAt.
    """

    def __init__(
        self,
        settings: Any = None,
        codecs: Any = None,
        psnr: Any = None,
        ratio: Any = None,
        bits: Any = 12,
        span: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call, unused-ignore]
        self.noise = CodecNoise(settings, codecs=codecs, psnr=psnr, ratio=ratio, bits=bits, span=span)

    def apply_transform(self, subject: Any) -> Any:
        """The subject with its images coded and decoded."""
        wanted = self.noise.draw(np.random.default_rng(int(torch.randint(2**31, (1,)))))
        drawn: dict[str, tuple[str, int, float, float]] = {}
        for name, image in self.get_images_dict(subject).items():
            pixels = image.data.numpy()
            noise = self.noise.settle(wanted, np.concatenate([turned(part) for part in pixels]))
            if noise is not None:
                value = "lossless" if noise.setting.value is None else repr(noise.setting.value)
                drawn[name] = (f"{noise.setting.codec}@{value}", noise.bits, *noise.span)
        return CodecNoiseAt(noise=drawn, **self._get_base_args())(subject) if drawn else subject


class CodecNoiseAt(IntensityTransform):  # type: ignore[misc, unused-ignore]
    """Codes and decodes images at known settings. noise: name of an image -> (setting, bits, low, high of the span)."""

    def __init__(self, noise: Mapping[str, tuple[str, int, float, float]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.noise = dict(noise)
        self.args_names = ["noise"]

    def apply_transform(self, subject: Any) -> Any:
        """The subject with its images coded and decoded."""
        for name, image in self.get_images_dict(subject).items():
            if name in self.noise:
                setting, bits, low, high = self.noise[name]
                done = on_channels(Noise(Setting.parse(setting), bits, (low, high)), image.data.numpy())
                image.set_data(torch.from_numpy(np.ascontiguousarray(done)))
        return subject

    def is_invertible(self) -> bool:
        """What a codec threw away does not come back."""
        return False
