"""Which landmarks of a volume to rely on more than on others: a ranking, beyond Wang et al. 2021.

Every signal is a *doubt*: larger where a landmark is less to be relied on. None of them is an error in mm.
"""

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Float, Float64
from scipy.stats import spearmanr

from anatomark.registration.demons import Deformation, displace_points

CORRELATION, DISPLACEMENT, JACOBIAN = "correlation", "displacement", "jacobian"
SIGNALS = {
    CORRELATION: "1 - correlation of the aligned intensities in a cube around the landmark",
    DISPLACEMENT: "length of the demons' displacement at the landmark",
    JACOBIAN: "deviation of the displacement's Jacobian determinant from 1 at the landmark",
}
_FEWEST = 3
"""Pairs of which a rank correlation is worth reporting."""


def doubts_of(
    reference: sitk.Image,
    warped: sitk.Image,
    points: Float[np.ndarray, "n 3"],
    *,
    deformation: Deformation | None,
    window_mm: float,
) -> dict[str, Float64[np.ndarray, "n"]]:
    """All signals of the landmarks of one volume.

    Args:
        reference: the reference's patch.
        warped: the target on its grid.
        points: the reference's landmarks, LPS mm.
        deformation: its field is on the same grid; None where there is none, and no signal of it.
        window_mm: edge of the cube.
    """
    doubts = {CORRELATION: 1 - local_correlation(reference, warped, points, window_mm=window_mm)}
    if deformation is not None:
        doubts[DISPLACEMENT] = np.linalg.norm(displace_points(deformation.field, points) - points, axis=1)
        i, j, k = _nearest(deformation.field, points).T
        doubts[JACOBIAN] = np.abs(deformation.determinant[k, j, i] - 1)
    return doubts


def local_correlation(
    reference: sitk.Image, warped: sitk.Image, points: Float[np.ndarray, "n 3"], *, window_mm: float
) -> Float64[np.ndarray, "n"]:
    """Correlation of two images of one grid in cubes around points, in [-1, 1]; 0 where either is constant.

    A constant window says nothing for the landmark. Cubes end at the border of the patch.

    Args:
        reference: one image.
        warped: the other.
        points: LPS mm, inside both.
        window_mm: edge of a cube.
    """
    radius = np.maximum(1, np.round(window_mm / 2 / np.array(reference.GetSpacing())).astype(int))
    steps = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in radius), indexing="ij"), axis=-1).reshape(-1, 3)
    index = _nearest(reference, points)[:, None] + steps
    within = ((index >= 0) & (index < np.array(reference.GetSize()))).all(axis=-1)
    i, j, k = np.moveaxis(np.clip(index, 0, np.array(reference.GetSize()) - 1), -1, 0)
    counts = within.sum(axis=1, keepdims=True)
    centred = []
    for image in (reference, warped):
        values = sitk.GetArrayViewFromImage(image)[k, j, i].astype(np.float64) * within
        centred.append((values - values.sum(axis=1, keepdims=True) / counts) * within)
    a, b = centred
    # Of two constant windows nothing but rounding is left.
    norm = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    together = (a * b).sum(axis=1)
    correlation: np.ndarray = np.divide(together, norm, out=np.zeros_like(norm), where=norm > 1e-12 * counts[:, 0])
    return correlation.clip(-1, 1)


def rank_correlation(doubts: Sequence[float], errors: Sequence[float]) -> float | None:
    """Spearman's correlation; None for fewer than three pairs, or where all of one side are equal."""
    if len(doubts) < _FEWEST or len(set(doubts)) == 1 or len(set(errors)) == 1:
        return None
    return float(spearmanr(doubts, errors).statistic)


def _nearest(image: sitk.Image, points: Float[np.ndarray, "n 3"]) -> np.ndarray:
    """Index (i, j, k) of the voxels nearest to points inside the image, (n, 3)."""
    index = [image.TransformPhysicalPointToContinuousIndex(point) for point in points.tolist()]
    nearest: np.ndarray = np.round(index).astype(int).clip(0, np.array(image.GetSize()) - 1)
    return nearest
