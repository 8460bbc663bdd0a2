"""Sweeps along the trunk of the fetal-abdomen phantom, without pictures."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from anatomark.phantoms.abdomen_anatomy import STRUCTURES
from anatomark.phantoms.abdomen_growth import draw_abdomen
from anatomark.phantoms.abdomen_sweep import Sweep
from anatomark.phantoms.abdomen_view import Section, View, draw_views
from anatomark.phantoms.drawing import Drift, Pose
from anatomark.phantoms.ultrasound import Sector

SIZE = (320, 400)


@pytest.fixture(scope="module")
def sweeps():
    """Views of whole clips, without pictures."""
    found = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        abdomen = draw_abdomen(rng)
        found.append(draw_views(abdomen, Sweep.draw(abdomen, 49, rng), SIZE, rng))
    return found


def test_a_third_of_each_clip_is_the_plane_and_no_structure_decides(sweeps):
    views = [view for clip in sweeps for view in clip]
    is_plane = np.array([view.label == "plane" for view in views])
    assert 0.27 < is_plane.mean() < 0.4
    for clip in sweeps:
        assert 5 <= sum(view.label == "plane" for view in clip) <= 25
    missing = [set(STRUCTURES) - set(view.visible) for view in views if view.label == "background"]
    for name in STRUCTURES:
        seen = np.array([name in view.visible for view in views])
        assert seen[is_plane].all()
        assert is_plane[seen].mean() < 0.7
        assert sum(gone == {name} for gone in missing) > 0.005 * len(missing)
    # Both neighbours of a plane in the sweep mostly miss a single structure.
    borders = [a if b.label == "plane" else b for c in sweeps for a, b in pairwise(c) if a.label != b.label]
    assert np.mean([len(set(STRUCTURES) - set(view.visible)) == 1 for view in borders]) > 0.6


def test_tilted_sections_are_longer_and_cut_other_levels():
    section = Section(z=0.1, tilt=np.radians(40), towards=(0.0, 1.0))
    abdomen = replace(draw_abdomen(np.random.default_rng(0)), aspect=1.0, dents=((0.0, 0.0),))
    pose = Pose(centre=(200.0, 160.0), scale=100.0, angle=0.3, flip=True)
    sector = Sector(apex=(200.0, -150.0), radii=(150.0, 480.0), half_angle=0.6, tilt=0.0)
    view = View(abdomen=abdomen, section=section, pose=pose, sector=sector, spacing_mm=0.27)
    radius = np.linalg.norm(view.outline() - [200, 160], axis=1)
    assert radius.max() / radius.min() == pytest.approx(1 / np.cos(np.radians(40)), rel=1e-3)
    assert section.level((0.5, 0.4)) == pytest.approx(0.1 + 0.4 * np.tan(np.radians(40)))
    points = np.random.default_rng(1).uniform(-0.8, 0.8, (5, 2))
    p, q = view.to_local(view.to_frame(points).T[:, None].astype(np.float32))
    assert np.stack([p[0], q[0]], axis=1) == pytest.approx(points, abs=1e-5)
    assert view.label == "background"


def test_sweeps_are_smooth_and_go_all_the_way(sweeps):
    for clip in sweeps:
        z = np.array([view.section.z for view in clip])
        assert z.max() > 0.85
        assert z.min() < -1.15
        steps = np.diff(z)
        assert (np.sign(steps) == np.sign(steps[0])).all()
        assert np.abs(steps).max() < 0.35
        boxes = np.array([np.concatenate([o.min(0), o.max(0)]) for o in (view.outline() for view in clip)])
        assert np.abs(np.diff(boxes, axis=0)).max() < 30
    directions = [clip[0].section.z > clip[-1].section.z for clip in sweeps]
    assert 0.25 < np.mean(directions) < 0.75


def test_sizes_follow_growth_charts():
    circumference = [2 * np.pi * draw_abdomen(np.random.default_rng(s)).radius_mm for s in range(200)]
    assert 115 < min(circumference) < 140
    assert 185 < max(circumference) < 215


def test_texture_drifts_along_the_sweep():
    def field(position, seed=0):
        return Drift(seed, position).standard_normal((60, 60), np.float32)

    assert np.array_equal(field(2.3), field(2.3))
    assert not np.array_equal(field(2.3), field(2.3, seed=1))
    for position in (0.0, 0.5, 1.9):
        assert field(position).std() == pytest.approx(1, abs=0.05)
    assert np.abs(field(1 - 1e-6) - field(1 + 1e-6)).max() < 1e-4
    assert abs(np.corrcoef(field(0.2).ravel(), field(3.2).ravel())[0, 1]) < 0.06
