"""Changes of slices against formulas and scipy."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from anatomark.data.slice_augmentation import SliceAugmentation, blur
from anatomark.types import AnatomarkError

NONE = {"gamma": 0.0, "gain": 0.0, "offset": 0.0, "blur": 0.0, "noise": 0.0}
IMAGE = torch.rand(6, 1, 20, 23, generator=torch.Generator().manual_seed(0))


def test_blur_is_the_gaussian_filter_of_each_slice() -> None:
    sigmas = torch.tensor([0.0, 0.4, 0.8, 1.0, 1.5, 2.0])
    blurred = blur(IMAGE, sigmas)
    assert torch.equal(blurred[0], IMAGE[0])
    for one, image, sigma in zip(blurred[1:], IMAGE[1:], sigmas[1:].tolist(), strict=True):
        expected = gaussian_filter(image[0].double().numpy(), sigma, radius=6, mode="nearest")
        assert np.allclose(one[0].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("name", "amount"), [("gamma", 0.5), ("gain", 0.3), ("offset", 0.2)])
def test_grey_values_change_by_one_amount_per_slice_and_within_its_range(name: str, amount: float) -> None:
    image = 0.4 + 0.2 * IMAGE  # nothing is clipped
    torch.manual_seed(0)
    changed = SliceAugmentation(**(NONE | {name: amount}))(image)
    strength = {
        "gamma": (changed.log() / image.log()).log() / np.log1p(amount),
        "gain": (changed / image - 1) / amount,
        "offset": (changed - image) / amount,
    }[name].flatten(1)
    assert torch.allclose(strength, strength[:, :1].expand_as(strength), atol=1e-4)
    assert bool((strength.abs() <= 1 + 1e-4).all())
    assert len(set(strength[:, 0].tolist())) == len(image)


def test_noise_is_white_and_at_most_as_strong_as_said() -> None:
    torch.manual_seed(0)
    image = torch.full((200, 1, 30, 30), 0.5)
    noise = SliceAugmentation(**(NONE | {"noise": 0.1}))(image) - image
    deviations = noise.flatten(1).std(1)
    assert 0 <= float(deviations.min()) < 0.01 < 0.09 < float(deviations.max()) < 0.11
    assert float(noise.mean()) == pytest.approx(0, abs=1e-3)


def test_results_lie_in_the_range_of_images_and_follow_the_seed() -> None:
    augmentation = SliceAugmentation(gamma=1.0, gain=0.9, offset=0.5, blur=2.0, noise=0.5)
    image = (3 * IMAGE - 1).clamp(0, 1)
    torch.manual_seed(3)
    first = augmentation(image)
    torch.manual_seed(3)
    assert torch.equal(augmentation(image), first)
    assert not torch.equal(augmentation(image), first)
    assert 0 <= float(first.min()) <= float(first.max()) <= 1


def test_nothing_changes_where_all_amounts_are_none() -> None:
    assert torch.equal(SliceAugmentation(**NONE)(IMAGE), IMAGE)


@pytest.mark.parametrize(
    ("amounts", "says"),
    [({"gamma": -0.1}, "gamma is -0.1"), ({"noise": float("nan")}, "noise is nan"), ({"gain": 1.0}, "gain is 1")],
)
def test_amounts_that_cannot_be_are_refused(amounts: dict[str, float], says: str) -> None:
    with pytest.raises(AnatomarkError, match=says):
        SliceAugmentation(**amounts)
