"""Where the voxels of a volume lie in the patient: index coordinates <-> LPS mm.

Index coordinates are (i, j, k), voxel centres at integers; physical points are (x, y, z) in mm, towards the patient's
left, posterior and superior (LPS), as in DICOM, ITK and SimpleITK. Tensors of voxels are indexed (k, j, i).
"""

import math
from dataclasses import dataclass

import SimpleITK as sitk  # noqa: N813
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anatomark.types import AnatomarkError

Triple = tuple[float, float, float]

_ORTHONORMAL_WITHIN = 1e-3
_FITS_WITHIN = 1e-3


@dataclass(frozen=True, kw_only=True)
class VolumeGeometry:
    """The grid of a volume.

    Attributes:
        spacing_mm: distance of neighbouring voxel centres along i, j and k, mm.
        origin_mm: centre of voxel (0, 0, 0), LPS mm.
        direction: rows of the (3, 3) matrix whose columns are the unit vectors of i, j and k in LPS. It may mirror, as
            volumes stored in radiological order do.
        size: number of voxels along i, j and k.

    Raises:
        AnatomarkError: a number is not finite, the spacing not positive, the direction not of orthogonal unit vectors,
            or an axis has no voxel.
    """

    spacing_mm: Triple
    origin_mm: Triple
    direction: tuple[Triple, Triple, Triple]
    size: tuple[int, int, int]

    def __post_init__(self) -> None:
        if not all(math.isfinite(s) and s > 0 for s in self.spacing_mm):
            raise AnatomarkError(
                f"a voxel spacing of {self.spacing_mm} mm cannot be; correct it: all three are finite and above 0"
            )
        if not all(map(math.isfinite, self.origin_mm)):
            raise AnatomarkError(f"an origin of {self.origin_mm} mm cannot be; correct it: all three are finite")
        if min(self.size) < 1:
            raise AnatomarkError(f"a volume of {self.size} voxels has none; give at least one along each axis")
        rows = torch.tensor(self.direction, dtype=torch.float64)
        # Written so that NaN is refused as well.
        if not bool(((rows.mT @ rows - torch.eye(3, dtype=torch.float64)).abs() < _ORTHONORMAL_WITHIN).all()):
            raise AnatomarkError(
                f"the direction {self.direction} is not one of orthogonal unit vectors (a sheared volume?); resample"
                " the volume to an orthogonal grid"
            )

    @property
    def affine(self) -> Float[Tensor, "4 4"]:
        """Maps homogeneous index coordinates (i, j, k, 1) to LPS mm, ``float64``."""
        matrix = torch.eye(4, dtype=torch.float64)
        matrix[:3, :3] = torch.tensor(self.direction, dtype=torch.float64) * torch.tensor(
            self.spacing_mm, dtype=torch.float64
        )
        matrix[:3, 3] = torch.tensor(self.origin_mm, dtype=torch.float64)
        return matrix

    @property
    def inverse_affine(self) -> Float[Tensor, "4 4"]:
        """Maps homogeneous LPS mm to index coordinates, ``float64``."""
        return self.affine.inverse()

    @property
    def centre_mm(self) -> Float[Tensor, "3"]:
        """Middle of the field of view, LPS mm, ``float64``."""
        return self.to_mm((torch.tensor(self.size, dtype=torch.float64) - 1) / 2)

    def to_mm(self, index: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """Index coordinates (i, j, k) as LPS mm, in their own type and on their own device."""
        return _map(self.affine, index)

    def to_index(self, points_mm: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """LPS mm as index coordinates (i, j, k), in their own type and on their own device."""
        return _map(self.inverse_affine, points_mm)

    def contains(self, points_mm: Float[Tensor, "*n 3"]) -> Bool[Tensor, "*n"]:
        """Whether LPS points lie in the field of view, which ends half a voxel beyond the outermost centres."""
        index = self.to_index(points_mm)
        edge = torch.tensor(self.size, dtype=index.dtype, device=index.device) - 0.5
        return ((index >= -0.5) & (index <= edge)).all(dim=-1)

    def matches(self, other: "VolumeGeometry", *, tolerance_voxels: float = 0.05) -> bool:
        """Whether both grids have equal size and no voxel centre is further apart than the tolerance.

        The distance of two affine grids is largest at a corner, so that the eight corners decide. The default lets
        headers differ that different programs have rounded.

        Args:
            other: the grid to compare with.
            tolerance_voxels: largest distance, as a share of this grid's smallest spacing.
        """
        if self.size != other.size:
            return False
        corners = torch.cartesian_prod(*(torch.tensor([0.0, n - 1.0], dtype=torch.float64) for n in self.size))
        distance = (self.to_mm(corners) - other.to_mm(corners)).norm(dim=-1).max().item()
        return bool(distance <= tolerance_voxels * min(self.spacing_mm))

    def isotropic(self, spacing_mm: float) -> "VolumeGeometry":
        """The grid of cubic voxels with the same centre and direction that covers this field of view.

        Less than one voxel is added along an axis, half on either side: every new voxel centre lies inside the old
        field of view, and no value has to be invented.

        Raises:
            AnatomarkError: the spacing is not finite and positive.
        """
        if not (math.isfinite(spacing_mm) and spacing_mm > 0):
            raise AnatomarkError(f"a spacing of {spacing_mm} mm cannot be; give a finite one above 0")
        fits = (n * old / spacing_mm for n, old in zip(self.size, self.spacing_mm, strict=True))
        # Rounding alone must not add a voxel.
        i, j, k = (max(1, math.ceil(count - _FITS_WITHIN)) for count in fits)
        half = (torch.tensor([i, j, k], dtype=torch.float64) - 1) / 2 * spacing_mm
        x, y, z = (self.centre_mm - torch.tensor(self.direction, dtype=torch.float64) @ half).tolist()
        return VolumeGeometry(
            spacing_mm=(spacing_mm, spacing_mm, spacing_mm),
            origin_mm=(x, y, z),
            direction=self.direction,
            size=(i, j, k),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """A volume, or its mask with voxels 0 and 1.

    Attributes:
        voxels: values as they are stored, HU in CT; indexed (k, j, i).
        geometry: where they lie.

    Raises:
        AnatomarkError: the voxels do not fill the grid.
    """

    voxels: Float[Tensor, "k j i"]
    geometry: VolumeGeometry

    def __post_init__(self) -> None:
        require_shape(self.voxels.shape, self.geometry)


def geometry_of(image: sitk.Image) -> VolumeGeometry:
    """The grid of a three-dimensional SimpleITK image.

    Raises:
        AnatomarkError: it is not one that a volume can have.
    """
    d = image.GetDirection()
    return VolumeGeometry(
        spacing_mm=image.GetSpacing(),
        origin_mm=image.GetOrigin(),
        direction=(d[0:3], d[3:6], d[6:9]),
        size=image.GetSize(),
    )


def as_image(voxels: Float[Tensor, "k j i"] | Bool[Tensor, "k j i"], geometry: VolumeGeometry) -> sitk.Image:
    """Voxels as a SimpleITK image in its place; ``float32``, or 8 bits where they are true or false.

    Raises:
        AnatomarkError: the voxels are not as many as the geometry says.
    """
    require_shape(voxels.shape, geometry)
    pixel_type = torch.uint8 if voxels.dtype == torch.bool else torch.float32
    image = sitk.GetImageFromArray(voxels.detach().to("cpu", pixel_type).numpy())
    image.SetSpacing(geometry.spacing_mm)
    image.SetOrigin(geometry.origin_mm)
    image.SetDirection([value for row in geometry.direction for value in row])
    return image


def require_shape(shape: torch.Size, geometry: VolumeGeometry) -> None:
    """Raises :class:`AnatomarkError` unless voxels of this shape (k, j, i) fill the grid."""
    if tuple(shape) != geometry.size[::-1]:
        raise AnatomarkError(
            f"voxels of shape {tuple(shape)} do not fill a grid of size {geometry.size}; order them (k, j, i)"
        )


def _map(matrix: Float[Tensor, "4 4"], points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
    matrix = matrix.to(points)
    return points @ matrix[:3, :3].mT + matrix[:3, 3]
