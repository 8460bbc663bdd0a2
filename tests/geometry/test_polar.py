"""Polar images, points and boxes, against formulas written out, scikit-image and dense sampling."""

import math

import numpy as np
import pytest
import torch
from skimage.transform import warp as skimage_warp

from anatomark.geometry.polar import (
    box_polygons,
    boxes_to_cartesian,
    boxes_to_polar,
    points_to_cartesian,
    points_to_polar,
    sees,
    to_cartesian,
    to_polar,
)
from anatomark.types import AnatomarkError, Frustum, PolarGrid

H, W = 90, 120


def frustum(
    apex: tuple[float, float] = (55.0, -30.0),
    radii: tuple[float, float] = (35.0, 112.0),
    half: float = 0.55,
    tilt: float = 0.08,
) -> Frustum:
    return {"apex": torch.tensor(apex), "radii": torch.tensor(radii), "half_angle": half, "tilt": tilt}


FRUSTA = [frustum(), frustum((70.0, 4.0), (2.0, 80.0), 0.9, -0.2), frustum((60.0, -200.0), (203.0, 285.0), 0.2, 0.0)]


def grids(size: tuple[int, int] = (48, 64), cut: float = 0.1) -> list[PolarGrid]:
    return [PolarGrid.of(one, size, cut) for one in FRUSTA]


def smooth(n: int = 3, channels: int = 2) -> torch.Tensor:
    small = torch.rand(n, channels, 9, 12, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(small, size=(H, W), mode="bicubic")


def position(one: Frustum, size: tuple[int, int], cut: float, column: float, row: float) -> np.ndarray:
    """The frame position of a polar one, from the definition of a frustum."""
    near, far = one["radii"].tolist()
    near, far = near + cut * (far - near), far - cut * (far - near)
    depth = near + (row + 0.5) / size[0] * (far - near)
    angle = one["tilt"] - one["half_angle"] + (column + 0.5) / size[1] * 2 * one["half_angle"]
    return np.array([float(one["apex"][0]) + depth * math.sin(angle), float(one["apex"][1]) + depth * math.cos(angle)])


def test_a_plane_of_grey_values_is_sampled_at_the_positions_of_the_definition() -> None:
    y, x = torch.meshgrid(torch.arange(400.0), torch.arange(500.0), indexing="ij")
    frusta = [frustum((230.0, -60.0), (80.0, 440.0), 0.5, 0.1), frustum((200.0, 20.0), (0.0, 350.0), 0.6, -0.1)]
    size = (37, 51)
    polar = to_polar(torch.stack([x, y])[None].expand(2, -1, -1, -1), [PolarGrid.of(one, size, 0.1) for one in frusta])
    assert polar.shape == (2, 2, 37, 51)
    assert polar.dtype == torch.float32
    for index, one in enumerate(frusta):
        for row in range(0, 37, 6):
            for column in range(0, 51, 5):
                expected = position(one, size, 0.1, column, row)
                assert polar[index, :, row, column].numpy() == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("index", range(3))
def test_the_image_is_that_of_scikit_image(index: int) -> None:
    image, one, size = smooth()[index], FRUSTA[index], (48, 64)
    # A black margin makes black begin between the last pixel and the next for both.
    padded = torch.nn.functional.pad(image, (2, 2, 2, 2)).permute(1, 2, 0).double().numpy()
    xy = np.array([[position(one, size, 0.1, column, row) for column in range(64)] for row in range(48)]) + 2
    channels = [skimage_warp(padded[..., c], np.stack([xy[..., 1], xy[..., 0]]), order=1) for c in range(2)]
    expected = np.stack(channels, axis=-1)
    found = to_polar(image[None], [grids()[index]])[0].permute(1, 2, 0)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-4)


def test_a_batch_is_its_frames_one_by_one() -> None:
    images, batch = smooth(), grids()
    single = [to_polar(image[None], [one])[0] for image, one in zip(images, batch, strict=True)]
    torch.testing.assert_close(to_polar(images, batch), torch.stack(single), rtol=0, atol=0)
    polar = torch.stack(single)
    back = [to_cartesian(image[None], [one], size=(H, W))[0] for image, one in zip(polar, batch, strict=True)]
    torch.testing.assert_close(to_cartesian(polar, batch, size=(H, W)), torch.stack(back), rtol=0, atol=0)


def test_several_images_of_one_sector_are_each_alone() -> None:
    images, (first, second, _) = torch.rand(5, 2, 48, 64, generator=torch.Generator().manual_seed(1)), grids()
    repeated = [first, second, first, grids()[0], second]
    back = [to_cartesian(image[None], [one], size=(H, W))[0] for image, one in zip(images, repeated, strict=True)]
    torch.testing.assert_close(to_cartesian(images, repeated, size=(H, W)), torch.stack(back), rtol=0, atol=0)


def test_a_mirrored_frame_gives_a_mirrored_polar_image() -> None:
    mirrored = [
        {**one, "apex": torch.tensor([W - 1, 0]) + one["apex"] * torch.tensor([-1, 1]), "tilt": -one["tilt"]}
        for one in FRUSTA
    ]
    found = to_polar(smooth().flip(-1), [PolarGrid.of(one, (48, 64)) for one in mirrored])
    torch.testing.assert_close(found, to_polar(smooth(), grids()).flip(-1), rtol=0, atol=1e-4)


def test_half_precision_costs_no_positions() -> None:
    torch.testing.assert_close(to_polar(smooth().half(), grids()), to_polar(smooth(), grids()), rtol=0, atol=1e-3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(to_polar(smooth(), grids()), to_polar(smooth().float(), grids()))


def test_gradients_reach_the_images() -> None:
    images = smooth().requires_grad_()
    to_polar(images, grids()).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_points_go_there_and_back() -> None:
    generator = torch.Generator().manual_seed(1)
    polar = torch.rand(3, 200, 2, generator=generator) * torch.tensor([64.0, 48.0]) - 0.5
    frame = points_to_cartesian(polar, grids())
    assert frame.dtype == torch.float32
    assert (points_to_polar(frame, grids()) - polar).abs().max() < 1e-4
    anywhere = (torch.rand(3, 200, 2, generator=generator) - 0.2) * 400
    assert (points_to_cartesian(points_to_polar(anywhere, grids()), grids()) - anywhere).abs().max() < 1e-4


def test_corners_of_the_polar_image_are_those_of_the_sector() -> None:
    one = frustum()
    corners = points_to_cartesian(torch.tensor([[[-0.5, -0.5], [63.5, 47.5]]]), [PolarGrid.of(one, (48, 64), 0.0)])[0]
    near, far = one["radii"].tolist()
    left, right = one["tilt"] - one["half_angle"], one["tilt"] + one["half_angle"]
    assert corners[0].tolist() == pytest.approx([55 + near * math.sin(left), -30 + near * math.cos(left)], abs=1e-4)
    assert corners[1].tolist() == pytest.approx([55 + far * math.sin(right), -30 + far * math.cos(right)], abs=1e-4)


def test_points_move_with_the_image() -> None:
    y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    spot = torch.tensor([61.0, 40.0])
    image = torch.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / 18)[None, None]
    for grid in grids((240, 320), 0.0):
        polar = to_polar(image, [grid])[0, 0]
        row, column = divmod(int(polar.argmax()), 320)
        expected = points_to_polar(spot[None, None], [grid])[0, 0]
        assert [column, row] == pytest.approx(expected.tolist(), abs=1.0)


def region(grid: PolarGrid, box: torch.Tensor) -> torch.Tensor:
    """Frame positions all over a polar box."""
    left, top, right, bottom = box.tolist()
    columns, rows = torch.linspace(left, right, 801), torch.linspace(top, bottom, 9)
    return points_to_cartesian(torch.cartesian_prod(columns, rows)[None].double(), [grid])[0]


WIDE = [
    frustum((60.0, 10.0), (5.0, 100.0), 1.5, 0.6),  # its far arc passes both the x and the y axis
    frustum((60.0, 40.0), (0.0, 60.0), 1.2, 2.4),  # looks up
    frustum((60.0, 40.0), (20.0, 60.0), 0.3, -1.5),  # looks left
]


def random_boxes(n: int, seed: int, low: tuple[float, float], high: tuple[float, float]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.tensor(low) + torch.rand(n, 2, 2, generator=generator) * (torch.tensor(high) - torch.tensor(low))
    return torch.cat([corner.amin(1), corner.amax(1)], dim=1)


@pytest.mark.parametrize("one", [*FRUSTA, *WIDE])
def test_a_polar_box_comes_back_as_the_box_around_its_region(one: Frustum) -> None:
    grid = PolarGrid.of(one, (48, 64))
    boxes = torch.cat([random_boxes(12, 2, (-0.5, -0.5), (63.5, 47.5)), torch.tensor([[-0.5, -0.5, 63.5, 47.5]])])
    found = boxes_to_cartesian(boxes[None], [grid])[0]
    for box, result in zip(boxes, found, strict=True):
        xy = region(grid, box)
        expected = torch.cat([xy.amin(0), xy.amax(0)]).tolist()
        assert result.tolist() == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("one", [*FRUSTA, *WIDE])
def test_a_frame_box_becomes_the_polar_box_around_its_region(one: Frustum) -> None:
    grid = PolarGrid.of(one, (48, 64))
    boxes = random_boxes(20, 3, (0.0, 0.0), (W - 1.0, H - 1.0))
    found = boxes_to_polar(boxes[None], [grid])[0]
    turn = math.pi / one["half_angle"] * 64
    n_around = 0
    for (x0, y0, x1, y1), result in zip(boxes.tolist(), found, strict=True):
        xy = torch.cartesian_prod(torch.linspace(x0, x1, 301), torch.linspace(y0, y1, 301))
        polar = points_to_polar(xy[None].double(), [grid])[0]
        low, high = polar.amin(0).tolist(), polar.amax(0).tolist()
        around = high[0] - low[0] > 0.9 * turn
        n_around += around
        tolerance = 3.0 if around else 1e-2
        assert result[[0, 2]].tolist() == pytest.approx([low[0], high[0]], abs=tolerance)
        assert result[3].item() == pytest.approx(high[1], abs=1e-3)
        # The samples come only so close to an apex inside the box.
        assert low[1] - 1 < result[1].item() < low[1] + 1e-3
    assert n_around < 20


def test_a_box_around_the_apex_reaches_all_around() -> None:
    grid = PolarGrid.of(frustum((60.0, 40.0), (10.0, 40.0), 0.5, 0.3), (30, 60), 0.0)
    left, top, right, bottom = boxes_to_polar(torch.tensor([[[55.0, 38.0, 63.0, 50.0]]]), [grid])[0, 0].tolist()
    assert [left, right] == pytest.approx([29.5 - math.pi * 60, 29.5 + math.pi * 60])
    assert [top, bottom] == pytest.approx([-10.5, math.hypot(5, 10) - 10.5], abs=1e-4)


def test_a_box_and_its_way_back_hold_it() -> None:
    boxes = random_boxes(30, 4, (20.0, 20.0), (100.0, 80.0)).expand(3, -1, -1)
    back = boxes_to_cartesian(boxes_to_polar(boxes, grids()), grids())
    assert (back[..., :2] <= boxes[..., :2] + 1e-3).all()
    assert (back[..., 2:] >= boxes[..., 2:] - 1e-3).all()


def test_polygons_follow_the_outline() -> None:
    boxes = random_boxes(10, 5, (-0.5, -0.5), (63.5, 47.5)).expand(3, -1, -1)
    polygons = box_polygons(boxes, grids())
    polar = points_to_polar(polygons.flatten(1, 2), grids()).reshape(polygons.shape)
    low, high = boxes[:, :, None, :2], boxes[:, :, None, 2:]
    on_side = torch.minimum((polar - low).abs(), (polar - high).abs())
    assert on_side[..., 1].max() < 1e-3  # on one of the arcs
    around = torch.cat([polygons.amin(2), polygons.amax(2)], dim=-1)
    assert (around - boxes_to_cartesian(boxes, grids())).abs().max() < 0.05
    # Their area is that of the region between the arcs.
    x, y = polygons.double().unbind(-1)
    area = 0.5 * (x * y.roll(-1, -1) - y * x.roll(-1, -1)).sum(-1).abs()
    for index, grid in enumerate(grids()):
        depth, step = (grid.far - grid.near) / 48, 2 * grid.half_angle / 64
        near, far = (grid.near + (edges + 0.5) * depth for edges in (boxes[index, :, 1], boxes[index, :, 3]))
        expected = (far**2 - near**2) / 2 * (boxes[index, :, 2] - boxes[index, :, 0]) * step
        torch.testing.assert_close(area[index].float(), expected, rtol=2e-3, atol=1e-3)


def test_a_map_put_back_fills_the_sector_and_nothing_else() -> None:
    mask = to_cartesian(torch.ones(3, 1, 48, 64), grids(), size=(H, W))[:, 0]
    y, x = np.indices((H, W))
    for found, one in zip(mask, FRUSTA, strict=True):
        near, far = one["radii"].tolist()
        near, far = near + 0.1 * (far - near), far - 0.1 * (far - near)
        dx, dy = x - float(one["apex"][0]), y - float(one["apex"][1])
        radius, angle = np.hypot(dx, dy), np.arctan2(dx, dy) - one["tilt"]
        expected = (radius >= near) & (radius <= far) & (np.abs(angle) <= one["half_angle"])
        assert expected.sum() > 500
        assert (np.abs(found.numpy() - expected) > 1e-6).sum() <= 1  # a centre on the very edge


def test_an_image_comes_back() -> None:
    fine = grids((300, 400))
    back = to_cartesian(to_polar(smooth(), fine), fine, size=(H, W))
    inside = to_cartesian(torch.ones(3, 1, 300, 400), fine, size=(H, W)) > 0
    inside &= torch.nn.functional.max_pool2d((~inside).float(), 5, 1, 2) == 0  # away from the sector's edges
    error = ((back - smooth()) * inside).abs()
    assert inside.sum() > 3000
    assert error[..., 2:-2, 2:-2].max() < 0.02


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"radii": (50.0, 50.0)}, "from radius 50 to 50 px"),
        ({"radii": (50.0, 20.0)}, "from radius 50 to 20 px"),
        ({"radii": (-5.0, 20.0)}, "from radius -5 to 20 px"),
        ({"radii": (0.0, 0.0)}, "from radius 0 to 0 px"),
        ({"half": 0.0}, "opening angle is 0 degrees"),
        ({"half": -0.3}, "opening angle is -17.1"),
        ({"half": math.pi / 2}, "opening angle is 90 degrees"),
        ({"half": math.nan}, "NaN or infinity"),
        ({"tilt": math.inf}, "NaN or infinity"),
        ({"apex": (math.nan, 0.0)}, "NaN or infinity"),
        ({"radii": (5.0, math.inf)}, "NaN or infinity"),
    ],
)
def test_geometry_of_no_sector_is_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(AnatomarkError, match=message) as caught:
        PolarGrid.of(frustum(**changed), (48, 64))  # type: ignore[arg-type]
    assert "correct" in str(caught.value)


@pytest.mark.parametrize(("size", "cut"), [((0, 64), 0.1), ((48, 64), 0.5), ((48, 64), -0.1), ((48, 64), 10)])
def test_a_polar_image_that_cannot_be_is_refused(size: tuple[int, int], cut: float) -> None:
    with pytest.raises(AnatomarkError, match="cannot be; use at least 1 x 1 px and a cut"):
        PolarGrid.of(frustum(), size, cut)


def test_sizes_have_to_agree() -> None:
    mixed = [PolarGrid.of(frustum(), (48, 64)), PolarGrid.of(frustum(), (48, 60))]
    with pytest.raises(AnatomarkError, match="make them of one size"):
        to_polar(smooth(2), mixed)
    with pytest.raises(AnatomarkError, match=r"are \(24, 32\) px but their grids \(48, 64\)"):
        to_cartesian(torch.ones(3, 1, 24, 32), grids(), size=(H, W))


def test_a_sector_beside_the_frame_is_not_seen() -> None:
    assert all(sees(grid, (H, W)) for grid in grids())
    for apex in [(400.0, -30.0), (55.0, 100.0), (55.0, -300.0), (-200.0, 0.0)]:
        assert not sees(PolarGrid.of(frustum(apex), (48, 64)), (H, W))
