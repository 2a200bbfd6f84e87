"""The U-Net that finds tissue on slides, as in the slide paper of 2025 (wsi2025), section 2.2.2.

Five blocks down with {32, 32, 64, 128, 128} filters, each two 3 x 3 convolutions with batch norm and ReLU and then a max
pooling; 128 at the bottom; five blocks up, each a doubling, what went down beside it, and two convolutions with ReLU, of
which the first two blocks have batch norms. The paper does not print the filters on the way up: here they mirror those on
the way down, which gives 1,996,450 weights where the paper says about 2 million.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from slimscan.errors import InputError
from slimscan.models.spec import NetSpec

FILTERS = (32, 32, 64, 128, 128)
BOTTOM = 128
_NORMED = 2  # blocks on the way up, from the bottom, with batch norm


class TissueNet(nn.Module):  # type: ignore[misc, unused-ignore] # torch's types are not followed
    """(n, 3, y, x) becomes logits (n, classes, y, x); sides are multiples of 32.

    InputError unless the spec is 2D with six resolutions of 32 maps: this network has no other size.
    """

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        if (spec.dims, spec.levels, spec.width) != (2, len(FILTERS) + 1, FILTERS[0]):
            raise InputError(
                f"the network tissue is 2D with {len(FILTERS) + 1} levels and width {FILTERS[0]}; got {spec.dims}D, "
                f"{spec.levels} and {spec.width}"
            )
        self.downs = nn.ModuleList(twice(before, now, normed=True) for before, now in pairwise((spec.inputs, *FILTERS)))
        self.pool = nn.MaxPool2d(2)
        self.bottom = twice(FILTERS[-1], BOTTOM, normed=True)
        self.larger = nn.Upsample(scale_factor=2, mode="nearest")
        self.ups = nn.ModuleList()
        before = BOTTOM
        for number, now in enumerate(reversed(FILTERS)):
            self.ups.append(twice(before + now, now, normed=number < _NORMED))
            before = now
        self.head = nn.Conv2d(before, spec.classes, kernel_size=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # three blocks have no norm, so the size of the weights counts
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the same sides."""
        kept = []
        for down in self.downs:
            x = down(x)
            kept.append(x)
            x = self.pool(x)
        x = self.bottom(x)
        for up in self.ups:
            x = up(torch.cat((self.larger(x), kept.pop()), dim=1))
        found: Tensor = self.head(x)
        return found


def twice(before: int, now: int, normed: bool) -> nn.Sequential:
    """Two 3 x 3 convolutions with zero padding, each with a ReLU, and a batch norm before it where `normed`."""
    layers: list[nn.Module] = []
    for inputs in (before, now):
        layers.append(nn.Conv2d(inputs, now, kernel_size=3, padding=1))
        layers += [nn.BatchNorm2d(now)] if normed else []
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
