"""The one map of a prediction, for evaluators that need one."""

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
    maps, logits = prediction["maps"], prediction.get("logits")
    if len(maps) == 1:
        return maps[0]
    if logits is None or len(logits) != len(maps):
        raise AnatomarkError(
            f"the prediction of frame {sample['key']} has {len(maps)} maps that belong to no class; use a model with"
            " one map per frame or one per class"
        )
    return maps[int(logits.argmax())]


def full_size_map(sample: Sample, prediction: Prediction) -> Float[Tensor, "h w"]:
    """The main map, interpolated to the size of its image.

    A network that pools an image whose side is no multiple of the stride drops what is left over at the right and at
    the bottom; the border of the map is repeated there.

    Raises:
        AnatomarkError: as :func:`main_map`, or the map does not cover its image.
    """
    cells, stride = main_map(sample, prediction).float(), prediction.get("map_stride", 1)
    height, width = sample["image"].shape[-2:]
    covered = (cells.shape[0] * stride, cells.shape[1] * stride)
    below, right = height - covered[0], width - covered[1]
    if not (0 <= below < stride and 0 <= right < stride):
        raise AnatomarkError(
            f"frame {sample['key']}: the map covers {covered[0]} x {covered[1]} px of an image of {height} x {width} px"
            " (height x width); evaluate with the data the map was predicted on"
        )
    return F.pad(upsample(cells[None], covered)[None], (0, right, 0, below), mode="replicate")[0, 0]
