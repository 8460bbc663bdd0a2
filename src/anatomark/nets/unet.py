"""The shallow U-Net that segments a structure on slices (Wang et al. 2021, section 3.2 and figure 1)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from anatomark.types import AnatomarkError

CONVOLUTIONS_PER_BLOCK = 4


class ShallowUNet(nn.Module):
    """A U-Net with a single reduction by 2: four convolutions before, four at half size, four and a last one after.

    Slices of any size, odd ones included: their last row or column is then a cell of its own at half size. Each score
    depends on 36 x 36 px.

    Attributes:
        stride: side of a cell of the map, px.

    Args:
        width: channels at full size; twice as many at half size. The paper's is 64.
        batch_norm: between convolutions and ReLUs. The paper tells of none, but without any its learning rate
            of 0.1 ends in a constant output.

    Raises:
        AnatomarkError: ``width`` is not positive.
    """

    stride = 1

    def __init__(self, *, width: int = 64, batch_norm: bool = True) -> None:
        super().__init__()
        if width < 1:
            raise AnatomarkError(f"the width of a U-Net is {width}; it must be at least 1 channel")
        self.encoder = _block(1, width, batch_norm)
        self.bottom = _block(width, 2 * width, batch_norm)
        self.decoder = _block(3 * width, width, batch_norm)
        self.head = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, image: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Logits of the structure."""
        logits: Tensor = self.head(self.features(image))
        return logits

    def features(self, image: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b f h w"]:
        """The ``width`` feature maps that ``head`` makes the logits of."""
        full = self.encoder(image)
        half = self.bottom(F.max_pool2d(full, 2, ceil_mode=True))
        restored = F.interpolate(half, scale_factor=2.0, mode="nearest")[..., : image.shape[-2], : image.shape[-1]]
        features: Tensor = self.decoder(torch.cat([full, restored], dim=1))
        return features


def _block(channels_in: int, channels: int, batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(CONVOLUTIONS_PER_BLOCK):
        convolution = nn.Conv2d(channels_in, channels, 3, padding=1, bias=not batch_norm)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        if convolution.bias is not None:
            nn.init.zeros_(convolution.bias)
        layers += [convolution, *([nn.BatchNorm2d(channels)] if batch_norm else []), nn.ReLU(inplace=True)]
        channels_in = channels
    return nn.Sequential(*layers)
