"""Class activation maps (Zhou et al. 2016): the baseline of soft proposals, and what both networks share."""

from abc import abstractmethod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from anatomark.nets.cells import require_cells
from anatomark.types import AnatomarkError

PROBE = 64
"""Side of the frame, px, on which a backbone shows what its features look like."""


class ResponseOutput(NamedTuple):
    """What a network that localises by its class scores says.

    Attributes:
        logits: class scores before the sigmoid.
        class_maps: class response maps, in units of the scores: their sum over the cells (soft proposals) or their
            mean (class activation maps) is the score without its bias.
        proposal: where objects are, whatever their class; sums to 1. None without soft proposals.
        features: adapted features of the cells, which the classifier reads.
    """

    logits: Float[Tensor, "b k"]
    class_maps: Float[Tensor, "b k h w"]
    proposal: Float[Tensor, "b h w"] | None
    features: Float[Tensor, "b c h w"]


class ResponseNet(nn.Module):
    """Backbone, adapting 3x3 convolution and linear classifier; subclasses write :meth:`respond`.

    Args:
        backbone: network from a frame to features, ``(b 1 h w) -> (b c h/stride w/stride)``, such as
            :class:`~anatomark.nets.resnet.ResNet` or a timm model made with ``in_chans=1, num_classes=0,
            global_pool=""``. Channels and stride are found by running it once.
        n_classes: number of classes.
        adapt_channels: channels of the adapting convolution.

    Raises:
        AnatomarkError: the backbone does not turn a 1-channel frame into a feature map.
    """

    def __init__(self, *, backbone: nn.Module, n_classes: int, adapt_channels: int = 512) -> None:
        super().__init__()
        channels, self.stride = _probe(backbone)
        self.n_classes = n_classes
        self.backbone = backbone
        self.adapt = nn.Sequential(nn.Conv2d(channels, adapt_channels, 3, padding=1), nn.ReLU(inplace=True))
        self.classifier = nn.Linear(adapt_channels, n_classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, image: Float[Tensor, "b 1 height width"]) -> ResponseOutput:
        return self.respond(self.extract(image))

    @abstractmethod
    def respond(self, extracted: Float[Tensor, "b d h w"]) -> ResponseOutput:
        """What the network says, from the backbone's features on."""

    def extract(self, image: Float[Tensor, "b 1 height width"]) -> Float[Tensor, "b d h w"]:
        """The backbone's features.

        Raises:
            AnatomarkError: the frames do not divide into cells.
        """
        require_cells(image, self.stride, remedy="change the size of the frames in the recipe")
        extracted: Tensor = self.backbone(image)
        return extracted

    def responses(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """The classifier at every cell, without its bias."""
        return F.conv2d(features, self.classifier.weight[:, :, None, None])


class CamNet(ResponseNet):
    """Global average pooling before the classifier: class activation maps.

    Args:
        backbone: see :class:`ResponseNet`.
        n_classes: number of classes.
        adapt_channels: channels of the adapting convolution.
    """

    def respond(self, extracted: Float[Tensor, "b d h w"]) -> ResponseOutput:
        features = self.adapt(extracted)
        class_maps = self.responses(features)
        # The classifier is linear: the mean of its responses is its response to the mean. Under autocast the sums of
        # soft proposals are float32, and so is this.
        exact = torch.promote_types(class_maps.dtype, torch.float32)
        logits = class_maps.mean((2, 3), dtype=exact) + self.classifier.bias
        return ResponseOutput(logits=logits, class_maps=class_maps, proposal=None, features=features)


@torch.no_grad()
def _probe(backbone: nn.Module) -> tuple[int, int]:
    """Channels and stride of a backbone."""
    was_training = backbone.training
    backbone.eval()
    try:
        features = backbone(torch.zeros(1, 1, PROBE, PROBE))
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise AnatomarkError(
            f"model.net.backbone fails on a frame of {PROBE} x {PROBE} px with 1 channel ({reason}); it must take"
            " frames of any size, with timm by in_chans: 1"
        ) from error
    finally:
        backbone.train(was_training)
    if not isinstance(features, Tensor) or features.ndim != 4 or not 1 < features.shape[2] == features.shape[3]:
        found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise AnatomarkError(
            f"model.net.backbone turns a frame of {PROBE} x {PROBE} px into {found}, not into a feature map of shape"
            " (1, channels, height, width); take another one, with timm by num_classes: 0 and global_pool: ''"
        )
    return features.shape[1], PROBE // features.shape[2]
