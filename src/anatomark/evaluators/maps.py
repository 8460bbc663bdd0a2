"""Which map of a prediction counts, and how maps cover their image, for evaluators that need one map."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anatomark.metrics.saliency import upsample
from anatomark.types import AnatomarkError, Prediction, Sample


def main_map(sample: Sample, prediction: Prediction) -> Float[Tensor, "y x"]:
    """The only map, or that of the most probable class where there are as many maps as classes.

    Raises:
        AnatomarkError: there are several maps that belong to no class.
    """
    maps = prediction["maps"]
    return maps[predicted_class(sample, prediction, maps) or 0]


def predicted_class(sample: Sample, prediction: Prediction, maps: Float[Tensor, "m y x"]) -> int | None:
    """The most probable class where there is a map for each, None where there is only one map for the frame.

    Args:
        sample: the frame.
        prediction: its logits.
        maps: its maps by any method.

    Raises:
        AnatomarkError: there are several maps that belong to no class.
    """
    logits = prediction.get("logits")
    if len(maps) == 1:
        return None
    if logits is None or len(logits) != len(maps):
        raise AnatomarkError(
            f"the prediction of frame {sample['key']} has {len(maps)} maps that belong to no class; use a model with"
            " one map per frame or one per class"
        )
    return int(logits.argmax())


def full_size_map(sample: Sample, prediction: Prediction) -> Float[Tensor, "h w"]:
    """The main map, interpolated to the size of its image.

    Raises:
        AnatomarkError: as :func:`main_map` and :func:`to_full_size`.
    """
    return to_full_size(main_map(sample, prediction)[None], sample, prediction)[0]


def to_full_size(maps: Float[Tensor, "m y x"], sample: Sample, prediction: Prediction) -> Float[Tensor, "m h w"]:
    """Maps of one frame, interpolated bilinearly to the size of its image.

    A network that pools an image whose side is no multiple of the stride drops what is left over at the right and at
    the bottom; the border of the map is repeated there.

    Args:
        maps: some of its maps.
        sample: the frame.
        prediction: what says how large a cell is.

    Raises:
        AnatomarkError: the maps do not cover the image.
    """
    stride = prediction.get("map_stride", 1)
    height, width = sample["image"].shape[-2:]
    covered = (maps.shape[1] * stride, maps.shape[2] * stride)
    below, right = height - covered[0], width - covered[1]
    if not (0 <= below < stride and 0 <= right < stride):
        raise AnatomarkError(
            f"frame {sample['key']}: the map covers {covered[0]} x {covered[1]} px of an image of {height} x {width} px"
            " (height x width); evaluate with the data the map was predicted on"
        )
    return fill_frame(maps.float(), stride=stride, size=(height, width))


def fill_frame(maps: Float[Tensor, "m y x"], *, stride: int, size: tuple[int, int]) -> Float[Tensor, "m h w"]:
    """Maps, interpolated bilinearly to the pixels of a frame, with their border repeated where they end before it.

    Args:
        maps: maps that cover the frame but for less than a cell.
        stride: side of a cell, px.
        size: (height, width) of the frame, px.
    """
    covered = (maps.shape[1] * stride, maps.shape[2] * stride)
    right, below = size[1] - covered[1], size[0] - covered[0]
    return F.pad(upsample(maps, covered)[None], (0, right, 0, below), mode="replicate")[0]
