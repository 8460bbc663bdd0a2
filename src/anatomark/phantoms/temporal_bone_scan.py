"""The CT scanner of the temporal-bone phantom: grid, blur and noise."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter

from anatomark.geometry.volumes import VolumeGeometry
from anatomark.phantoms.temporal_bone_anatomy import TemporalBone
from anatomark.phantoms.temporal_bone_deformation import Deformation
from anatomark.types import AnatomarkError

LOWEST_HU, HIGHEST_HU = -1024, 3071
"""What 12 bits hold."""
SLAB_VOXELS = 1_000_000
FIELD_CENTRE_MM = (38.0, -14.0, 52.0)
"""Middle of every field of view in the scanner, LPS mm: a head's left side, the table's height and place anywhere."""
FWHM_OF_SIGMA = 2 * math.sqrt(2 * math.log(2))


@dataclass(frozen=True, kw_only=True)
class CTScanner:
    """A clinical CT scanner with a bone kernel.

    Attributes:
        size: voxels along i, j and k.
        spacing_mm: their spacing.
        resolution_mm: full width at half maximum of the point spread along i, j and k, mm.
        noise_hu: standard deviation of the noise.
        grain_mm: standard deviation of the kernel that correlates the noise of neighbouring voxels. Its low
            frequencies are missing, as in reconstructed noise.

    Raises:
        AnatomarkError: a number out of range.
    """

    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    resolution_mm: tuple[float, float, float] = (0.6, 0.6, 0.7)
    noise_hu: float = 60.0
    grain_mm: float = 0.25

    def __post_init__(self) -> None:
        for key in ("resolution_mm", "noise_hu", "grain_mm"):
            values = np.ravel(getattr(self, key))
            if not (np.isfinite(values) & (values >= 0)).all():
                raise AnatomarkError(f"{key} is {values.tolist()}; it must be finite and at least 0")
        if self.noise_hu > 0 and self.grain_mm == 0:
            raise AnatomarkError("grain_mm is 0; give a number above 0, or noise_hu=0 for none")

    @property
    def geometry(self) -> VolumeGeometry:
        """The grid, the same for all subjects.

        Raises:
            AnatomarkError: size or spacing cannot be those of a grid.
        """
        half = (np.array(self.size) - 1) / 2 * self.spacing_mm
        x, y, z = (np.array(FIELD_CENTRE_MM) - half).tolist()
        return VolumeGeometry(
            spacing_mm=self.spacing_mm,
            origin_mm=(x, y, z),
            direction=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
            size=self.size,
        )

    def scan(
        self, bone: TemporalBone, deformation: Deformation, rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, "k j i"], Bool[np.ndarray, "k j i"]]:
        """A volume in HU, rounded to whole numbers, and the mask of its cochlea, by the voxels' centres."""
        values, mask = self._sampled(bone, deformation)
        sigma = [width / FWHM_OF_SIGMA / step for width, step in zip(self.resolution_mm, self.spacing_mm, strict=True)]
        values = gaussian_filter(values, sigma[::-1], mode="nearest") + self._noise(rng)
        return np.clip(np.rint(values), LOWEST_HU, HIGHEST_HU).astype(np.float32), mask

    def _sampled(
        self, bone: TemporalBone, deformation: Deformation
    ) -> tuple[Float[np.ndarray, "k j i"], Bool[np.ndarray, "k j i"]]:
        """Values and mask before blur and noise, made slab by slab, so that memory stays bounded."""
        i, j, k = self.size
        origin = self.geometry.origin_mm
        x, y, z = (
            first + step * np.arange(n) for first, step, n in zip(origin, self.spacing_mm, self.size, strict=True)
        )
        values, mask = np.empty((k, j, i), np.float32), np.empty((k, j, i), bool)
        edge_mm = math.prod(self.spacing_mm) ** (1 / 3)
        thick = max(1, SLAB_VOXELS // (i * j))
        for first in range(0, k, thick):
            slab = slice(first, min(first + thick, k))
            zyx = np.meshgrid(z[slab], y, x, indexing="ij")
            points = deformation.to_anatomy(np.stack([axis.ravel() for axis in reversed(zyx)], axis=1))
            values[slab] = bone.hounsfield(points, edge_mm=edge_mm).reshape(-1, j, i)
            mask[slab] = bone.in_cochlea(points).reshape(-1, j, i)
        return values, mask

    def _noise(self, rng: np.random.Generator) -> Float[np.ndarray, "k j i"]:
        shape = self.size[::-1]
        if self.noise_hu == 0:
            return np.zeros(shape, np.float32)
        white = rng.standard_normal(shape, np.float32)
        sigma = self.grain_mm / np.array(self.spacing_mm[::-1])
        band = gaussian_filter(white, sigma) - gaussian_filter(white, 2 * sigma)
        return np.asarray(band * np.float32(self.noise_hu / band.std()))
