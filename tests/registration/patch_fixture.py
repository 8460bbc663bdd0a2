"""Patches with known motions and deformations, oblique and anisotropic."""

import numpy as np
import SimpleITK as sitk  # noqa: N813
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

SIDE = 40
SPACING_MM = (0.3, 0.3, 0.4)


def oblique_image(voxels: np.ndarray) -> sitk.Image:
    """Voxels (k j i) as an image with anisotropic spacing, an offset and oblique directions."""
    image = sitk.GetImageFromArray(voxels.astype(np.float32))
    image.SetSpacing(SPACING_MM)
    image.SetOrigin((-7.0, 11.0, 3.0))
    image.SetDirection(Rotation.from_rotvec([0.3, -0.5, 0.4]).as_matrix().ravel().tolist())
    return image


def textured_patch(seed: int = 0) -> sitk.Image:
    """Random dense and empty regions, as bone and air, in [0, 1]; they fade to 0 at the border."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(SIDE, SIDE, SIDE)), 2.5)
    return oblique_image(window(1) / (1 + np.exp(-4 * noise / noise.std())))


def window(power: int) -> np.ndarray:
    """1 in the middle of the patch, 0 at its border."""
    axis = np.cos(np.linspace(-np.pi / 2, np.pi / 2, SIDE)) ** power
    return axis[:, None, None] * axis[:, None] * axis


def centre_mm(image: sitk.Image) -> np.ndarray:
    return np.array(image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()]))


def points_in(image: sitk.Image, *, within_mm: float = 2.5, count: int = 30) -> np.ndarray:
    """Random points in a cube about the centre of a patch, LPS mm."""
    return centre_mm(image) + np.random.default_rng(5).uniform(-within_mm, within_mm, (count, 3))


def motion_about(
    centre: np.ndarray, *, rotation: tuple[float, ...], shift: tuple[float, ...], scale: float = 1
) -> np.ndarray:
    """A similarity as (4, 4): ``rotation`` is an axis times an angle in radians, ``shift`` is mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = scale * Rotation.from_rotvec(rotation).as_matrix()
    matrix[:3, 3] = centre + np.array(shift) - matrix[:3, :3] @ centre
    return matrix


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    homogeneous = np.column_stack([points, np.ones(len(points))])
    return (homogeneous @ matrix.T)[:, :3]


def affine(matrix: np.ndarray) -> sitk.AffineTransform:
    return sitk.AffineTransform(matrix[:3, :3].ravel().tolist(), matrix[:3, 3].tolist())


def moved_patch(reference: sitk.Image, motion: np.ndarray, pose: np.ndarray) -> sitk.Image:
    """The target that ``motion`` takes the reference to, on the reference's grid carried by the rigid ``pose``."""
    grid = sitk.Image(reference.GetSize(), sitk.sitkFloat32)
    grid.SetSpacing(reference.GetSpacing())
    grid.SetOrigin(apply(pose, np.array([reference.GetOrigin()]))[0].tolist())
    grid.SetDirection((pose[:3, :3] @ np.array(reference.GetDirection()).reshape(3, 3)).ravel().tolist())
    return sitk.Resample(reference, grid, affine(np.linalg.inv(motion)), sitk.sitkBSpline, 0.0, sitk.sitkFloat32)


def smooth_field(image: sitk.Image, *, largest_mm: float, seed: int = 3) -> sitk.Image:
    """A smooth random displacement, LPS mm, that vanishes at the border."""
    noise = np.random.default_rng(seed).normal(size=(3, SIDE, SIDE, SIDE))
    parts = np.stack([gaussian_filter(component, 7.0) for component in noise], axis=-1) * window(1)[..., None]
    parts *= largest_mm / np.linalg.norm(parts, axis=-1).max()
    return as_field(parts, image)


def as_field(displacement: np.ndarray, image: sitk.Image) -> sitk.Image:
    """Displacement (k j i 3), mm, as SimpleITK's field on the image's grid."""
    field = sitk.GetImageFromArray(displacement.astype(np.float64), isVector=True)
    field.CopyInformation(image)
    return field


def voxel_centres(image: sitk.Image) -> np.ndarray:
    """LPS mm of all voxels, (k j i 3)."""
    size = image.GetSize()
    k, j, i = np.meshgrid(*(np.arange(n) for n in size[::-1]), indexing="ij")
    scaled = np.stack([i, j, k], axis=-1) * np.array(image.GetSpacing())
    return scaled @ np.array(image.GetDirection()).reshape(3, 3).T + np.array(image.GetOrigin())


def errors_mm(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.linalg.norm(found - truth, axis=1)
