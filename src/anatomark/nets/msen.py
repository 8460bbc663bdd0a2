"""M-SEN (Cai et al. 2018): the generator of attention maps and classes, its parts, and the discriminator."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from anatomark.nets.cells import require_cells
from anatomark.nets.sononet import adaptation_layers, conv_block
from anatomark.types import AnatomarkError

INIT_STD = 0.01


class AttentionOutput(NamedTuple):
    """The attention map before its sigmoid, and the feature vectors it was predicted from."""

    attention: Float[Tensor, "b h w"]
    features: Float[Tensor, "b f h w"]


class GeneratorOutput(NamedTuple):
    """Class scores before the softmax, the attention map before its sigmoid, and the features behind the map."""

    logits: Float[Tensor, "b k"]
    attention: Float[Tensor, "b h w"]
    features: Float[Tensor, "b f h w"]


class CellTrunk(nn.Module):
    """An image trunk brought to the cells of the attention map by one more max-pool.

    Args:
        trunk: image network with ``out_channels`` and ``stride`` that gives a list of feature maps, the last of
            which counts; the paper's are the first three blocks of SonoNet, stride 8.
        stride: side of a cell in px: 16 (paper, 15x15 cells of a 240x240 frame), or 8 for twice as many.

    Raises:
        AnatomarkError: ``stride`` is no multiple of the trunk's.
    """

    def __init__(self, *, trunk: nn.Module, stride: int = 16) -> None:
        super().__init__()
        reached = int(trunk.stride)  # type: ignore[arg-type]
        if stride < reached or stride % reached:
            raise AnatomarkError(
                f"attention_stride is {stride} and the trunk's stride {reached}; make it a multiple of that"
            )
        self.trunk = trunk
        self.pool = nn.MaxPool2d(stride // reached)
        self.stride = stride
        self.out_channels = int(trunk.out_channels)  # type: ignore[arg-type]

    def forward(self, image: Float[Tensor, "b 1 height width"]) -> Float[Tensor, "b c h w"]:
        """The features of the cells.

        Raises:
            AnatomarkError: the image does not divide into cells.
        """
        require_cells(image, self.stride, remedy="change attention_stride, or the Fit step of the transforms")
        features: Tensor = self.pool(self.trunk(image)[-1])
        return features


class AttentionBranch(nn.Module):
    """Cell features to attention: three 3x3 convolutions and a 1x1 to one channel.

    Args:
        in_channels: channels of the cell features; the convolutions have twice as many, as SonoNet's fourth block.
        dropout: share of activations dropped after each convolution in training.
    """

    def __init__(self, *, in_channels: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.out_channels = 2 * in_channels
        self.block = conv_block(in_channels, self.out_channels, 3, dropout=dropout)
        self.score = nn.Conv2d(self.out_channels, 1, 1)
        self.apply(initialise)

    def forward(self, cells: Float[Tensor, "b c h w"]) -> AttentionOutput:
        features = self.block(cells)
        return AttentionOutput(attention=self.score(features).squeeze(1), features=features)


class ClassificationBranch(nn.Module):
    """Cell features, weighted by the attention between two convolution blocks, to class scores.

    Args:
        in_channels: channels of the cell features; the convolutions have twice as many.
        n_classes: number of classes.
        adaptation: channels of the first adaptation layer.
        dropout: share of activations dropped after each convolution before the adaptation layers in training.
    """

    def __init__(self, *, in_channels: int, n_classes: int, adaptation: int = 256, dropout: float = 0.2) -> None:
        super().__init__()
        channels = 2 * in_channels
        self.before = conv_block(in_channels, channels, 3, dropout=dropout)
        self.after = conv_block(channels, channels, 3, dropout=dropout)
        self.adaptation = adaptation_layers(channels, adaptation, n_classes)
        self.apply(initialise)

    def forward(self, cells: Float[Tensor, "b c h w"], attention: Float[Tensor, "b h w"]) -> Float[Tensor, "b k"]:
        """Class scores before the softmax.

        Args:
            cells: cell features.
            attention: weight of every cell, in [0, 1].
        """
        scores: Tensor = self.adaptation(self.after(self.before(cells) * attention[:, None]))
        return scores.mean((2, 3))


class Generator(nn.Module):
    """Frame to attention map and class scores (paper, section 2 and figure 1).

    Args:
        trunk: see :class:`CellTrunk`. Only what comes after it starts from N(0, 0.01).
        n_classes: number of classes.
        attention_stride: side of an attention cell, px.
        adaptation: see :class:`ClassificationBranch`.
        dropout: see :class:`AttentionBranch`.
    """

    def __init__(
        self,
        *,
        trunk: nn.Module,
        n_classes: int = 2,
        attention_stride: int = 16,
        adaptation: int = 256,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.cells = CellTrunk(trunk=trunk, stride=attention_stride)
        channels = self.cells.out_channels
        self.attention = AttentionBranch(in_channels=channels, dropout=dropout)
        self.classification = ClassificationBranch(
            in_channels=channels, n_classes=n_classes, adaptation=adaptation, dropout=dropout
        )
        self.stride = attention_stride
        self.n_classes = n_classes
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, image: Float[Tensor, "b 1 height width"]) -> GeneratorOutput:
        cells = self.cells(image)
        attention, features = self.attention(cells)
        logits = self.classification(cells, attention.sigmoid())
        return GeneratorOutput(logits=logits, attention=attention, features=features)


class AttentionNet(nn.Module):
    """Frame to attention map alone, the paper's SS-att: a generator without its classification branch.

    Args:
        trunk: see :class:`CellTrunk`.
        attention_stride: side of an attention cell, px.
        dropout: see :class:`AttentionBranch`.
    """

    def __init__(self, *, trunk: nn.Module, attention_stride: int = 16, dropout: float = 0.2) -> None:
        super().__init__()
        self.cells = CellTrunk(trunk=trunk, stride=attention_stride)
        self.attention = AttentionBranch(in_channels=self.cells.out_channels, dropout=dropout)
        self.stride = attention_stride
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, image: Float[Tensor, "b 1 height width"]) -> AttentionOutput:
        output: AttentionOutput = self.attention(self.cells(image))
        return output


class Discriminator(nn.Module):
    """Tells whether the attention map of a frame is a sonographer's or the generator's; one logit.

    Three 3x3 convolutions with max-pool and leaky ReLU, then fully connected layers of 100, 2 and 1 units. The paper
    leaves the sizes of the last two of these open; they are those of SalGAN (Pan et al. 2017).

    Args:
        resolution: side of the square that frame and map are brought to, px: 240 (paper), 60 for a CPU.
    """

    def __init__(self, *, resolution: int = 240) -> None:
        super().__init__()
        if resolution < 8:
            raise AnatomarkError(f"disc_resolution is {resolution}; three max-pools need at least 8 px")
        self.size = (resolution, resolution)
        self.convolutions = nn.Sequential(
            *(
                layer
                for c_in, c_out in ((2, 64), (64, 128), (128, 256))
                for layer in (nn.Conv2d(c_in, c_out, 3, padding=1), nn.MaxPool2d(2), nn.LeakyReLU(0.2))
            )
        )
        self.decision = nn.Sequential(
            nn.Linear(256 * (resolution // 8) ** 2, 100), nn.Tanh(), nn.Linear(100, 2), nn.Tanh(), nn.Linear(2, 1)
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self, image: Float[Tensor, "b 1 height width"], attention: Float[Tensor, "b h w"]
    ) -> Float[Tensor, "b"]:
        """The logit of the map being a sonographer's.

        Args:
            image: frames.
            attention: maps in [0, 1]. Real and predicted ones come with the same cells, so that neither is told by
                its sharpness.
        """
        frame = F.interpolate(image, size=self.size, mode="area")
        maps = F.interpolate(attention[:, None], size=self.size, mode="bilinear", align_corners=False)
        features = self.convolutions(torch.cat([frame, maps.to(frame.dtype)], dim=1))
        logits: Tensor = self.decision(features.flatten(1)).squeeze(1)
        return logits


def initialise(module: nn.Module) -> None:
    """Weights from N(0, 0.01), biases zero, as the paper does for all of the network's layers that are not SonoNet's.

    Not the discriminator's: without batch norm that would shrink its gradients to nothing.
    """
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, std=INIT_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
