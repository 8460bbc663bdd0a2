"""Frames made polar: everything moves along, the frame comes with it, bad geometry is named."""

import logging
import math

import pytest
import torch

from anatomark.data import polar as polar_module
from anatomark.data.datamodules import collate
from anatomark.data.moving import move
from anatomark.data.polar import ToPolar
from anatomark.data.transforms import Compose, MinMax, RandomFlip, Spatial
from anatomark.geometry.polar import boxes_to_cartesian, points_to_cartesian, points_to_polar, to_polar
from anatomark.types import AnatomarkError, Frustum, PolarGrid, Sample

H, W = 120, 160
FRUSTUM: Frustum = {
    "apex": torch.tensor([80.0, -20.0]),
    "radii": torch.tensor([30.0, 130.0]),
    "half_angle": 0.6,
    "tilt": 0.05,
}
SPOT = (90.0, 60.0)


def frame(key: str = "a", **changed: object) -> Sample:
    y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    image = torch.exp(-((x - SPOT[0]) ** 2 + (y - SPOT[1]) ** 2) / 32)[None]
    return {  # type: ignore[return-value]
        "key": key,
        "subject": "s",
        "image": image,
        "attention": image,
        "spacing_mm": torch.tensor([0.3, 0.3]),
        "label": 2,
        "fixations": torch.tensor([[*SPOT, 100.0], [70.0, 40.0, 250.0]]),
        "points": {"csp": torch.tensor(SPOT)},
        "boxes": {"csp": torch.tensor([84.0, 52.0, 96.0, 68.0])},
        "ellipse": {"centre": torch.tensor(SPOT), "semi_axes": torch.tensor([9.0, 6.0]), "angle": 0.3},
        "frustum": FRUSTUM,
        **changed,
    }


def test_everything_moves_with_the_image() -> None:
    sample = frame()
    polar = ToPolar(height=100, width=110)(sample)
    grid = PolarGrid.of(FRUSTUM, (100, 110), 0.1)
    assert polar["polar"] == grid
    torch.testing.assert_close(polar["image"], to_polar(sample["image"][None], [grid])[0])
    torch.testing.assert_close(polar["attention"], polar["image"])
    row, column = divmod(int(polar["image"].argmax()), 110)
    assert polar["points"]["csp"].tolist() == pytest.approx([column, row], abs=1)
    torch.testing.assert_close(polar["fixations"][0, :2], polar["points"]["csp"])
    expected = points_to_polar(sample["fixations"][None, :, :2], [grid])[0]
    torch.testing.assert_close(polar["fixations"], torch.cat([expected, sample["fixations"][:, 2:]], dim=1))
    low, high = polar["boxes"]["csp"][:2], polar["boxes"]["csp"][2:]
    assert (low < polar["points"]["csp"]).all()
    assert (polar["points"]["csp"] < high).all()
    assert (polar["key"], polar["subject"], polar["label"]) == ("a", "s", 2)
    assert polar["spacing_mm"].isnan().all()
    assert "frustum" not in polar
    assert "ellipse" not in polar


def test_what_is_found_there_goes_back_to_the_frame_it_brings_along() -> None:
    sample = frame()
    polar = ToPolar()(sample)
    assert polar["image"].shape == (1, 224, 224)
    assert polar["cartesian"] is sample
    back = points_to_cartesian(polar["points"]["csp"][None, None], [polar["polar"]])[0, 0]
    torch.testing.assert_close(back, sample["points"]["csp"], rtol=0, atol=1e-4)
    box = boxes_to_cartesian(polar["boxes"]["csp"][None, None], [polar["polar"]])[0, 0]
    assert (box[:2] <= sample["boxes"]["csp"][:2]).all()
    assert (box[2:] >= sample["boxes"]["csp"][2:]).all()


def test_the_frame_itself_is_not_changed() -> None:
    sample, untouched = frame(), frame()
    ToPolar()(sample)
    assert set(sample) == set(untouched)
    assert torch.equal(sample["image"], untouched["image"])


def test_moving_a_polar_image_ends_its_tie_to_the_frame() -> None:
    polar = Compose(steps=[ToPolar(height=50, width=60), MinMax()])(frame())
    assert "polar" in polar
    flipped = Spatial(steps=[RandomFlip(p=1.0)])(polar)
    assert "polar" not in flipped
    assert "cartesian" not in flipped
    assert "polar" in polar
    torch.testing.assert_close(flipped["image"], polar["image"].flip(-1))
    same = move(polar, torch.eye(2, 3, dtype=torch.float64), (50, 60))
    assert "polar" not in same


def test_polar_frames_make_batches_with_frames_that_stayed_cartesian(caplog: pytest.LogCaptureFixture) -> None:
    polar_module._warn_cartesian.cache_clear()
    without = frame("b")
    del without["frustum"]
    transform = ToPolar(height=40, width=50)
    with caplog.at_level(logging.WARNING):
        batch = collate([transform(frame()), transform(without), transform(without)])
    assert batch["image"].shape == (3, 1, 40, 50)
    assert ["polar" in sample for sample in batch["samples"]] == [True, False, False]
    assert [record.message for record in caplog.records] == [
        "frames without sector geometry stay Cartesian, stretched to the size of the polar ones; annotate their sectors"
        " in frames.csv or set data.frustum=estimate"
    ]
    point = batch["samples"][1]["points"]["csp"]
    assert point.tolist() == pytest.approx([(90 + 0.5) * 50 / W - 0.5, (60 + 0.5) * 40 / H - 0.5], abs=1e-4)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"radii": torch.tensor([90.0, 30.0])}, "from radius 90 to 30 px; correct them"),
        ({"radii": torch.tensor([-1.0, 30.0])}, "from radius -1 to 30 px; correct them"),
        ({"half_angle": 0.0}, "opening angle is 0 degrees; correct it"),
        ({"half_angle": math.radians(95)}, "opening angle is 95 degrees; correct it"),
        ({"tilt": math.nan}, "holds NaN or infinity; correct it"),
        ({"apex": torch.tensor([900.0, 0.0])}, "its sector lies beside its 160 x 120 px; correct apex and radii"),
    ],
)
def test_a_bad_sector_is_refused_by_name(changed: dict[str, object], message: str) -> None:
    with pytest.raises(AnatomarkError, match=f"frame TV_07: .*{message}") as caught:
        ToPolar()(frame("TV_07", frustum={**FRUSTUM, **changed}))
    assert "\n" not in str(caught.value)


def test_min_max_spans_zero_to_one_and_leaves_constants_black() -> None:
    image = torch.tensor([[[-2.0, 0.5], [3.0, 1.0]]])
    stretched = MinMax()(frame(image=image))["image"]
    torch.testing.assert_close(stretched, (image + 2) / 5)
    assert torch.equal(MinMax()(frame(image=torch.full((1, 4, 5), 0.7)))["image"], torch.zeros(1, 4, 5))
