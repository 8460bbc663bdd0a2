"""The visible sector of an ultrasound frame, fitted to the image where its geometry was not annotated.

The sector is bright on black; how its outline is found in the bright area says
:mod:`~anatomark.geometry.sector_edges`.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor, from_numpy

from anatomark.geometry.sector_edges import Theta, fit_sector, window_of
from anatomark.types import AnatomarkError, Frustum

MIN_QUALITY = 0.7
"""Poorer fits are refused. Of 750 phantom frames 523 are fitted better; 522 of these overlap the truth by 0.98 or more,
one by 0.82. Below 0.63 wrong fits are common."""

BLACK = (0.02, 0.002, 0.06)
"""Grey values up to which a pixel may be background: of most frames, of those with dark fluid, and of noisy copies."""

GOOD_QUALITY = 0.95
"""Fits of this quality are not compared with those to other background values."""

SPECK = 0.014
"""Bars, letters and gaps narrower than this share of the frame's width are removed."""


class SectorFit(NamedTuple):
    """A fitted sector.

    Attributes:
        frustum: its geometry, px of the image. An arc that the picture does not show is put where the sector just
            holds what it shows.
        quality: intersection over union of sector and visible area, times the share of the sector's outline along
            which the visible area ends; both within the picture.
    """

    frustum: Frustum
    quality: float


def estimate_sector(image: Float[Tensor, "c h w"]) -> SectorFit:
    """Fits the sector that an image shows, with its apex above.

    Args:
        image: frame with values in [0, 1].

    Raises:
        AnatomarkError: no sector is to be seen: its left or right edge lies outside the picture, or there is none; or
            the fit is poor.
    """
    grey = image.mean(0).cpu().numpy()
    fits: list[tuple[Theta, float]] = []
    for black in BLACK:
        area = _visible_area(grey, black)
        theta = fit_sector(area)
        if theta is not None:
            fits.append((theta, _quality(theta, area)))
            if fits[-1][1] >= GOOD_QUALITY:
                break
    if not fits:
        raise AnatomarkError("no sector is to be seen whose left and right edge, bright on black, lie in the picture")
    (x, y, left, right, near, far), quality = max(fits, key=lambda fit: fit[1])
    if quality < MIN_QUALITY:
        raise AnatomarkError(f"the sector fitted to its image has a quality of {quality:.2f}, below {MIN_QUALITY}")
    apex, radii = np.array([x, y], dtype=np.float32), np.array([near, far], dtype=np.float32)
    frustum: Frustum = {
        "apex": from_numpy(apex),
        "radii": from_numpy(radii),
        "half_angle": float(right - left) / 2,
        "tilt": float(right + left) / 2,
    }
    return SectorFit(frustum, quality)


def sector_quality(image: Float[Tensor, "c h w"], frustum: Frustum, *, enough: float = 1.0) -> float:
    """Quality of a known sector for another image, cheaper than a fit; 0 for a black image.

    Args:
        image: frame with values in [0, 1].
        frustum: the sector.
        enough: background values are tried until one gives this quality.
    """
    grey = image.mean(0).cpu().numpy()
    middle, half = frustum["tilt"], frustum["half_angle"]
    theta = np.array([*frustum["apex"].tolist(), middle - half, middle + half, *frustum["radii"].tolist()])
    best = 0.0
    for black in BLACK:
        best = max(best, _quality(theta, _visible_area(grey, black)))
        if best >= enough:
            break
    return best


def _visible_area(grey: Float[np.ndarray, "h w"], black: float) -> Bool[np.ndarray, "h w"]:
    """The largest bright part, without small dark gaps and holes and without thin bars and letters."""
    side = max(round(SPECK * grey.shape[1]), 1) | 1
    lit = np.pad(grey > black, side, mode="edge")
    lit = ndimage.minimum_filter(ndimage.maximum_filter(lit, side), side)
    lit = ndimage.maximum_filter(ndimage.minimum_filter(_filled(lit), side), side)
    parts, n_parts = ndimage.label(lit[side:-side, side:-side])
    largest: Bool[np.ndarray, "h w"] = parts == (1 + np.bincount(parts.ravel())[1:].argmax() if n_parts else 1)
    return largest


def _filled(lit: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Without its holes; three times as fast as scipy's ``binary_fill_holes``."""
    dark, n_parts = ndimage.label(~lit)
    hole = np.ones(n_parts + 1, dtype=bool)
    hole[np.concatenate([dark[0], dark[-1], dark[:, 0], dark[:, -1]])] = False
    return lit | hole[dark]


def _quality(theta: Theta, area: Bool[np.ndarray, "h w"]) -> float:
    if not area.any():
        return 0.0
    window = window_of(area)
    return _overlap(theta, area, window) * _support(theta, area, window)


def _overlap(theta: Theta, area: Bool[np.ndarray, "h w"], window: tuple[int, int, int, int]) -> float:
    """Intersection over union in the picture; dark between bright of the same column counts as visible."""
    top, bottom, first, last = window
    y, x = np.ogrid[top : bottom + 1, first : last + 1]
    radius, direction = np.hypot(x - theta[0], y - theta[1]), np.arctan2(x - theta[0], y - theta[1])
    sector = (theta[2] <= direction) & (direction <= theta[3]) & (theta[4] <= radius) & (radius <= theta[5])
    shown = area[top : bottom + 1, first : last + 1]
    filled = np.maximum.accumulate(shown, 0) & np.maximum.accumulate(shown[::-1], 0)[::-1]
    return float((sector & filled).sum() / (sector | filled).sum())


def _support(theta: Theta, area: Bool[np.ndarray, "h w"], window: tuple[int, int, int, int]) -> float:
    """Share of the sector's outline in the picture with an end of the visible area within 1 px."""
    ends = ndimage.maximum_filter(area, 3) & ~ndimage.minimum_filter(area, 3)
    left, right, near, far = theta[2:]
    depths = np.linspace(near, far, math.ceil(far - near) + 1)
    arcs = [np.linspace(left, right, math.ceil(radius * (right - left)) + 1) for radius in (near, far)]
    radius = np.concatenate([depths, depths, np.full(len(arcs[0]), near), np.full(len(arcs[1]), far)])
    direction = np.concatenate([np.full(len(depths), left), np.full(len(depths), right), *arcs])
    column = np.round(theta[0] + radius * np.sin(direction)).astype(np.int64)
    row = np.round(theta[1] + radius * np.cos(direction)).astype(np.int64)
    top, bottom, first, last = window
    inside = (row > top + 2) & (row < bottom - 2) & (column > first + 2) & (column < last - 2)
    return float(ends[row[inside], column[inside]].mean()) if inside.any() else 0.0
