"""Contrast axes find what differs within frames, whatever differs between them."""

import numpy as np
import pytest
from landmark_streams import CENTRES, Head, make_prediction, make_sample
from scipy.linalg import subspace_angles

from anatomark.evaluators.contrast import contrast_axes
from anatomark.evaluators.discovery import LandmarkDiscovery


def peaks_of_known_structure(
    rng: np.random.Generator, n_structures: int, *, n_frames: int = 60, n_features: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """Structures differ along hidden directions by 1; frames differ by 5 along the others; the order is shuffled."""
    basis = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]
    structures = np.eye(n_structures)[:, : n_structures - 1] if n_structures == 2 else np.eye(n_structures)
    hidden = basis[:, : structures.shape[1]]
    nuisance = (
        rng.normal(scale=5, size=(n_frames, 1, n_features - structures.shape[1])) @ basis[:, structures.shape[1] :].T
    )
    peaks = structures @ hidden.T + nuisance + rng.normal(scale=0.02, size=(n_frames, n_structures, n_features))
    order = np.argsort(rng.random((n_frames, n_structures)), axis=1)
    differences = hidden @ (structures - structures.mean(axis=0)).T
    return np.take_along_axis(peaks, order[..., None], axis=1), differences


@pytest.mark.parametrize("n_structures", [2, 3])
def test_the_directions_between_structures_are_found_under_strong_nuisance(n_structures: int) -> None:
    peaks, differences = peaks_of_known_structure(np.random.default_rng(0), n_structures)
    axes = contrast_axes(peaks, regularisation=1e-3)
    assert axes.shape == (10, n_structures - 1)
    truth = np.linalg.svd(differences, full_matrices=False)[0][:, : n_structures - 1]
    assert np.degrees(subspace_angles(axes, truth)).max() < 5


def test_no_direction_has_a_larger_ratio() -> None:
    rng = np.random.default_rng(1)
    peaks = rng.normal(size=(30, 2, 6)) * rng.uniform(0.2, 2, 6)
    axis = contrast_axes(peaks, regularisation=0.1)[:, 0]
    difference, mean = (peaks[:, 0] - peaks[:, 1]) / 2, peaks.mean(axis=1)
    spread = mean.var(axis=0).sum() + (difference**2).mean(axis=0).sum()

    def ratio(direction: np.ndarray) -> float:
        ridge = 0.1 * spread / 6 * direction @ direction
        return float(((difference @ direction) ** 2).mean() / ((mean @ direction).var() + ridge))

    others = [ratio(direction) for direction in rng.normal(size=(500, 6))]
    assert ratio(axis) > max(others)
    assert max(ratio(axis + 0.05 * step) for step in rng.normal(size=(50, 6)) * np.linalg.norm(axis)) <= ratio(axis)


def test_order_of_peaks_and_shifts_of_all_features_do_not_matter() -> None:
    peaks, _ = peaks_of_known_structure(np.random.default_rng(2), 2)
    axis = contrast_axes(peaks, regularisation=0.1)
    for other in (peaks[:, ::-1], peaks + 7.0, peaks[::-1]):
        again = contrast_axes(other, regularisation=0.1)
        np.testing.assert_allclose(again * np.sign(again.T @ axis), axis, rtol=1e-6, atol=1e-9)


def test_structures_hidden_under_frame_differences_are_named_right_only_with_contrast() -> None:
    """Two groups of machines make features that differ far more than CSP and LV do."""
    rng = np.random.default_rng(3)
    pairs = []
    for number in range(24):
        head, machine = Head(rng), 3.0 * (number % 2)
        centres = {name: head.place(CENTRES[name]) for name in ("csp", "lv")}
        blobs = [
            (centres["csp"], 1.0, [1.0, 0.0, machine, 0.0, 0.0, 0.0]),
            (centres["lv"], 0.9, [0.0, 1.0, machine, 0.0, 0.0, 0.0]),
        ]
        sample = make_sample(f"{number:02d}", centres, ellipse=head.ellipse())
        pairs.append((sample, make_prediction(sample["key"], blobs, rng)))
    options = {"structures": {"TV": ["csp", "lv"]}, "k_range": (2, 2), "vote_fraction": 1.0, "n_init": 3}
    plain = LandmarkDiscovery(**options)(pairs)
    contrasted = LandmarkDiscovery(**options, contrast=0.1, k_choice="named")(pairs)
    assert sum(frame.n_near for frame in contrasted.frames) == 48
    assert sum(frame.n_near for frame in plain.frames) < 40
