"""The truth of the fetal-head phantom against its pictures, and its anatomy against growth charts."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from anatomark.data.gaze import GazeFilter, ScreenGeometry
from anatomark.phantoms.fetal_anatomy import Anatomy, landmarks
from anatomark.phantoms.fetal_head import FetalHeadPhantom
from anatomark.phantoms.fetal_view import View
from anatomark.types import AnatomarkError

SIZE = (336, 432)


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    phantom = FetalHeadPhantom(tmp_path_factory.mktemp("unused"), n_subjects=8, frames_per_subject=2, workers=1)
    return [frame for subject in range(8) for frame in phantom.make_subject(subject)]


def grey(frame, xy):
    """Grey levels at positions (n 2); NaN outside of the picture."""
    x, y = np.asarray(xy, float).T
    return map_coordinates(frame.image.astype(float), [y, x], order=1, cval=np.nan)


def head_axes(record):
    """Unit vectors along and across the midline."""
    c, s = np.cos(record.ellipse["angle"]), np.sin(record.ellipse["angle"])
    return np.array([c, s]), np.array([-s, c])


def skull_points(record, factor):
    semi = record.ellipse["semi_axes"].numpy() * factor
    t = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    return record.ellipse["centre"].numpy() + np.stack([semi[0] * np.cos(t), semi[1] * np.sin(t)], 1) @ np.stack(
        head_axes(record)
    )


def test_planes_show_their_structures(frames):
    for frame in frames:
        other = "lv" if frame.record.plane == "TV" else "cerebellum"
        assert set(frame.record.points) == {"csp", other, f"{other}_start", f"{other}_end"}
        ends = [frame.record.points[f"{other}_{end}"] for end in ("start", "end")]
        assert frame.record.points[other].numpy() == pytest.approx((ends[0] + ends[1]).numpy() / 2, abs=1e-3)
        for point in frame.record.points.values():
            assert (point >= 0).all()
            assert (point[0], point[1]) < (SIZE[1], SIZE[0])
    assert [f.record.plane for f in frames] == ["TV", "TC"] * 8


def test_skull_is_brighter_than_both_sides(frames):
    ring = np.array([np.nanmean(grey(f, skull_points(f.record, 0.975))) for f in frames])
    inside = np.array([np.nanmean(grey(f, skull_points(f.record, 0.88))) for f in frames])
    outside = np.array([np.nanmean(grey(f, skull_points(f.record, 1.15))) for f in frames])
    assert (ring > inside + 40).all()
    assert (ring > outside + 40).all()


def test_near_and_far_walls_are_brighter_than_lateral_ones(frames):
    ring = np.nanmean([grey(f, skull_points(f.record, 0.975)) for f in frames], axis=0).reshape(4, 90)
    lateral = np.concatenate([ring[0, :30], ring[3, 60:], ring[1, 60:], ring[2, :30]])
    walls = np.concatenate([ring[0, 60:], ring[1, :30], ring[2, 60:], ring[3, :30]])
    assert np.mean(walls) > np.mean(lateral) + 30


def test_cavum_is_dark_between_bright_walls(frames):
    inside, walls = [], []
    for frame in frames:
        along, across = head_axes(frame.record)
        unit = float(frame.record.ellipse["semi_axes"][0])
        reach = np.linspace(0, 0.14, 30)[:, None] * unit
        csp = frame.record.points["csp"].numpy()
        inside.append(grey(frame, csp + np.linspace(-0.05, 0.05, 9)[:, None] * unit * along).mean())
        walls.append(np.mean([grey(frame, csp + sign * reach * across).max() for sign in (-1, 1)]))
    inside, walls = np.array(inside), np.array(walls)
    assert np.mean(walls - inside) > 80
    assert (walls > inside + 20).mean() > 0.9


def test_cavum_box_encloses_the_cavum(frames):
    for frame in frames:
        x0, y0, x1, y1 = frame.record.boxes["csp"].tolist()
        x, y = frame.record.points["csp"].tolist()
        assert (x0 + x1) / 2 == pytest.approx(x, abs=1e-3)
        assert (y0 + y1) / 2 == pytest.approx(y, abs=1e-3)
        length_mm = np.hypot(x1 - x0, y1 - y0) * frame.record.spacing_mm[0]
        assert 7 < length_mm < 16


def test_ventricle_line_ends_at_its_walls(frames):
    middle, walls = [], []
    for frame in (f for f in frames if f.record.plane == "TV"):
        start, end = (frame.record.points[f"lv_{e}"].numpy() for e in ("start", "end"))
        line = grey(frame, start + np.linspace(-0.3, 1.3, 41)[:, None] * (end - start))
        middle.append(line[16:25].mean())
        walls.append((line[:13].max() + line[28:].max()) / 2)
    assert np.mean(walls) > np.mean(middle) + 40


def test_sizes_follow_growth_charts():
    anatomies = [Anatomy.draw(np.random.default_rng(s)) for s in range(300)]
    a = np.array([x.semi_major_mm for x in anatomies])
    b = a * [x.aspect for x in anatomies]
    # Ramanujan's approximation, independent of the elliptic integral that the phantom uses.
    circumference = np.pi * (3 * (a + b) - np.sqrt((3 * a + b) * (a + 3 * b)))
    assert 138 < circumference.min() < 155
    assert 215 < circumference.max() < 232
    tcd = 2 * a * [x.tcd_half for x in anatomies]
    assert 16 < tcd.min() < tcd.max() < 28.5
    assert np.corrcoef(tcd, circumference)[0, 1] > 0.9
    line = np.array([np.subtract(*x.ventricle_line()) for x in anatomies])
    assert np.quantile(a * np.linalg.norm(line, axis=1), [0.05, 0.95]) == pytest.approx([6, 8.7], abs=0.4)


def test_truth_in_mm_does_not_depend_on_the_zoom(frames):
    for frame in frames:
        major_mm = 2 * float(frame.record.ellipse["semi_axes"][0]) * frame.record.spacing_mm[0]
        assert 48 < major_mm < 80


@pytest.mark.parametrize("plane", ["TV", "TC"])
def test_unregistered_heads_lie_as_differently_as_in_the_paper(plane):
    csp, other, centre, unit = [], [], [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        anatomy = Anatomy.draw(rng)
        view = View.draw(anatomy, SIZE, rng)
        points = view.pose.to_frame(np.array(list(landmarks(anatomy, plane).values())))
        csp.append(points[0])
        other.append(points[1])
        centre.append(view.pose.centre)
        unit.append(2 * view.pose.scale)

    def error(positions):
        xy = np.array(positions)
        distance = np.linalg.norm(xy[:, None] - xy[None], axis=-1) / np.array(unit)[:, None]
        return 100 * distance[np.triu_indices(len(xy), 1)].mean()

    assert 28 < error(csp) < 50
    assert 25 < error(other) < 55
    assert 10 < error(centre) < 25


def test_frames_of_one_view_differ_a_little(tmp_path):
    phantom = FetalHeadPhantom(tmp_path / "p", n_subjects=1, frames_per_subject=3, planes=["TC"], workers=1)
    frames = phantom.make_subject(0)
    unit = 2 * float(frames[0].record.ellipse["semi_axes"][0])
    for first, second in pairwise(frames):
        moved = (first.record.points["csp"] - second.record.points["csp"]).norm()
        assert 0.001 < moved / unit < 0.15
        difference = np.abs(first.image.astype(int) - second.image).mean()
        assert 3 < difference < 60


def test_gaze_finds_the_structures(frames):
    gaze = FetalHeadPhantom("unused", workers=1).gaze
    near = []
    for frame in frames:
        recording = frame.gaze
        found = gaze(recording.t_ms, recording.xy_px, recording.valid, where="phantom").numpy()
        names = ("csp", "lv" if frame.record.plane == "TV" else "cerebellum")
        targets = np.stack([frame.record.points[name].numpy() for name in names])
        distance = np.linalg.norm(found[:, None, :2] - targets[None], axis=-1)
        near.extend(distance.min(axis=1) < 0.2 * float(frame.record.ellipse["semi_axes"][0]))
    assert 0.55 < np.mean(near) < 0.95


def test_outside_of_the_frustum_is_exactly_black(frames):
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    black = []
    for frame in frames:
        frustum = frame.record.frustum
        dx, dy = x - float(frustum["apex"][0]), y - float(frustum["apex"][1])
        radius, angle = np.hypot(dx, dy), np.arctan2(dx, dy) - frustum["tilt"]
        near, far = frustum["radii"].tolist()
        outside = (radius < near - 0.01) | (radius > far + 0.01) | (np.abs(angle) > frustum["half_angle"] + 1e-4)
        assert (frame.image[outside] == 0).all()
        assert (frame.image[~outside] > 0).mean() > 0.5
        black.append(outside.mean())
    assert 0.05 < np.mean(black) < 0.4


def test_grey_levels_resemble_those_of_real_frames(frames):
    levels = np.mean([np.percentile(f.image[f.image > 0], [50, 95, 99]) for f in frames], axis=0)
    # Means over 29 frames of fetal_brain: 36, 142, 203; over 80 of HC18: 42, 135, 200.
    assert levels == pytest.approx([39, 138, 202], abs=25)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"planes": ["TV", "TX"]}, r"planes is \['TV', 'TX'\]"),
        ({"planes": ["TV", "TV"]}, "name each plane once"),
        ({"planes": []}, "name each plane once"),
        ({"frames_per_subject": 3}, "frames_per_subject is 3; give a positive multiple of the 2 planes"),
        ({"frames_per_subject": 0}, "frames_per_subject is 0"),
        ({"image_size": (336, 20)}, "image_size is"),
        ({"gaze": GazeFilter(screen=ScreenGeometry(frame_scale=9.0))}, "does not fit on the screen"),
        ({"n_subjects": 0}, "n_subjects is 0; it must be at least 1"),
        ({"seed": -1}, "seed is -1"),
        ({"workers": 0}, "workers is 0"),
    ],
)
def test_unusable_arguments_are_refused(options, message):
    with pytest.raises(AnatomarkError, match=message):
        FetalHeadPhantom("unused", **options)
