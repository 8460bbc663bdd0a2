"""SS-cls Net (Cai et al. 2018, table 1): classes from the sonographer's attention map alone."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anatomark.nets.msen import CellTrunk, initialise
from anatomark.nets.sononet import ClassifierOutput, SonoNetTrunk, adaptation_layers, conv_block, score_classes


class AttentionClassifier(nn.Module):
    """Attention map to class scores, layer for layer M-SEN's path from the frame to the classes.

    The paper gives no layers. With those of M-SEN, what the two differ in is the input.

    Args:
        width: channels of the first block: 16, 32 or 64.
        n_classes: number of classes.
        attention_stride: side of a cell of the class maps, px.
        adaptation: channels of the first adaptation layer.
        dropout: share of activations dropped after each convolution before the adaptation layers in training.
    """

    def __init__(
        self,
        *,
        width: int = 16,
        n_classes: int = 2,
        attention_stride: int = 16,
        adaptation: int = 256,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.cells = CellTrunk(trunk=SonoNetTrunk(width=width, n_blocks=3, dropout=dropout), stride=attention_stride)
        channels = 2 * self.cells.out_channels
        self.blocks = nn.Sequential(
            conv_block(self.cells.out_channels, channels, 3, dropout), conv_block(channels, channels, 3, dropout)
        )
        self.adaptation = adaptation_layers(channels, adaptation, n_classes)
        self.apply(initialise)
        self.stride = attention_stride
        self.n_classes = n_classes
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, attention: Float[Tensor, "b 1 height width"]) -> ClassifierOutput:
        return score_classes(self.adaptation, self.blocks(self.cells(attention)))
