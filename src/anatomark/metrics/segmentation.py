"""Overlap of binary masks, one value per frame or volume.

Two empty masks agree, so that their overlap is 1.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

METRICS = ("dice", "iou")


def dice(predicted: Bool[Tensor, "b *size"], truth: Bool[Tensor, "b *size"]) -> Float[Tensor, "b"]:
    """Dice coefficient ``2 |P and T| / (|P| + |T|)`` (Dice 1945); 1 where both are empty."""
    both, total = _count(predicted & truth), _count(predicted) + _count(truth)
    return _share(2 * both, total)


def iou(predicted: Bool[Tensor, "b *size"], truth: Bool[Tensor, "b *size"]) -> Float[Tensor, "b"]:
    """Intersection over union ``|P and T| / |P or T|`` (Jaccard 1912); 1 where both are empty."""
    return _share(_count(predicted & truth), _count(predicted | truth))


def _count(mask: Bool[Tensor, "b *size"]) -> Int[Tensor, "b"]:
    return mask.flatten(1).sum(1)


def _share(part: Int[Tensor, "b"], whole: Int[Tensor, "b"]) -> Float[Tensor, "b"]:
    return torch.where(whole > 0, part / whole.clamp(min=1), 1.0)
