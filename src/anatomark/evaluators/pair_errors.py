"""Registration errors of many image pairs at once (Droste et al. 2020, section 2.3)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from anatomark.evaluators.landmark_frame import LandmarkFrame
from anatomark.geometry.similarity import (
    apply_transform,
    compose,
    flip_matrix,
    flip_needed,
    similarity_from_landmarks,
)
from anatomark.registration.engine import Engine
from anatomark.registration.parallel import RegisteredPairs, register_pairs

HC_CENTRE = "hc_center"
"""Name of the head ellipse's centre in reports."""


class FrameStack(NamedTuple):
    """Complete frames of one plane as tensors.

    Attributes:
        truth: annotated centres of the structures, then the HC centre, (x, y) px, (f, s + 1, 2).
        landmarks: discovered landmarks of the structures, (x, y) px, (f, s, 2).
        hc_axis: length of the HC long axis, px, (f,).
        width: image width, px, (f,).
        mirror: maps that flip each image left to right, (f, 2, 3).
    """

    truth: Float[Tensor, "f s1 2"]
    landmarks: Float[Tensor, "f s 2"]
    hc_axis: Float[Tensor, "f"]
    width: Float[Tensor, "f"]
    mirror: Float[Tensor, "f 2 3"]


def stack_frames(frames: Sequence[LandmarkFrame], structures: Sequence[str]) -> FrameStack:
    """Stacks complete, aligned frames, float64.

    Args:
        frames: frames with every structure annotated and found, and a head outline.
        structures: order of the structures.
    """
    truth = [[*(f.centres[s] for s in structures), f.hc_centre] for f in frames]
    landmarks = [[f.points[s] for s in structures] for f in frames]
    n, s = len(frames), len(structures)
    return FrameStack(
        truth=torch.tensor(truth, dtype=torch.float64).reshape(n, s + 1, 2),
        landmarks=torch.tensor(landmarks, dtype=torch.float64).reshape(n, s, 2),
        hc_axis=torch.tensor([f.hc_axis for f in frames], dtype=torch.float64),
        width=torch.tensor([f.size[0] for f in frames], dtype=torch.float64),
        mirror=torch.stack([flip_matrix(f.size[0]) for f in frames]) if frames else torch.zeros(0, 2, 3),
    )


def all_pairs(n: int) -> Int[Tensor, "2 p"]:
    """Returns every unique pair of ``n`` frames, (source, target); the source is the later one."""
    return torch.triu_indices(n, n, 1).flip(0)


def orientation_differs(stack: FrameStack, pairs: Int[Tensor, "2 p"]) -> Bool[Tensor, "p"]:
    """Whether the annotated structures' horizontal order differs, as a person would see it."""
    source, target = stack.truth[pairs[0]], stack.truth[pairs[1]]
    return flip_needed(source[:, 0], source[:, 1], target[:, 0], target[:, 1])


def no_transforms(pairs: Int[Tensor, "2 p"]) -> Float[Tensor, "p 2 3"]:
    """Leaves every source where it is."""
    return torch.eye(2, 3, dtype=torch.float64).expand(pairs.shape[1], 2, 3)


def left_right_transforms(stack: FrameStack, pairs: Int[Tensor, "2 p"]) -> Float[Tensor, "p 2 3"]:
    """Flips the sources whose head faces the other way; nothing else."""
    differs = orientation_differs(stack, pairs)[:, None, None]
    return torch.where(differs, stack.mirror[pairs[0]], no_transforms(pairs))


def salient_transforms(stack: FrameStack, pairs: Int[Tensor, "2 p"]) -> Float[Tensor, "p 2 3"]:
    """Similarities, flip included, that carry the source's two landmarks onto the target's (eq. 4 and 5)."""
    source, target = stack.landmarks[pairs[0]], stack.landmarks[pairs[1]]
    return similarity_from_landmarks(source[:, 0], source[:, 1], target[:, 0], target[:, 1], stack.width[pairs[0]])


def engine_transforms(
    engine: Engine,
    images: Sequence[NDArray[np.uint8]],
    stack: FrameStack,
    pairs: Int[Tensor, "2 p"],
    mirrored: Bool[Tensor, "p"],
    *,
    workers: int,
    description: str,
) -> RegisteredPairs:
    """Lets an image registration engine find the maps.

    Args:
        engine: the engine.
        images: grey frames of the stack (h, w).
        stack: the frames.
        pairs: source and target of every pair.
        mirrored: whether to flip the source before the engine sees it; the map returned includes the flip.
        workers: processes; 0 for this one.
        description: label of the progress bar.

    Raises:
        AnatomarkError: ``workers`` is negative, or the engine refuses an image.
    """
    upright = [torch.from_numpy(image).float() / 255 for image in images]
    every = upright + [image.flip(1) for image in upright]
    sources = pairs[0] + len(upright) * mirrored
    matrices, found = register_pairs(
        engine, every, torch.stack([sources, pairs[1]], dim=1), workers=workers, description=description
    )
    first = torch.where(mirrored[:, None, None], stack.mirror[pairs[0]], no_transforms(pairs))
    return RegisteredPairs(compose(matrices, first), found)


def pair_errors(
    matrices: Float[Tensor, "p 2 3"], stack: FrameStack, pairs: Int[Tensor, "2 p"]
) -> Float[Tensor, "p s1"]:
    """Distances of the carried source annotations from the target's, percent of the target's HC long axis."""
    carried = apply_transform(matrices, stack.truth[pairs[0]])
    distance = torch.linalg.vector_norm(carried - stack.truth[pairs[1]], dim=-1)
    percent: Tensor = 100 * distance / stack.hc_axis[pairs[1], None]
    return percent


def summarise(errors: Float[Tensor, "p s1"], names: Sequence[str]) -> dict[str, dict[str, float | int | None]]:
    """Returns mean, standard error (n - 1) and number of pairs per structure; None where too few are left."""
    n = len(errors)
    means = errors.mean(dim=0).tolist() if n else [None] * len(names)
    spread = (errors.std(dim=0) / n**0.5).tolist() if n > 1 else [None] * len(names)
    return {name: {"mean": mean, "se": se, "n": n} for name, mean, se in zip(names, means, spread, strict=True)}
