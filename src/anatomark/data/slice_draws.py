"""Random oblique slices of one resident volume: what is drawn, and the batches that are cut of it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from anatomark.geometry.oblique import sample_slices, to_mask
from anatomark.geometry.poses import Poses, draw_poses
from anatomark.geometry.volumes import Volume, VolumeGeometry
from anatomark.types import AnatomarkError, Batch, Sample
from anatomark.volume_types import VolumeSample


class SliceDraw(NamedTuple):
    """A batch of slices before it is cut; stays on the CPU.

    Attributes:
        split: whose volume they are of, "train" or "val".
        numbers: one for each slice, part of its id.
        centres: middles of the patches, voxels (i, j, k).
        rotations: their axes as columns.
        axes: the axis of each patch that its slice fixes.
        offsets: where each slice lies along it, patch voxels from the middle.
        spacings: side of a patch voxel, voxels of the volume.
    """

    split: str
    numbers: list[int]
    centres: Float[Tensor, "b 3"]
    rotations: Float[Tensor, "b 3 3"]
    axes: Int[Tensor, "b"]
    offsets: Float[Tensor, "b"]
    spacings: Float[Tensor, "b"]


class Upright(NamedTuple):
    """The undisturbed patch, ``float64`` on the CPU.

    Attributes:
        centre: middle of the structure, voxels (i, j, k).
        axes: the patch's axes as columns, in voxels: the reference's own, however its volume and this one are stored.
    """

    centre: Float[Tensor, "3"]
    axes: Float[Tensor, "3 3"]


@dataclass(frozen=True, kw_only=True)
class SliceDrawing:
    """How slices are drawn: each is one of a patch of its own, in a random pose about the structure.

    Wang et al. 2021, algorithm 1, train on all slices of one pose before they draw the next; a pose per slice makes
    batches more varied at no cost, as no patch is resampled as a whole.

    Attributes:
        patch_size: side of a patch, voxels.
        translation: dT, voxels.
        rotation: dR, degrees, or "full".
        scale: patches are larger or smaller by up to this share.
        batch_size: slices.

    Raises:
        AnatomarkError: a number cannot be.
    """

    patch_size: int = 100
    translation: float = 10.0
    rotation: float | str = 20.0
    scale: float = 0.0
    batch_size: int = 32

    def __post_init__(self) -> None:
        for name, least in (("patch_size", 2), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise AnatomarkError(f"data.{name} is {getattr(self, name)}; it must be at least {least}")
        if not 0 <= self.scale < 1:
            raise AnatomarkError(f"data.scale is {self.scale}; it must be at least 0 and below 1")
        if isinstance(self.rotation, str) and self.rotation != "full":
            raise AnatomarkError(f"data.rotation is {self.rotation}; it must be degrees from 0 to 180, or full")
        try:
            self._poses(1, torch.Generator())
        except AnatomarkError as error:
            raise AnatomarkError(f"data.{error}") from error

    def __call__(self, split: str, upright: Upright, seed: int) -> SliceDraw:
        """Draws a batch about the undisturbed patch; one seed gives one batch."""
        generator, n = torch.Generator().manual_seed(seed), self.batch_size
        poses = self._poses(n, generator)
        uniform = 2 * torch.rand(n, generator=generator, dtype=torch.float64) - 1
        return SliceDraw(
            split=split,
            numbers=list(range(seed * n, (seed + 1) * n)),
            centres=upright.centre + poses.centres @ upright.axes.mT,
            rotations=upright.axes @ poses.rotations,
            axes=torch.randint(3, (n,), generator=generator),
            offsets=torch.randint(self.patch_size, (n,), generator=generator) - (self.patch_size - 1) / 2,
            spacings=1 + self.scale * uniform,
        )

    def _poses(self, n: int, generator: torch.Generator) -> Poses:
        """About the origin."""
        rotation: float | Literal["full"] = "full" if isinstance(self.rotation, str) else self.rotation
        centre = torch.zeros(3)
        return draw_poses(n, centre=centre, translation=self.translation, rotation=rotation, generator=generator)


class DrawDataset(Dataset[SliceDraw]):
    """Batches of slices by their seed.

    Args:
        split: whose volume they are of.
        upright: what they are drawn about.
        drawing: how they are drawn.
        n_batches: how many a loader takes.
    """

    def __init__(self, *, split: str, upright: Upright, drawing: SliceDrawing, n_batches: int) -> None:
        self.split = split
        self.upright = upright
        self.drawing = drawing
        self.n_batches = n_batches

    def __len__(self) -> int:
        return self.n_batches

    def __getitem__(self, seed: int) -> SliceDraw:
        return self.drawing(self.split, self.upright, seed)


class RandomSeeds(Sampler[int]):
    """New seeds every epoch, from the random numbers that checkpoints keep."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[int]:
        yield from torch.randint(2**31, (self.n,)).tolist()


def upright_patch(mask: Volume, reference: VolumeGeometry) -> Upright:
    """The patch about the centre of mass of a mask, along the axes of the reference."""
    centre = (mask.voxels > 0).nonzero().double().mean(0).flip(0)
    own, theirs = (torch.tensor(one.direction, dtype=torch.float64) for one in (mask.geometry, reference))
    return Upright(centre=centre, axes=own.mT @ theirs)


class ResidentVolume:
    """A volume with its mask that slices are cut of on any device; it stays on the last one.

    Attributes:
        sample: the volume, whose voxels are held once on the CPU.

    Args:
        sample: the volume; has a mask.
        patch_size: side of a slice, voxels.
        outside: intensity around the volume.
    """

    def __init__(self, sample: VolumeSample, *, patch_size: int, outside: float) -> None:
        self.patch_size = patch_size
        self.outside = outside
        self._channels = torch.stack([sample["volume"].voxels, sample["mask"].voxels])
        image, mask = self._channels
        self.sample: VolumeSample = {
            **sample,
            "volume": replace(sample["volume"], voxels=image),
            "mask": replace(sample["mask"], voxels=mask),
        }

    def cut(self, draw: SliceDraw, device: torch.device) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b 1 h w"]]:
        """Cuts slices of the image and of the mask, together and on the device."""
        if self._channels.device != device:
            self._channels = self._channels.to(device)
        cut = sample_slices(
            self._channels,
            draw.centres,
            draw.rotations,
            axis=draw.axes,
            offsets=draw.offsets,
            size=(self.patch_size, self.patch_size),
            spacing=draw.spacings,
            outside=(self.outside, 0.0),
        )
        return cut[:, :1], to_mask(cut[:, 1:]).to(cut)


def as_batch(
    draw: SliceDraw, image: Float[Tensor, "b 1 h w"], mask: Float[Tensor, "b 1 h w"], sample: VolumeSample
) -> Batch:
    """Slices as frames with a mask and without gaze."""
    spacing_mm = sample["volume"].geometry.spacing_mm[0]
    samples: list[Sample] = [
        {
            "key": f"{sample['key']}/{number}",
            "subject": sample["subject"],
            "image": one,
            "spacing_mm": torch.full((2,), spacing_mm * spacing),
            "split": sample["split"],
            "mask": inside,
        }
        for number, one, inside, spacing in zip(draw.numbers, image, mask, draw.spacings.tolist(), strict=True)
    ]
    return {
        "samples": samples,
        "image": image,
        "mask": mask,
        "fixations": image.new_zeros(len(image), 0, 3),
        "has_gaze": torch.zeros(len(image), dtype=torch.bool, device=image.device),
    }
