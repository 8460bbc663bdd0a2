"""Finds a structure in a volume with a network of slices: algorithm 2 of Wang et al. 2021 and its alignment."""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from anatomark.geometry.inertia import (
    Moments,
    four_rotations,
    is_ambiguous,
    joint_probability,
    moments,
    principal_axes,
    rigid,
)
from anatomark.geometry.oblique import Patch, cut_patch, map_slices
from anatomark.geometry.poses import nearest_axes
from anatomark.geometry.volumes import Volume
from anatomark.models.structure_alignment import Reference, SignSearch, nearest
from anatomark.types import AnatomarkError
from anatomark.volume_types import VolumePrediction, VolumeSample

Segment = Callable[[Float[Tensor, "b h w"]], Float[Tensor, "b h w"]]
"""Slices to probabilities of the structure."""

_NOTHING = torch.tensor(0.0, dtype=torch.float64)


class StructureSearch:
    """The online stage: a start, rounds of localisation, the alignment of principal axes.

    Patches lie along the reference's own axes, so that volumes stored in other orientations show the network what it
    has learnt.

    Args:
        init: "coarse" scans the whole volume, "reference" begins at the structure's place in the reference, which is
            right only where both share a scanner's frame.
        patch_size: side of the patch, voxels.
        tolerance_mm: the search goes on while the centre moves further.
        max_rounds: most rounds.
        scan_stride: the scan looks at every so many-th slice along each axis.
        sign_stride: patches whose intensities choose among the four rotations have voxels so many times as large.
        batch_size: slices of a patch given to the network at once; of larger slices fewer, so that memory stays
            bounded.
        outside: the value around a volume, such as that of air.

    Raises:
        AnatomarkError: an option cannot be.
    """

    def __init__(
        self,
        *,
        init: str = "coarse",
        patch_size: int = 100,
        tolerance_mm: float = 1.0,
        max_rounds: int = 10,
        scan_stride: int = 4,
        sign_stride: int = 2,
        batch_size: int = 32,
        outside: float = 0.0,
    ) -> None:
        if init not in ("coarse", "reference"):
            raise AnatomarkError(f"init of the search is {init!r}; choose coarse or reference")
        counts = {
            "patch_size": patch_size,
            "max_rounds": max_rounds,
            "scan_stride": scan_stride,
            "sign_stride": sign_stride,
            "batch_size": batch_size,
        }
        for name, count in counts.items():
            if count < 1:
                raise AnatomarkError(f"{name} of the search is {count}; it must be at least 1")
        if not tolerance_mm > 0:
            raise AnatomarkError(f"tolerance_mm of the search is {tolerance_mm}; it must be above 0")
        self.init = init
        self.patch_size = patch_size
        self.tolerance_mm = tolerance_mm
        self.max_rounds = max_rounds
        self.scan_stride = scan_stride
        self.batch_size = batch_size
        self.outside = outside
        self.signs = SignSearch(side=-(-patch_size // sign_stride), stride=sign_stride, outside=outside)

    def describe(self, segment: Segment, sample: VolumeSample) -> Reference:
        """What targets are compared with, found from the mask's own centre.

        Raises:
            AnatomarkError: the reference has no mask, or the network does not find the structure in it.
        """
        if "mask" not in sample:
            raise AnatomarkError(f"the reference {sample['key']} has no mask; give one, the search begins at it")
        volume, mask = sample["volume"], sample["mask"]
        axes = torch.tensor(volume.geometry.direction, dtype=torch.float64)
        start = moments(mask.voxels, mask.geometry.affine).centre_mm
        rounds = self._rounds(segment, volume, axes, start)
        if rounds.found is None:
            raise AnatomarkError(
                f"the network does not find the structure in its own reference, {sample['key']}; train longer"
            )
        patch = self.signs.cut(volume, rounds.found.centre_mm, axes)
        return Reference(key=sample["key"], axes=axes, moments=rounds.found, patch=patch)

    def find(self, segment: Segment, sample: VolumeSample, reference: Reference) -> VolumePrediction:
        """Looks for the structure in one volume; ``found`` of the prediction says whether it is there."""
        volume = sample["volume"]
        watch = _Watch()
        start = self._start(segment, volume, reference)
        watch.lap("start")
        if start is None:
            return _not_found(sample["key"], torch.zeros(0, 3), torch.zeros(0), watch.seconds)
        rounds = self._rounds(segment, volume, reference.axes, start)
        watch.lap("localisation")
        if rounds.found is None:
            return _not_found(sample["key"], rounds.centres_mm, rounds.masses_mm3, watch.seconds)
        rotation, scores = self.signs(volume, rounds.found, reference)
        aligned = self._cut(volume, rounds.found.centre_mm, rotation @ reference.axes)
        maps = self._segment(segment, aligned)
        # Where nothing is seen any more the pose stays as it is, and a mass of 0 says that it is not to be trusted.
        seen = moments(maps, aligned.affine) if bool(maps.any()) else rounds.found._replace(mass_mm3=_NOTHING)
        values, _ = principal_axes(seen.covariance_mm2)
        rotation = nearest(rotation, four_rotations(reference.moments.covariance_mm2, seen.covariance_mm2))
        watch.lap("inertia")
        return {
            "key": sample["key"],
            "found": torch.tensor(True),
            "centres_mm": torch.cat([rounds.centres_mm, seen.centre_mm[None]]),
            "masses_mm3": torch.cat([rounds.masses_mm3, seen.mass_mm3[None]]),
            "seconds": watch.seconds,
            "maps": maps[None],
            "affine": aligned.affine,
            "pose": rigid(rotation, centre=reference.moments.centre_mm, moved_to=seen.centre_mm),
            "sign_scores": scores,
            "ambiguous": is_ambiguous(values),
        }

    def _cut(
        self,
        volume: Volume,
        centre_mm: Float[Tensor, "3"],
        axes: Float[Tensor, "3 3"],
        *,
        size: tuple[int, int, int] | None = None,
    ) -> Patch:
        """A patch of the volume; of the size that the network sees when None."""
        size = size or (self.patch_size,) * 3
        return cut_patch(volume, centre_mm, axes, size=size, outside=self.outside)

    def _segment(self, segment: Segment, patch: Patch, *, stride: int = 1) -> Float[Tensor, "k j i"]:
        """The structure at every ``stride``-th voxel of a patch, of any size."""
        _, height, width = sorted(patch.voxels.shape)
        at_once = max(1, min(self.batch_size, self.batch_size * self.patch_size**2 // (height * width)))
        return joint_probability(map_slices(segment, patch.voxels, stride=stride, batch_size=at_once))

    def _start(self, segment: Segment, volume: Volume, reference: Reference) -> Tensor | None:
        if self.init == "reference":
            return reference.moments.centre_mm
        return self._scan(segment, volume, reference.axes)

    def _scan(self, segment: Segment, volume: Volume, axes: Float[Tensor, "3 3"]) -> Tensor | None:
        """The centre of the heaviest part of the whole volume; None where there is none."""
        direction = torch.tensor(volume.geometry.direction, dtype=torch.float64)
        # Along the volume's own grid: the box about a turned one is several times as large.
        own = nearest_axes(direction, axes)
        extent = (own.mT @ direction).abs() @ torch.tensor(volume.geometry.size, dtype=torch.float64)
        i, j, k = (round(count) for count in extent.tolist())
        field = self._cut(volume, volume.geometry.centre_mm, own, size=(k, j, i))
        lattice = self._segment(segment, field, stride=self.scan_stride)
        if not bool(lattice.any()):
            return None
        coarser = torch.diag(torch.tensor([self.scan_stride] * 3 + [1], dtype=torch.float64))
        return moments(lattice, field.affine @ coarser).centre_mm

    def _rounds(self, segment: Segment, volume: Volume, axes: Tensor, start: Tensor) -> "_Rounds":
        centres, masses = [start], list[float]()
        for _ in range(self.max_rounds):
            patch = self._cut(volume, centres[-1], axes)
            probability = self._segment(segment, patch)
            if not bool(probability.any()):
                return _Rounds(torch.stack(centres), torch.tensor(masses, dtype=torch.float64), None)
            found = moments(probability, patch.affine)
            centres.append(found.centre_mm)
            masses.append(float(found.mass_mm3))
            if float((centres[-1] - centres[-2]).norm()) <= self.tolerance_mm:
                break
        return _Rounds(torch.stack(centres), torch.tensor(masses, dtype=torch.float64), found)


class _Rounds(NamedTuple):
    """Centres from the start on, the mass of each round, and what the last one found."""

    centres_mm: Float[Tensor, "s 3"]
    masses_mm3: Float[Tensor, "r"]
    found: Moments | None


class _Watch:
    """Seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, Tensor] = {}
        self._since = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = torch.tensor(now - self._since)
        self._since = now


def _not_found(key: str, centres: Tensor, masses: Tensor, seconds: dict[str, Tensor]) -> VolumePrediction:
    return {
        "key": key,
        "found": torch.tensor(False),
        "centres_mm": centres.double(),
        "masses_mm3": masses.double(),
        "seconds": seconds,
    }
