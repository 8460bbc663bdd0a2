"""Which pixels of its image a fixation falls into, and whether anybody looked at the image at all."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def fixated_pixels(
    fixations: Float[Tensor, "b n 3"], size: tuple[int, int]
) -> tuple[Int[Tensor, "b n"], Bool[Tensor, "b n"]]:
    """The pixels that fixations fall into.

    Args:
        fixations: rows (x px, y px, duration ms).
        size: height and width of the image, px.

    Returns:
        Index in the flattened image of the pixel nearest to each fixation (0 where none), and whether there
        is one: false for padding (no duration) and off the image.
    """
    height, width = size
    # floor(x + 0.5) puts x in [c - 0.5, c + 0.5) into pixel c; torch.round would send halves to even pixels.
    column, row = torch.floor(fixations[..., 0] + 0.5), torch.floor(fixations[..., 1] + 0.5)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (fixations[..., 2] > 0)
    return torch.where(inside, row * width + column, 0).long(), inside


def has_fixation(fixations: Float[Tensor, "b n 3"], size: tuple[int, int]) -> Bool[Tensor, "b"]:
    """Whether any fixation of a frame lies in its image of this height and width; arguments as above."""
    return fixated_pixels(fixations, size)[1].any(1)
