"""What models learn: the attention maps and the classes of a batch."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anatomark.geometry.attention import render_map
from anatomark.types import AnatomarkError, Batch


def attention_target(batch: Batch, *, sigma: float, stride: int) -> Float[Tensor, "b h w"]:
    """The sonographer's attention in [0, 1]: every fixation once, maximum 1 at full size, then the mean of every cell.

    Args:
        batch: frames; those nobody looked at get zeros.
        sigma: standard deviation of a fixation's Gaussian, px.
        stride: side of a cell, px.

    Source: Cai et al. 2018, "Eye Movement Acquisition and Filtering".
    """
    image = batch["image"]
    height, width = image.shape[-2:]
    with torch.autocast(image.device.type, enabled=False):  # half precision would move the maxima off 1
        attention = render_map(batch["fixations"], size=(height, width), sigma=sigma, weighting="equal")
        return F.avg_pool2d(attention[:, None], stride)[:, 0]


def require_labels(batch: Batch) -> Int[Tensor, "b"]:
    """The class indices of a batch.

    Raises:
        AnatomarkError: a frame has none.
    """
    if "label" not in batch:
        raise _unlabelled(batch)
    return batch["label"]


def require_present(batch: Batch) -> Bool[Tensor, "b k"]:
    """Which classes each frame of a batch shows.

    Raises:
        AnatomarkError: a frame has no class.
    """
    if "present" not in batch:
        raise _unlabelled(batch)
    return batch["present"]


def _unlabelled(batch: Batch) -> AnatomarkError:
    unnamed = next((sample["key"] for sample in batch["samples"] if "label" not in sample), "")
    return AnatomarkError(
        f"frame {unnamed} has no class to learn; name the classes in data.classes and each frame's in frames.csv"
    )
