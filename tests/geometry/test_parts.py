"""Boxes of the largest connected parts, against a labelling of scikit-image mask by mask."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.measure import label as label_parts

from anatomark.geometry import parts
from anatomark.geometry.parts import largest_boxes
from anatomark.types import AnatomarkError

H, W = 13, 18


def brute_box(mask: np.ndarray) -> list[float]:
    parts = label_parts(mask, connectivity=2)
    sizes = np.bincount(parts.ravel())[1:]
    rows, columns = np.nonzero(parts == sizes.argmax() + 1)  # parts are numbered in raster order
    return [columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5]


def boxes_of(masks: torch.Tensor) -> list[list[float]]:
    return largest_boxes(masks.float(), torch.full((len(masks), 1), 0.5))[:, 0].tolist()


def test_equals_a_labelling_one_by_one() -> None:
    rng = torch.Generator().manual_seed(0)
    maps = torch.rand(40, H, W, generator=rng)
    # From nearly full masks to single pixels, with many ties; each map has thresholds of its own.
    thresholds = torch.rand(40, 8, generator=rng) * maps.amax((1, 2))[:, None]
    found = largest_boxes(maps, thresholds)
    expected = [
        [brute_box(values >= level) for level in levels]
        for values, levels in zip(maps.numpy(), thresholds.numpy(), strict=True)
    ]
    np.testing.assert_array_equal(found, expected)
    for i in range(5):
        torch.testing.assert_close(largest_boxes(maps[[i]], thresholds[[i]])[0], found[i])


@pytest.mark.parametrize("blob", [5, 25])
def test_smooth_maps_of_a_larger_size(blob: int) -> None:
    noise = torch.rand(6, 1, 90, 70, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    maps = torch.nn.functional.avg_pool2d(noise, blob, 1, blob // 2)[:, 0]
    thresholds = maps.amax((1, 2))[:, None] * torch.linspace(0, 1, 20, dtype=torch.float64)
    expected = [
        [brute_box(values >= level) for level in levels]
        for values, levels in zip(maps.numpy(), thresholds.numpy(), strict=True)
    ]
    np.testing.assert_array_equal(largest_boxes(maps, thresholds), expected)


def test_one_threshold_equals_the_labels_of_scipy() -> None:
    maps = torch.rand(30, H, W, generator=torch.Generator().manual_seed(2))
    thresholds = torch.linspace(0.3, 0.9, 30)[:, None]
    expected = []
    for mask in (maps >= thresholds[:, :, None]).numpy():
        labels, n_parts = ndimage.label(mask, structure=np.ones((3, 3)))
        largest = np.argmax(ndimage.sum_labels(mask, labels, np.arange(1, n_parts + 1)))
        y, x = ndimage.find_objects(labels)[largest]
        expected.append([x.start - 0.5, y.start - 0.5, x.stop - 0.5, y.stop - 0.5])
    np.testing.assert_array_equal(largest_boxes(maps, thresholds)[:, 0], expected)


@pytest.mark.parametrize("n_thresholds", [1, 7, 300])
def test_thresholds_in_any_order_and_repeated(n_thresholds: int) -> None:
    rng = torch.Generator().manual_seed(3)
    maps = (torch.rand(5, H, W, generator=rng) * 20).round() / 20
    thresholds = (torch.rand(5, n_thresholds, generator=rng) * 18).round() / 20  # which pixels equal
    one_by_one = [largest_boxes(maps, one[:, None]) for one in thresholds.T]
    torch.testing.assert_close(largest_boxes(maps, thresholds), torch.cat(one_by_one, 1), rtol=0, atol=0)


@pytest.mark.parametrize("pixels_at_once", [1, 2 * H * W + 1])
def test_maps_read_in_several_goes(pixels_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = torch.rand(7, H, W, generator=torch.Generator().manual_seed(4))
    thresholds = torch.linspace(0.2, 0.8, 5).expand(7, 5)
    expected = largest_boxes(maps, thresholds)
    monkeypatch.setattr(parts, "_PIXELS_AT_ONCE", pixels_at_once)
    torch.testing.assert_close(largest_boxes(maps, thresholds), expected, rtol=0, atol=0)


def test_pixels_that_touch_at_a_corner_are_one_part() -> None:
    masks = torch.zeros(3, H, W, dtype=torch.bool)
    masks[:, 2, 2:5] = masks[0, 3, 5] = masks[0, 4, 6] = True  # down to the right
    masks[1, 3, 1] = masks[1, 4, 0] = True  # down to the left
    masks[2, 3, 6] = masks[2, 4, 7] = True  # one column apart: not touching
    assert boxes_of(masks) == [[1.5, 1.5, 6.5, 4.5], [-0.5, 1.5, 4.5, 4.5], [1.5, 1.5, 4.5, 2.5]]


def test_parts_end_at_the_border_of_their_row_and_of_their_map() -> None:
    masks = torch.zeros(2, H, W, dtype=torch.bool)
    masks[0, 3, W - 4 :] = masks[0, 4, :3] = True  # neighbours in memory only
    masks[0, H - 1] = masks[1, 0, :5] = True
    masks[1, 5, 5:11] = True
    assert boxes_of(masks) == [[-0.5, H - 1.5, W - 0.5, H - 0.5], [4.5, 4.5, 10.5, 5.5]]


def test_of_equal_parts_the_first_in_raster_order_counts() -> None:
    masks = torch.zeros(1, H, W, dtype=torch.bool)
    masks[0, 2, 9:12] = masks[0, 3:6, 2] = masks[0, 8, 8:11] = True
    assert boxes_of(masks) == [[8.5, 1.5, 11.5, 2.5]]
    assert boxes_of(masks.flip(1)) == [[7.5, H - 9.5, 10.5, H - 8.5]]


@pytest.mark.parametrize("value", [0.4, float("nan")])
def test_a_map_below_its_threshold_has_no_box(value: float) -> None:
    maps = torch.ones(3, H, W)
    maps[1] = value
    with pytest.raises(AnatomarkError, match="map 1 of the batch nowhere reaches its threshold"):
        largest_boxes(maps, torch.full((3, 2), 0.45))
    with pytest.raises(AnatomarkError, match="map 0"):
        largest_boxes(maps[[1]], torch.full((1, 1), 0.45))
