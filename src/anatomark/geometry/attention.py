"""Fixations to attention: a Gaussian at every fixation, rendered on the fly and on the fixations' device.

A Gaussian is separable, so the sum over fixations is the product of two small matrices: the profiles along y,
weighted, times the profiles along x. No image is ever filtered.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from anatomark.geometry.fixations import has_fixation
from anatomark.types import AnatomarkError

Weighting = Literal["duration", "equal"]


def render_density(
    fixations: Float[Tensor, "b n 3"],
    *,
    size: tuple[int, int],
    sigma: float,
    stride: int = 1,
    weighting: Weighting = "duration",
) -> Float[Tensor, "b h w"]:
    """Density of attention: a weighted sum of Gaussians that sums to 1 over the image.

    With ``stride`` > 1 each cell is the exact mean of its ``stride`` x ``stride`` pixels, then normalised.
    A fixation off the image contributes the tail that reaches it, beside others that are on it.

    Args:
        fixations: rows (x px, y px, duration ms); rows of zero duration are padding and carry no weight.
        size: height and width of the image, px, both multiples of ``stride``.
        sigma: standard deviation of the Gaussians, px.
        stride: side of a cell, px.
        weighting: "duration" weights a fixation by how long it lasted, as the sum over gaze samples does
            (Droste et al. 2020); "equal" counts each once, as a binary fixation map does (Cai et al. 2018).

    Returns:
        Densities of ``size[0] / stride`` x ``size[1] / stride`` cells; all zeros where nothing on the image was
        fixated: a far tail, divided by its sum or maximum, would be as much attention as any.

    Raises:
        AnatomarkError: ``sigma`` is not positive or ``stride`` does not divide ``size``.
    """
    attention = _sum_of_gaussians(fixations, size, sigma, stride, weighting)
    return _divide(attention, attention.sum((1, 2), keepdim=True))


def render_map(
    fixations: Float[Tensor, "b n 3"],
    *,
    size: tuple[int, int],
    sigma: float,
    stride: int = 1,
    weighting: Weighting = "duration",
) -> Float[Tensor, "b h w"]:
    """Attention map: as :func:`render_density`, but divided by its maximum, so that it lies in [0, 1]."""
    attention = _sum_of_gaussians(fixations, size, sigma, stride, weighting)
    return _divide(attention, attention.amax((1, 2), keepdim=True))


def _sum_of_gaussians(
    fixations: Float[Tensor, "b n 3"], size: tuple[int, int], sigma: float, stride: int, weighting: Weighting
) -> Float[Tensor, "b h w"]:
    if not sigma > 0:
        raise AnatomarkError(f"sigma is {sigma} px; the Gaussian of a fixation needs a positive width")
    if size[0] % stride or size[1] % stride:
        raise AnatomarkError(f"stride {stride} does not divide the image of {size[0]} x {size[1]} px (height x width)")
    x, y, duration = fixations.unbind(-1)
    weight = duration if weighting == "duration" else (duration > 0).to(duration)
    weight = weight * has_fixation(fixations, size)[:, None]
    along_x = _profiles(x, size[1], sigma, stride)
    along_y = _profiles(y, size[0], sigma, stride) * weight[..., None]
    return along_y.mT @ along_x


def _profiles(centre: Float[Tensor, "b n"], length: int, sigma: float, stride: int) -> Float[Tensor, "b n cells"]:
    """One-dimensional Gaussians on the pixels, averaged over each cell."""
    pixels = torch.arange(length, dtype=centre.dtype, device=centre.device)
    gaussian = torch.exp(-0.5 * ((pixels - centre[..., None]) / sigma) ** 2)
    return gaussian.reshape(*centre.shape, length // stride, stride).mean(-1)


def _divide(attention: Float[Tensor, "b h w"], by: Float[Tensor, "b 1 1"]) -> Float[Tensor, "b h w"]:
    """Divides in place; zeros where ``by`` is zero or too small to divide by (subnormal)."""
    # Dividing by infinity gives the zeros in one pass; a mask over the maps costs as much as the product.
    return attention.div_(torch.where(by >= torch.finfo(by.dtype).tiny, by, torch.inf))
