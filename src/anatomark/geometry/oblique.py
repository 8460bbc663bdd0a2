"""Oblique slices and patches of a volume, sampled on its device (Wang et al. 2021).

Positions are voxels ``(i, j, k)`` of an isotropic volume whose tensor is ``(k j i)``. A pose is the position ``c`` of a
patch's middle and a rotation ``R`` whose columns are the patch's own i, j and k axis: the voxel of a patch that lies
``u`` patch voxels from its middle shows the volume at ``c + spacing * R u``.

The slices of a patch are those of its tensor: axis 0 fixes k and gives ``(j i)``, axis 1 fixes j and gives ``(k i)``,
axis 2 fixes i and gives ``(k j)``.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anatomark.geometry.volumes import Volume
from anatomark.types import AnatomarkError

# Per axis of a patch's tensor, which of its axes (0, 1, 2 = i, j, k) the columns, rows and normal of a slice run along.
_FRAMES = ((0, 1, 2), (0, 2, 1), (1, 2, 0))
_POINTS_AT_ONCE = 2**21
"""Positions that :func:`sample_patch` holds at a time: 25 MB of coordinates."""


def sample_slices(
    volume: Float[Tensor, "*channels k j i"],
    centres: Float[Tensor, "b 3"],
    rotations: Float[Tensor, "b 3 3"],
    *,
    axis: int | Int[Tensor, "b"],
    offsets: Float[Tensor, "b"],
    size: tuple[int, int],
    spacing: float | Float[Tensor, "b"] = 1.0,
    outside: float | Sequence[float],
) -> Float[Tensor, "b *channels h w"]:
    """Cuts one slice per pose, trilinear, all of them in one sampling on the volume's device.

    Image and mask are cut together as channels of one volume; :func:`to_mask` then makes a mask of the second.
    Nothing is smoothed where ``spacing`` is above 1. Beyond the outermost voxel centres, values run to ``outside``
    within one voxel.

    Args:
        volume: ``float32`` or ``float64``.
        centres: middles of the patches that are cut, voxels (i, j, k).
        rotations: their axes as columns.
        axis: the axis of a patch's tensor that is fixed, for all slices or for each.
        offsets: where the slices lie along it, patch voxels from the middle.
        size: (height, width) of a slice, patch voxels.
        spacing: side of a patch voxel in voxels of the volume, for all slices or for each.
        outside: the value around the volume, such as that of air; one for all channels or one for each.

    Raises:
        AnatomarkError: an argument cannot be, or a pose holds NaN or infinity.
    """
    if volume.dtype not in (torch.float32, torch.float64):
        raise AnatomarkError(f"a volume to sample is {volume.dtype}; convert it to float32, positions need as much")
    extent = torch.tensor(volume.shape[:-4:-1], dtype=torch.float64)
    around = _per_channel(outside, volume)
    right, down, normal = _directions(rotations, axis, spacing)
    middle = centres + offsets[:, None] * normal
    if not bool((middle.isfinite() & right.isfinite() & down.isfinite()).all()):
        raise AnatomarkError("the pose of a slice holds NaN or infinity; check the centres, rotations and offsets")
    # Positions from -1 to 1 over the volume, voxel edges included; the affine map splits into columns and rows.
    scale, half = (2 / extent).to(middle), ((extent - 1) / 2).to(middle)
    origin, right, down = (value.to(volume) for value in ((middle - half) * scale, right * scale, down * scale))
    along_rows = origin[:, None] + _centred(size[0], volume)[:, None] * down[:, None]
    grid = along_rows[:, :, None] + (_centred(size[1], volume)[:, None] * right[:, None])[:, None]
    # One view of the volume per slice costs no memory, and the CPU shares slices out among its threads.
    views = volume.reshape(1, -1, *volume.shape[-3:]).expand(len(grid), -1, -1, -1, -1)
    sampled = F.grid_sample(views, grid[:, None], padding_mode="zeros", align_corners=False)[:, :, 0]
    # What a volume of ones would give: the interpolation of a box is a product over its axes.
    extent = extent.to(volume)
    share = grid.abs().mul_(extent / -2).add_((extent + 1) / 2).clamp_(0, 1).prod(-1)
    return torch.addcmul(sampled, around, 1 - share[:, None]).reshape(len(grid), *volume.shape[:-3], *size)


def sample_patch(
    volume: Float[Tensor, "*channels k j i"],
    centre: Float[Tensor, "3"],
    rotation: Float[Tensor, "3 3"],
    *,
    size: tuple[int, int, int],
    spacing: float = 1.0,
    outside: float | Sequence[float],
) -> Float[Tensor, "*channels depth height width"]:
    """Cuts a whole patch as :func:`sample_slices` does, some slices at a time so that memory stays bounded.

    Args:
        volume: ``float32`` or ``float64``.
        centre: middle of the patch, voxels (i, j, k) of the volume.
        rotation: its axes as columns.
        size: (k, j, i) of the patch.
        spacing: side of a patch voxel in voxels of the volume.
        outside: the value around the volume; one for all channels or one for each.

    Raises:
        AnatomarkError: as :func:`sample_slices`.
    """
    at_once = max(1, _POINTS_AT_ONCE // (size[1] * size[2]))
    parts = [
        sample_slices(
            volume,
            centre.expand(len(offsets), 3),
            rotation.expand(len(offsets), 3, 3),
            axis=0,
            offsets=offsets,
            size=size[1:],
            spacing=spacing,
            outside=outside,
        )
        for offsets in torch.split(_centred(size[0], centre), at_once)
    ]
    return torch.cat(parts).movedim(0, -3)


def patch_affine(
    centre: Float[Tensor, "3"], rotation: Float[Tensor, "3 3"], *, size: tuple[int, int, int], spacing: float = 1.0
) -> Float[Tensor, "4 4"]:
    """The map from voxels (i, j, k) of a patch of ``size`` (k, j, i) to voxels of its volume; ``float64``."""
    affine = torch.eye(4, dtype=torch.float64, device=centre.device)
    affine[:3, :3] = spacing * rotation.double()
    middle = (torch.tensor(size[::-1], dtype=torch.float64, device=centre.device) - 1) / 2
    affine[:3, 3] = centre.double() - affine[:3, :3] @ middle
    return affine


class Patch(NamedTuple):
    """A grid of cubic voxels in a patient.

    Attributes:
        voxels: the volume there.
        affine: voxels (i, j, k) to LPS mm, ``float64`` on the CPU.
    """

    voxels: Float[Tensor, "k j i"]
    affine: Float[Tensor, "4 4"]


def cut_patch(
    volume: Volume,
    centre_mm: Float[Tensor, "3"],
    axes: Float[Tensor, "3 3"],
    *,
    size: tuple[int, int, int],
    stride: int = 1,
    outside: float,
) -> Patch:
    """A patch by its place in the patient, whatever the grid of its volume.

    Args:
        volume: of cubic voxels, on any device.
        centre_mm: middle of the patch, LPS mm, on the CPU.
        axes: its directions as columns, LPS, ``float64`` on the CPU.
        size: voxels along (k, j, i).
        stride: side of its voxels in voxels of the volume.
        outside: the value around the volume.
    """
    geometry = volume.geometry
    centre = geometry.to_index(centre_mm.double())
    rotation = torch.tensor(geometry.direction, dtype=torch.float64).mT @ axes
    voxels = sample_patch(volume.voxels, centre, rotation, size=size, spacing=stride, outside=outside)
    return Patch(voxels, geometry.affine @ patch_affine(centre, rotation, size=size, spacing=stride))


def to_mask(sampled: Float[Tensor, "*size"]) -> Bool[Tensor, "*size"]:
    """A mask of one that was sampled linearly: what is at least half covered."""
    return sampled >= 0.5


def map_slices(
    function: Callable[[Tensor], Tensor], patch: Float[Tensor, "k j i"], *, stride: int = 1, batch_size: int = 32
) -> Float[Tensor, "3 depth height width"]:
    """Applies a network to slices of a patch along its three axes (Wang et al. 2021, section 2.3).

    Args:
        function: slices ``(b h w)`` to as many values of the same size, such as probabilities.
        patch: the patch.
        stride: takes every so many-th slice of each axis, from the first.
        batch_size: slices given to it at once.

    Returns:
        What it says of every ``stride``-th voxel along each axis in the slices that fix k, j and i, all three in the
        order of the patch.
    """
    parts = []
    for axis in range(3):
        slices = torch.split(patch.movedim(axis, 0)[::stride], batch_size)
        said = torch.cat([function(batch)[:, ::stride, ::stride] for batch in slices])
        parts.append(said.movedim(0, axis))
    return torch.stack(parts)


def _centred(n: int, like: Tensor) -> Tensor:
    """Positions of ``n`` voxels from their middle."""
    return torch.arange(n, dtype=like.dtype, device=like.device) - (n - 1) / 2


def _directions(rotations: Tensor, axis: int | Tensor, spacing: float | Tensor) -> tuple[Tensor, ...]:
    """Steps along the columns, the rows and the normal of each slice, ``(b 3)`` voxels each."""
    axes = torch.as_tensor(axis, device=rotations.device).expand(len(rotations))
    if bool(((axes < 0) | (axes > 2)).any()):
        raise AnatomarkError("the axis of a slice must be 0, 1 or 2: the axis of the patch's tensor (k j i) it fixes")
    step = torch.as_tensor(spacing, dtype=rotations.dtype, device=rotations.device).expand(len(rotations))
    if not bool(((step > 0) & step.isfinite()).all()):
        raise AnatomarkError("the spacing of a slice must be above 0 and finite: voxels of the volume per patch voxel")
    frames = torch.tensor(_FRAMES, device=rotations.device)[axes]
    columns = rotations.gather(2, frames[:, None].expand(-1, 3, -1))
    return (step[:, None, None] * columns).unbind(2)


def _per_channel(outside: float | Sequence[float], volume: Tensor) -> Tensor:
    """One value for each channel, to be broadcast over slices ``(b c h w)``, or one for all."""
    values = torch.as_tensor(outside, dtype=volume.dtype, device=volume.device).reshape(-1, 1, 1)
    if len(values) not in (1, math.prod(volume.shape[:-3])) or not bool(values.isfinite().all()):
        raise AnatomarkError(f"outside is {outside}; give one finite number for all channels or one for each of them")
    return values
