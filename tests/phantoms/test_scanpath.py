"""Simulated gaze as an eye tracker would give it."""

import numpy as np
import pytest

from anatomark.data.gaze import GazeFilter, ScreenGeometry
from anatomark.phantoms.scanpath import Viewer, pixels_per_degree

SCREEN = ScreenGeometry(frame_origin_px=(420, 120), frame_scale=2.5)
STRUCTURES = [(120.0, 150.0), (300.0, 190.0)]
DISTRACTORS = [(210.0, 60.0), (210.0, 300.0)]


def look(viewer=Viewer(), seed=0):  # noqa: B008
    return viewer.look(STRUCTURES, DISTRACTORS, (432, 336), SCREEN, np.random.default_rng(seed))


def fixations(recording):
    return GazeFilter(screen=SCREEN)(recording.t_ms, recording.xy_px, recording.valid, where="phantom").numpy()


def nearest(xy, targets):
    return np.linalg.norm(xy[:, None] - np.asarray(targets)[None], axis=-1).min(axis=1)


def test_samples_are_even_and_lost_ones_have_no_position():
    recording = look(Viewer(lost_share=0.05, blink_per_s=1.0))
    assert np.diff(recording.t_ms) == pytest.approx(1000 / 90)
    assert len(recording.t_ms) == 360
    assert np.array_equal(np.isnan(recording.xy_px).all(axis=1), ~recording.valid)
    assert np.array_equal(np.isnan(recording.xy_px).any(axis=1), ~recording.valid)
    assert 0.02 < (~recording.valid).mean() < 0.6


def test_share_of_lost_samples_follows_the_viewer():
    lost = np.mean([(~look(Viewer(lost_share=0.1, blink_per_s=0), s).valid).mean() for s in range(20)])
    assert lost == pytest.approx(0.1, abs=0.01)


def test_fixations_lie_mostly_near_every_structure():
    found = np.concatenate([fixations(look(seed=s)) for s in range(20)])
    spread = 0.4 * pixels_per_degree(SCREEN) / SCREEN.frame_scale
    near = nearest(found[:, :2], STRUCTURES) < 3 * spread
    assert 0.6 < near.mean() < 0.9
    share = [(nearest(found[near, :2], [s]) < 3 * spread).mean() for s in STRUCTURES]
    assert min(share) > 0.35
    assert (nearest(found[~near, :2], DISTRACTORS) < 3 * spread).mean() > 0.4
    assert 150 < np.median(found[:, 2]) < 450


def test_without_distractors_all_fixations_are_on_structures():
    viewer = Viewer(distractor_share=0, stray_share=0, spread_deg=0.1, lost_share=0, blink_per_s=0)
    found = np.concatenate([fixations(look(viewer, s)) for s in range(5)])
    assert nearest(found[:, :2], STRUCTURES).max() < 12


def test_spread_around_the_target_is_that_of_the_viewer():
    viewer = Viewer(distractor_share=0, stray_share=0, spread_deg=0.5, noise_deg=0.01, lost_share=0)
    found = np.concatenate([fixations(look(viewer, s)) for s in range(30)])[:, :2]
    offsets = found[:, None] - np.asarray(STRUCTURES)[None]
    own = offsets[np.arange(len(found)), np.linalg.norm(offsets, axis=-1).argmin(axis=1)]
    expected = 0.5 * pixels_per_degree(SCREEN) / SCREEN.frame_scale
    assert own.std(axis=0) == pytest.approx(expected, rel=0.15)


def test_saccades_are_fast_and_short():
    viewer = Viewer(noise_deg=0, lost_share=0, blink_per_s=0, rate_hz=1000, duration_s=2)
    recording = look(viewer)
    speed = SCREEN.angle_deg(recording.xy_px[:-1], recording.xy_px[1:]) * 1000
    moving = speed > 30
    assert 0.02 < moving.mean() < 0.4
    assert 100 < speed.max() < 900
    assert np.median(speed[~moving]) == 0


def test_gaze_beyond_the_screen_is_lost():
    screen = ScreenGeometry(frame_origin_px=(0, 0), frame_scale=1.0)
    recording = Viewer().look([(0.0, 0.0)], [(1.0, 1.0)], (432, 336), screen, np.random.default_rng(0))
    assert 0 < recording.valid.sum() < len(recording.valid)
    assert (recording.xy_px[recording.valid] >= 0).all()


def test_degrees_on_the_screen():
    middle = (np.array([SCREEN.resolution_px]) - 1) / 2
    moved = middle + np.array([[pixels_per_degree(SCREEN), 0.0]])
    assert SCREEN.angle_deg(middle, moved)[0] == pytest.approx(1, rel=1e-6)
