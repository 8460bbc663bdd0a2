"""Overlap of binary masks, one value per frame or volume.

Two empty masks agree, so that their overlap is 1.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import Metric

from anatomark.types import AnatomarkError

METRICS = ("dice", "iou")


def dice(predicted: Bool[Tensor, "b *size"], truth: Bool[Tensor, "b *size"]) -> Float[Tensor, "b"]:
    """Dice coefficient ``2 |P and T| / (|P| + |T|)`` (Dice 1945); 1 where both are empty."""
    both, total = _count(predicted & truth), _count(predicted) + _count(truth)
    return _share(2 * both, total)


def iou(predicted: Bool[Tensor, "b *size"], truth: Bool[Tensor, "b *size"]) -> Float[Tensor, "b"]:
    """Intersection over union ``|P and T| / |P or T|`` (Jaccard 1912); 1 where both are empty."""
    return _share(_count(predicted & truth), _count(predicted | truth))


class SegmentationMetrics(Metric):
    """Mean of :func:`dice` and :func:`iou` over frames."""

    full_state_update = False
    total: Tensor
    n_frames: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", default=torch.zeros(len(METRICS)), dist_reduce_fx="sum")
        self.add_state("n_frames", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, predicted: Bool[Tensor, "b *size"], truth: Bool[Tensor, "b *size"]) -> None:
        """Scores a batch of masks."""
        self.total = self.total + torch.stack([dice(predicted, truth).sum(), iou(predicted, truth).sum()])
        self.n_frames = self.n_frames + len(predicted)

    def compute(self) -> dict[str, Tensor]:
        """The metrics and ``n_frames``.

        Raises:
            AnatomarkError: there was no frame.
        """
        if self.n_frames == 0:
            raise AnatomarkError("no mask was scored; score at least one frame that has a mask")
        return dict(zip(METRICS, self.total / self.n_frames, strict=True)) | {"n_frames": self.n_frames}


def _count(mask: Bool[Tensor, "b *size"]) -> Int[Tensor, "b"]:
    return mask.flatten(1).sum(1)


def _share(part: Int[Tensor, "b"], whole: Int[Tensor, "b"]) -> Float[Tensor, "b"]:
    return torch.where(whole > 0, part / whole.clamp(min=1), 1.0)
