"""The truth of the fetal-regions phantom against its pictures, its streams and its class counts."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import ks_2samp

from anatomark.geometry.boxes import box_iou
from anatomark.phantoms.fetal_regions import FetalRegionsPhantom
from anatomark.phantoms.regions_fetus import Fetus
from anatomark.phantoms.regions_parts import Part
from anatomark.phantoms.regions_plan import CLASSES
from anatomark.phantoms.regions_scene import VISIBLE, Scene, paint_scene, truth
from anatomark.phantoms.regions_view import Shot, draw_shots
from anatomark.phantoms.ultrasound import Sector
from anatomark.types import AnatomarkError

SIZE = (224, 288)


@pytest.fixture(scope="module")
def streams(tmp_path_factory):
    phantom = FetalRegionsPhantom(tmp_path_factory.mktemp("unused"), n_frames=100, n_subjects=2, workers=1)
    return [phantom.make_subject(subject) for subject in range(2)]


def frames_of(streams):
    return [frame for stream in streams for frame in stream]


def polar_of(frame):
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    frustum = frame.record.frustum
    dx, dy = x - float(frustum["apex"][0]), y - float(frustum["apex"][1])
    return np.hypot(dx, dy), np.arctan2(dx, dy) - frustum["tilt"]


def shot_at(main, beside=(0.0, 0.0)):
    sector = Sector(apex=(144.0, -60.0), radii=(70.0, 270.0), half_angle=0.6, tilt=0.0)
    return Shot(sector=sector, spacing_mm=0.6, progress=0.5, main=main, turn=0.0, beside=beside)


def painted(region, seed, *, main=(144.0, 110.0), beside=None, at=(0.0, 0.0)):
    """Truth and tissue of a frame in which a region, and another beside it, are put at given places."""
    rng = np.random.default_rng(seed)
    fetus = Fetus.draw(rng)
    parts = [None if name is None else Part.draw(fetus, name, rng) for name in (region, beside)]
    scene, shot = Scene.draw(fetus, *parts, rng), shot_at(main, at)
    tissue, _, xy, masks = paint_scene(scene, shot)
    return truth(scene, shot, xy, masks, key="k", subject="s", size=SIZE), tissue, xy, masks


def test_streams_are_one_clip_per_subject_and_show_every_class(streams):
    for subject, stream in enumerate(streams):
        assert len(stream) == 50
        records = [frame.record for frame in stream]
        assert {r.label for r in records} == set(CLASSES)
        assert {(r.subject, r.clip) for r in records} == {(f"subject{subject:02d}",) * 2}
        assert [r.key for r in records] == [f"subject{subject:02d}_{i:05d}" for i in range(1, 51)]
    for frame in frames_of(streams):
        assert frame.gaze is None
        assert set(frame.record.boxes) == (set() if frame.record.label == "background" else {"region"})
        assert frame.image.shape == SIZE


def test_boxes_hug_what_is_painted_and_lie_in_frame_and_sector(streams):
    for frame in frames_of(streams):
        if frame.record.label == "background":
            continue
        x0, y0, x1, y1 = frame.record.boxes["region"].tolist()
        assert -0.5 <= x0 < x1 <= SIZE[1] - 0.5
        assert -0.5 <= y0 < y1 <= SIZE[0] - 0.5
        frustum = frame.record.frustum
        width = 2 * float(frustum["radii"][1]) * np.sin(frustum["half_angle"])
        assert 0.15 < max(x1 - x0, y1 - y0) / width < 0.7
        radius, angle = polar_of(frame)
        shown = (radius < float(frustum["radii"][1])) & (np.abs(angle) < frustum["half_angle"])
        rows, columns = (np.flatnonzero(shown.any(axis=axis)) for axis in (1, 0))
        assert columns[0] - 2 < x0
        assert x1 < columns[-1] + 2
        assert rows[0] - 2 < y0
        assert y1 < rows[-1] + 2


def assert_tight(record, xy, changed):
    """The box bounds, to a px or two, what changed."""
    inside = (xy >= -0.5).all(axis=0) & (xy[0] <= 287.5) & (xy[1] <= 223.5)
    shown = xy[:, changed & inside]
    bounds = np.concatenate([shown.min(axis=1), shown.max(axis=1)])
    assert record.boxes["region"].numpy() == pytest.approx(bounds, abs=4)


@pytest.mark.parametrize("region", ["head", "thorax", "abdomen", "limbs"])
def test_box_bounds_the_tissue_that_the_region_replaces(region):
    for seed in range(2):
        record, tissue, xy, masks = painted(region, seed)
        rng = np.random.default_rng(seed)
        fetus = Fetus.draw(rng)
        scene = Scene.draw(fetus, Part.draw(fetus, region, rng), None, rng)
        bare, _, _, _ = paint_scene(replace(scene, main=None), shot_at((144.0, 110.0)))
        changed = tissue.backscatter != bare.backscatter
        assert changed[masks[region]].mean() > 0.98
        if region != "head":  # whose box is that of the skull, without the scalp
            assert_tight(record, xy, changed)


@pytest.mark.parametrize("seed", range(3))
def test_box_of_a_placenta_bounds_its_tissue(seed):
    record, tissue, xy, masks = painted("placenta", seed)
    rng = np.random.default_rng(seed)
    fetus = Fetus.draw(rng)
    part = Part.draw(fetus, "placenta", rng)
    brighter = replace(part, shape=replace(part.shape, level_db=part.shape.level_db + 12))
    bright, _, _, _ = paint_scene(Scene.draw(fetus, brighter, None, rng), shot_at((144.0, 110.0)))
    changed = bright.backscatter > 1.4 * tissue.backscatter
    assert (changed & masks["placenta"]).sum() / (changed | masks["placenta"]).sum() > 0.85
    assert_tight(record, xy, changed)


@pytest.mark.parametrize("seed", range(3))
def test_box_of_a_spine_bounds_its_bones(seed):
    record, tissue, xy, masks = painted("spine", seed)
    bones = (tissue.attenuation > 1.0) & (tissue.backscatter > 10 ** (-20 / 20)) & masks["spine"]
    everywhere = (tissue.attenuation > 1.0) & (tissue.backscatter > 10 ** (-20 / 20))
    assert bones.sum() > 0.75 * everywhere.sum() > 70
    x0, y0, x1, y1 = record.boxes["region"].numpy()
    x, y = xy[:, bones]
    slack = np.array([x.min() - x0, y.min() - y0, x1 - x.max(), y1 - y.max()])
    assert (slack > -1).all()
    assert (slack < 9).all()


def test_a_second_region_is_listed_from_the_least_share_on():
    sector = shot_at((0.0, 0.0)).sector
    listed = []
    for aside in np.linspace(0.5, 1.6, 12):
        angle, radius = aside * sector.half_angle, 170.0
        place = (sector.apex[0] + radius * np.sin(angle), sector.apex[1] + radius * np.cos(angle))
        record, _, xy, masks = painted("limbs", 4, main=(110.0, 110.0), beside="head", at=place)
        inside = (xy >= -0.5).all(axis=0) & (xy[0] <= 287.5) & (xy[1] <= 223.5)
        area = np.hypot(xy[0] - sector.apex[0], xy[1] - sector.apex[1]) * inside
        share = (area * masks["head"]).sum() / area.sum()
        assert record.also == (("head",) if share >= VISIBLE else ())
        assert record.label == "limbs"
        listed.append(bool(record.also))
    assert listed == sorted(listed, reverse=True)
    assert set(listed) == {True, False}


def test_main_region_prevails_and_another_is_often_seen(streams):
    assert 0.1 < np.mean([bool(frame.record.also) for frame in frames_of(streams)]) < 0.6
    for frame in frames_of(streams):
        assert len(frame.record.also) <= 1
        assert frame.record.label not in frame.record.also
        assert "background" not in frame.record.also
        if frame.record.label == "background":
            assert frame.record.also == ()


@pytest.mark.parametrize(("main", "beside"), [("limbs", "head"), ("spine", "head"), ("head", "abdomen")])
def test_region_at_the_edge_stays_smaller_than_the_main_one(main, beside):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        fetus = Fetus.draw(rng)
        first, second = (Part.draw(fetus, region, rng) for region in (main, beside))
        scene = Scene.draw(fetus, first, second, rng)
        share = first.area_mm2 / second.area_mm2
        shots = draw_shots(8, SIZE, leaving=True, share=share, beside_mm=second.half_mm, rng=rng)
        for shot in (shots[0], shots[-1]):
            _, _, xy, masks = paint_scene(scene, shot)
            inside = (xy >= -0.5).all(axis=0) & (xy[0] <= 287.5) & (xy[1] <= 223.5)
            area = np.hypot(xy[0] - shot.sector.apex[0], xy[1] - shot.sector.apex[1]) * inside
            assert (area * masks[beside]).sum() < (area * masks[main]).sum()


def test_outside_of_the_sector_is_exactly_black(streams):
    for frame in frames_of(streams)[::5]:
        frustum = frame.record.frustum
        near, far = frustum["radii"].tolist()
        assert 0 < near < far
        radius, angle = polar_of(frame)
        outside = (radius < near - 0.01) | (radius > far + 0.01) | (np.abs(angle) > frustum["half_angle"] + 1e-4)
        assert (frame.image[outside] == 0).all()
        assert (frame.image[~outside] > 0).mean() > 0.5
        assert 0.25 < (~outside).mean() < 0.95
        assert (frame.image[~outside & (radius < near + 3)] > 0).mean() > 0.8


def test_every_frame_has_a_sector_of_its_own_that_drifts(streams):
    for stream in streams:
        values = np.array(
            [
                [*f.record.frustum["radii"].tolist(), f.record.frustum["half_angle"], f.record.spacing_mm[0]]
                for f in stream
            ]
        )
        assert len(np.unique(values, axis=0)) == len(stream)
        same = np.array([a.record.label == b.record.label for a, b in pairwise(stream)])
        steps = np.abs(np.diff(np.log(values), axis=0))
        assert np.median(steps[same], axis=0).max() < np.median(steps[~same], axis=0).min()


def test_regions_drift_smoothly_within_a_visit():
    phantom = FetalRegionsPhantom("unused", n_frames=400, n_subjects=1, workers=1)
    part = next(i for i, (_, n) in enumerate(phantom._visits) if phantom._plans[0][n].label == "head")
    frames = phantom.make_part(part)
    boxes = [frame.record.boxes["region"] for frame in frames]
    assert len(frames) > 5
    assert min(float(box_iou(a, b)) for a, b in pairwise(boxes)) > 0.7
    assert max(np.corrcoef(a.image.ravel(), b.image.ravel())[0, 1] for a, b in pairwise(frames)) < 0.999


def test_settings_and_place_do_not_tell_the_region():
    drawn = []
    for mm2, half in ((300.0, 20.0), (7000.0, 50.0)):
        shots = [
            draw_shots(
                1, SIZE, leaving=True, share=mm2 / 3000, beside_mm=half, rng=np.random.default_rng([k, int(half)])
            )[0]
            for k in range(150)
        ]
        drawn.append(np.array([(s.spacing_mm, s.sector.half_angle, *s.main, s.turn) for s in shots]))
    assert min(ks_2samp(a, b).pvalue for a, b in zip(*(d.T for d in drawn), strict=True)) > 0.005
    rng = [np.random.default_rng(3) for _ in range(2)]
    small, large = (
        draw_shots(6, SIZE, leaving=False, share=s, beside_mm=30.0, rng=r) for s, r in zip((0.2, 3.0), rng, strict=True)
    )
    assert [(s.sector, s.spacing_mm, s.main) for s in small] == [(s.sector, s.spacing_mm, s.main) for s in large]


def test_main_region_lies_anywhere_in_the_sector():
    places = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        shot = draw_shots(1, SIZE, leaving=bool(seed % 2), share=1.0, beside_mm=None, rng=rng)[0]
        radius, angle = shot.sector.polar(np.array([shot.main]))
        near, far = shot.sector.radii
        places.append(((float(radius[0]) - near) / (far - near), float(angle[0]) / shot.sector.half_angle))
    depth, aside = np.quantile(places, [0.05, 0.95], axis=0).T
    assert depth[0] < 0.34 < 0.66 < depth[1]
    assert aside[0] < -0.45 < 0.45 < aside[1]
    assert abs(np.mean(places, axis=0) - np.array([0.5, 0])).max() < 0.05


def test_written_alike_whatever_the_number_of_workers_and_read_back(tmp_path):
    options = {"n_frames": 16, "n_subjects": 2, "image_size": (96, 128), "seed": 3}
    records = [FetalRegionsPhantom(tmp_path / str(w), workers=w, **options)() for w in (1, 2)]
    files = [{str(p.relative_to(r)): p.read_bytes() for p in r.rglob("*") if p.is_file()} for r in tmp_path.iterdir()]
    assert files[0] == files[1]
    phantom = FetalRegionsPhantom("unused", workers=1, **options)
    made = [frame.record for subject in range(2) for frame in phantom.make_subject(subject)]
    assert [(r.key, r.label, r.also, r.clip, set(r.boxes)) for r in records[0]] == [
        (r.key, r.label, r.also, r.clip, set(r.boxes)) for r in made
    ]
    for read, record in zip(records[0], made, strict=True):
        assert read.size == (128, 96)
        assert read.viewings == ()
        assert read.frustum["radii"].numpy() == pytest.approx(record.frustum["radii"].numpy(), rel=1e-4)
    other = FetalRegionsPhantom("unused", workers=1, **{**options, "seed": 4}).make_part(0)
    assert (other[0].image != phantom.make_part(0)[0].image).any()


def test_more_frames_are_more_visits():
    parts = [FetalRegionsPhantom("unused", n_frames=n, workers=1).n_parts for n in (700, 7000, 110_000)]
    assert parts[0] < parts[1] / 2
    assert parts[1] < parts[2] / 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_frames": 139}, "n_frames is 139; give at least 140"),
        ({"n_frames": 20, "n_subjects": 3}, "give at least 21"),
        ({"image_size": (224, 20)}, "image_size is"),
        ({"n_subjects": 0}, "n_subjects is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_unusable_regions_arguments_are_refused(options, message):
    with pytest.raises(AnatomarkError, match=message):
        FetalRegionsPhantom("unused", **options)
