"""Cutting out and stretching: against slicing and PIL, with what follows the image."""

import numpy as np
import pytest
import torch
from PIL import Image

from anatomark.data.moving import move
from anatomark.data.transforms import Crop, CropToBox, Fit, RandomFlip, Spatial, Stretch
from anatomark.types import AnatomarkError

HEIGHT, WIDTH = 60, 80
NOISE = torch.rand(1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))


def sample(**fields):
    return {"key": "frame 7", "subject": "s", "image": NOISE, "spacing_mm": torch.tensor([0.5, 0.5]), **fields}


def boxed(*edges):
    return sample(boxes={"abdominal_wall": torch.tensor(edges)})


def test_crop_is_a_slice():
    moved = Spatial(steps=[Crop(top=11, left=8, height=40, width=70)])(sample(points={"p": torch.tensor([9.0, 12.0])}))
    assert torch.allclose(moved["image"], NOISE[:, 11:51, 8:78], atol=5e-5)
    assert moved["points"]["p"].tolist() == [1, 1]


def test_crop_and_stretch_resample_like_pil():
    """As the published preprocessing of SonoNet: first slice, then resize with antialiasing."""
    moved = Spatial(steps=[Crop(top=11, left=8, height=47, width=71), Stretch(height=17, width=29)])(sample())
    part = Image.fromarray(NOISE[0, 11:58, 8:79].numpy())
    expected = np.asarray(part.resize((29, 17), Image.Resampling.BILINEAR))
    assert np.abs(moved["image"][0].numpy() - expected).max() < 2e-5


def test_stretch_scales_each_axis_by_its_own_factor():
    ellipse = {"centre": torch.tensor([39.5, 29.5]), "semi_axes": torch.tensor([20.0, 10.0]), "angle": 0.0}
    frustum = {"apex": torch.zeros(2), "radii": torch.tensor([1.0, 9.0]), "half_angle": 0.5, "tilt": 0.0}
    moved = Spatial(steps=[Stretch(height=180, width=40)])(sample(ellipse=ellipse, frustum=frustum))
    assert moved["spacing_mm"].tolist() == pytest.approx([1.0, 0.5 / 3])
    assert moved["ellipse"]["centre"].tolist() == pytest.approx([19.5, 89.5])
    assert moved["ellipse"]["semi_axes"].tolist() == pytest.approx([30, 10])  # now upright
    assert abs(moved["ellipse"]["angle"]) == pytest.approx(np.pi / 2)
    assert "frustum" not in moved
    assert "frustum" in Spatial(steps=[Stretch(height=120, width=160)])(sample(frustum=frustum))  # a similarity


def test_spacing_of_turned_pixels():
    """A quarter turn swaps the axes' pixel sizes."""
    quarter = torch.tensor([[0.0, -1.0, HEIGHT - 1.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    moved = move({**sample(), "spacing_mm": torch.tensor([0.5, 0.2])}, quarter, (WIDTH, HEIGHT))
    assert moved["spacing_mm"].tolist() == pytest.approx([0.2, 0.5])
    assert torch.allclose(moved["image"], NOISE.rot90(-1, (1, 2)), atol=1e-5)


def test_crop_outside_the_frame_is_refused():
    with pytest.raises(
        AnatomarkError, match="frame frame 7 is 80 x 60 px and has no rows 30 to 61 and columns 0 to 80"
    ):
        Spatial(steps=[Crop(top=30, left=0, height=31, width=80)])(sample())


def test_crop_to_a_box_is_the_slice_of_its_pixels():
    moved = Spatial(steps=[CropToBox()])(boxed(9.5, 4.5, 49.5, 34.5))
    assert moved["image"].shape == (1, 30, 40)
    assert torch.allclose(moved["image"], NOISE[:, 5:35, 10:50], atol=5e-5)
    assert moved["boxes"]["abdominal_wall"].tolist() == [-0.5, -0.5, 39.5, 29.5]
    # Pixels that the box cuts belong to it.
    assert Spatial(steps=[CropToBox()])(boxed(9.6, 4.4, 49.7, 34.5))["image"].shape == (1, 31, 41)


def test_margin_is_a_share_of_the_sides_and_black_beyond_the_frame():
    moved = Spatial(steps=[CropToBox(margin=0.25)])(boxed(-0.5, 9.5, 39.5, 29.5))
    assert moved["image"].shape == (1, 30, 60)
    assert (moved["image"][:, :, :10] == 0).all()
    assert torch.allclose(moved["image"][:, :, 10:], NOISE[:, 5:35, :50], atol=5e-5)


def test_box_is_taken_where_the_steps_before_left_it():
    moved = Spatial(steps=[RandomFlip(p=1.0), CropToBox()])(boxed(9.5, 4.5, 49.5, 34.5))
    assert torch.allclose(moved["image"], NOISE[:, 5:35, 10:50].flip(-1), atol=1e-5)
    small = Spatial(steps=[CropToBox(), Fit(height=15, width=20)])(boxed(9.5, 4.5, 49.5, 34.5))
    assert small["boxes"]["abdominal_wall"].tolist() == pytest.approx([-0.5, -0.5, 19.5, 14.5])


def test_frame_without_the_box_is_named():
    with pytest.raises(AnatomarkError, match=r"frame frame 7 has no box 'abdominal_wall' to crop to; annotate it"):
        Spatial(steps=[CropToBox()])(sample())
    with pytest.raises(AnatomarkError, match=r"margin is -0.1"):
        CropToBox(margin=-0.1)
