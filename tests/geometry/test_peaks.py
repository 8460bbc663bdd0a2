"""Peaks against scikit-image and against Gaussians of known position."""

import math

import numpy as np
import pytest
import torch
from skimage.feature import peak_local_max
from torch import Tensor

from anatomark.geometry.peaks import cell_to_pixel, find_peaks, refine_peaks
from anatomark.types import AnatomarkError

SIZE = (28, 36)


def skimage_peaks(maps: Tensor, *, min_distance: int, threshold: float) -> list[tuple[int, int, int]]:
    """Every peak as (frame, x, y), in scikit-image's order."""
    below = np.nextafter(np.float32(threshold), np.float32(-np.inf))
    return [
        (frame, int(x), int(y))
        for frame, image in enumerate(maps.numpy())
        for y, x in peak_local_max(
            image,
            min_distance=min_distance,
            threshold_abs=below,
            threshold_rel=None,
            exclude_border=False,
            num_peaks=np.inf,
            footprint=None,
            labels=None,
            num_peaks_per_label=np.inf,
            p_norm=np.inf,
        )
    ]


def our_peaks(maps: Tensor, *, min_distance: int, threshold: float) -> list[tuple[int, int, int]]:
    peaks = find_peaks(maps, min_distance=min_distance, threshold=threshold)
    return [(f, x, y) for f, (x, y) in zip(peaks.frame.tolist(), peaks.cell.tolist(), strict=True)]


def random_maps(kind: str, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    maps = torch.rand(8, *SIZE, generator=rng)
    if kind == "levels":
        return (maps * 4).floor() / 4
    if kind == "plateaus":
        coarse = (torch.rand(8, 1, 4, 5, generator=rng) * 3).floor() / 3
        return torch.nn.functional.interpolate(coarse, size=SIZE, mode="nearest")[:, 0]
    if kind == "one bump on a plateau":
        maps = torch.full_like(maps, 0.5)
        maps[:, 11, 7] = torch.linspace(0.3, 0.7, 8)
        return maps
    if kind == "border":
        maps = 0.01 * maps
        maps[0, 0, 0] = maps[1, -1, -1] = maps[2, 0, 17] = maps[3, 13, -1] = maps[4, 27, 0] = 1
        maps[5, 0, :] = maps[6, :, 35] = 1
    return maps


@pytest.mark.parametrize("kind", ["random", "levels", "plateaus", "one bump on a plateau", "border"])
@pytest.mark.parametrize("min_distance", [1, 2, 3, 5])
def test_same_peaks_as_scikit_image(kind: str, min_distance: int) -> None:
    for seed in range(5):
        maps = random_maps(kind, seed)
        for threshold in (0.1, 0.5):
            ours = our_peaks(maps, min_distance=min_distance, threshold=threshold)
            assert ours == skimage_peaks(maps, min_distance=min_distance, threshold=threshold)


def test_window_wider_than_the_map() -> None:
    maps = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0)) + 0.1
    assert our_peaks(maps, min_distance=9, threshold=0.1) == skimage_peaks(maps, min_distance=9, threshold=0.1)


def test_a_value_equal_to_the_threshold_counts() -> None:
    maps = torch.zeros(1, 9, 9)
    maps[0, 4, 4] = 0.1
    assert our_peaks(maps, min_distance=2, threshold=0.1) == [(0, 4, 4)]
    maps[0, 4, 4] = torch.nextafter(torch.tensor(0.1), torch.tensor(0.0))
    assert our_peaks(maps, min_distance=2, threshold=0.1) == []


def test_constant_maps_and_an_empty_batch_have_no_peaks() -> None:
    for maps in (torch.zeros(2, 5, 6), torch.ones(2, 5, 6), torch.ones(1, 1, 1), torch.ones(0, 5, 6)):
        peaks = find_peaks(maps)
        assert peaks.frame.shape == (0,)
        assert refine_peaks(maps, peaks).shape == (0, 2)


def test_equal_peaks_at_the_minimal_distance_are_both_kept() -> None:
    maps = torch.zeros(2, 9, 9)
    maps[0, 4, [2, 4]] = 1  # 2 apart: both
    maps[1, 4, [2, 3]] = 1  # 1 apart: the first in raster order
    assert our_peaks(maps, min_distance=2, threshold=0.1) == [(0, 2, 4), (0, 4, 4), (1, 2, 4)]


def test_sorted_by_frame_then_falling_value() -> None:
    peaks = find_peaks(random_maps("random", 3))
    keys = [(f, -v) for f, v in zip(peaks.frame.tolist(), peaks.value.tolist(), strict=True)]
    assert keys == sorted(keys)
    assert peaks.frame.dtype == peaks.cell.dtype == torch.int64


def test_batched_equals_one_by_one_and_mirrored_maps_give_mirrored_peaks() -> None:
    maps = random_maps("random", 4)
    together = our_peaks(maps, min_distance=2, threshold=0.1)
    alone = [(i, x, y) for i in range(8) for _, x, y in our_peaks(maps[i : i + 1], min_distance=2, threshold=0.1)]
    assert together == alone
    mirrored = our_peaks(maps.flip(2), min_distance=2, threshold=0.1)
    assert mirrored == [(f, SIZE[1] - 1 - x, y) for f, x, y in together]
    cells = refine_peaks(maps, find_peaks(maps))
    flipped = refine_peaks(maps.flip(2), find_peaks(maps.flip(2)))
    torch.testing.assert_close(flipped, torch.stack([SIZE[1] - 1 - cells[:, 0], cells[:, 1]], dim=1))


def test_bad_maps_and_distances_are_refused() -> None:
    maps = torch.rand(3, 5, 5)
    with pytest.raises(AnatomarkError, match="min_distance is 0"):
        find_peaks(maps, min_distance=0)
    maps[1, 2, 2] = torch.nan
    with pytest.raises(AnatomarkError, match="map 1 of the batch holds NaN"):
        find_peaks(maps)


def gaussian(centre: Tensor, sigmas: tuple[float, float], angle: float) -> Tensor:
    """Gaussian maps (b, h, w), float64, at ``centre`` (b, 2)."""
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in SIZE), indexing="ij")
    dx, dy = x - centre[:, 0, None, None], y - centre[:, 1, None, None]
    along = dx * math.cos(angle) + dy * math.sin(angle)
    across = dy * math.cos(angle) - dx * math.sin(angle)
    return torch.exp(-0.5 * ((along / sigmas[0]) ** 2 + (across / sigmas[1]) ** 2))


@pytest.mark.parametrize("angle", [0.0, 0.4, 0.8, -1.2])
def test_refinement_is_exact_for_rotated_anisotropic_gaussians(angle: float) -> None:
    rng = torch.Generator().manual_seed(1)
    centre = torch.tensor([17.0, 13.0]) + torch.rand(20, 2, generator=rng, dtype=torch.float64) - 0.5
    maps = gaussian(centre, (3.0, 1.5), angle)
    peaks = find_peaks(maps)
    assert len(peaks.frame) == 20
    torch.testing.assert_close(refine_peaks(maps, peaks), centre, atol=1e-9, rtol=0)


def test_refinement_is_the_least_squares_quadratic_of_noisy_logs() -> None:
    rng = torch.Generator().manual_seed(2)
    maps = gaussian(torch.tensor([[17.2, 13.3]]), (2.0, 1.5), 0.5)
    maps = maps * torch.exp(0.02 * torch.randn(maps.shape, generator=rng, dtype=torch.float64))
    peaks = find_peaks(maps, threshold=0.9)
    (x, y) = peaks.cell[0].tolist()
    around = np.log(maps[0, y - 1 : y + 2, x - 1 : x + 2].numpy()).ravel()
    gy, gx = (g.ravel() for g in np.mgrid[-1:2, -1:2].astype(float))
    design = np.stack([np.ones(9), gx, gy, gx**2, gx * gy, gy**2], axis=1)
    _, bx, by, cxx, cxy, cyy = np.linalg.lstsq(design, around, rcond=None)[0]
    offset = -np.linalg.solve([[2 * cxx, cxy], [cxy, 2 * cyy]], [bx, by])
    np.testing.assert_allclose(refine_peaks(maps, peaks)[0], [x + offset[0], y + offset[1]], atol=1e-10)


def test_zeros_and_plateaus_stay_finite_and_near_the_cell() -> None:
    maps = torch.zeros(4, 9, 9)
    maps[0, 4, 4] = 1  # lone peak
    maps[1, 4, 4], maps[1, 4, 5] = 1, 0.9  # empty on one side
    maps[2, 3:6, 3:6] = 1  # plateau: its corners are peaks
    maps[3, 0, 0] = 1  # corner
    peaks = find_peaks(maps)
    refined = refine_peaks(maps, peaks)
    assert refined.isfinite().all()
    assert (refined - peaks.cell).abs().max() <= 1
    torch.testing.assert_close(refined[0], torch.tensor([4.0, 4.0], dtype=torch.float64))
    assert 4.4 < refined[1, 0] < 4.6


def test_fallback_is_the_clamped_separable_parabola() -> None:
    # High diagonal corners: a saddle in the least-squares sense, although the middle is the maximum.
    around = torch.tensor([[0.1, 0.5, 0.99], [0.6, 1.0, 0.7], [0.99, 0.4, 0.1]], dtype=torch.float64)
    maps = torch.zeros(1, 9, 9, dtype=torch.float64)
    maps[0, 3:6, 3:6] = around
    log = around.log()
    x = 0.5 * (log[1, 0] - log[1, 2]) / (log[1, 0] - 2 * log[1, 1] + log[1, 2])
    y = 0.5 * (log[0, 1] - log[2, 1]) / (log[0, 1] - 2 * log[1, 1] + log[2, 1])
    refined = refine_peaks(maps, find_peaks(maps, threshold=1.0))
    torch.testing.assert_close(refined, torch.stack([4 + x, 4 + y])[None])


def test_cells_and_pixels() -> None:
    assert cell_to_pixel(torch.tensor([[0.0, 2.0]]), 8).tolist() == [[3.5, 19.5]]
    cells = torch.rand(5, 2, dtype=torch.float64)
    torch.testing.assert_close(cell_to_pixel(cells, 1), cells)
