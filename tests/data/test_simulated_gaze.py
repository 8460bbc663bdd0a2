"""Simulated gaze: where it goes, how often, and that nothing but key and seed matters."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from anatomark.data.sources.simulated_gaze import SimulatedGaze, bright_spots
from anatomark.types import AnatomarkError

EXTENT = 300.0
CSP, LV = (120.0, 90.0), (260.0, 150.0)
STRUCTURES = {"csp": torch.tensor(CSP), "lv": torch.tensor(LV)}
SPOTS = [(60, 190), (330, 50), (320, 210)]
CENTRE = torch.tensor([190.0, 125.0])
CAPTION = (366, 14)  # as bright as a spot, in the corner of the screen


def image(spots=SPOTS):
    ys, xs = np.mgrid[:260, :380]
    grey = np.zeros(xs.shape)
    for x, y in [*spots, CAPTION, CSP, LV]:
        grey += 180 * np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * 6.0**2))
    return grey.clip(0, 255).astype(np.uint8)


def look(key="a", structures=STRUCTURES, picture=None, **options):
    return SimulatedGaze(**options)(key, image() if picture is None else picture, structures, CENTRE, EXTENT)


def near(rows, centre, radius):
    return torch.linalg.vector_norm(rows[:, :2] - torch.tensor(centre), dim=1) < radius


def test_gaze_depends_on_key_and_seed_alone():
    first = look("a")
    look("b")
    again = look("a")
    assert len(first) == len(again) == 10
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
    for other in (look("b"), look("a", seed=1)):
        assert not torch.equal(torch.cat(first), torch.cat(other))


def test_spread_around_the_structure_and_log_normal_durations():
    options = {"viewings": 3000, "miss_rate": 0, "distractors": 0, "fixations_per_structure": (2, 2)}
    rows = torch.cat(look(structures={"csp": torch.tensor(CSP)}, spread=0.02, **options))
    assert len(rows) == 6000
    offset = rows[:, :2] - torch.tensor(CSP)
    assert offset.mean(0).abs().max() < 4 * 6 / math.sqrt(6000)
    assert offset.std(0).tolist() == pytest.approx([6, 6], rel=0.05)  # 2 % of 300 px
    log_duration = rows[:, 2].log()
    assert log_duration.median() == pytest.approx(math.log(250), abs=0.03)
    assert log_duration.std() == pytest.approx(0.4, rel=0.05)


def test_structures_are_missed_at_the_rate_given():
    viewings = look(viewings=4000, miss_rate=0.2, distractors=0, spread=0)
    missed = np.array([[not near(v, c, 1).any() for c in (CSP, LV)] for v in viewings])
    # Where both would be missed, one is looked at after all: 0.2 - 0.2^2 / 2.
    assert missed.mean(0) == pytest.approx([0.18, 0.18], abs=0.025)
    assert not missed.all(axis=1).any()


def test_number_of_fixations_on_a_structure():
    viewings = look(viewings=600, miss_rate=0, distractors=0, spread=0, fixations_per_structure=(2, 4))
    assert {int(near(v, CSP, 1).sum()) for v in viewings} == {2, 3, 4}


def test_distractors_lie_on_bright_spots_away_from_the_structures():
    viewings = look(viewings=2000, miss_rate=0, distractors=1.5, spread=0)
    rows = torch.cat(viewings)
    elsewhere = rows[~near(rows, CSP, 1) & ~near(rows, LV, 1)]
    assert len(elsewhere) / len(viewings) == pytest.approx(1.5, rel=0.06)
    hit = torch.stack([near(elsewhere, tuple(map(float, spot)), 3) for spot in SPOTS])
    assert hit.any(0).all()
    assert hit.any(1).all()


def test_distractors_reach_as_far_as_given():
    options = {"viewings": 500, "distractors": 2, "spread": 0}
    assert not near(torch.cat(look(**options)), tuple(map(float, CAPTION)), 20).any()
    assert near(torch.cat(look(distractor_reach=0.75, **options)), tuple(map(float, CAPTION)), 3).any()
    only = torch.cat(look(distractor_reach=0, **options))
    assert (near(only, CSP, 1) | near(only, LV, 1)).all()


@pytest.mark.parametrize("sigma", [1.0, 2.9, 3.0, 6.0, 8.0])
def test_bright_spots_are_the_local_maxima(sigma):
    found = bright_spots(image(), sigma=sigma)
    expected = np.array([*SPOTS, CAPTION, CSP, LV])
    assert len(found) == len(expected)
    assert np.linalg.norm(found[:, None] - expected[None], axis=2).min(axis=1).max() <= 1


def test_bright_spots_of_speckle_agree_with_those_at_full_resolution():
    speckle = np.random.default_rng(0).rayleigh(40, (331, 479)).clip(0, 255).astype(np.uint8)
    sigma = 13.0
    smooth = ndimage.gaussian_filter(speckle.astype(float), sigma)
    peaks = (smooth == ndimage.maximum_filter(smooth, 79)) & (smooth > np.quantile(smooth, 7 / 8))
    expected = np.argwhere(peaks)[:, ::-1]
    found = bright_spots(speckle, sigma)
    distance = np.linalg.norm(found[:, None] - expected[None], axis=2)
    assert len(expected) >= 8
    # Where two maxima are of almost the same height, or one of almost the least height, the choice may differ.
    same = distance.min(axis=1) < sigma / 2
    assert same.mean() > 0.8
    assert (distance.min(axis=0) < sigma / 2).mean() > 0.8
    offset = found[same] - expected[distance.argmin(axis=1)[same]]
    assert np.abs(offset.mean(axis=0)).max() < 1.2  # of cells of 4 px


@pytest.mark.parametrize("corner", [(0, 0), (100, 70)])
def test_bright_spots_lie_inside_the_image(corner):
    picture = np.zeros((71, 101), np.uint8)
    picture[corner[1], corner[0]] = 255
    (spot,) = bright_spots(picture, sigma=9.0)
    assert np.abs(spot - corner).max() <= 1.5
    assert (spot >= 0).all()
    assert (spot <= (100, 70)).all()


def test_an_image_without_echoes_has_no_distractors():
    rows = torch.cat(look(picture=np.zeros((260, 380), np.uint8), spread=0, distractors=5))
    assert (near(rows, CSP, 1) | near(rows, LV, 1)).all()


def test_gaze_stays_inside_the_image():
    rows = torch.cat(look(structures={"csp": torch.tensor([1.0, 258.0])}, spread=0.1, viewings=100))
    assert (rows[:, :2] >= 0).all()
    assert (rows[:, 0] <= 379).all()
    assert (rows[:, 1] <= 259).all()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("viewings", 0),
        ("fixations_per_structure", (0, 2)),
        ("fixations_per_structure", (3, 2)),
        ("fixations_per_structure", (1, 2, 3)),
        ("fixations_per_structure", ()),
        ("spread", -0.1),
        ("miss_rate", 1.0),
        ("miss_rate", -0.1),
        ("distractors", -1),
        ("distractor_distance", -1),
        ("distractor_reach", -1),
        ("duration_ms", 0),
        ("duration_spread", -1),
        ("seed", -1),
    ],
)
def test_parameters_out_of_range(option, value):
    with pytest.raises(AnatomarkError, match=rf"gaze\.{option} is .*; it must be "):
        SimulatedGaze(**{option: value})
