"""SE-ResNeXt trunks in torchvision's state-dict key layout.

Sources: Xie et al. 2017 (ResNeXt), Hu et al. 2018 (squeeze and excitation); the half-width variant is the trunk of
Droste et al. 2020's saliency network ("Saliency-VAM").
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from anatomark.types import AnatomarkError

# Stride and dilation of each stage by output stride: past it, stages are dilated instead of strided.
STAGES = {
    8: ((1, 1), (2, 1), (1, 2), (1, 4)),
    16: ((1, 1), (2, 1), (2, 1), (1, 2)),
    32: ((1, 1), (2, 1), (2, 1), (2, 1)),
}


class SqueezeExcitation(nn.Module):
    """Gates each channel by a two-layer network on the channel means."""

    def __init__(self, *, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = channels // reduction
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        pooled = features.mean((2, 3), keepdim=True)
        gate: Tensor = self.fc2(self.fc1(pooled).relu()).sigmoid()
        return features * gate


class Bottleneck(nn.Module):
    """1x1, grouped 3x3, 1x1, squeeze and excitation, shortcut."""

    expansion = 4

    def __init__(
        self, *, channels_in: int, planes: int, cardinality: int, base_width: int, stride: int, dilation: int
    ) -> None:
        super().__init__()
        width = int(planes * base_width / 64) * cardinality
        channels_out = planes * self.expansion
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(
            width, width, 3, stride, padding=dilation, dilation=dilation, groups=cardinality, bias=False
        )
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.se = SqueezeExcitation(channels=channels_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        out = self.relu(self.bn1(self.conv1(features)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.se(self.bn3(self.conv3(out)))
        result: Tensor = self.relu(out + self.downsample(features))
        return result


class SEResNeXt(nn.Module):
    """SE-ResNeXt without its classifier; stages past ``output_stride`` are dilated instead of strided.

    Args:
        in_channels: image channels.
        depths: bottlenecks per stage.
        planes: bottleneck width per stage; stage outputs have four times as many channels.
        cardinality: groups of the 3x3 convolutions.
        base_width: channels per group at ``planes == 64``.
        output_stride: input px per feature cell: 8, 16 or 32.

    The defaults are Droste et al. 2020's half-width SE-ResNeXt-50: 224x288 in, 1024 channels of 28x36 out.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        depths: Sequence[int] = (3, 4, 6, 3),
        planes: Sequence[int] = (32, 64, 128, 256),
        cardinality: int = 16,
        base_width: int = 8,
        output_stride: int = 8,
    ) -> None:
        super().__init__()
        if output_stride not in STAGES:
            raise AnatomarkError(f"output_stride must be one of {list(STAGES)}, not {output_stride}")
        self.conv1 = nn.Conv2d(in_channels, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        channels_in = (64, *(Bottleneck.expansion * width for width in planes))
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _stage(
                channels_in=channels_in[stage],
                planes=planes[stage],
                depth=depths[stage],
                cardinality=cardinality,
                base_width=base_width,
                stride=stride,
                dilation=dilation,
            )
            for stage, (stride, dilation) in enumerate(STAGES[output_stride])
        )
        self.out_channels = channels_in[-1]
        self.stride = output_stride
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """The outputs of the stages that reach the output stride, ``(b f h/stride w/stride)`` each."""
        features = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        outputs = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            features = stage(features)
            outputs.append(features)
        first = {8: 1, 16: 2, 32: 3}[self.stride]
        return outputs[first:]


def _stage(*, planes: int, depth: int, channels_in: int, stride: int, dilation: int, **width: int) -> nn.Sequential:
    # As in torchvision, the first block of a dilated stage keeps the dilation of the stage before.
    first = Bottleneck(channels_in=channels_in, planes=planes, stride=stride, dilation=max(dilation // 2, 1), **width)
    channels = planes * Bottleneck.expansion
    rest = (
        Bottleneck(channels_in=channels, planes=planes, stride=1, dilation=dilation, **width) for _ in range(depth - 1)
    )
    return nn.Sequential(first, *rest)
