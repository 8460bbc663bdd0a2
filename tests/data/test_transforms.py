"""Everything in a sample moves together."""

import math

import pytest
import torch

from anatomark.data.moving import move
from anatomark.data.transforms import (
    Compose,
    Crop,
    CropToBox,
    Fit,
    RandomBrightness,
    RandomCrop,
    RandomFlip,
    RandomGamma,
    RandomSimilarity,
    Spatial,
    Standardise,
    Stretch,
    View,
)
from anatomark.geometry.warp import centred_similarity
from anatomark.types import Sample

HEIGHT, WIDTH = 60, 80


def blob(x: float, y: float, height: int = HEIGHT, width: int = WIDTH, sigma: float = 2.0) -> torch.Tensor:
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * sigma**2))[None]


def sample_with_a_blob(x: float = 50.0, y: float = 22.0) -> Sample:
    return {
        "key": "a",
        "subject": "s",
        "image": blob(x, y),
        "attention": blob(x, y),
        "spacing_mm": torch.tensor([0.5, 0.5]),
        "fixations": torch.tensor([[x, y, 100.0], [x, y, 200.0]]),
        "points": {"csp": torch.tensor([x, y])},
        "boxes": {"csp": torch.tensor([x - 4, y - 3, x + 4, y + 3])},
        "ellipse": {"centre": torch.tensor([x, y]), "semi_axes": torch.tensor([10.0, 6.0]), "angle": 0.3},
        "frustum": {
            "apex": torch.tensor([x, y]),
            "radii": torch.tensor([5.0, 40.0]),
            "half_angle": 0.6,
            "tilt": 0.1,
        },
    }


def centre_of_mass(image: torch.Tensor) -> torch.Tensor:
    ys, xs = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in image.shape[-2:]), indexing="ij")
    return torch.stack([(image[0] * xs).sum(), (image[0] * ys).sum()]) / image.sum()


STEPS = {
    "fit larger": [Fit(height=120, width=100)],
    "fit smaller": [Fit(height=30, width=50)],
    "flip": [RandomFlip(p=1.0)],
    "crop": [RandomCrop(min_side=0.6, max_side=0.9)],
    "stretch": [Stretch(height=90, width=60)],
    "fixed crop": [Crop(top=5, left=30, height=40, width=45)],
    "crop to a box": [CropToBox(name="csp", margin=1.5)],
    "crop to a box that was turned": [RandomSimilarity(degrees=20), CropToBox(name="csp", margin=1.5)],
    "rotate and scale": [RandomSimilarity(degrees=20, scale=0.2)],
    "all": [
        RandomCrop(min_side=0.8),
        RandomFlip(p=1.0),
        RandomSimilarity(degrees=10, scale=0.1),
        Fit(height=50, width=70),
    ],
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_annotation_follows_the_image(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    moved = Spatial(steps=STEPS[name])(sample_with_a_blob())
    found = centre_of_mass(moved["image"])
    torch.testing.assert_close(centre_of_mass(moved["attention"]), found)
    if name == "stretch":
        assert "frustum" not in moved
        moved["frustum"] = {**sample_with_a_blob()["frustum"], "apex": found}
    x0, y0, x1, y1 = moved["boxes"]["csp"]
    positions = [
        moved["points"]["csp"],
        moved["fixations"][0, :2],
        moved["ellipse"]["centre"].float(),
        moved["frustum"]["apex"],
        torch.stack([(x0 + x1) / 2, (y0 + y1) / 2]),
    ]
    for position in positions:
        torch.testing.assert_close(position, found, rtol=0, atol=0.15)
    assert moved["fixations"][:, 2].tolist() == [100.0, 200.0]


def test_only_the_size_of_the_image_changes_with_fit() -> None:
    moved = Spatial(steps=[Fit(height=120, width=200)])(sample_with_a_blob())
    assert moved["image"].shape == (1, 120, 200)
    torch.testing.assert_close(moved["spacing_mm"], torch.tensor([0.25, 0.25]))
    torch.testing.assert_close(moved["boxes"]["csp"][2:] - moved["boxes"]["csp"][:2], torch.tensor([16.0, 12.0]))
    torch.testing.assert_close(moved["ellipse"]["semi_axes"].float(), torch.tensor([20.0, 12.0]))
    torch.testing.assert_close(moved["frustum"]["radii"], torch.tensor([10.0, 80.0]))
    assert moved["image"][:, :, :19].abs().max() == 0  # padding is black


def test_a_box_around_the_whole_image_stays_around_it() -> None:
    sample = sample_with_a_blob()
    sample["boxes"] = {"all": torch.tensor([-0.5, -0.5, WIDTH - 0.5, HEIGHT - 0.5])}
    moved = Spatial(steps=[Fit(height=30, width=40)])(sample)
    torch.testing.assert_close(moved["boxes"]["all"], torch.tensor([-0.5, -0.5, 39.5, 29.5]))


def test_flip_twice_is_nothing_and_turns_angles() -> None:
    sample = sample_with_a_blob()
    once = Spatial(steps=[RandomFlip(p=1.0)])(sample)
    torch.testing.assert_close(once["image"], sample["image"].flip(-1), atol=1e-5, rtol=0)
    assert once["ellipse"]["angle"] == pytest.approx(-0.3)
    assert once["frustum"]["tilt"] == pytest.approx(-0.1)
    twice = Spatial(steps=[RandomFlip(p=1.0), RandomFlip(p=1.0)])(sample)
    torch.testing.assert_close(twice["image"], sample["image"], atol=1e-5, rtol=0)


def test_rotation_turns_axes_by_its_angle() -> None:
    matrix = centred_similarity((HEIGHT, WIDTH), angle=0.2, scale=1.0)
    moved = move(sample_with_a_blob(), matrix, (HEIGHT, WIDTH))
    assert moved["ellipse"]["angle"] == pytest.approx(0.5)
    assert moved["frustum"]["tilt"] == pytest.approx(0.1 - 0.2)  # measured from +y towards +x


def test_a_chain_resamples_once() -> None:
    """Shrinking and growing again inside one Spatial loses nothing."""
    sample = sample_with_a_blob()
    chained = Spatial(steps=[Fit(height=6, width=8), Fit(height=HEIGHT, width=WIDTH)])(sample)
    torch.testing.assert_close(chained["image"], sample["image"], atol=1e-5, rtol=0)


def test_shrinking_does_not_alias() -> None:
    stripes = torch.zeros(1, HEIGHT, WIDTH)
    stripes[:, :, ::2] = 1
    sample: Sample = {"key": "a", "subject": "s", "image": stripes, "spacing_mm": torch.ones(2)}
    small = Spatial(steps=[Fit(height=15, width=20)])(sample)["image"]
    assert (small[:, 2:-2, 2:-2] - 0.5).abs().max() < 0.05


@pytest.mark.parametrize("seed", range(20))
def test_crop_keeps_the_gaze_and_the_aspect_ratio(seed: int) -> None:
    torch.manual_seed(seed)
    sample = sample_with_a_blob()
    sample["fixations"] = torch.tensor([[3.4, 5.7, 1.0], [60.6, 50.3, 1.0]])
    moved = Spatial(steps=[RandomCrop(min_side=0.5, max_side=0.6)])(sample)
    height, width = moved["image"].shape[-2:]
    assert (
        (moved["fixations"][:, :2] >= -0.5) & (moved["fixations"][:, :2] <= torch.tensor([width - 0.5, height - 0.5]))
    ).all()
    assert abs(width / height - WIDTH / HEIGHT) < 0.05


def test_crop_sides_and_places_vary() -> None:
    sizes, corners = set(), set()
    for seed in range(30):
        torch.manual_seed(seed)
        view = View(key="a", size=(HEIGHT, WIDTH), gaze=torch.empty(0, 2, dtype=torch.float64))
        matrix, size = RandomCrop()(view)
        assert 0.7 * WIDTH <= size[1] <= 0.9 * WIDTH + 1
        assert 0 <= -matrix[0, 2] <= WIDTH - size[1]
        sizes.add(size)
        corners.add(tuple(matrix[:, 2].tolist()))
    assert len(sizes) > 5
    assert len(corners) > 10


def test_no_gamma_draws_nothing() -> None:
    sample = sample_with_a_blob()
    state = torch.get_rng_state()
    assert RandomGamma(amount=0)(sample) is sample
    assert torch.equal(torch.get_rng_state(), state)


def test_grey_value_transforms() -> None:
    image = torch.rand(1, 8, 8)
    sample: Sample = {"key": "a", "subject": "s", "image": image, "spacing_mm": torch.ones(2)}
    torch.manual_seed(0)
    power = torch.log(RandomGamma(amount=0.25)(sample)["image"]) / torch.log(image)
    assert power.std() < 1e-4
    assert 0.75 <= power.mean() <= 1.25
    dimmed = [RandomBrightness(amount=0.25)(sample)["image"] for _ in range(20)]
    factors = torch.stack([one.min() / image.min() for one in dimmed])
    assert factors.min() < 0.9 < 1.1 < factors.max()
    for one, factor in zip(dimmed, factors, strict=True):
        torch.testing.assert_close(one, (image * factor).clamp(max=1))
    standard = Compose(steps=[Standardise()])(sample)["image"]
    assert abs(standard.mean()) < 1e-6
    assert standard.std() == pytest.approx(1, abs=1e-5)
    constant: Sample = {**sample, "image": torch.full((1, 4, 4), 0.3)}
    assert torch.isfinite(Standardise()(constant)["image"]).all()


def test_transforms_leave_their_input_alone() -> None:
    sample = sample_with_a_blob()
    before = sample["fixations"].clone()
    Spatial(steps=[RandomFlip(p=1.0)])(sample)
    torch.testing.assert_close(sample["fixations"], before)
    assert math.isclose(sample["ellipse"]["angle"], 0.3)


def test_crop_to_no_box_leaves_the_frame_whole():
    view = View(key="a", size=(HEIGHT, WIDTH), gaze=torch.empty(0, 2, dtype=torch.float64))
    matrix, size = CropToBox(name=None)(view)
    assert torch.equal(matrix, torch.eye(2, 3, dtype=torch.float64))
    assert size == (HEIGHT, WIDTH)
