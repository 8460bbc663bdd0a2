"""Frames as polar images: depth x angle of the scanner's sector (Toussaint et al. 2018, section 2)."""

import logging
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from anatomark.data.transforms import Spatial, Stretch
from anatomark.geometry.polar import boxes_to_polar, points_to_polar, sees, to_polar
from anatomark.types import AnatomarkError, PolarGrid, Sample

log = logging.getLogger(__name__)


class ToPolar:
    """Replaces a frame by a polar image of its sector; gaze, maps, mask, points and boxes move with it.

    Ellipse and sector, which have no such shape there, are left out, and ``spacing_mm`` becomes NaN. The frame as it
    was comes along as ``cartesian``, and ``polar`` says how the two belong together. It cannot be one of the steps of
    a :class:`~anatomark.data.transforms.Spatial`, whose maps are affine.

    A frame without geometry stays Cartesian, stretched to the size, with one warning per process.

    Args:
        height: of the polar image, along depth, px.
        width: of the polar image, along the angle, px.
        cut: share of the depth left out at both ends.

    Raises:
        AnatomarkError: when called: the geometry is that of no sector or of one beside the image, or the size or the
            cut cannot be; names the frame.
    """

    def __init__(self, *, height: int = 224, width: int = 224, cut: float = 0.1) -> None:
        self.size = (height, width)
        self.cut = cut
        self.stretch = Spatial(steps=[Stretch(height=height, width=width)])

    def __call__(self, sample: Sample) -> Sample:
        if "frustum" not in sample:
            _warn_cartesian()
            return self.stretch(sample)
        grid = self._grid(sample)
        polar: Sample = {
            **sample,
            "image": to_polar(sample["image"][None], [grid])[0],
            "spacing_mm": torch.full((2,), torch.nan),
            "polar": grid,
            "cartesian": sample,
        }
        del polar["frustum"]
        polar.pop("ellipse", None)
        if "attention" in sample:
            polar["attention"] = to_polar(sample["attention"][None], [grid])[0]
        if "mask" in sample:
            polar["mask"] = (to_polar(sample["mask"][None], [grid])[0] >= 0.5).float()
        if "fixations" in sample:
            rows = sample["fixations"]
            polar["fixations"] = torch.cat([_points(rows[:, :2], grid), rows[:, 2:]], dim=1)
        if "points" in sample:
            polar["points"] = {name: _points(xy[None], grid)[0] for name, xy in sample["points"].items()}
        if "boxes" in sample:
            polar["boxes"] = {
                name: boxes_to_polar(box[None, None], [grid])[0, 0] for name, box in sample["boxes"].items()
            }
        return polar

    def _grid(self, sample: Sample) -> PolarGrid:
        height, width = sample["image"].shape[-2:]
        try:
            grid = PolarGrid.of(sample["frustum"], self.size, self.cut)
        except AnatomarkError as error:
            raise AnatomarkError(f"frame {sample['key']}: {error}") from error
        if not sees(grid, (height, width)):
            raise AnatomarkError(
                f"frame {sample['key']}: its sector lies beside its {width} x {height} px; correct apex and radii,"
                " which are px of the image file"
            )
        return grid


def _points(xy: Float[Tensor, "n 2"], grid: PolarGrid) -> Float[Tensor, "n 2"]:
    return points_to_polar(xy[None], [grid])[0]


@cache  # once per process
def _warn_cartesian() -> None:
    log.warning(
        "frames without sector geometry stay Cartesian, stretched to the size of the polar ones; annotate their sectors"
        " in frames.csv or set data.frustum=estimate"
    )
