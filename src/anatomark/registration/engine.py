"""What a registration engine is, and what every engine asks of its images."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from anatomark.types import AnatomarkError

Engine = Callable[[Tensor, Tensor], Tensor | None]
"""Two grey frames, source (h w) and target (h w), to the map of source px to target px, (2 3) ``float64``, or
None where the engine finds none. Picklable, because pairs run in worker processes."""


def as_array(image: Float[Tensor, "h w"], role: str, *, min_side: int = 1) -> Float32[np.ndarray, "h w"]:
    """The image as a contiguous array.

    Raises:
        AnatomarkError: a pixel is not finite, or a side is shorter than ``min_side`` px.
    """
    if min(image.shape) < min_side:
        raise AnatomarkError(
            f"the {role} image has {image.shape[1]} x {image.shape[0]} px; this engine needs {min_side} px"
            " along each side: use larger images or fewer resolutions"
        )
    array: Float32[np.ndarray, "h w"] = np.ascontiguousarray(image.detach().cpu().numpy(), dtype=np.float32)
    if not np.isfinite(array).all():
        raise AnatomarkError(f"the {role} image holds NaN or infinity and cannot be registered; check its file")
    return array


def is_constant(array: Float32[np.ndarray, "h w"]) -> bool:
    """Whether all pixels are equal, so that neither a correlation nor a keypoint is defined."""
    return bool(array.min() == array.max())


def smallest_side(resolutions: int) -> int:
    """Shortest side, px, of an image that keeps 4 px at the coarsest of ``resolutions`` pyramid levels."""
    return 4 << (resolutions - 1)


def affine_about(
    linear: Float[np.ndarray, "2 2"], centre: Float[np.ndarray, "2"], translation: Float[np.ndarray, "2"]
) -> Float[Tensor, "2 3"] | None:
    """ITK's map ``p -> linear (p - centre) + centre + translation``, or None if it has no inverse."""
    matrix = np.column_stack([linear, centre + translation - linear @ centre])
    if not np.isfinite(matrix).all() or not np.linalg.det(linear):
        return None
    return torch.from_numpy(matrix)
