"""VGG-13 and -16 with batch norm (Simonyan and Zisserman 2015) as a backbone, in torchvision's key layout."""

from itertools import pairwise
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn

from anatomark.nets.state_dicts import load_torchvision
from anatomark.types import AnatomarkError

# Convolutions per block.
DEPTHS = {13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3)}
CHANNELS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """VGG with batch norm, without its last pooling and its classifier: 224x224 in, 512 channels of 14x14 out.

    Args:
        depth: 13 or 16 layers.
        in_channels: image channels.
        weights: ``.pth`` of torchvision's network with batch norm, see
            :func:`~anatomark.nets.state_dicts.load_torchvision`; None to start at random.

    Raises:
        AnatomarkError: another depth, or the weights do not fit.
    """

    def __init__(self, *, depth: int = 13, in_channels: int = 1, weights: str | Path | None = None) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise AnatomarkError(f"the depth of a VGG must be one of {list(DEPTHS)}, not {depth}")
        layers: list[nn.Module] = []
        for (channels_in, channels), n_convolutions in zip(
            pairwise((in_channels, *CHANNELS)), DEPTHS[depth], strict=True
        ):
            if layers:
                layers.append(nn.MaxPool2d(2))
            layers += _block(channels_in, channels, n_convolutions)
        self.features = nn.Sequential(*layers)
        if weights is not None:
            load_torchvision(
                self,
                Path(weights),
                stem="features.0.weight",
                head="classifier.",
                network=f"VGG-{depth} with batch norm",
            )

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f h2 w2"]:
        features: Tensor = self.features(image)
        return features


def _block(channels_in: int, channels: int, n_convolutions: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for _ in range(n_convolutions):
        convolution = nn.Conv2d(channels_in, channels, 3, padding=1)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        layers += [convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        channels_in = channels
    return layers
