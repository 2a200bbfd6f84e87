"""U-Nets in two and three dimensions, to be read in one sitting.

Shapes stand in the margin for a 3D network of width w: (n, channels, z, y, x); a 2D one has no z. Sources: Ronneberger et
al. 2015 (U-Net), El Khoury et al. 2021, section 2.3 ("elkhoury"), Isensee et al. 2021, nnU-Net ("modern").
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from slimscan.models.spec import NetSpec

_MOST = {"elkhoury": 1024, "modern": 320}  # feature maps; deeper levels keep this many


def build(spec: NetSpec) -> nn.Module:
    """The untrained network of a spec, float32, on the CPU; its weights follow torch's seed.

    (n, inputs, [z,] y, x) becomes logits (n, classes, [z,] y, x); sides must be multiples of spec.multiple.
    MissingExtra for swin_unetr without MONAI.
    """
    if spec.kind == "swin_unetr":
        from slimscan.models.monai_door import swin

        made: nn.Module = swin(spec)
        return made
    if spec.kind == "tissue":
        from slimscan.models.tissue_net import TissueNet

        return TissueNet(spec)
    return UNet(spec)


class UNet(nn.Module):  # type: ignore[misc, unused-ignore] # torch's types are not followed
    """Down by halves, up by doubles, and at every level what went down beside what comes up."""

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        maps = [min(spec.width << level, _MOST[spec.kind]) for level in range(spec.levels)]
        conv, up = (nn.Conv2d, nn.ConvTranspose2d) if spec.dims == 2 else (nn.Conv3d, nn.ConvTranspose3d)
        pool = nn.MaxPool2d if spec.dims == 2 else nn.MaxPool3d
        self.downs, self.ups, self.joins = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        before = spec.inputs
        for level, now in enumerate(maps):
            block = twice(spec, before, now)
            self.downs.append(nn.Sequential(pool(2), block) if level else block)
            before = now
        for now in reversed(maps[:-1]):
            self.ups.append(up(before, now, kernel_size=2, stride=2))
            self.joins.append(twice(spec, 2 * now, now))
            before = now
        self.head = conv(before, spec.classes, kernel_size=1)
        # At first nine voxels in ten are background: else a Dice without it (eq. 6) lets one organ swallow the background,
        # and never finds back.
        nn.init.zeros_(self.head.bias)
        nn.init.constant_(self.head.bias[:1], math.log(9 * max(1, spec.classes - 1)))
        if spec.kind == "elkhoury":  # without a norm the size of the weights counts (He et al. 2015)
            for module in self.modules():
                if isinstance(module, conv):
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Logits, of the shape of the image."""
        kept: list[Tensor] = []
        for down in self.downs:  #                         x  (n, 1,  z,   y,   x  )
            x = down(x)  #                                    (n, w,  z,   y,   x  )  then (n, 2w, z/2, y/2, x/2) ...
            kept.append(x)
        kept.pop()  # the deepest is x itself                 (n, 4w, z/4, y/4, x/4)  of three levels
        for up, join in zip(self.ups, self.joins, strict=True):
            x = up(x)  #                                      (n, 2w, z/2, y/2, x/2)
            x = torch.cat((kept.pop(), x), dim=1)  #          (n, 4w, z/2, y/2, x/2)  beside what went down
            x = join(x)  #                                    (n, 2w, z/2, y/2, x/2)  then (n, w, z, y, x)
        found: Tensor = self.head(x)  #                       (n, classes, z, y, x)
        return found


def twice(spec: NetSpec, before: int, now: int) -> nn.Sequential:
    """Two 3x3(x3) convolutions with zero padding: (n, before, ...) becomes (n, now, ...) of the same sides.

    elkhoury: each with a ReLU. modern: each with instance norm and a leaky ReLU; the norm takes the bias's place.
    """
    conv: Any = nn.Conv2d if spec.dims == 2 else nn.Conv3d
    layers: list[nn.Module] = []
    for inputs in (before, now):
        layers.append(conv(inputs, now, kernel_size=3, padding=1, bias=spec.kind != "modern"))
        if spec.kind == "modern":
            layers += [InstanceNorm(now), nn.LeakyReLU(0.01, inplace=True)]
        else:
            layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class InstanceNorm(nn.Module):  # type: ignore[misc, unused-ignore] # torch's types are not followed
    """Every map of every sample to mean 0 and variance 1, then scaled and shifted: (n, c, ...) stays (n, c, ...).

    While training as a batch norm of one sample after the other, since torch's own instance norm loses channels-last,
    which costs the convolution behind it more than the norm itself.
    """

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(maps)), nn.Parameter(torch.zeros(maps))

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        if not self.training:
            still: Tensor = functional.instance_norm(x, weight=self.weight, bias=self.bias)
            return still
        each = [functional.batch_norm(one, None, None, self.weight, self.bias, training=True) for one in x.split(1)]
        return torch.cat(each)


def weights(module: nn.Module) -> dict[str, Tensor]:
    """Its weights as they are now, copied to the CPU in torch's usual order of memory."""
    return {name: one.detach().to("cpu", copy=True).contiguous() for name, one in module.state_dict().items()}
