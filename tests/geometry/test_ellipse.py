"""Ellipses recovered from drawn masks and moved through affine maps."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from anatomark.geometry.ellipse import ellipse_from_mask, transform_ellipse
from anatomark.types import AnatomarkError, Ellipse


def draw(centre: tuple[float, float], axes: tuple[float, float], angle: float, size: tuple[int, int]) -> Tensor:
    """Signed excess of the ellipse's equation: negative inside."""
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in size), indexing="ij")
    dx, dy = x - centre[0], y - centre[1]
    along = dx * math.cos(angle) + dy * math.sin(angle)
    across = dy * math.cos(angle) - dx * math.sin(angle)
    return (along / axes[0]) ** 2 + (across / axes[1]) ** 2 - 1


def angle_between(a: float, b: float) -> float:
    return abs((a - b + math.pi / 2) % math.pi - math.pi / 2)


CASES = [
    ((150.3, 97.8), (88.4, 61.2), 0.35),
    ((150.3, 97.8), (88.4, 61.2), -1.2),
    ((140.0, 100.5), (80.7, 35.1), math.pi / 2),
    ((160.9, 110.1), (25.2, 14.6), 1.1),
]


@pytest.mark.parametrize(("centre", "axes", "angle"), CASES)
def test_filled_ellipse_to_sub_pixel_accuracy(
    centre: tuple[float, float], axes: tuple[float, float], angle: float
) -> None:
    found = ellipse_from_mask(draw(centre, axes, angle, (220, 320)) <= 0)
    np.testing.assert_allclose(found["centre"], centre, atol=0.05)
    np.testing.assert_allclose(found["semi_axes"], axes, atol=0.15)
    assert angle_between(found["angle"], angle) < 0.005
    assert -math.pi / 2 < found["angle"] <= math.pi / 2


@pytest.mark.parametrize("thickness", [2.0, 6.0])
@pytest.mark.parametrize(("centre", "axes", "angle"), CASES)
def test_outline_gives_the_middle_of_its_line(
    centre: tuple[float, float], axes: tuple[float, float], angle: float, thickness: float
) -> None:
    half = thickness / 2
    outer = draw(centre, (axes[0] + half, axes[1] + half), angle, (220, 320)) <= 0
    inner = draw(centre, (axes[0] - half, axes[1] - half), angle, (220, 320)) <= 0
    found = ellipse_from_mask(outer & ~inner)
    np.testing.assert_allclose(found["centre"], centre, atol=0.1)
    np.testing.assert_allclose(found["semi_axes"], axes, atol=0.15)
    assert angle_between(found["angle"], angle) < 0.02


def test_holes_of_inner_structures_do_not_matter() -> None:
    mask = draw((150.3, 97.8), (88.4, 61.2), 0.35, (220, 320)) <= 0
    whole = ellipse_from_mask(mask)
    mask[80:100, 130:170] = False
    pierced = ellipse_from_mask(mask)
    torch.testing.assert_close(pierced["semi_axes"], whole["semi_axes"])


def test_positive_angle_points_down() -> None:
    mask = torch.zeros(60, 60, dtype=torch.bool)
    for i in range(10, 50):
        mask[i, i - 5 : i + 6] = True
    assert ellipse_from_mask(mask)["angle"] == pytest.approx(math.pi / 4, abs=0.2)
    assert ellipse_from_mask(mask.flip(1))["angle"] == pytest.approx(-math.pi / 4, abs=0.2)


def test_empty_thin_and_open_masks_are_refused() -> None:
    mask = torch.zeros(220, 320, dtype=torch.bool)
    with pytest.raises(AnatomarkError, match="mask is empty"):
        ellipse_from_mask(mask)
    mask[7, 9] = True
    with pytest.raises(AnatomarkError, match="neither a filled ellipse nor a closed outline"):
        ellipse_from_mask(mask)
    excess = draw((150.0, 100.0), (88.0, 61.0), 0.3, (220, 320))
    outline = excess.abs() < 0.05
    outline[:, 148:153] = False
    with pytest.raises(AnatomarkError, match="check the mask for gaps"):
        ellipse_from_mask(outline)


ELLIPSE = Ellipse(
    centre=torch.tensor([40.0, 25.0], dtype=torch.float64),
    semi_axes=torch.tensor([20.0, 12.0], dtype=torch.float64),
    angle=0.6,
)


def outline_points(ellipse: Ellipse) -> Tensor:
    t = torch.linspace(0, 2 * math.pi, 40, dtype=torch.float64)
    a, b = ellipse["semi_axes"].double()
    cos, sin = math.cos(ellipse["angle"]), math.sin(ellipse["angle"])
    x, y = a * t.cos(), b * t.sin()
    return torch.stack([cos * x - sin * y, sin * x + cos * y], dim=1) + ellipse["centre"].double()


def excess_of(ellipse: Ellipse, points: Tensor) -> Tensor:
    dx, dy = (points - ellipse["centre"].double()).unbind(1)
    cos, sin = math.cos(ellipse["angle"]), math.sin(ellipse["angle"])
    a, b = ellipse["semi_axes"].double()
    return ((cos * dx + sin * dy) / a) ** 2 + ((cos * dy - sin * dx) / b) ** 2 - 1


@pytest.mark.parametrize(
    "matrix",
    [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
        [[-1.0, 0.0, 99.0], [0.0, 1.0, 0.0]],
        [[0.3, -0.7, 5.0], [0.7, 0.3, -8.0]],
        [[1.0, 0.8, 3.0], [0.0, 1.0, 4.0]],
        [[-0.2, 1.5, 3.0], [0.9, 0.4, 4.0]],
        [[0.01, 0.0, 0.0], [0.0, 3.0, 0.0]],
    ],
)
def test_the_outline_moves_onto_the_outline(matrix: list[list[float]]) -> None:
    affine = torch.tensor(matrix, dtype=torch.float64)
    moved = transform_ellipse(ELLIPSE, affine)
    points = outline_points(ELLIPSE) @ affine[:, :2].T + affine[:, 2]
    assert excess_of(moved, points).abs().max() < 1e-9
    assert moved["semi_axes"][0] >= moved["semi_axes"][1]
    assert -math.pi / 2 < moved["angle"] <= math.pi / 2


def test_mirroring_turns_the_angle_round_and_the_type_stays() -> None:
    single = Ellipse(centre=ELLIPSE["centre"].float(), semi_axes=ELLIPSE["semi_axes"].float(), angle=0.6)
    moved = transform_ellipse(single, torch.tensor([[-1.0, 0.0, 99.0], [0.0, 1.0, 0.0]]))
    assert moved["angle"] == pytest.approx(-0.6, abs=1e-6)
    assert moved["centre"].tolist() == [59.0, 25.0]
    assert moved["centre"].dtype == moved["semi_axes"].dtype == torch.float32


def test_a_singular_map_is_refused() -> None:
    with pytest.raises(ValueError, match="no ellipse"):
        transform_ellipse(ELLIPSE, torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))


@pytest.mark.real_data
def test_hc18_circumferences(data_dir: Path) -> None:
    rows = (data_dir / "hc18" / "training_set_pixel_size_and_HC.csv").read_text().splitlines()[1:11]
    for row in rows:
        name, pixel_mm, hc_mm = row.split(",")[:3]
        path = data_dir / "hc18" / "training_set" / name.replace(".png", "_Annotation.png")
        a, b = ellipse_from_mask(torch.from_numpy(np.array(Image.open(path).convert("L")) > 127))["semi_axes"].tolist()
        h = ((a - b) / (a + b)) ** 2
        circumference = math.pi * (a + b) * (1 + 3 * h / (10 + math.sqrt(4 - 3 * h)))  # Ramanujan
        # The filled masks include the outer half of the annotation line, about 2 px.
        assert circumference * float(pixel_mm) == pytest.approx(float(hc_mm), rel=0.015)
