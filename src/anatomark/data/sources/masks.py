"""Masks as data sets publish them."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from anatomark.geometry.ellipse import ellipse_from_mask
from anatomark.types import AnatomarkError, Ellipse


def head_ellipse(mask: Bool[np.ndarray, "h w"], file: Path) -> Ellipse:
    """The ellipse of a head's filled mask or outline.

    Args:
        mask: the head.
        file: where it was read.

    Raises:
        AnatomarkError: the mask shows no ellipse; names the file.
    """
    try:
        return ellipse_from_mask(torch.from_numpy(mask))
    except AnatomarkError as error:
        raise AnatomarkError(f"{file}: {error}") from error


def bounding_box(mask: Bool[np.ndarray, "h w"]) -> Tensor:
    """The box (x0, y0, x1, y1) around a mask's pixels, edges at half px."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return torch.tensor([columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5]).float()
