"""Everything in a sample moves with its image: maps, gaze, points, boxes, ellipse and sector."""

import math
from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anatomark.geometry.ellipse import transform_ellipse
from anatomark.geometry.similarity import apply_transform, compose, invert
from anatomark.geometry.warp import warp
from anatomark.types import Frustum, Sample

Size = tuple[int, int]
"""Height and width, px."""

ROUNDING_PX = 1e-6


def move(sample: Sample, matrix: Float[Tensor, "2 3"], size: Size) -> Sample:
    """Moves everything in a sample by one affine map, px to px.

    A sector that is stretched more along one axis than along the other is a sector no longer and is left out. So is
    where a polar image came from: it lies elsewhere in the image now.

    Args:
        sample: sample to move; not changed.
        matrix: float64 map from the sample's pixels to those of the result.
        size: (height, width) of the result.
    """
    moved: Sample = {
        **sample,
        "image": _resample(sample["image"], matrix, size),
        "spacing_mm": _move_spacing(sample["spacing_mm"], matrix),
    }
    if "attention" in sample:
        moved["attention"] = _resample(sample["attention"], matrix, size)
    if "mask" in sample:
        # What covers at least half of a pixel takes it.
        moved["mask"] = (_resample(sample["mask"], matrix, size) >= 0.5).float()
    if "fixations" in sample:
        rows = sample["fixations"]
        moved["fixations"] = torch.cat([_move_points(rows[:, :2], matrix), rows[:, 2:]], dim=1)
    if "points" in sample:
        moved["points"] = {name: _move_points(xy[None], matrix)[0] for name, xy in sample["points"].items()}
    if "boxes" in sample:
        moved["boxes"] = _move_all(sample["boxes"], matrix)
    if "ellipse" in sample:
        moved["ellipse"] = transform_ellipse(sample["ellipse"], matrix)
    if "frustum" in sample:
        if _is_similarity(matrix):
            moved["frustum"] = _move_frustum(sample["frustum"], matrix)
        else:
            del moved["frustum"]
    moved.pop("polar", None)
    moved.pop("cartesian", None)
    return moved


def _is_similarity(matrix: Float[Tensor, "2 3"]) -> bool:
    longer, shorter = torch.linalg.svdvals(matrix[:, :2]).tolist()
    return bool(longer - shorter <= 1e-9 * longer)


def _move_spacing(spacing_mm: Float[Tensor, "2"], matrix: Float[Tensor, "2 3"]) -> Float[Tensor, "2"]:
    """Length of a step to the next pixel, along each axis of the result."""
    step = invert(matrix)[:, :2].to(spacing_mm.dtype)
    moved: Tensor = (spacing_mm[:, None] * step).norm(dim=0)
    return moved


def _move_points(xy: Float[Tensor, "*k n 2"], matrix: Float[Tensor, "2 3"]) -> Float[Tensor, "*k n 2"]:
    return apply_transform(matrix, xy.double()).to(xy.dtype)


def move_boxes(boxes: Float[Tensor, "*n 4"], matrix: Float[Tensor, "2 3"]) -> Float[Tensor, "*n 4"]:
    """The upright boxes around boxes that an affine map has moved."""
    corners = _move_points(boxes[..., [0, 1, 2, 1, 2, 3, 0, 3]].reshape(*boxes.shape[:-1], 4, 2), matrix)
    return torch.cat([corners.amin(-2), corners.amax(-2)], dim=-1)


class MovedBoxes(Mapping[str, Float[Tensor, "4"]]):
    """Boxes as an affine map moves them, each when it is asked for: most steps ask for none."""

    def __init__(self, boxes: Mapping[str, Float[Tensor, "4"]], matrix: Float[Tensor, "2 3"]) -> None:
        self._boxes = boxes
        self._matrix = matrix

    def __getitem__(self, name: str) -> Float[Tensor, "4"]:
        return move_boxes(self._boxes[name], self._matrix)

    def __iter__(self) -> Iterator[str]:
        return iter(self._boxes)

    def __len__(self) -> int:
        return len(self._boxes)


def _move_all(boxes: Mapping[str, Float[Tensor, "4"]], matrix: Float[Tensor, "2 3"]) -> dict[str, Float[Tensor, "4"]]:
    """All boxes at once: one by one they take as long as the image."""
    return dict(zip(boxes, move_boxes(torch.stack([*boxes.values()]), matrix), strict=True)) if boxes else {}


def _move_frustum(frustum: Frustum, matrix: Float[Tensor, "2 3"]) -> Frustum:
    scale = math.sqrt(abs(float(torch.linalg.det(matrix[:, :2]))))
    axis = matrix[:, :2] @ torch.tensor([math.sin(frustum["tilt"]), math.cos(frustum["tilt"])], dtype=torch.float64)
    return {
        "apex": _move_points(frustum["apex"][None], matrix)[0],
        "radii": frustum["radii"] * scale,
        "half_angle": frustum["half_angle"],
        "tilt": math.atan2(float(axis[0]), float(axis[1])),
    }


def _resample(
    image: Float[Tensor, "c h w"], matrix: Float[Tensor, "2 3"], size: Size
) -> Float[Tensor, "c out_h out_w"]:
    # By how much each axis of the image shrinks.
    scale_x, scale_y = matrix[:, :2].norm(dim=0).clamp(max=1).tolist()
    batch = image[None]
    if min(scale_x, scale_y) < 1:  # bilinear sampling alone would alias, so an area-true reduction goes first
        left, top, right, bottom = _seen((image.shape[-2], image.shape[-1]), matrix, size)
        batch = batch[..., top:bottom, left:right]
        matrix = compose(matrix, torch.tensor([[1, 0, left], [0, 1, top]], dtype=torch.float64))
        old: Size = (bottom - top, right - left)
        new = (max(round(old[0] * scale_y), 1), max(round(old[1] * scale_x), 1))
        batch = F.interpolate(batch, size=new, mode="bilinear", antialias=True, align_corners=False)
        shrink_x, shrink_y = new[1] / old[1], new[0] / old[0]
        shrink = torch.tensor(
            [[1 / shrink_x, 0, 0.5 / shrink_x - 0.5], [0, 1 / shrink_y, 0.5 / shrink_y - 0.5]], dtype=torch.float64
        )
        matrix = compose(matrix, shrink)
    return warp(batch, matrix[None], size=size)[0]


def _seen(size: Size, matrix: Float[Tensor, "2 3"], result: Size) -> tuple[int, int, int, int]:
    """The columns and rows (left, top, right, bottom) of an image that the result shows.

    All of them unless the result is upright and begins and ends between pixels: then what is cut off first leaves a
    reduction that lies on the pixels of the result, where a second interpolation would blur it.
    """
    whole = (0, 0, size[1], size[0])
    if abs(float(matrix[0, 1])) + abs(float(matrix[1, 0])) > ROUNDING_PX:
        return whole
    shown = torch.tensor([0, 0, result[1], result[0]], dtype=torch.float64) - 0.5
    edges = move_boxes(shown, invert(matrix)) + 0.5
    if (edges - edges.round()).abs().max() > ROUNDING_PX:
        return whole
    left, top, right, bottom = (int(edge) for edge in edges.round())
    seen = (max(left, 0), max(top, 0), min(right, size[1]), min(bottom, size[0]))
    return seen if seen[0] < seen[2] and seen[1] < seen[3] else whole
