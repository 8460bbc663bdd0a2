"""ResNet-18 and -34 (He et al. 2016) as a backbone, in torchvision's key layout."""

from itertools import pairwise
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn

from anatomark.nets.state_dicts import load_torchvision
from anatomark.types import AnatomarkError

# Blocks per stage.
DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
CHANNELS = (64, 64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, *, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(features)))))
        result: Tensor = self.relu(out + self.downsample(features))
        return result


class ResNet(nn.Module):
    """ResNet without its pooling and classifier: 224x224 in, 512 channels of 7x7 out.

    Args:
        depth: 18 or 34 layers.
        in_channels: image channels.
        weights: ``.pth`` of torchvision, see :func:`~anatomark.nets.state_dicts.load_torchvision`; None to start at
            random.

    Raises:
        AnatomarkError: another depth, or the weights do not fit.
    """

    def __init__(self, *, depth: int = 18, in_channels: int = 1, weights: str | Path | None = None) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise AnatomarkError(f"the depth of a ResNet must be one of {list(DEPTHS)}, not {depth}")
        self.conv1 = nn.Conv2d(in_channels, CHANNELS[0], 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(CHANNELS[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _stage(channels_in=channels_in, channels=channels, n_blocks=n_blocks, stride=1 if stage == 0 else 2)
            for stage, ((channels_in, channels), n_blocks) in enumerate(
                zip(pairwise(CHANNELS), DEPTHS[depth], strict=True)
            )
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if weights is not None:
            load_torchvision(self, Path(weights), stem="conv1.weight", head="fc.", network=f"ResNet-{depth}")

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f h2 w2"]:
        features = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            features = stage(features)
        result: Tensor = features
        return result


def _stage(*, channels_in: int, channels: int, n_blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(channels_in=channels_in, channels=channels, stride=stride)
    rest = (BasicBlock(channels_in=channels, channels=channels, stride=1) for _ in range(n_blocks - 1))
    return nn.Sequential(first, *rest)
