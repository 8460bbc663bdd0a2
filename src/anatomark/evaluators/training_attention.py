"""What training frames say about where people look, without a look at the image."""

import torch
from jaxtyping import Float
from torch import Tensor

from anatomark.geometry.attention import Weighting, render_density
from anatomark.geometry.fixations import fixated_pixels
from anatomark.metrics.saliency import to_density, upsample
from anatomark.types import AnatomarkError, Sample


def target_density(sample: Sample, *, sigma: float, weighting: Weighting) -> Float[Tensor, "h w"]:
    """Density of attention on one frame's image: from its fixations, else its attention map, else zeros.

    Args:
        sample: the frame.
        sigma: standard deviation of a fixation's Gaussian, px.
        weighting: of the fixations, see :func:`~anatomark.geometry.attention.render_density`.
    """
    height, width = sample["image"].shape[-2:]
    if "fixations" in sample:
        gaze = sample["fixations"][None]
        return render_density(gaze, size=(height, width), sigma=sigma, weighting=weighting)[0]
    if "attention" in sample and bool(sample["attention"].any()):
        return to_density(upsample(sample["attention"], (height, width)))[0]
    return sample["image"].new_zeros(height, width)


class TrainingAttention:
    """Mean density and all fixations of training frames.

    Frames of other sizes than the first are brought to its size.

    Args:
        sigma: standard deviation of a fixation's Gaussian, px of the frame.
        weighting: of the fixations, see :func:`~anatomark.geometry.attention.render_density`.
    """

    def __init__(self, *, sigma: float, weighting: Weighting) -> None:
        self.sigma = sigma
        self.weighting: Weighting = weighting
        self._total: Tensor | None = None
        self._fixations: list[Tensor] = []

    def add(self, sample: Sample) -> None:
        """Adds one frame; a frame that nobody looked at adds nothing."""
        density = target_density(sample, sigma=self.sigma, weighting=self.weighting).double()
        if not bool(density.any()):
            return
        if self._total is None:
            self._total = torch.zeros_like(density)
        self._total += _resize(density, (self._total.shape[0], self._total.shape[1]))
        if "fixations" in sample:
            height, width = density.shape
            _, inside = fixated_pixels(sample["fixations"][None], (height, width))
            x, y, duration = sample["fixations"][inside[0]].unbind(-1)
            self._fixations.append(torch.stack([(x + 0.5) / width, (y + 0.5) / height, duration], -1))

    def mean_density(self, size: tuple[int, int]) -> Float[Tensor, "h w"]:
        """Mean density of the frames for an image of this height and width.

        Raises:
            AnatomarkError: no frame has been looked at.
        """
        if self._total is None:
            raise AnatomarkError("no training frame has gaze; the mean-map baseline needs some")
        return _resize(self._total, size).float()

    def fixations(self, size: tuple[int, int]) -> Float[Tensor, "p 3"]:
        """All fixations in px of an image of this height and width; none for data with attention maps."""
        if not self._fixations:
            return torch.zeros(0, 3)
        x, y, duration = torch.cat(self._fixations).unbind(-1)
        return torch.stack([x * size[1] - 0.5, y * size[0] - 0.5, duration], -1)


def _resize(density: Float[Tensor, "h w"], size: tuple[int, int]) -> Float[Tensor, "height width"]:
    return to_density(upsample(density[None], size))[0]
