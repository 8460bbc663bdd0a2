"""SonoNet (Baumgartner et al. 2017), whole or its first blocks, in the key layout of the published weights."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anatomark.nets.sononet_weights import BATCH_NORM_EPS, CONVS_PER_BLOCK, load_published
from anatomark.types import AnatomarkError

CHANNELS = {16: (16, 32, 64, 128, 128), 32: (32, 64, 128, 256, 256), 64: (64, 128, 256, 512, 512)}
PUBLISHED_CLASSES = 14


class ClassifierOutput(NamedTuple):
    """Class scores before the softmax, the class maps they are the means of, and the features behind the maps."""

    logits: Float[Tensor, "b k"]
    class_maps: Float[Tensor, "b k h w"]
    features: Float[Tensor, "b f h w"]


class _Blocks(nn.Module):
    """Blocks of 3x3 convolutions with max-pooling between them; what a trunk and a whole SonoNet have in common."""

    def __init__(self, *, width: int, n_blocks: int, pools: Sequence[int], dropout: float) -> None:
        super().__init__()
        if width not in CHANNELS:
            raise AnatomarkError(f"SonoNet width must be one of {sorted(CHANNELS)}, not {width}")
        if not 1 <= n_blocks <= 5 or not set(pools) <= set(range(1, n_blocks + 1)):
            raise AnatomarkError(f"n_blocks must be 1..5 and pools among its blocks; got {n_blocks} and {list(pools)}")
        channels = (1, *CHANNELS[width][:n_blocks])
        self.features = nn.ModuleList(
            conv_block(c_in, c_out, convs, dropout)
            for (c_in, c_out), convs in zip(pairwise(channels), CONVS_PER_BLOCK, strict=False)
        )
        self.pools = frozenset(pools)
        self.out_channels = channels[-1]
        self.stride = 2 ** len(self.pools)

    def run_blocks(self, image: Tensor) -> list[Tensor]:
        """The outputs of the blocks after the last pool, ``(b c h/stride w/stride)`` each."""
        height, width = image.shape[-2:]
        if min(height, width) < self.stride:
            raise AnatomarkError(
                f"frames of {height} x {width} px (height x width) are smaller than a cell of {self.stride} px;"
                " change the Fit step of the transforms"
            )
        features, outputs = image, []
        last_pool = max(self.pools, default=0)
        for number, block in enumerate(self.features, start=1):
            features = block(features)
            if number in self.pools:
                features = nn.functional.max_pool2d(features, 2)
            if number > last_pool or number == len(self.features):
                outputs.append(features)
        return outputs


class SonoNetTrunk(_Blocks):
    """The first blocks of a SonoNet: 3x3 convolutions with batch norm and ReLU, max-pooling between blocks.

    Args:
        width: channels of the first block: 16, 32 or 64.
        n_blocks: blocks kept, 1 to 5.
        pools: the blocks (from 1) followed by a 2x2 max-pool.
        dropout: share of activations dropped after each convolution in training; the published networks have none.
        weights: file with the published weights, see :func:`~anatomark.nets.sononet_weights.load_published`; None to
            start at random.

    The defaults reach stride 8 with four blocks: 224x288 in, 128 channels of 28x36 out.

    Raises:
        AnatomarkError: an argument makes no sense, or the weights do not fit.
    """

    def __init__(
        self,
        *,
        width: int = 16,
        n_blocks: int = 4,
        pools: Sequence[int] = (1, 2, 3),
        dropout: float = 0.0,
        weights: str | Path | None = None,
    ) -> None:
        super().__init__(width=width, n_blocks=n_blocks, pools=pools, dropout=dropout)
        if weights is not None:
            load_published(self, Path(weights))

    def forward(self, image: Float[Tensor, "b 1 h w"]) -> list[Tensor]:
        """The outputs of the blocks after the last pool, ``(b c h/stride w/stride)`` each."""
        return self.run_blocks(image)


class SonoNet(_Blocks):
    """SonoNet-16, -32 or -64: five blocks, two 1x1 adaptation layers to class maps, and their mean.

    Args:
        width: channels of the first block: 16, 32 or 64.
        n_classes: number of classes. The published networks tell 14 views; for another number, their last adaption
            layer is left out and starts at random.
        dropout: share of activations dropped after each convolution before the adaptation layers in training; the
            published networks have none.
        weights: file with the published weights, see :func:`~anatomark.nets.sononet_weights.load_published`; None to
            start at random.

    Raises:
        AnatomarkError: an argument makes no sense, or the weights do not fit.

    Source: Baumgartner et al. 2017, figure 3 and table 1. The published code returns the softmax; this returns what it
    is taken of.
    """

    def __init__(
        self,
        *,
        width: int = 16,
        n_classes: int = PUBLISHED_CLASSES,
        dropout: float = 0.0,
        weights: str | Path | None = None,
    ) -> None:
        super().__init__(width=width, n_blocks=5, pools=(1, 2, 3, 4), dropout=dropout)
        self.adaption = adaptation_layers(self.out_channels, self.out_channels // 2, n_classes)
        self.n_classes = n_classes
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if weights is not None:
            load_published(self, Path(weights))

    def forward(self, image: Float[Tensor, "b 1 height width"]) -> ClassifierOutput:
        features = self.run_blocks(image)[-1]
        return score_classes(self.adaption, features)


def conv_block(c_in: int, c_out: int, n_convs: int, dropout: float = 0.0) -> nn.Sequential:
    """A block of a SonoNet: 3x3 convolutions, each with batch norm, ReLU and, where wanted, dropout.

    Args:
        c_in: channels of the input.
        c_out: channels of every convolution.
        n_convs: number of convolutions.
        dropout: share of activations dropped after each of them in training.
    """
    return nn.Sequential(
        *(
            nn.Sequential(
                nn.Conv2d(c_in if i == 0 else c_out, c_out, 3, padding=1, bias=False),
                nn.BatchNorm2d(c_out, eps=BATCH_NORM_EPS),
                nn.ReLU(inplace=True),
                *([nn.Dropout(dropout)] if dropout else []),
            )
            for i in range(n_convs)
        )
    )


def adaptation_layers(c_in: int, hidden: int, n_classes: int) -> nn.Sequential:
    """The two 1x1 convolutions of a SonoNet that end in one map per class.

    Args:
        c_in: channels of the input.
        hidden: channels between the two.
        n_classes: number of classes.
    """
    return nn.Sequential(
        nn.Conv2d(c_in, hidden, 1, bias=False),
        nn.BatchNorm2d(hidden, eps=BATCH_NORM_EPS),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, n_classes, 1, bias=False),
        nn.BatchNorm2d(n_classes, eps=BATCH_NORM_EPS),
    )


def score_classes(adaptation: nn.Module, features: Float[Tensor, "b f h w"]) -> ClassifierOutput:
    """Features through adaptation layers to class maps, and their means, the class scores."""
    class_maps = adaptation(features)
    return ClassifierOutput(logits=class_maps.mean((2, 3)), class_maps=class_maps, features=features)
