"""What the one-shot evaluator registers: a patch of the reference and what may show it in a target, or wholes."""

import math
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from anatomark.geometry.resampling import resample_isotropic, resample_mask_isotropic, smoothed
from anatomark.geometry.volumes import Volume, VolumeGeometry, as_image
from anatomark.registration.demons import soft_mask
from anatomark.types import AnatomarkError
from anatomark.volume_types import VolumeSample

_SLACK = 1.3
"""How much larger than the posed patch the part of the target is: room for its size and an error of the pose."""


@dataclass(frozen=True, kw_only=True)
class PatchRules:
    """How the reference is cut.

    Attributes:
        spacing_mm: edge of its patch's voxels.
        margin_mm: what the patch shows around the box of the structure's mask.
        region_margin_mm: how far around the mask intensities count.
        weight_fade_mm: over how many mm more their weight for demons falls to 0.
        naive_spacing_mm: edge of the whole volume's voxels for the naive baseline; None to do without.
    """

    spacing_mm: float
    margin_mm: float
    region_margin_mm: float
    weight_fade_mm: float
    naive_spacing_mm: float | None = None

    def __post_init__(self) -> None:
        if not (0 < self.spacing_mm < math.inf and 0 <= self.region_margin_mm <= self.margin_mm < math.inf):
            raise AnatomarkError(
                f"spacing_mm={self.spacing_mm}, region_margin_mm={self.region_margin_mm}, margin_mm={self.margin_mm};"
                " give a spacing above 0 and margins of at least 0 mm, that of the region no larger than the patch's"
            )


@dataclass(frozen=True, kw_only=True)
class ReferencePatch:
    """The annotated structure.

    Attributes:
        sample: the reference.
        image: its patch, cubic voxels along the volume's own axes.
        mask: the structure on the patch's grid, 0 and 1.
        region: what counts in linear registration, on the same grid.
        weight: what counts for demons: the region, with a soft edge.
        names: the landmarks' names.
        points: the landmarks, LPS mm.
        volume_mm3: volume of the structure.
        whole: the whole reference, for the naive baseline; None where there is none.
    """

    sample: VolumeSample
    image: sitk.Image
    mask: sitk.Image
    region: sitk.Image
    weight: sitk.Image
    names: tuple[str, ...]
    points: Float64[np.ndarray, "n 3"]
    volume_mm3: float
    whole: sitk.Image | None


def cut_reference(sample: VolumeSample, rules: PatchRules) -> ReferencePatch:
    """Cuts the patch around the reference's structure out of its original intensities.

    Raises:
        AnatomarkError: the reference has no mask or an empty one, no landmark, or one outside the patch.
    """
    key = sample["key"]
    if "mask" not in sample or not sample.get("landmarks"):
        lacks = "mask" if "mask" not in sample else "landmarks"
        raise AnatomarkError(f"reference {key} has no {lacks}; one-shot learning needs its mask and landmarks")
    mask = sample["mask"]
    found = mask.voxels.nonzero().flip(-1).double()
    if not len(found):
        raise AnatomarkError(f"reference {key}: its mask is empty; give one that covers the structure")
    margin = rules.margin_mm / torch.tensor(mask.geometry.spacing_mm, dtype=torch.float64)
    low, high = found.amin(0) - margin, found.amax(0) + margin
    patch_mask = resample_mask_isotropic(crop(mask, low, high), spacing_mm=rules.spacing_mm)
    grid = patch_mask.geometry
    names, points = tuple(sample["landmarks"]), torch.stack(list(sample["landmarks"].values())).double()
    outside = ~grid.contains(points)
    if bool(outside.any()):
        name = names[int(outside.int().argmax())]
        raise AnatomarkError(
            f"reference {key}: {int(outside.sum())} of {len(names)} landmarks lie outside the patch around its mask"
            f" (the first is {name}); correct them or raise margin_mm, now {rules.margin_mm:g}"
        )
    image_mask = as_image(patch_mask.voxels >= 0.5, grid)
    # The patch's own grid, whatever that of the file: first what its voxels cannot show is smoothed away.
    image = sitk.Resample(
        smoothed(sample["original"], rules.spacing_mm),
        image_mask,
        sitk.Transform(),
        sitk.sitkLinear,
        0.0,
        sitk.sitkFloat32,
        True,
    )
    weight = soft_mask(image_mask, margin_mm=rules.region_margin_mm, fade_mm=rules.weight_fade_mm)
    return ReferencePatch(
        sample=sample,
        image=image,
        mask=image_mask,
        region=weight >= 1,
        weight=weight,
        names=names,
        points=points.numpy(),
        volume_mm3=float(mask.voxels.sum(dtype=torch.float64)) * math.prod(mask.geometry.spacing_mm),
        whole=None if rules.naive_spacing_mm is None else whole(sample, rules.naive_spacing_mm),
    )


def cut_target(sample: VolumeSample, reference: ReferencePatch, pose: Float[Tensor, "4 4"]) -> sitk.Image:
    """The part of the target's original intensities that the posed reference patch and its surroundings cover.

    Its voxels are as large as the patch's, along the target's own axes: each level of a registration differentiates the
    whole part, which at the resolution of the file takes most of the time.

    Raises:
        AnatomarkError: the posed patch lies outside the target.
    """
    original = sample["original"]
    size = torch.tensor(reference.image.GetSize(), dtype=torch.float64)
    corners = torch.cartesian_prod(*(torch.tensor([-0.5, 0.5], dtype=torch.float64),) * 3)
    index = (size - 1) / 2 + _SLACK * corners * size
    points = torch.tensor(
        [reference.image.TransformContinuousIndexToPhysicalPoint(corner) for corner in index.tolist()],
        dtype=torch.float64,
    )
    posed = original.geometry.to_index(points @ pose[:3, :3].double().mT + pose[:3, 3].double())
    low, high = posed.amin(0), posed.amax(0)
    if bool((high < 0).any() or (low > torch.tensor(original.geometry.size) - 1).any()):
        raise AnatomarkError(f"target {sample['key']}: the posed reference patch lies outside it; check the pose")
    part = resample_isotropic(crop(original, low, high), spacing_mm=reference.image.GetSpacing()[0])
    return as_image(part.voxels, part.geometry)


def whole(sample: VolumeSample, spacing_mm: float) -> sitk.Image:
    """A whole volume with cubic voxels of ``spacing_mm``."""
    coarse = resample_isotropic(sample["original"], spacing_mm=spacing_mm)
    return as_image(coarse.voxels, coarse.geometry)


def crop(volume: Volume, low: Float[Tensor, "3"], high: Float[Tensor, "3"]) -> Volume:
    """The voxels from index ``low`` to ``high`` (i, j, k), both included, as far as the volume reaches."""
    size = torch.tensor(volume.geometry.size)
    first = low.floor().long().clamp(min=0).minimum(size - 1)
    last = high.ceil().long().minimum(size - 1).maximum(first)
    (i0, j0, k0), (i1, j1, k1) = first.tolist(), (last + 1).tolist()
    x, y, z = volume.geometry.to_mm(first.double()).tolist()
    geometry = VolumeGeometry(
        spacing_mm=volume.geometry.spacing_mm,
        origin_mm=(x, y, z),
        direction=volume.geometry.direction,
        size=(i1 - i0, j1 - j0, k1 - k0),
    )
    return Volume(voxels=volume.voxels[k0:k1, j0:j1, i0:i1], geometry=geometry)
