"""Resampling of image batches under affine maps given in pixels."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anatomark.geometry.similarity import invert


def warp(
    images: Float[Tensor, "b c h w"], matrices: Float[Tensor, "b 2 3"], *, size: tuple[int, int], fade: bool = True
) -> Float[Tensor, "b c out_h out_w"]:
    """Moves images so that the content at pixel ``p`` lands on ``matrix @ (p, 1)``; bilinear, black outside.

    Args:
        images: source images.
        matrices: one affine map per image, source px to output px.
        size: (height, width) of the output, px.
        fade: let images fade to black over the outer half of their border pixels; else these are whole.

    Raises:
        ValueError: a matrix is singular.
    """
    height, width = images.shape[-2:]
    inverse = invert(matrices.cpu().double()).to(images)  # not every device has float64
    ys = torch.arange(size[0], dtype=images.dtype, device=images.device)
    xs = torch.arange(size[1], dtype=images.dtype, device=images.device)
    # The affine map splits into a column part and a row part: no (x, y, 1) list of all pixels is built.
    along_x = inverse[:, :, 0, None] * xs
    along_y = inverse[:, :, 1, None] * ys + inverse[:, :, 2, None]
    source = along_x[:, :, None, :] + along_y[:, :, :, None]
    scale = torch.tensor([2 / width, 2 / height], dtype=images.dtype, device=images.device)
    grid = (source + 0.5).permute(0, 2, 3, 1) * scale - 1
    padding = "zeros" if fade else "border"
    warped = F.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)
    return warped if fade else warped * (grid.abs() <= 1).all(-1)[:, None]


def centred_similarity(size: tuple[int, int], *, angle: float, scale: float) -> Float[Tensor, "2 3"]:
    """Rotation by ``angle`` (radians, from +x towards +y) and scaling about the centre of an image (height, width)."""
    centre = torch.tensor([(size[1] - 1) / 2, (size[0] - 1) / 2], dtype=torch.float64)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    linear = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
    return torch.cat([linear, (centre - linear @ centre)[:, None]], dim=1)
