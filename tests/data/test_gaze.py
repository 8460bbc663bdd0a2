"""The fixation filter against constructed recordings and a sample-by-sample transcription."""

import math

import numpy as np
import pytest

from anatomark.data.gaze import GazeFilter, ScreenGeometry
from anatomark.types import AnatomarkError

SCREEN = ScreenGeometry(resolution_px=(1920, 1080))
PERIOD = 1000 / 90


def px_of_deg(deg, screen=SCREEN):
    """Horizontal px from the screen's middle at a visual angle."""
    return screen.distance_m * math.tan(math.radians(deg)) * screen.resolution_px[0] / screen.size_m[0]


def recording(*parts, period=PERIOD):
    """Concatenates (n, x, y) stretches of still gaze; x None: invalid."""
    xy = np.concatenate([np.full((n, 2), (np.nan, np.nan) if x is None else (x, y), float) for n, x, y in parts])
    return np.arange(len(xy)) * period, xy, ~np.isnan(xy[:, 0])


def slow_reference(gaze, t, xy, valid):
    """The filter's rules sample by sample, for one recording."""

    def angle(p, q):
        width, height = gaze.screen.resolution_px
        a, b = (
            np.array(
                [
                    (v[0] - (width - 1) / 2) * gaze.screen.size_m[0] / width,
                    (v[1] - (height - 1) / 2) * gaze.screen.size_m[1] / height,
                    gaze.screen.distance_m,
                ]
            )
            for v in (p, q)
        )
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        return math.degrees(math.acos(min(cosine, 1.0)))

    runs = []
    for i in range(len(t)):
        if not valid[i]:
            runs.append([])
        elif runs and runs[-1] and t[i] - t[runs[-1][-1]] <= gaze.max_gap_ms:
            runs[-1].append(i)
        else:
            runs.append([i])
    found = []
    half = gaze.smoothing_samples // 2
    for run in runs:
        smooth = [xy[run[max(k - half, 0) : k + half + 1]].mean(0) for k in range(len(run))]
        open_ = False
        for k, i in enumerate(run):
            a, b = max(k - 1, 0), min(k + 1, len(run) - 1)
            slow = a != b and angle(smooth[a], smooth[b]) / (t[run[b]] - t[run[a]]) * 1000 < gaze.velocity_deg_s
            if slow and open_:
                found[-1].append(i)
            elif slow:
                found.append([i])
            open_ = slow
    merged = []
    previous_centre = None
    for part in found:
        centre = xy[part].mean(0)
        if (
            merged
            and angle(previous_centre, centre) <= gaze.merge_deg
            and t[part[0]] - t[merged[-1][-1]] <= gaze.merge_ms
        ):
            merged[-1] = [i for i in range(merged[-1][0], part[-1] + 1) if valid[i]]
        else:
            merged.append(part)
        previous_centre = centre
    period = np.median(np.diff(t))
    kept = [part for part in merged if len(part) * period >= gaze.min_duration_ms]
    return kept, [(*xy[part].mean(0), len(part) * period) for part in kept]


def random_recording(seed, n=600, period=4.0):
    """Fixations, saccades, drift, noise, dropouts and pauses."""
    rng = np.random.default_rng(seed)
    t = np.cumsum(period * rng.uniform(0.9, 1.1, n) + 120 * (rng.random(n) < 0.01))
    place = rng.uniform([500, 300], [1400, 800], (n, 2))[np.cumsum(rng.random(n) < 0.02)]
    xy = place + np.cumsum(rng.normal(0, 0.5, (n, 2)), 0) + rng.normal(0, 0.8, (n, 2))
    valid = rng.random(n) > 0.03
    return t, np.where(valid[:, None], xy, np.nan), valid


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("smoothing", [1, 3, 7])
def test_equals_the_sample_by_sample_transcription(seed, smoothing):
    gaze = GazeFilter(screen=SCREEN, smoothing_samples=smoothing)
    t, xy, valid = random_recording(seed)
    parts, rows = slow_reference(gaze, t, xy, valid)
    index = gaze.fixation_index(t, xy, valid, where="test")
    expected = np.full(len(t), -1)
    for number, part in enumerate(parts):
        expected[part] = number
    assert len(parts) > 2
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_allclose(gaze(t, xy, valid, where="test").numpy(), rows, rtol=1e-6)


def test_two_still_places_are_two_fixations():
    fixations = GazeFilter(screen=SCREEN)(*recording((40, 700, 500), (30, 1100, 600)), where="test")
    # Smoothing and the two-sided difference spread the jump over two samples on either side of it.
    np.testing.assert_allclose(fixations, [[700, 500, 38 * PERIOD], [1100, 600, 28 * PERIOD]], rtol=1e-6)


@pytest.mark.parametrize(("speed", "expected"), [(29.0, 1), (31.0, 0)])
def test_threshold_is_in_degrees_per_second(speed, expected):
    t = np.arange(40) * PERIOD
    x = np.array([px_of_deg(speed * (s - t[-1] / 2) / 1000) for s in t]) + 959.5
    xy = np.column_stack([x, np.full(40, 539.5)])
    found = GazeFilter(screen=SCREEN)(t, xy, np.ones(40, bool), where="test")
    assert len(found) == expected


@pytest.mark.parametrize(("lost", "apart_deg", "expected"), [(5, 0.3, 1), (5, 0.7, 2), (7, 0.3, 2)])
def test_merges_near_neighbours_across_a_dropout(lost, apart_deg, expected):
    """Six periods of 90 Hz are 67 ms and merge; eight are 89 ms and do not."""
    x = 959.5 + px_of_deg(apart_deg)
    samples = recording((20, 959.5, 539.5), (lost, None, None), (20, x, 539.5))
    found = GazeFilter(screen=SCREEN)(*samples, where="test")
    assert len(found) == expected
    assert found[:, 2].sum() == pytest.approx(40 * PERIOD, rel=1e-6)


@pytest.mark.parametrize(("n", "expected"), [(7, 0), (8, 1)])
def test_drops_fixations_shorter_than_80_ms(n, expected):
    """Seven periods of 90 Hz are 78 ms, eight are 89 ms."""
    found = GazeFilter(screen=SCREEN)(*recording((n, 900, 500), (20, None, None)), where="test")
    assert len(found) == expected


def test_a_pause_without_samples_splits_a_run():
    t, xy, valid = recording((20, 900, 500), (20, 900, 500))
    t[20:] += 100
    assert len(GazeFilter(screen=SCREEN)(t, xy, valid, where="test")) == 2
    t[20:] -= 50
    assert len(GazeFilter(screen=SCREEN)(t, xy, valid, where="test")) == 1


def test_time_reversal_keeps_the_labels():
    gaze = GazeFilter(screen=SCREEN)
    t, xy, valid = random_recording(11)
    forward = gaze.labels(t, xy, valid, where="test")
    backward = gaze.labels((t[-1] - t)[::-1].copy(), xy[::-1].copy(), valid[::-1].copy(), where="test")
    np.testing.assert_array_equal(forward, backward[::-1])


def test_mirrored_gaze_gives_mirrored_fixations():
    gaze = GazeFilter(screen=SCREEN)
    t, xy, valid = random_recording(12)
    plain = gaze(t, xy, valid, where="test")
    flipped = gaze(t, np.column_stack([1919 - xy[:, 0], xy[:, 1]]), valid, where="test")
    np.testing.assert_allclose(flipped[:, 0], 1919 - plain[:, 0], atol=1e-3)
    np.testing.assert_allclose(flipped[:, 1:], plain[:, 1:], atol=1e-3)


def test_fixations_are_in_frame_pixels():
    screen = ScreenGeometry(resolution_px=(1920, 1080), frame_origin_px=(300, 100), frame_scale=2.0)
    found = GazeFilter(screen=screen)(*recording((30, 300.5, 102.5)), where="test")
    # Frame pixel 0 covers screen pixels 300 and 301: its centre is at 300.5.
    np.testing.assert_allclose(found[0, :2], [0.0, 1.0], atol=1e-5)
    points = np.random.default_rng(0).uniform(0, 1000, (20, 2))
    np.testing.assert_allclose(screen.to_frame(screen.to_screen(points)), points, atol=1e-9)


def test_angle_matches_the_flat_screen_formula():
    x = np.array([[959.5 + px_of_deg(a), 539.5] for a in (-12.0, 3.0)])
    np.testing.assert_allclose(SCREEN.angle_deg(x[:1], x[1:]), [15.0], atol=1e-9)


def test_nothing_but_saccades_gives_no_fixation():
    rng = np.random.default_rng(3)
    t, xy = np.arange(50) * PERIOD, rng.uniform([0, 0], [1919, 1079], (50, 2))
    assert GazeFilter(screen=SCREEN)(t, xy, np.ones(50, bool), where="test").shape == (0, 3)


def spoil(change):
    t, xy, valid = recording((30, 700, 500))
    return change(t, xy, valid) or (t, xy, valid)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda t, xy, v: (t[:-1], xy, v), "29 times, 30 positions"),
        (lambda t, xy, v: (t[:1], xy[:1], v[:1]), "at least two"),
        (lambda t, xy, v: t.__setitem__(7, np.nan), "sample 7: t_ms is not a number"),
        (lambda t, xy, v: t.__setitem__(7, t[6]), "sample 7: t_ms does not increase"),
        (lambda t, xy, v: v.__setitem__(slice(None), False), "all 30 gaze samples are invalid"),
        (lambda t, xy, v: xy.__setitem__((4, 1), np.nan), "sample 4: valid gaze is not a number"),
        (lambda t, xy, v: xy.__setitem__((5, 0), 1920.0), "sample 5: valid gaze lies off the 1920 x 1080"),
        (lambda t, xy, v: xy.__setitem__((5, 1), -1.0), "sample 5: valid gaze lies off"),
    ],
)
def test_bad_input_is_named_in_one_line(change, problem):
    with pytest.raises(AnatomarkError, match=problem) as error:
        GazeFilter(screen=SCREEN)(*spoil(change), where="gaze.csv, frame 12")
    assert str(error.value).startswith("gaze.csv, frame 12")
    assert "\n" not in str(error.value)


def test_invalid_gaze_may_hold_anything():
    t, xy, valid = recording((30, 700, 500))
    xy[9], valid[9] = (-5000, np.nan), False
    assert len(GazeFilter(screen=SCREEN)(t, xy, valid, where="test")) == 1


@pytest.mark.parametrize("settings", [{"smoothing_samples": 4}, {"velocity_deg_s": -1.0}, {"merge_ms": float("nan")}])
def test_refuses_impossible_settings(settings):
    with pytest.raises(AnatomarkError, match=next(iter(settings))):
        GazeFilter(screen=SCREEN, **settings)


def test_refuses_an_impossible_screen():
    with pytest.raises(AnatomarkError, match="distance_m"):
        ScreenGeometry(distance_m=0.0)
