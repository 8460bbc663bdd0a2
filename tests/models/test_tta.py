"""Test-time augmentation: maps and features come back to where the image has them."""

import pytest
import torch
import torch.nn.functional as F

from anatomark.models.tta import TestTimeAugmentation


def grey_values_as_density(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A predictor that sees exactly the image: cells are mean grey values, features their halves and doubles."""
    cells = F.avg_pool2d(images, 8)[:, 0]
    return cells / cells.sum((1, 2), keepdim=True), torch.stack([cells / 2, cells * 2], dim=1)


def blobs(*centres: tuple[float, float], size: tuple[int, int] = (224, 288)) -> torch.Tensor:
    ys, xs = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    return torch.stack([torch.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * 16.0**2)) for x, y in centres])[:, None]


def centres_of_mass(density: torch.Tensor) -> torch.Tensor:
    ys, xs = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in density.shape[-2:]), indexing="ij")
    return torch.stack([(density * xs).sum((1, 2)), (density * ys).sum((1, 2))], dim=1)


def test_blobs_stay_where_they_are() -> None:
    images = blobs((100, 90), (200, 140), (150, 110))
    expected, features = grey_values_as_density(images)
    density, averaged = TestTimeAugmentation()(grey_values_as_density, images)
    torch.testing.assert_close(centres_of_mass(density), centres_of_mass(expected), atol=0.05, rtol=0)
    torch.testing.assert_close(density.sum((1, 2)), torch.ones(3))
    assert (averaged - features).abs().max() < 0.12 * features.max()


def test_one_pose_is_the_plain_prediction() -> None:
    images = blobs((100, 90))
    density, features = TestTimeAugmentation(flip=False, degrees=(), scales=())(grey_values_as_density, images)
    expected = grey_values_as_density(images)
    torch.testing.assert_close(density, expected[0])
    torch.testing.assert_close(features, expected[1])


def test_flip_makes_the_prediction_equivariant_to_flips() -> None:
    """A predictor that favours the left half does so no more."""
    ramp = torch.linspace(2, 1, 36)

    def biased(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        density, features = grey_values_as_density(images)
        density = density * ramp
        return density / density.sum((1, 2), keepdim=True), features

    images = blobs((60, 90), (210, 120)).sum(0, keepdim=True)
    augment = TestTimeAugmentation()
    density, features = augment(biased, images)
    mirrored_density, mirrored_features = augment(biased, images.flip(-1))
    torch.testing.assert_close(mirrored_density.flip(-1), density, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(mirrored_features.flip(-1), features, atol=1e-5, rtol=1e-4)


def test_cells_that_left_the_frame_are_averaged_over_the_copies_that_saw_them() -> None:
    """Features of a constant predictor stay constant up to the corners, which most copies move out of view."""

    def constant(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        cells = torch.ones(len(images), 28, 36)
        return cells / cells.sum((1, 2), keepdim=True), 3 * cells[:, None]

    density, features = TestTimeAugmentation()(constant, blobs((100, 90)))
    torch.testing.assert_close(features, torch.full_like(features, 3.0))
    torch.testing.assert_close(density, torch.full_like(density, 1 / (28 * 36)))


@pytest.mark.parametrize("flip", [True, False])
def test_number_of_copies(flip: bool) -> None:
    assert len(TestTimeAugmentation(flip=flip).poses) == (10 if flip else 5)
