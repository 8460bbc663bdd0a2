"""Boxes found on polar frames, compared where they were annotated."""

import math

import numpy as np
import pytest
import torch

from anatomark.data.polar import ToPolar
from anatomark.evaluators.localisation import LocalisationEvaluator
from anatomark.types import Frustum, Prediction, Report, Sample

POLAR = (40, 50)
CUT = 0.1
SIZE = (90, 120)
WHOLE_PIXELS = 0.12
"""What an IoU loses where boxes end between pixels of so small a frame."""
Frame = tuple[Sample, Prediction]


def make_frustum(*, apex: tuple[float, float] = (60.0, -20.0), tilt: float = 0.1) -> Frustum:
    return Frustum(apex=torch.tensor(apex), radii=torch.tensor([30.0, 105.0]), half_angle=0.5, tilt=tilt)


def to_frame(column: np.ndarray, row: np.ndarray, frustum: Frustum) -> np.ndarray:
    """Polar pixels to the frame, written out from the definition of a sector."""
    (near, far), half = frustum["radii"].tolist(), frustum["half_angle"]
    depth = near + (far - near) * (CUT + (1 - 2 * CUT) * (row + 0.5) / POLAR[0])
    angle = -half + 2 * half * (column + 0.5) / POLAR[1] + frustum["tilt"]
    x, y = frustum["apex"].tolist()
    return np.stack([x + depth * np.sin(angle), y + depth * np.cos(angle)], axis=-1)


def brute_box(rows: tuple[int, int], columns: tuple[int, int], frustum: Frustum) -> np.ndarray:
    """The box around what polar pixels cover in the frame, by many points."""
    column, row = np.meshgrid(
        np.linspace(columns[0] - 0.5, columns[1] - 0.5, 2001), np.linspace(rows[0] - 0.5, rows[1] - 0.5, 101)
    )
    xy = to_frame(column, row, frustum).reshape(-1, 2)
    return np.concatenate([xy.min(0), xy.max(0)])


def make_frame(
    key: str,
    box: np.ndarray,
    *,
    rows: tuple[int, int] = (8, 20),
    columns: tuple[int, int] = (10, 30),
    frustum: Frustum | None = None,
    size: tuple[int, int] = SIZE,
) -> Frame:
    """A frame whose polar map is one square on nothing."""
    frame = Sample(
        key=key,
        subject="s",
        image=torch.rand(1, *size),
        spacing_mm=torch.ones(2),
        split="test",
        boxes={"region": torch.from_numpy(box).float()},
    )
    if frustum is not None:
        frame["frustum"] = frustum
    polar = ToPolar(height=POLAR[0], width=POLAR[1], cut=CUT)(frame)
    maps = torch.zeros(1, *POLAR)
    maps[0, slice(*rows), slice(*columns)] = 1
    return polar, Prediction(key=key, maps=maps, run="r")


def evaluate(frames: list[Frame]) -> Report:
    # Half of the maximum is reached at the edge of the square.
    return LocalisationEvaluator(threshold=0.5)(iter(frames))


@pytest.mark.parametrize(("rows", "columns"), [((8, 20), (10, 30)), ((0, 40), (0, 50)), ((30, 40), (20, 24))])
def test_a_polar_region_is_boxed_in_the_frame(rows: tuple[int, int], columns: tuple[int, int]) -> None:
    frustum = make_frustum()
    box = brute_box(rows, columns, frustum)
    assert (box[:2] > -0.5).all()
    assert (box[2:] < np.array(SIZE[::-1]) - 0.5).all()
    values = evaluate([make_frame("a", box, rows=rows, columns=columns, frustum=frustum)]).values
    assert values["mean_iou"] == pytest.approx(1, abs=WHOLE_PIXELS)
    # The other rules begin at .3 of the maximum, between the square and the next pixel.
    assert all(rule["mean_iou"] > 0.75 for rule in values["rules"].values())
    assert values["max_box_acc"]["0.7"]["value"] == 1
    # Half the width at the same place is half the IoU.
    half = box.copy()
    half[2] = (box[0] + box[2]) / 2
    values = evaluate([make_frame("a", half, rows=rows, columns=columns, frustum=frustum)]).values
    assert values["mean_iou"] == pytest.approx(0.5, abs=WHOLE_PIXELS)


def test_a_box_beyond_the_border_of_the_frame_is_cut() -> None:
    frustum = make_frustum(apex=(10.0, -20.0), tilt=0.0)
    box = brute_box((0, 40), (0, 50), frustum)
    assert box[0] < -5
    visible = np.clip(box, -0.5, np.array([SIZE[1], SIZE[0]] * 2) - 0.5)
    values = evaluate([make_frame("a", visible, rows=(0, 40), columns=(0, 50), frustum=frustum)]).values
    assert values["mean_iou"] == pytest.approx(1, abs=WHOLE_PIXELS)


def test_the_maximum_points_into_the_frame() -> None:
    frustum = make_frustum()
    # The first of the equally high cells, (column 10, row 8).
    x, y = to_frame(np.array(10.0), np.array(8.0), frustum)
    for shift, inside in ((0.0, 1), (3.0, 0)):
        box = np.array([x - 2 + shift, y - 2, x + 2 + shift, y + 2])
        values = evaluate([make_frame("a", box, frustum=frustum)]).values
        assert values["pointing_game"] == inside


def test_frames_of_both_kinds_follow_each_other() -> None:
    frustum = make_frustum()
    polar = make_frame("a", brute_box((8, 20), (10, 30), frustum), frustum=frustum)
    # Stretched from 90 x 120 to 40 x 50, its box with it.
    x, y = SIZE[1] / POLAR[1], SIZE[0] / POLAR[0]
    stretched = make_frame("b", np.array([10 * x - 0.5, 8 * y - 0.5, 30 * x - 0.5, 20 * y - 0.5]))
    assert "polar" not in stretched[0]
    other = make_frustum(apex=(50.0, -30.0), tilt=-0.1)
    third = make_frame("c", brute_box((8, 20), (10, 30), other), frustum=other)
    values = evaluate([polar, stretched, third]).values
    assert values["mean_iou"] == pytest.approx(1, abs=WHOLE_PIXELS)
    swapped = [(polar[0] | {"cartesian": third[0]["cartesian"]}, polar[1])]
    assert evaluate(swapped).values["mean_iou"] < 0.7


def test_a_polar_map_localises_as_the_same_map_in_the_frame() -> None:
    frustum = make_frustum(tilt=0.0)
    centre, radius = np.array([66.0, 45.0]), 14.0
    y, x = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing="ij")
    blob = torch.exp(-(((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * radius**2)))[None].float()
    box = np.concatenate([centre - 16, centre + 16])
    frame = make_frame("a", box, frustum=frustum)[0]["cartesian"] | {"image": blob}
    polar = ToPolar(height=160, width=160, cut=0)(frame)
    evaluator = LocalisationEvaluator(threshold=0.6)
    found = [
        evaluator(iter([(sample, Prediction(key="a", maps=sample["image"]))])).values["mean_iou"]
        for sample in (frame, polar)
    ]
    assert 0.5 < found[0] < 0.99
    assert found[1] == pytest.approx(found[0], abs=0.03)


def test_the_picture_is_that_of_the_frame() -> None:
    frustum = make_frustum()
    box = brute_box((8, 20), (10, 30), frustum)
    sample, prediction = make_frame("a", box, frustum=frustum)
    axes = evaluate([(sample, prediction)]).figures["Predicted and annotated boxes"].axes[0]
    image, overlay = (picture.get_array() for picture in axes.images)
    np.testing.assert_array_equal(image, sample["cartesian"]["image"][0])
    truth, predicted = (patch.get_bbox().extents for patch in axes.patches)
    np.testing.assert_allclose(truth, box, atol=1e-3)
    np.testing.assert_allclose(predicted, box, atol=1)
    rows, columns = np.nonzero(overlay > 0.5)
    shown = np.array([columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5])
    np.testing.assert_allclose(shown, box, atol=2)
    # Above and below the sector nothing is shown.
    depth = np.hypot(*(np.indices(SIZE)[::-1] - np.array(frustum["apex"].tolist())[:, None, None]))
    assert overlay[depth < 30].max() == 0
    assert math.isclose(float(overlay.max()), 1, abs_tol=1e-6)


def test_a_map_that_is_highest_beside_the_frame_boxes_what_is_highest_in_it() -> None:
    # The left half of the sector lies beside the frame; the square is there, the second highest cell is not.
    frustum = make_frustum(apex=(0.0, -20.0), tilt=0.0)
    x, y = to_frame(np.array(40.0), np.array(20.0), frustum)
    sample, prediction = make_frame("a", np.array([x - 3, y - 3, x + 3, y + 3]), columns=(2, 12), frustum=frustum)
    prediction["maps"][0, 20, 40] = 0.1
    assert evaluate([(sample, prediction)]).values["mean_iou"] > 0
