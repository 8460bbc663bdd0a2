"""Attention maps against a filtered fixation map and a pixel-by-pixel sum."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from anatomark.geometry.attention import render_density, render_map
from anatomark.types import AnatomarkError

SIZE = (48, 64)


def random_fixations(b=3, n=7, seed=0, dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)
    scale = torch.tensor([64.0, 48.0, 400.0], dtype=dtype)
    return torch.rand(b, n, 3, generator=rng, dtype=dtype) * scale


def direct_density(fixations, sigma, weights):
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    total = sum(
        w * np.exp(-((x - fx) ** 2 + (y - fy) ** 2) / (2 * sigma**2))
        for (fx, fy, _), w in zip(fixations, weights, strict=True)
    )
    return total / total.sum()


@pytest.mark.parametrize("weighting", ["duration", "equal"])
def test_equals_the_sum_over_pixels(weighting):
    fixations = random_fixations()
    density = render_density(fixations, size=SIZE, sigma=5.0, weighting=weighting)
    for one, got in zip(fixations.numpy(), density.numpy(), strict=True):
        weights = one[:, 2] if weighting == "duration" else np.ones(len(one))
        np.testing.assert_allclose(got, direct_density(one, 5.0, weights), atol=1e-12)


def test_equals_scipy_on_a_binary_map():
    cells = torch.tensor([[20, 10], [40, 30], [5, 44]])
    binary = np.zeros(SIZE)
    binary[cells[:, 1], cells[:, 0]] = 1
    filtered = gaussian_filter(binary, 6.0, mode="constant", truncate=20)
    fixations = torch.cat([cells.double(), torch.tensor([[100.0], [300], [50]])], 1)[None]
    got = render_map(fixations, size=SIZE, sigma=6.0, weighting="equal")
    np.testing.assert_allclose(got[0], filtered / filtered.max(), atol=1e-9)


@pytest.mark.parametrize("stride", [2, 8])
def test_cells_are_the_means_of_their_pixels(stride):
    fixations = random_fixations(seed=1)
    fine = render_density(fixations, size=SIZE, sigma=3.0)
    coarse = render_density(fixations, size=SIZE, sigma=3.0, stride=stride)
    pooled = torch.nn.functional.avg_pool2d(fine, stride)
    torch.testing.assert_close(coarse, pooled * stride**2, atol=1e-12, rtol=0)


def test_sums_to_one_and_map_peaks_at_one():
    fixations = random_fixations(dtype=torch.float32)
    density = render_density(fixations, size=SIZE, sigma=4.0, stride=4)
    torch.testing.assert_close(density.sum((1, 2)), torch.ones(3))
    assert torch.equal(render_map(fixations, size=SIZE, sigma=4.0).amax((1, 2)), torch.ones(3))


def test_padding_carries_no_weight_and_batched_equals_one_by_one():
    fixations = random_fixations()
    padded = torch.cat([fixations, torch.tensor([[[30.0, 20.0, 0.0]]]).double().expand(3, 2, 3)], 1)
    for weighting in ("duration", "equal"):
        batched = render_density(padded, size=SIZE, sigma=5.0, weighting=weighting)
        single = [render_density(f[None], size=SIZE, sigma=5.0, weighting=weighting) for f in fixations]
        torch.testing.assert_close(batched, torch.cat(single))


def test_flip():
    fixations = random_fixations()
    mirrored = fixations.clone()
    mirrored[..., 0] = SIZE[1] - 1 - fixations[..., 0]
    plain = render_density(fixations, size=SIZE, sigma=5.0, stride=4)
    torch.testing.assert_close(render_density(mirrored, size=SIZE, sigma=5.0, stride=4), plain.flip(-1))


def test_nothing_fixated_gives_zeros():
    nothing = torch.zeros(2, 3, 3)
    for render in (render_density, render_map):
        assert not render(nothing, size=SIZE, sigma=5.0).any()
        assert not render(torch.zeros(2, 0, 3), size=SIZE, sigma=5.0).any()


def test_fixation_off_the_image_adds_its_tail_to_others():
    on, off = [40.0, 30.0, 100.0], [-8.0, 20.0, 100.0]
    alone, both = (render_map(torch.tensor([rows]), size=SIZE, sigma=5.0)[0] for rows in ([on], [on, off]))
    assert float(both[20, 0] - alone[20, 0]) == pytest.approx(math.exp(-0.5 * (8 / 5) ** 2), abs=1e-5)


@pytest.mark.parametrize("x", [-0.6, -8.0, -60.0, -72.0, -1e20, SIZE[1] - 0.4])
def test_frame_with_all_fixations_off_the_image_gets_zeros(x):
    """The tail at the border, divided by its own maximum, would be full attention."""
    beside, on = [[x, 20.0, 100.0], [30.0, -9.0, 100.0]], [[3.0, 4.0, 0.0], [30.0, 20.0, 100.0]]
    for render in (render_density, render_map):
        got = render(torch.tensor([beside, on]), size=SIZE, sigma=5.0)
        assert not got[0].any()
        assert torch.equal(got[1], render(torch.tensor([on]), size=SIZE, sigma=5.0)[0])
    assert render_map(torch.tensor([[[-0.5, 47.4, 100.0]]]), size=SIZE, sigma=5.0).any()


@pytest.mark.parametrize("sigma", [0.0373, 0.03, 1e-3])
def test_vanishing_mass_stays_finite(sigma):
    """So narrow that no pixel gets more than a subnormal number of it, or nothing."""
    between = torch.tensor([[[10.5, 20.0, 100.0]]])
    for render in (render_density, render_map):
        assert not render(between, size=SIZE, sigma=sigma, weighting="equal").any()


def test_refuses_impossible_settings():
    fixations = random_fixations()
    with pytest.raises(AnatomarkError, match="sigma"):
        render_density(fixations, size=SIZE, sigma=0.0)
    with pytest.raises(AnatomarkError, match="stride 7 does not divide"):
        render_density(fixations, size=SIZE, sigma=1.0, stride=7)
