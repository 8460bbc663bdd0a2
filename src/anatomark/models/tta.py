"""Test-time augmentation of map predictors: predict on moved copies, move the maps back, average."""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from anatomark.geometry.similarity import compose, flip_matrix, invert
from anatomark.geometry.warp import centred_similarity, warp

MapsAndFeatures = tuple[Float[Tensor, "b rows cols"], Float[Tensor, "b f rows cols"]]


class TestTimeAugmentation:
    """Averages densities and features over flipped, rotated and scaled copies of each image.

    Args:
        flip: whether each copy is also predicted mirrored.
        degrees: rotations, applied one at a time.
        scales: scalings, applied one at a time.

    The defaults give ten copies: (as is, +-12 degrees, x0.85, x1.15) x (as is, mirrored).
    """

    __test__ = False  # not a test class, whatever its name says to pytest

    def __init__(
        self, *, flip: bool = True, degrees: Sequence[float] = (-12, 12), scales: Sequence[float] = (0.85, 1.15)
    ) -> None:
        poses = [(0.0, 1.0), *((math.radians(d), 1.0) for d in degrees), *((0.0, s) for s in scales)]
        self.poses = [(*pose, mirrored) for mirrored in ((False, True) if flip else (False,)) for pose in poses]

    def __call__(
        self, predict: Callable[[Float[Tensor, "b c h w"]], MapsAndFeatures], images: Float[Tensor, "b c h w"]
    ) -> MapsAndFeatures:
        """Runs ``predict`` on every copy; a cell seen by only some copies is averaged over those.

        Args:
            predict: images to densities ``(b h w)`` and features ``(b f h w)``.
            images: zero-mean images; what moves in from outside is zero.

        Returns:
            Densities that sum to 1, and features.
        """
        size = (images.shape[-2], images.shape[-1])
        total: Tensor | None = None
        for angle, scale, mirrored in self.poses:
            density, features = predict(_move(images, _pose(size, angle, scale, mirrored), size))
            cells = (density.shape[-2], density.shape[-1])
            stacked = torch.cat([torch.ones_like(density)[:, None], density[:, None], features], dim=1)
            # A pose about the centre is the same map on the cell grid as on the pixel grid.
            back = _move(stacked, invert(_pose(cells, angle, scale, mirrored)), cells)
            total = back if total is None else total + back
        assert total is not None
        mean = total[:, 1:] / total[:, :1].clamp(min=1e-3)
        density = mean[:, 0]
        return density / density.sum((1, 2), keepdim=True), mean[:, 1:]


def _pose(size: tuple[int, int], angle: float, scale: float, mirrored: bool) -> Float[Tensor, "2 3"]:
    matrix = centred_similarity(size, angle=angle, scale=scale)
    return compose(matrix, flip_matrix(size[1]).double()) if mirrored else matrix


def _move(images: Float[Tensor, "b c h w"], matrix: Float[Tensor, "2 3"], size: tuple[int, int]) -> Tensor:
    return warp(images, matrix.expand(len(images), 2, 3), size=size)
