"""The truth of the fetal-abdomen phantom against its pictures, its labels and its gaze."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from anatomark.data.gaze import GazeFilter, ScreenGeometry
from anatomark.phantoms.abdomen_anatomy import SHOWN, STRUCTURES
from anatomark.phantoms.abdomen_growth import draw_abdomen
from anatomark.phantoms.abdomen_tissue import paint_trunk
from anatomark.phantoms.abdomen_view import Section, View
from anatomark.phantoms.drawing import Canvas, Drift, Pose
from anatomark.phantoms.fetal_abdomen import FetalAbdomenPhantom
from anatomark.phantoms.ultrasound import AcousticGrid, Sector
from anatomark.types import AnatomarkError

SIZE = (320, 400)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    phantom = FetalAbdomenPhantom(tmp_path_factory.mktemp("unused"), frames_per_clip=(15, 15), workers=1)
    return [phantom.make_subject(subject) for subject in range(3)]


def grey(frame, xy):
    x, y = np.asarray(xy, float).T
    return map_coordinates(frame.image.astype(float), [y, x], order=1)


def ring(centre, radius, count=48):
    t = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.asarray(centre) + np.outer(radius, [1, 1]) * np.stack([np.cos(t), np.sin(t)], axis=1)


def frames_of(clips, label=None):
    return [frame for clip in clips for frame in clip if label in (None, frame.record.label)]


def echo_db(abdomen, z):
    """Drawn echogenicity in dB at the middle of stomach and vein in a transverse section, without speckle."""
    sector = Sector(apex=(200.0, -150.0), radii=(150.0, 480.0), half_angle=0.6, tilt=0.0)
    grid = AcousticGrid.of(sector, shape=(240, 160), spacing_mm=0.27)
    pose = Pose(centre=(200.0, 165.0), scale=105.0, angle=0.0, flip=False)
    view = View(
        abdomen=abdomen,
        section=Section(z=z, tilt=0.0, towards=(1.0, 0.0)),
        pose=pose,
        sector=sector,
        spacing_mm=0.27,
    )
    rng = Drift(0, 1.0)
    local = view.to_local(sector.positions(grid))
    canvas = Canvas.blank(local, pose.beams(sector, grid), rng, unevenness=0.0)
    paint_trunk(canvas, view, rng)
    course = abdomen.vein.course(abdomen.vein.level)
    level = {}
    for name, place in (("stomach", abdomen.stomach.centre), ("umbilical_vein", tuple(course[4]))):
        distance = np.hypot(canvas.p - place[0], canvas.q - place[1])
        level[name] = float(20 * np.log10(np.median(canvas.tissue.backscatter[distance < 0.025])))
    return level, view


def test_label_is_the_conjunction_of_the_visible_structures(clips):
    for frame in frames_of(clips):
        record = frame.record
        seen = set(record.boxes) - {"abdominal_wall"}
        assert set(record.points) == seen <= set(STRUCTURES)
        assert record.plane == "AC"
        assert record.clip == record.subject
        if record.label == "plane":
            assert seen == set(STRUCTURES)
        else:
            axes = record.ellipse["semi_axes"]
            assert seen < set(STRUCTURES) or axes[0] / axes[1] > 1.05


@pytest.mark.parametrize("seed", range(4))
def test_what_counts_as_visible_is_drawn_and_nothing_else(seed):
    abdomen = draw_abdomen(np.random.default_rng(seed))
    plain = replace(abdomen, vessels=(), fluids=(), bowel=())
    nowhere = replace(plain, stomach=replace(plain.stomach, level=9.0), vein=replace(plain.vein, level=9.0))
    for z in np.linspace(-0.55, 0.55, 12):
        shown, view = echo_db(plain, float(z))
        without, _ = echo_db(nowhere, float(z))
        darker = {name: without[name] - shown[name] for name in shown}
        size = plain.stomach.size(float(z))
        if "stomach" in view.visible:
            assert darker["stomach"] > 10
        elif size < 0.5 * SHOWN:
            assert abs(darker["stomach"]) < 1
        if plain.vein.length(float(z)) > 0.95:
            assert darker["umbilical_vein"] > 10
        if "umbilical_vein" not in view.visible and z > plain.vein.level:
            assert abs(darker["umbilical_vein"]) < 1


def test_structures_look_as_they_should(clips):
    stomach, vein, spine = [], [], []
    for frame in frames_of(clips, "plane"):
        boxes, points = frame.record.boxes, frame.record.points
        x0, y0, x1, y1 = boxes["stomach"].tolist()
        inner = min(x1 - x0, y1 - y0) / 4
        outer = np.hypot(x1 - x0, y1 - y0) / 2 + 8
        middle = points["stomach"].numpy()
        stomach.append(grey(frame, ring(middle, outer)).mean() - grey(frame, ring(middle, inner)).mean())
        middle = points["umbilical_vein"].numpy()
        vein.append(grey(frame, ring(middle, 9)).max() - grey(frame, ring(middle, 1.5)).mean())
        middle = points["spine"].numpy()
        spine.append(grey(frame, ring(middle, 7)).max() - grey(frame, ring(middle, 20)).mean())
    for contrast in (stomach, vein, spine):
        assert np.mean(contrast) > 15
        assert (np.array(contrast) > 0).mean() > 0.9


def test_boxes_hold_their_points_and_lie_within_the_wall(clips):
    for frame in frames_of(clips):
        wall = frame.record.boxes["abdominal_wall"].numpy()
        for name, point in frame.record.points.items():
            box = frame.record.boxes[name].numpy()
            assert (box[:2] <= point.numpy()).all()
            assert (point.numpy() <= box[2:]).all()
            assert (box[:2] >= wall[:2] - 1).all()
            assert (box[2:] <= wall[2:] + 1).all()
        centre, semi = frame.record.ellipse["centre"].numpy(), frame.record.ellipse["semi_axes"].numpy()
        assert (wall[:2] + wall[2:]) / 2 == pytest.approx(centre, abs=0.08 * float(semi[0]))
        c, s = np.cos(frame.record.ellipse["angle"]), np.sin(frame.record.ellipse["angle"])
        extent = np.hypot([semi[0] * c, semi[0] * s], [semi[1] * s, semi[1] * c])
        assert (wall[2:] - wall[:2]) / 2 == pytest.approx(extent, rel=0.08)
        assert 70 < extent.mean() < 165


def test_neighbouring_frames_look_alike(clips):
    near = [np.corrcoef(a.image.ravel(), b.image.ravel())[0, 1] for c in clips for a, b in pairwise(c)]
    far = [np.corrcoef(c[0].image.ravel(), c[-1].image.ravel())[0, 1] for c in clips]
    assert np.mean(near) > np.mean(far) + 0.05
    assert max(near) < 0.999


def test_gaze_finds_the_structures_on_planes_and_wanders_elsewhere(clips):
    gaze = FetalAbdomenPhantom("unused", workers=1).gaze
    near = {"plane": [], "background": []}
    for frame in frames_of(clips):
        record, recording = frame.record, frame.gaze
        assert np.diff(recording.t_ms) == pytest.approx(1000 / 30)
        assert len(recording.t_ms) >= 75
        found = gaze(recording.t_ms, recording.xy_px, recording.valid, where="phantom").numpy()
        assert len(found) >= 3
        boxes = [record.boxes[name].numpy() for name in STRUCTURES if name in record.boxes]
        hits = [(np.abs(found[:, :2] - (b[:2] + b[2:]) / 2) < (b[2:] - b[:2]) / 2 + 12).all(1) for b in boxes]
        near[record.label].append(np.any(hits, axis=0).mean() if hits else 0.0)
    assert 0.55 < np.mean(near["plane"]) < 0.95
    assert 0.05 < np.mean(near["background"]) < np.mean(near["plane"]) - 0.25


def test_outside_of_the_frustum_is_exactly_black(clips):
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    for frame in frames_of(clips)[::9]:
        frustum = frame.record.frustum
        dx, dy = x - float(frustum["apex"][0]), y - float(frustum["apex"][1])
        radius, angle = np.hypot(dx, dy), np.arctan2(dx, dy) - frustum["tilt"]
        near, far = frustum["radii"].tolist()
        outside = (radius < near - 0.01) | (radius > far + 0.01) | (np.abs(angle) > frustum["half_angle"] + 1e-4)
        assert (frame.image[outside] == 0).all()
        assert (frame.image[~outside] > 0).mean() > 0.5


def test_written_alike_whatever_the_number_of_workers(tmp_path):
    records = []
    for workers in (1, 2):
        root = tmp_path / str(workers)
        options = {"n_subjects": 2, "frames_per_clip": (2, 3), "seed": 3, "workers": workers}
        records.append(FetalAbdomenPhantom(root, **options)())
    files = [{str(p.relative_to(r)): p.read_bytes() for p in r.rglob("*") if p.is_file()} for r in tmp_path.iterdir()]
    assert files[0] == files[1]
    made = [f.record for s in range(2) for f in FetalAbdomenPhantom("unused", **options).make_subject(s)]
    assert [(r.key, r.label, r.clip, set(r.boxes)) for r in records[0]] == [
        (r.key, r.label, r.clip, set(r.boxes)) for r in made
    ]
    assert 4 <= len(made) <= 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames_per_clip": (50, 40)}, r"frames_per_clip is \[50, 40\]"),
        ({"frames_per_clip": (1, 4)}, "at least 2"),
        ({"image_size": (320, 20)}, "image_size is"),
        ({"gaze": GazeFilter(screen=ScreenGeometry(frame_scale=9.0))}, "does not fit on the screen"),
        ({"n_subjects": 0}, "n_subjects is 0"),
    ],
)
def test_unusable_abdomen_arguments_are_refused(options, message):
    with pytest.raises(AnatomarkError, match=message):
        FetalAbdomenPhantom("unused", **options)
