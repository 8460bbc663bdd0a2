"""Engines of known behaviour, importable by worker processes."""

import torch
from torch import Tensor

from anatomark.types import AnatomarkError


def centroid(image: Tensor) -> Tensor:
    """Centre of mass (x, y) of an image, px."""
    mass = image.double() / image.double().sum()
    x = (mass.sum(0) * torch.arange(image.shape[1])).sum()
    y = (mass.sum(1) * torch.arange(image.shape[0])).sum()
    return torch.stack([x, y])


class CentroidShift:
    """Translates the source's centre of mass onto the target's."""

    def __call__(self, source: Tensor, target: Tensor) -> Tensor:
        shift = centroid(target) - centroid(source)
        return torch.cat([torch.eye(2, dtype=torch.float64), shift[:, None]], dim=1)


class FindsNothing:
    """Finds a map only where the source's top left pixel is lit."""

    def __call__(self, source: Tensor, target: Tensor) -> Tensor | None:
        return torch.eye(2, 3, dtype=torch.float64) if source[0, 0] > 0.5 else None


class Fails:
    """Refuses its input."""

    def __call__(self, source: Tensor, target: Tensor) -> Tensor:
        raise AnatomarkError("the engine is not installed; install it")
