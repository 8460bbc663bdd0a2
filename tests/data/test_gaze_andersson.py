"""The fixation filter against two experts' labels of real gaze (Andersson et al. 2017)."""

from itertools import groupby

import numpy as np
import pytest
from scipy.io import savemat
from sklearn.metrics import cohen_kappa_score

from anatomark.data.gaze import GazeFilter
from anatomark.data.sources.andersson import read_andersson, read_recording
from anatomark.types import AnatomarkError


@pytest.fixture
def recordings(data_dir):
    return read_andersson(data_dir / "andersson2017")


def agreement(recording, **settings):
    gaze = GazeFilter(screen=recording.screen, **settings)
    labels = gaze.labels(recording.t_ms, recording.xy_px, recording.valid, where=recording.name)
    return cohen_kappa_score(recording.fixation, labels)


@pytest.mark.real_data
def test_every_recording_has_two_experts(recordings):
    pairs = [list(group) for _, group in groupby(recordings, key=lambda r: r.name)]
    assert [[r.expert for r in pair] for pair in pairs] == [["MN", "RA"]] * 4
    for first, second in pairs:
        np.testing.assert_array_equal(first.xy_px, second.xy_px)
        # 500 Hz, and the experts agree with each other.
        assert np.median(np.diff(first.t_ms)) == pytest.approx(2.0, abs=0.01)
        assert cohen_kappa_score(first.fixation, second.fixation) > 0.8


@pytest.mark.real_data
def test_defaults_agree_with_the_experts(recordings):
    """Measured 0.68 to 0.90, mean 0.80; the experts with each other 0.84 to 0.93."""
    kappas = [agreement(recording) for recording in recordings]
    assert np.mean(kappas) > 0.78
    assert min(kappas) > 0.65


@pytest.mark.real_data
def test_wrong_geometry_or_threshold_agrees_less(recordings):
    """The agreement depends on degrees: a threshold off by a factor is worse, either way."""
    mean = {v: np.mean([agreement(r, velocity_deg_s=v) for r in recordings]) for v in (6.0, 30.0, 150.0)}
    assert mean[30.0] > mean[6.0] + 0.02
    assert mean[30.0] > mean[150.0] + 0.02


@pytest.mark.real_data
def test_lost_and_off_screen_samples_are_invalid(recordings):
    for recording in recordings:
        lost = (recording.xy_px == 0).all(1)
        outside = (recording.xy_px < -0.5) | (recording.xy_px > np.array(recording.screen.resolution_px) - 0.5)
        np.testing.assert_array_equal(recording.valid, ~lost & ~outside.any(1))
    assert any((~recording.valid).any() for recording in recordings)


def write_recording(path, rows):
    screen = {"screenDim": [0.38, 0.3], "screenRes": [1024, 768], "viewDist": 0.67, "sampFreq": 500}
    savemat(path, {"ETdata": {"pos": np.array(rows, float), **screen}})


def test_reads_the_published_layout(tmp_path):
    rows = [
        [5e9 + 2000 * i, 19, 20, *xy, label]
        for i, (xy, label) in enumerate(
            [((500, 300), 1), ((510, 300), 2), ((0, 0), 5), ((1100, 300), 1), ((600, 300), 4)]
        )
    ]
    write_recording(tmp_path / "AB12_img_x_labelled_RA.mat", rows)
    recording = read_recording(tmp_path / "AB12_img_x_labelled_RA.mat")
    assert (recording.name, recording.expert) == ("AB12_img_x", "RA")
    np.testing.assert_allclose(recording.t_ms, [0, 2, 4, 6, 8])
    assert recording.valid.tolist() == [True, True, False, False, True]
    assert recording.fixation.tolist() == [True, False, False, True, False]
    assert recording.screen.distance_m == pytest.approx(0.67)
    assert list(recording.screen.resolution_px) == [1024, 768]


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(AnatomarkError, match="does not exist"):
        read_andersson(tmp_path / "none")
    with pytest.raises(AnatomarkError, match=r"holds no \*_labelled_\*\.mat"):
        read_andersson(tmp_path)
    (tmp_path / "AB12_img_x_labelled_RA.mat").write_bytes(b"no such thing")
    with pytest.raises(AnatomarkError, match=r"RA\.mat is not a labelled recording"):
        read_andersson(tmp_path)
    savemat(tmp_path / "AB12_img_x_labelled_RA.mat", {"other": 1})
    with pytest.raises(AnatomarkError, match="ETdata"):
        read_andersson(tmp_path)
