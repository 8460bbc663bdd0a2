"""The way back: from pixels of a transformed sample to those of the frame it was made of."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anatomark.data.moving import Size
from anatomark.geometry.polar import points_to_cartesian, to_cartesian
from anatomark.geometry.similarity import apply_transform
from anatomark.geometry.warp import warp
from anatomark.types import AnatomarkError, PolarGrid, Sample

_CORNERS = ("top left", "top right", "bottom left", "bottom right")
_TOLERANCE_PX = 1e-3


def mark_corners(sample: Sample) -> Sample:
    """Adds the corners of the image to the points of a sample, which then take part in whatever moves it."""
    corners = _corners(_size(sample))
    return {**sample, "points": {**sample.get("points", {}), **dict(zip(_CORNERS, corners, strict=True))}}


@dataclass(frozen=True, kw_only=True)
class WayBack:
    """Moves what was found in a transformed sample onto its frame.

    Attributes:
        matrix: affine map from px of the sample, or of the Cartesian one that it was made of, to px of the frame;
            float64.
        size: (height, width) of the frame, px.
        polar: the grid and the size of the Cartesian sample, where the sample is polar.
    """

    matrix: Float[Tensor, "2 3"]
    size: Size
    polar: tuple[PolarGrid, Size] | None = None

    @classmethod
    def of(cls, sample: Sample, size: Size) -> "WayBack":
        """The way back from a sample whose corners were marked before it was transformed.

        Args:
            sample: the sample after its transform.
            size: (height, width) of its frame.

        Raises:
            AnatomarkError: the transform was neither affine nor polar.
        """
        polar: tuple[PolarGrid, Size] | None = None
        if "polar" in sample:
            grid, sample = sample["polar"], sample["cartesian"]
            polar = (grid, _size(sample))
        moved = torch.stack([sample["points"][name] for name in _CORNERS]).double()
        corners = _corners(size)
        known = torch.cat([moved, torch.ones(len(moved), 1, dtype=torch.float64)], dim=1)
        matrix = torch.linalg.lstsq(known, corners).solution.T.contiguous()
        if (apply_transform(matrix, moved) - corners).abs().max() > _TOLERANCE_PX:
            raise AnatomarkError(
                f"frame {sample['key']}: what is found cannot be put back on it, as the run's data.eval_transform is no"
                " affine map; leave out what follows its polar step"
            )
        return cls(matrix=matrix, size=size, polar=polar)

    def points(self, xy: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
        """Points, px of the frame."""
        if self.polar is not None:
            xy = points_to_cartesian(xy[None].double(), [self.polar[0]])[0]
        return apply_transform(self.matrix, xy.double())

    def inside(self, xy: Float[Tensor, "n 2"]) -> Bool[Tensor, "n"]:
        """Whether points, px of the frame, lie in it."""
        edge = torch.tensor([self.size[1], self.size[0]]) - 0.5
        return ((xy >= -0.5) & (xy <= edge)).all(1)

    def map(self, values: Float[Tensor, "h w"]) -> Float[Tensor, "height width"]:
        """A map of the sample's size, resampled onto the frame; 0 where the sample does not show it."""
        if self.polar is not None:
            grid, size = self.polar
            values = to_cartesian(values[None, None], [grid], size=size)[0, 0]
        # Faded at their border, maps would give boxes that fall short of the frame's.
        return warp(values[None, None], self.matrix[None], size=self.size, fade=False)[0, 0]


def _size(sample: Sample) -> Size:
    return sample["image"].shape[-2], sample["image"].shape[-1]


def _corners(size: Size) -> Float[Tensor, "4 2"]:
    """Outer corners of an image, px, in the order of their names."""
    right, bottom = size[1] - 0.5, size[0] - 0.5
    corners = [[-0.5, -0.5], [right, -0.5], [-0.5, bottom], [right, bottom]]
    return torch.tensor(corners, dtype=torch.float64)
