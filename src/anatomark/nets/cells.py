"""Frames and the cells that networks divide them into."""

from torch import Tensor

from anatomark.types import AnatomarkError


def require_cells(image: Tensor, stride: int, *, remedy: str) -> None:
    """Refuses frames that do not divide into cells.

    Args:
        image: frames ``(b c h w)``.
        stride: side of a cell, px.
        remedy: what to change.

    Raises:
        AnatomarkError: a side is no multiple of ``stride``.
    """
    height, width = image.shape[-2:]
    if height % stride or width % stride:
        raise AnatomarkError(
            f"frames of {height} x {width} px (height x width) do not divide into cells of {stride} px; {remedy}"
        )
