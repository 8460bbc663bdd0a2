"""Saliency networks: an image trunk and a head that scores every cell of the map."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class SaliencyOutput(NamedTuple):
    """Cell scores before the softmax over all cells, and the feature vectors that describe the cells."""

    logits: Float[Tensor, "b h w"]
    features: Float[Tensor, "b f h w"]


class Head(nn.Module):
    """Layers on top of a trunk and the score of every cell.

    Args:
        layers: applied in turn; the size of the map stays.
        out_channels: channels of the last one.
    """

    def __init__(self, *, layers: Sequence[nn.Module], out_channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.score = nn.Conv2d(out_channels, 1, 1)

    def forward(self, features: Float[Tensor, "b f h w"]) -> list[Tensor]:
        """The output of every layer, ``(b c h w)`` each."""
        outputs = []
        for layer in self.layers:
            features = layer(features)
            outputs.append(features)
        return outputs


def separable_head(*, in_channels: int, hidden: int = 256) -> Head:
    """The head of Droste et al. 2020's network: a depthwise 7x7, two 1x1 convolutions to 256, one to the score."""
    depthwise = nn.Conv2d(in_channels, in_channels, 7, padding=3, groups=in_channels, bias=False)
    first, second = _convolution(in_channels, hidden, 1), _convolution(hidden, hidden, 1)
    return Head(layers=[nn.Sequential(depthwise, *first), second], out_channels=hidden)


def dilated_head(*, in_channels: int, hidden: int = 64) -> Head:
    """Three 3x3 convolutions dilated by 2, 4 and 8: a wide view for trunks with few pools."""
    channels = (in_channels, hidden, hidden)
    layers = [_convolution(c, hidden, 3, dilation=d) for c, d in zip(channels, (2, 4, 8), strict=True)]
    return Head(layers=layers, out_channels=hidden)


def _convolution(channels_in: int, channels_out: int, size: int, *, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (size // 2)
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, size, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


HEADS = {"separable": separable_head, "dilated": dilated_head}


class SaliencyNet(nn.Module):
    """Image to one score per map cell; a softmax over all cells gives the saliency density.

    Args:
        trunk: image network with ``out_channels`` and ``stride`` that gives a list of feature maps of one size,
            the last of which the head works on.
        head: "separable" (paper) or "dilated".
        hidden: channels of the head.
        features: where a landmark is described: the "trunk"'s last layer (paper), the "head"'s last layer,
            or "all" layers of the map's size, each scaled to unit length.
    """

    def __init__(
        self,
        *,
        trunk: nn.Module,
        head: Literal["separable", "dilated"] = "separable",
        hidden: int = 256,
        features: Literal["trunk", "head", "all"] = "trunk",
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = HEADS[head](in_channels=int(trunk.out_channels), hidden=hidden)  # type: ignore[arg-type]
        self.features = features
        self.stride = int(trunk.stride)  # type: ignore[arg-type]

    def forward(self, image: Float[Tensor, "b c h w"]) -> SaliencyOutput:
        trunk = self.trunk(image)
        hidden = self.head(trunk[-1])
        logits = self.head.score(hidden[-1]).squeeze(1)
        return SaliencyOutput(logits=logits, features=self._describe(trunk, hidden))

    def _describe(self, trunk: list[Tensor], hidden: list[Tensor]) -> Tensor:
        if self.features == "all":
            return torch.cat([F.normalize(layer, dim=1) for layer in (*trunk, *hidden)], dim=1)
        return (trunk if self.features == "trunk" else hidden)[-1]
