"""Saliency networks: an image trunk and a head that scores every cell of the map."""

from typing import Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn


class SaliencyOutput(NamedTuple):
    """Cell scores before the softmax over all cells, and the feature vectors that describe the cells."""

    logits: Float[Tensor, "b h w"]
    features: Float[Tensor, "b f h w"]


class SeparableHead(nn.Module):
    """The head of Droste et al. 2020's network: a depthwise 7x7, two 1x1 convolutions to 256, one to the score."""

    def __init__(self, *, in_channels: int, hidden: int = 256) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 7, padding=3, groups=in_channels, bias=False),
            nn.Conv2d(in_channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
        )
        self.score = nn.Conv2d(hidden, 1, 1)
        self.out_channels = hidden

    def forward(self, features: Float[Tensor, "b f h w"]) -> Float[Tensor, "b hidden h w"]:
        hidden: Tensor = self.hidden(features)
        return hidden


class DilatedHead(nn.Module):
    """Three dilated 3x3 convolutions: a wide view for trunks with few pools, where small data sets need context."""

    def __init__(self, *, in_channels: int, hidden: int = 64, dilations: tuple[int, ...] = (2, 4, 8)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for dilation in dilations:
            layers += [
                nn.Conv2d(in_channels, hidden, 3, padding=dilation, dilation=dilation, bias=False),
                nn.BatchNorm2d(hidden),
                nn.ReLU(inplace=True),
            ]
            in_channels = hidden
        self.hidden = nn.Sequential(*layers)
        self.score = nn.Conv2d(hidden, 1, 1)
        self.out_channels = hidden

    def forward(self, features: Float[Tensor, "b f h w"]) -> Float[Tensor, "b hidden h w"]:
        hidden: Tensor = self.hidden(features)
        return hidden


HEADS = {"separable": SeparableHead, "dilated": DilatedHead}


class SaliencyNet(nn.Module):
    """Image to one score per map cell; a softmax over all cells gives the saliency density.

    Args:
        trunk: image network with attributes ``out_channels`` and ``stride``.
        head: "separable" (paper) or "dilated".
        hidden: channels of the head.
        features: where a landmark's feature vector is read: the "trunk"'s last layer (paper) or the "head"'s.
    """

    def __init__(
        self,
        *,
        trunk: nn.Module,
        head: Literal["separable", "dilated"] = "separable",
        hidden: int = 256,
        features: Literal["trunk", "head"] = "trunk",
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = HEADS[head](in_channels=int(trunk.out_channels), hidden=hidden)  # type: ignore[arg-type]
        self.features = features
        self.stride = int(trunk.stride)  # type: ignore[arg-type]

    def forward(self, image: Float[Tensor, "b c h w"]) -> SaliencyOutput:
        trunk = self.trunk(image)
        hidden = self.head(trunk)
        logits = self.head.score(hidden).squeeze(1)
        return SaliencyOutput(logits=logits, features=trunk if self.features == "trunk" else hidden)
