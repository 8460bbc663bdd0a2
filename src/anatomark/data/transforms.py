"""Transforms of a sample: image, maps, points, boxes, ellipse, frustum and fixations always move together.

A geometric step only proposes an affine map; :class:`Spatial` multiplies the maps of its steps and resamples once.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anatomark.geometry.ellipse import transform_ellipse
from anatomark.geometry.similarity import apply_transform, compose, flip_matrix
from anatomark.geometry.warp import centred_similarity, warp
from anatomark.types import Frustum, Sample

Transform = Callable[[Sample], Sample]
Size = tuple[int, int]
# Size (height, width) and gaze points (n 2) of the image so far -> affine map px to px, and the size it maps onto.
GeometricStep = Callable[[Size, Tensor], tuple[Tensor, Size]]


class Compose:
    """Applies transforms in order."""

    def __init__(self, *, steps: Sequence[Transform]) -> None:
        self.steps = tuple(steps)

    def __call__(self, sample: Sample) -> Sample:
        for step in self.steps:
            sample = step(sample)
        return sample


class Spatial:
    """Applies geometric steps as one affine map, resampling once."""

    def __init__(self, *, steps: Sequence[GeometricStep]) -> None:
        self.steps = tuple(steps)

    def __call__(self, sample: Sample) -> Sample:
        size: Size = (sample["image"].shape[-2], sample["image"].shape[-1])
        fixations = sample["fixations"][:, :2].double() if "fixations" in sample else torch.empty(0, 2).double()
        matrix = torch.eye(2, 3, dtype=torch.float64)
        for step in self.steps:
            proposal, size = step(size, apply_transform(matrix, fixations))
            matrix = compose(proposal, matrix)
        return move(sample, matrix, size)


class Fit:
    """Resizes to a size without changing the aspect ratio; the rest is padded evenly with black."""

    def __init__(self, *, height: int, width: int) -> None:
        self.size = (height, width)

    def __call__(self, size: Size, gaze: Float[Tensor, "n 2"]) -> tuple[Float[Tensor, "2 3"], Size]:
        scale = min(self.size[0] / size[0], self.size[1] / size[1])
        offset = [(new - scale * old) / 2 + 0.5 * scale - 0.5 for new, old in zip(self.size, size, strict=True)]
        matrix = torch.tensor([[scale, 0, offset[1]], [0, scale, offset[0]]], dtype=torch.float64)
        return matrix, self.size


class RandomCrop:
    """Cuts a random sub-image of ``min_side`` to ``max_side`` of both side lengths that keeps the gaze points.

    Where the gaze is spread wider than the sub-image, the sub-image grows to just hold it.
    """

    def __init__(self, *, min_side: float = 0.7, max_side: float = 0.9) -> None:
        if not 0 < min_side <= max_side <= 1:
            raise ValueError(f"0 < min_side <= max_side <= 1 does not hold for {min_side} and {max_side}")
        self.sides = (min_side, max_side)

    def __call__(self, size: Size, gaze: Float[Tensor, "n 2"]) -> tuple[Float[Tensor, "2 3"], Size]:
        extent = torch.tensor([size[1], size[0]], dtype=torch.float64)
        inside = gaze[((gaze >= 0) & (gaze <= extent - 1)).all(1)]
        low, high = (inside.amin(0), inside.amax(0)) if len(inside) else (extent / 2, extent / 2)
        drawn = torch.empty((), dtype=torch.float64).uniform_(*self.sides)
        share = torch.maximum(drawn, ((high - low + 1) / extent).amax()).clamp(max=1.0)
        crop = (share * extent).ceil().clamp(max=extent)
        # Whole corners that keep every gaze point inside the outer edges of the sub-image's pixels.
        first = (high - crop + 0.5).ceil().clamp(min=0)
        last = torch.maximum(torch.minimum((low + 0.5).floor(), extent - crop), first)
        corner = first + (torch.rand(2, dtype=torch.float64) * (last - first + 1)).floor()
        matrix = torch.cat([torch.eye(2, dtype=torch.float64), -corner[:, None]], dim=1)
        return matrix, (int(crop[1]), int(crop[0]))


class RandomFlip:
    """Mirrors left and right with probability ``p``."""

    def __init__(self, *, p: float = 0.5) -> None:
        self.p = p

    def __call__(self, size: Size, gaze: Float[Tensor, "n 2"]) -> tuple[Float[Tensor, "2 3"], Size]:
        flip = bool(torch.rand(()) < self.p)
        return (flip_matrix(size[1]).double() if flip else torch.eye(2, 3, dtype=torch.float64)), size


class RandomSimilarity:
    """Rotates by up to ``degrees`` either way and scales by up to ``1 + scale`` either way, about the centre."""

    def __init__(self, *, degrees: float = 0.0, scale: float = 0.0) -> None:
        self.degrees = degrees
        self.scale = scale

    def __call__(self, size: Size, gaze: Float[Tensor, "n 2"]) -> tuple[Float[Tensor, "2 3"], Size]:
        angle, log_scale = (2 * torch.rand(2, dtype=torch.float64) - 1).tolist()
        return centred_similarity(
            size, angle=math.radians(self.degrees) * angle, scale=(1 + self.scale) ** log_scale
        ), size


class RandomGamma:
    """Raises grey values in [0, 1] to a random power; ``amount`` 0.25 means powers from 0.75 to 1.25."""

    def __init__(self, *, amount: float = 0.25) -> None:
        self.amount = amount

    def __call__(self, sample: Sample) -> Sample:
        power = 1 + self.amount * (2 * float(torch.rand(())) - 1)
        return {**sample, "image": sample["image"].clamp(0, 1) ** power}


class RandomBrightness:
    """Multiplies grey values by a random factor in ``1 +- amount``.

    A later :class:`Standardise` takes a pure factor out again, so on its own before it this changes nothing.
    """

    def __init__(self, *, amount: float = 0.25) -> None:
        self.amount = amount

    def __call__(self, sample: Sample) -> Sample:
        return {**sample, "image": sample["image"] * (1 + self.amount * (2 * float(torch.rand(())) - 1))}


class Standardise:
    """Zero mean and unit variance per image; a constant image becomes zero."""

    def __call__(self, sample: Sample) -> Sample:
        image = sample["image"]
        return {**sample, "image": (image - image.mean()) / image.std().clamp(min=1e-6)}


def move(sample: Sample, matrix: Float[Tensor, "2 3"], size: Size) -> Sample:
    """Moves everything in a sample by one similarity (mirrored or not), px to px.

    Args:
        sample: sample to move; not changed.
        matrix: float64 map from the sample's pixels to those of the result.
        size: (height, width) of the result.
    """
    scale = math.sqrt(abs(float(torch.linalg.det(matrix[:, :2]))))
    moved: Sample = {
        **sample,
        "image": _resample(sample["image"], matrix, size, scale),
        "spacing_mm": sample["spacing_mm"] / scale,
    }
    if "attention" in sample:
        moved["attention"] = _resample(sample["attention"], matrix, size, scale)
    if "fixations" in sample:
        rows = sample["fixations"]
        moved["fixations"] = torch.cat([_move_points(rows[:, :2], matrix), rows[:, 2:]], dim=1)
    if "points" in sample:
        moved["points"] = {name: _move_points(xy[None], matrix)[0] for name, xy in sample["points"].items()}
    if "boxes" in sample:
        moved["boxes"] = {name: _move_box(box, matrix) for name, box in sample["boxes"].items()}
    if "ellipse" in sample:
        moved["ellipse"] = transform_ellipse(sample["ellipse"], matrix)
    if "frustum" in sample:
        moved["frustum"] = _move_frustum(sample["frustum"], matrix, scale)
    return moved


def _move_points(xy: Float[Tensor, "n 2"], matrix: Float[Tensor, "2 3"]) -> Float[Tensor, "n 2"]:
    return apply_transform(matrix, xy.double()).to(xy.dtype)


def _move_box(box: Float[Tensor, "4"], matrix: Float[Tensor, "2 3"]) -> Float[Tensor, "4"]:
    corners = _move_points(box[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2), matrix)
    return torch.cat([corners.amin(0), corners.amax(0)])


def _move_frustum(frustum: Frustum, matrix: Float[Tensor, "2 3"], scale: float) -> Frustum:
    axis = matrix[:, :2] @ torch.tensor([math.sin(frustum["tilt"]), math.cos(frustum["tilt"])], dtype=torch.float64)
    return {
        "apex": _move_points(frustum["apex"][None], matrix)[0],
        "radii": frustum["radii"] * scale,
        "half_angle": frustum["half_angle"],
        "tilt": math.atan2(float(axis[0]), float(axis[1])),
    }


def _resample(
    image: Float[Tensor, "c h w"], matrix: Float[Tensor, "2 3"], size: Size, scale: float
) -> Float[Tensor, "c out_h out_w"]:
    batch = image[None]
    if scale < 1:  # bilinear sampling alone would alias, so an area-true reduction goes first
        old: Size = (image.shape[-2], image.shape[-1])
        new = (max(round(old[0] * scale), 1), max(round(old[1] * scale), 1))
        batch = F.interpolate(batch, size=new, mode="bilinear", antialias=True, align_corners=False)
        shrink_x, shrink_y = new[1] / old[1], new[0] / old[0]
        shrink = torch.tensor(
            [[1 / shrink_x, 0, 0.5 / shrink_x - 0.5], [0, 1 / shrink_y, 0.5 / shrink_y - 0.5]], dtype=torch.float64
        )
        matrix = compose(matrix, shrink)
    return warp(batch, matrix[None], size=size)[0]
