"""Maps to boxes, against brute force over pixels."""

from functools import partial

import numpy as np
import pytest
import torch

from anatomark.geometry.boxes import (
    box_contains,
    box_iou,
    contrast_boxes,
    contrast_threshold,
    fraction_thresholds,
    mean_threshold,
    median_and_highest,
    median_threshold,
    peak_points,
    threshold_boxes,
    union_box,
)
from anatomark.types import AnatomarkError

H, W = 12, 17


def contrast_rule(maps: torch.Tensor) -> torch.Tensor:
    return contrast_threshold(*median_and_highest(maps))


def median_rule(maps: torch.Tensor) -> torch.Tensor:
    return median_threshold(*median_and_highest(maps))


RULES = (contrast_rule, median_rule, mean_threshold)


def random_maps(seed: int, n: int = 6) -> torch.Tensor:
    return torch.rand(n, H, W, generator=torch.Generator().manual_seed(seed)) ** 3


def brute_box(mask: np.ndarray) -> list[float]:
    rows, columns = np.nonzero(mask)
    return [columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5]


def test_median_rule_pixel_by_pixel() -> None:
    maps = random_maps(0)
    maps[1] = maps[1] + 5  # nothing reaches 1.3 times the median
    maps[2, :8] = 0  # the median is 0
    found = maps >= median_rule(maps)[..., None]
    for i, values in enumerate(maps.numpy()):
        median = np.median(values)
        mask = values >= 1.3 * median
        if median == 0 or not mask.any():
            mask = values >= median + 0.3 * (values.max() - median)
        assert 0 < mask.sum() < mask.size
        np.testing.assert_array_equal(found[i], mask)


@pytest.mark.parametrize("width", [W, W + 1])
def test_the_median_of_an_even_and_an_odd_number_of_pixels(width: int) -> None:
    maps = torch.rand(4, 7, width, generator=torch.Generator().manual_seed(5))
    expected = [values >= 1.3 * np.median(values) for values in maps.numpy()]
    np.testing.assert_array_equal(maps >= median_rule(maps)[..., None], expected)


@pytest.mark.parametrize("width", [W, W + 1])
def test_contrast_rule_pixel_by_pixel(width: int) -> None:
    maps = torch.rand(4, 7, width, generator=torch.Generator().manual_seed(5)) - 0.4
    medians = [np.median(values) for values in maps.numpy()]
    expected = [
        values >= median + 0.3 * (values.max() - median) for values, median in zip(maps.numpy(), medians, strict=True)
    ]
    np.testing.assert_array_equal(maps >= contrast_rule(maps)[..., None], expected)
    np.testing.assert_array_equal(contrast_boxes(maps), [brute_box(mask) for mask in expected])
    # Neither the unit of a map nor its zero plays a role.
    torch.testing.assert_close(contrast_boxes(3 * maps - 5), contrast_boxes(maps))


def test_mean_and_fraction_rules_pixel_by_pixel() -> None:
    maps = random_maps(1)
    means, fractions = mean_threshold(maps), fraction_thresholds(maps, [0.5, 0.95])
    for mean, (half, most), values in zip(means, fractions, maps.numpy(), strict=True):
        np.testing.assert_array_equal(values >= mean.numpy(), values >= values.mean())
        np.testing.assert_array_equal(values >= half.numpy(), values >= values.max() / 2)
        np.testing.assert_array_equal(values >= most.numpy(), values >= 0.95 * values.max())


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_constant_map_gives_the_whole_image(value: float) -> None:
    maps = torch.full((2, H, W), value)
    thresholds = torch.cat([rule(maps) for rule in (*RULES, partial(fraction_thresholds, fractions=[0.7, 1]))], 1)
    assert threshold_boxes(maps, thresholds).tolist() == [[[-0.5, -0.5, W - 0.5, H - 0.5]] * 5] * 2


@pytest.mark.parametrize("fraction", [-0.1, 1.1])
def test_a_fraction_outside_the_unit_interval_is_refused(fraction: float) -> None:
    with pytest.raises(AnatomarkError, match="must lie in"):
        fraction_thresholds(random_maps(0), [0.5, fraction])


def test_boxes_by_brute_force() -> None:
    maps = random_maps(2)
    thresholds = torch.rand(6, 5, generator=torch.Generator().manual_seed(1)) * 0.7
    expected = [
        [brute_box(values >= level) for level in levels]
        for values, levels in zip(maps.numpy(), thresholds.numpy(), strict=True)
    ]
    np.testing.assert_allclose(threshold_boxes(maps, thresholds), expected)


def test_a_single_pixel_is_a_box_of_one_pixel() -> None:
    maps = torch.zeros(1, H, W)
    maps[0, 4, 9] = 1
    assert threshold_boxes(maps, torch.tensor([[0.5]])).tolist() == [[[8.5, 3.5, 9.5, 4.5]]]


@pytest.mark.parametrize("value", [0.4, float("nan")])
def test_a_map_below_its_threshold_has_no_box(value: float) -> None:
    maps = random_maps(0) + 0.5
    maps[3] = value
    with pytest.raises(AnatomarkError, match="map 3 of the batch nowhere reaches its threshold"):
        threshold_boxes(maps, torch.full((6, 2), 0.45))


def test_boxes_move_with_shifts_and_flips() -> None:
    maps = torch.zeros(4, H, W)
    maps[:, 3:7, 4:9] = random_maps(3, 4)[:, 3:7, 4:9] + 0.1
    for rule in RULES:
        box, moved, flipped, scaled = (
            threshold_boxes(changed, rule(changed))[:, 0]
            for changed in (maps, maps.roll((2, 5), (1, 2)), maps.flip(2), 7 * maps)
        )
        torch.testing.assert_close(moved, box + torch.tensor([5.0, 2, 5, 2]))
        x0, y0, x1, y1 = flipped.unbind(1)
        torch.testing.assert_close(torch.stack([W - 1 - x1, y0, W - 1 - x0, y1], 1), box)
        torch.testing.assert_close(scaled, box)


def test_iou_by_counting_pixels() -> None:
    rng = np.random.default_rng(0)
    corners = np.sort(rng.integers(0, 20, (200, 2, 2, 2)), axis=2)  # (pair, box, corner, axis)
    boxes = corners.reshape(200, 2, 4) + np.array([0, 0, 1, 1])
    y, x = np.mgrid[:21, :21] + 0.5
    inside = [
        [(x > a[0]) & (x < a[2]) & (y > a[1]) & (y < a[3]) for a in pair]  # pixel centres lie between the edges
        for pair in boxes
    ]
    expected = [(a & b).sum() / (a | b).sum() for a, b in inside]
    first, second = torch.tensor(boxes, dtype=torch.float64).unbind(1)
    np.testing.assert_allclose(box_iou(first, second), expected, atol=1e-12)
    torch.testing.assert_close(box_iou(second, first), box_iou(first, second))
    torch.testing.assert_close(box_iou(first, first), torch.ones(200).double())


def test_boxes_without_area_share_nothing() -> None:
    point = torch.tensor([[3.0, 3, 3, 3]])
    assert box_iou(point, point).tolist() == [0]


def test_union_and_containment() -> None:
    boxes = torch.tensor([[2.0, 3, 5, 9], [4, 1, 7, 6]])
    assert union_box(boxes).tolist() == [2, 1, 7, 9]
    points = torch.tensor([[2.0, 9], [7.1, 5]])
    assert box_contains(boxes, points).tolist() == [True, False]


def test_the_peak_is_the_first_maximum() -> None:
    maps = random_maps(5)
    maps[0, 3, 4] = maps[0, 7, 2] = 2
    rows, columns = np.unravel_index(maps.flatten(1).numpy().argmax(1), (H, W))
    assert peak_points(maps).tolist() == np.stack([columns, rows], 1).tolist()
    assert peak_points(maps)[0].tolist() == [4, 3]
    # Cell c covers the pixels 8 c to 8 c + 7.
    assert peak_points(maps, stride=8)[0].tolist() == [35.5, 27.5]
