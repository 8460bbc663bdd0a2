"""The way back: what lies at a place of the sample lies at the same place of the frame."""

import pytest
import torch

from anatomark.data.original import WayBack, mark_corners
from anatomark.data.polar import ToPolar
from anatomark.data.transforms import Compose, Crop, Fit, RandomFlip, RandomSimilarity, Spatial, Standardise, Stretch
from anatomark.types import AnatomarkError, Sample

SIZE = (90, 120)
POINTS = torch.tensor([[60.0, 50.0], [45.0, 62.5], [70.25, 40.0]])
AFFINE = {
    "fit": [Fit(height=64, width=96)],
    "stretch": [Stretch(height=50, width=64)],
    "crop and turn": [
        Crop(top=10, left=20, height=70, width=80),
        RandomSimilarity(degrees=20, scale=0.2),
        RandomFlip(p=1.0),
        Fit(height=64, width=64),
    ],
}


def make_sample() -> Sample:
    sample: Sample = {
        "key": "a",
        "subject": "s",
        "image": torch.rand(1, *SIZE),
        "spacing_mm": torch.ones(2),
        "points": {f"p{i}": xy for i, xy in enumerate(POINTS)},
        "frustum": {
            "apex": torch.tensor([59.5, -30.0]),
            "radii": torch.tensor([40.0, 115.0]),
            "half_angle": 0.5,
            "tilt": 0.05,
        },
    }
    return sample


def transforms() -> dict[str, Compose]:
    made = {name: Compose(steps=[Spatial(steps=steps), Standardise()]) for name, steps in AFFINE.items()}
    polar = ToPolar(height=64, width=48)
    made["polar"] = Compose(steps=[polar])
    made["fit, then polar"] = Compose(steps=[Spatial(steps=[Fit(height=72, width=72)]), polar])
    return made


@pytest.fixture(params=list(transforms()))
def moved(request: pytest.FixtureRequest) -> Sample:
    torch.manual_seed(3)
    return transforms()[request.param](mark_corners(make_sample()))


def test_points_come_back(moved: Sample) -> None:
    back = WayBack.of(moved, SIZE)
    points = torch.stack([moved["points"][f"p{i}"] for i in range(len(POINTS))])
    assert not torch.allclose(points, POINTS, atol=1)
    torch.testing.assert_close(back.points(points), POINTS.double(), rtol=0, atol=1e-3)


def test_a_map_comes_back_to_where_its_peak_was(moved: Sample) -> None:
    back = WayBack.of(moved, SIZE)
    height, width = moved["image"].shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    at = moved["points"]["p0"]
    blob = torch.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * 3.0**2))
    found = back.map(blob)
    assert found.shape == SIZE
    row, column = divmod(int(found.argmax()), SIZE[1])
    assert abs(column - 60) <= 1.5
    assert abs(row - 50) <= 1.5


def test_a_map_is_whole_up_to_the_border_of_the_frame() -> None:
    small = Spatial(steps=[Fit(height=SIZE[0] // 4, width=SIZE[1] // 4)])(mark_corners(make_sample()))
    found = WayBack.of(small, SIZE).map(torch.ones(SIZE[0] // 4, SIZE[1] // 4))
    torch.testing.assert_close(found, torch.ones(SIZE))


def test_what_lies_in_the_padding_lies_beside_the_frame() -> None:
    back = WayBack.of(Spatial(steps=[Fit(height=180, width=300)])(mark_corners(make_sample())), SIZE)
    points = back.points(torch.tensor([[10.0, 90.0], [150.0, 90.0]]))
    assert back.inside(points).tolist() == [False, True]


def test_another_map_is_refused() -> None:
    sample = mark_corners(make_sample())
    sample["points"]["top left"] = torch.tensor([3.0, 3.0])
    with pytest.raises(AnatomarkError, match=r"frame a: .* no affine map"):
        WayBack.of(sample, SIZE)


def test_marking_changes_nothing_else() -> None:
    sample = make_sample()
    marked = mark_corners(sample)
    assert set(sample["points"]) == {"p0", "p1", "p2"}
    assert torch.equal(marked["image"], sample["image"])
    torch.testing.assert_close(WayBack.of(marked, SIZE).matrix, torch.eye(2, 3, dtype=torch.float64))
