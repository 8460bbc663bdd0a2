"""Volumes as if each had been scanned with the patient lying anywhere: a test of what finds structures."""

import math
import zlib

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anatomark.geometry.inertia import rigid
from anatomark.geometry.poses import uniform_rotations
from anatomark.geometry.volumes import Volume, VolumeGeometry
from anatomark.types import AnatomarkError
from anatomark.volume_types import Landmarks, VolumeSample


class Scattering:
    """Puts a volume anywhere into a wider field of air and turns it at random, with its landmarks.

    Voxels keep their values: the field is padded, and the turn is that of the grid, so that what is found can be
    compared with and without it.

    Args:
        field: how many times as wide the field becomes along each axis.
        rotation: turn by any rotation.
        seed: of the draws, each also by the volume's id.

    Raises:
        AnatomarkError: ``field`` is not finite and at least 1.
    """

    def __init__(self, *, field: float = 2.0, rotation: bool = True, seed: int = 0) -> None:
        if not 1 <= field < math.inf:
            raise AnatomarkError(f"Scattering: field is {field}; it must be a finite number of at least 1")
        self.field = field
        self.rotation = rotation
        self.seed = seed

    def __call__(self, sample: VolumeSample, *, outside: float) -> VolumeSample:
        """The sample with ``original``, its mask, which is on the same grid, and its landmarks moved.

        Args:
            sample: the volume.
            outside: value of the air.
        """
        key, geometry = sample["key"], sample["original"].geometry
        moved = sample.copy()
        moved["original"] = self._volume(key, sample["original"], outside)
        if "mask" in sample:
            moved["mask"] = self._volume(key, sample["mask"], 0.0)
        motion = self._motion(key, geometry)
        if "landmarks" in sample:
            moved["landmarks"] = _carry(motion, sample["landmarks"])
        if "second_rater" in sample:
            moved["second_rater"] = _carry(motion, sample["second_rater"])
        return moved

    def _motion(self, key: str, geometry: VolumeGeometry) -> Float[Tensor, "4 4"]:
        """The turn about the middle of the field, LPS mm."""
        turn = uniform_rotations(1, generator=self._generator(key, "turn"))[0]
        middle = geometry.centre_mm
        return rigid(turn, centre=middle, moved_to=middle) if self.rotation else torch.eye(4, dtype=torch.float64)

    def _volume(self, key: str, volume: Volume, outside: float) -> Volume:
        geometry = volume.geometry
        added = [math.ceil((self.field - 1) * n) for n in geometry.size]
        shares = torch.rand(3, generator=self._generator(key, "place"), dtype=torch.float64).tolist()
        before = [round(share * n) for share, n in zip(shares, added, strict=True)]
        pads = [side for first, n in zip(before, added, strict=True) for side in (first, n - first)]
        corner = geometry.to_mm(-torch.tensor(before, dtype=torch.float64))
        motion = self._motion(key, geometry)
        x, y, z = (motion[:3, :3] @ corner + motion[:3, 3]).tolist()
        a, b, c = (
            tuple(row) for row in (motion[:3, :3] @ torch.tensor(geometry.direction, dtype=torch.float64)).tolist()
        )
        i, j, k = (n + more for n, more in zip(geometry.size, added, strict=True))
        field = VolumeGeometry(spacing_mm=geometry.spacing_mm, origin_mm=(x, y, z), direction=(a, b, c), size=(i, j, k))
        return Volume(voxels=F.pad(volume.voxels, pads, value=outside), geometry=field)

    def _generator(self, key: str, purpose: str) -> torch.Generator:
        return torch.Generator().manual_seed(zlib.crc32(f"{self.seed}/{purpose}/{key}".encode()))


def _carry(motion: Float[Tensor, "4 4"], landmarks: Landmarks) -> Landmarks:
    return {name: motion[:3, :3] @ point + motion[:3, 3] for name, point in landmarks.items()}
