"""SonoEyeNet with late fusion (Cai et al. 2018, table 1): classes from the frame and the sonographer's attention."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anatomark.nets.msen import CellTrunk, initialise
from anatomark.nets.sononet import ClassifierOutput, SonoNetTrunk, adaptation_layers, conv_block, score_classes


class SonoEyeNet(nn.Module):
    """Two streams, of the frame and of the map, side by side until the adaptation layers.

    The frame's stream is M-SEN's: three SonoNet blocks, brought to the cells, and two blocks of convolutions. The
    map's ends with its first three blocks, as it only says where, and how much, the sonographer looked.

    Args:
        trunk: image network, see :class:`~anatomark.nets.msen.CellTrunk`. Only the other layers start from N(0, 0.01).
        n_classes: number of classes.
        attention_width: channels of the first block of the map's stream: 16, 32 or 64.
        attention_stride: side of a cell of the class maps, px.
        adaptation: channels of the first adaptation layer.
        dropout: share of activations dropped after each of their convolutions before the adaptation layers in training.

    Source: named in Cai et al. 2018, which gives no layers of its own for it.
    """

    def __init__(
        self,
        *,
        trunk: nn.Module,
        n_classes: int = 2,
        attention_width: int = 16,
        attention_stride: int = 16,
        adaptation: int = 256,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.frame_cells = CellTrunk(trunk=trunk, stride=attention_stride)
        c_in = self.frame_cells.out_channels
        self.frame_blocks = nn.Sequential(
            conv_block(c_in, 2 * c_in, 3, dropout), conv_block(2 * c_in, 2 * c_in, 3, dropout)
        )
        self.attention_cells = CellTrunk(
            trunk=SonoNetTrunk(width=attention_width, n_blocks=3, dropout=dropout), stride=attention_stride
        )
        self.adaptation = adaptation_layers(2 * c_in + self.attention_cells.out_channels, adaptation, n_classes)
        for new in (self.frame_blocks, self.attention_cells, self.adaptation):
            new.apply(initialise)
        self.stride = attention_stride
        self.n_classes = n_classes
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self, image: Float[Tensor, "b 1 height width"], attention: Float[Tensor, "b 1 height width"]
    ) -> ClassifierOutput:
        frame = self.frame_blocks(self.frame_cells(image))
        return score_classes(self.adaptation, torch.cat([frame, self.attention_cells(attention)], dim=1))
