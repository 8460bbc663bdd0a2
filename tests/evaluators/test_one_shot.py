"""Landmarks carried to targets of a known motion: errors by stage, failures, flags, files, memory."""

import json
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from one_shot_fixture import (
    CENTRE,
    MOTION,
    NAMES,
    RULES,
    SPACING_MM,
    Motion,
    evaluator,
    landmarks,
    lost,
    named,
    prediction,
    reference,
    target,
)
from scipy.spatial.transform import Rotation

from anatomark.data.landmark_files import read_landmarks
from anatomark.evaluators.one_shot_alignment import posed_points
from anatomark.evaluators.one_shot_patches import ReferencePatch, cut_reference
from anatomark.report.page import describe_evaluation
from anatomark.report.writer import write_reports
from anatomark.types import Report
from anatomark.volume_types import VolumePrediction, VolumeSample

Pair = tuple[VolumeSample, VolumePrediction | None]
STAGES = ["start", "localisation", "inertia", "rigid", "demons"]


def without_landmarks(volume: VolumeSample) -> VolumeSample:
    del volume["landmarks"]
    return volume


def outside(key: str) -> VolumePrediction:
    """A pose that puts the structure 200 mm away from its volume."""
    return prediction(key, motion=Motion(MOTION.rotation, 1.0, MOTION.centre + 200))


def stream() -> Iterator[Pair]:
    yield reference(), None
    good = target("good")
    rater = {name: point + torch.tensor([0.0, 0.3, 0.4]) for name, point in good["landmarks"].items()}
    yield {**good, "second_rater": rater}, prediction("good")
    yield target("lost"), lost("lost")
    yield target("away"), outside("away")
    yield without_landmarks(target("bare/2")), prediction("bare/2")
    yield target("turned"), prediction("turned", turn_deg=90)
    yield target("another", seed=9), prediction("another")
    yield target("thin"), {**prediction("thin", mass=20.0), "ambiguous": torch.tensor(True)}


@pytest.fixture(scope="module")
def report() -> Report:
    return evaluator()(stream())


@pytest.fixture(scope="module")
def patch() -> ReferencePatch:
    return cut_reference(reference(), RULES)


@pytest.fixture(scope="module")
def alone() -> Report:
    """One target, and the naive baseline."""
    options = {"naive": True, "naive_spacing_mm": 1.5, "reliability": "displacement"}
    return evaluator(**options)([(reference(), None), (target("good"), prediction("good"))])


def test_errors_fall_from_stage_to_stage_to_less_than_a_voxel(alone: Report) -> None:
    stages = alone.values["stages"]
    assert list(stages) == STAGES
    errors = [stages[stage]["mean_mm"] for stage in STAGES]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 5 * SPACING_MM
    assert errors[-1] < 0.6 * SPACING_MM
    assert alone.values["overall_mean_mm"] == pytest.approx(errors[-1])
    assert [stages[stage]["seconds"] for stage in STAGES[:3]] == [1.5] * 3
    assert all(stages[stage]["seconds"] > 0 for stage in STAGES[3:])


def test_stages_before_registration_by_hand(patch: ReferencePatch) -> None:
    predicted = prediction("good")
    pose, centres = predicted["pose"].numpy(), predicted["centres_mm"].numpy()
    points = posed_points(patch, predicted)
    np.testing.assert_allclose(points["start"] - patch.points, np.tile(centres[0] - CENTRE, (len(NAMES), 1)))
    np.testing.assert_allclose(points["localisation"] - patch.points, np.tile(centres[-1] - CENTRE, (len(NAMES), 1)))
    np.testing.assert_allclose(points["inertia"], centres[-1] + (patch.points - CENTRE) @ pose[:3, :3].T)


def test_a_failure_is_listed_and_the_others_continue(report: Report) -> None:
    values = report.values
    assert values["failed"] == ["lost", "away"]
    assert values["failures"]["lost"] == "the structure was not found"
    assert "lies outside it" in values["failures"]["away"]
    assert set(values["volumes"]) == {"good", "turned", "another", "thin"}
    assert set(values["measures"]) == {"good", "bare/2", "turned", "another", "thin"}
    assert values["n_volumes"] == 7


def test_forced_failures_are_flagged_and_nothing_else(report: Report) -> None:
    untrusted = report.values["untrusted"]
    assert set(untrusted) == {"turned", "another", "thin"}
    for key in ("turned", "another"):
        assert [reason.split()[0] for reason in untrusted[key]] == ["correlation"]
    assert "probability mass 0.05 times" in untrusted["thin"][0]
    assert "axes may be exchanged" in untrusted["thin"][1]
    assert set(report.values["trusted_only"]["volumes"]) == {"good"}


def test_folding_is_flagged() -> None:
    reasons = evaluator(max_folding=0.01).trust.reasons(correlation=0.9, mass_ratio=1.0, folding=0.02, ambiguous=False)
    assert reasons == ["2.00% of the deformation folds, above 1.00%"]


def test_values_are_means_over_what_was_measured(report: Report) -> None:
    values = report.values
    names, volumes = values["landmarks"], values["volumes"]
    assert list(names) == list(NAMES)
    assert all(entry["n"] == 4 and entry["sd_mm"] > 0 for entry in names.values())
    assert np.mean([entry["mean_mm"] for entry in names.values()]) == pytest.approx(values["overall_mean_mm"])
    assert np.mean(list(volumes.values())) == pytest.approx(values["overall_mean_mm"])
    rater = values["second_rater"]
    assert rater["volumes"] == {"good": pytest.approx(0.5)}
    assert rater["landmarks"]["top"] == {"mean_mm": pytest.approx(0.5), "n": 1}  # one volume has no deviation


def test_the_naive_baseline_starts_from_aligned_fields_of_view(alone: Report, patch: ReferencePatch) -> None:
    naive = alone.values["naive"]
    assert naive["failed"] == {}
    assert naive["seconds"] > 0
    middles = [volume["original"].geometry.centre_mm.numpy() for volume in (reference(), target("good"))]
    unaligned = np.linalg.norm(patch.points - MOTION.carry(landmarks()), axis=1).mean()
    shifted = np.linalg.norm(patch.points + middles[1] - middles[0] - MOTION.carry(landmarks()), axis=1).mean()
    assert alone.values["overall_mean_mm"] < naive["overall_mean_mm"] < 2 * shifted < unaligned


def test_a_failed_baseline_stops_nothing() -> None:
    # Voxels so coarse that nothing is left to register.
    values = evaluator(naive=True, naive_spacing_mm=6.0)([(reference(), None), (target("lost"), lost("lost"))]).values
    assert "voxels" in values["naive"]["failed"]["lost"]
    assert "overall_mean_mm" not in values["naive"]
    assert values["failed"] == ["lost"]


def test_landmarks_are_written_for_slicer(report: Report, tmp_path: Path) -> None:
    info = describe_evaluation("phantom", ["run"], 0)
    page = write_reports([report], tmp_path / "report", title="T", run_info=info)
    folder = tmp_path / "report" / "landmarks"
    files = {"good", "bare%2F2", "turned", "another", "thin"}
    assert {path.name for path in folder.iterdir()} == {f"{key}.mrk.json" for key in files}
    truth = named(MOTION.carry(landmarks()))
    for key in ("good", "bare%2F2"):
        found = read_landmarks(folder / f"{key}.mrk.json")
        errors = [float((found[name] - truth[name]).norm()) for name in NAMES]
        assert list(found) == list(NAMES)
        assert np.mean(errors) < 0.6 * SPACING_MM
    assert np.mean([float((read_landmarks(folder / "good.mrk.json")[n] - truth[n]).norm()) for n in NAMES]) == (
        pytest.approx(report.values["volumes"]["good"], abs=1e-12)
    )
    assert json.loads((tmp_path / "report" / "one_shot.json").read_text()) == report.values
    assert "landmarks/good.mrk.json" in page.read_text()


def test_reliability_ranks_every_aligned_volume(alone: Report, report: Report) -> None:
    reliability = alone.values["reliability"]
    assert reliability["signal"] == "displacement"
    assert set(reliability["spearman"]) == {"correlation", "displacement", "jacobian"}
    assert all(-1 <= value <= 1 for scores in reliability["spearman"].values() for value in scores.values())
    assert sorted(reliability["most_reliable_first"]["good"]) == sorted(NAMES)
    assert set(report.values["reliability"]["most_reliable_first"]) == set(report.values["measures"])


def test_tables_and_figures_show_what_there_is(report: Report) -> None:
    titles = [table.title for table in report.tables]
    assert titles[:4] == ["Mean landmark error", "Landmark error and time by stage", "Landmark errors", "Volumes"]
    assert [row[0] for row in report.tables[3].rows][-2:] == ["lost", "away"]
    assert len(report.figures) == 3


def test_only_one_target_is_held(patch: ReferencePatch) -> None:
    made: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []

    def pairs() -> Iterator[Pair]:
        yield reference(), None
        for n in range(4):
            alive.append(sum(voxels() is not None for voxels in made))
            volume = target(f"t{n}")
            made.append(weakref.ref(volume["original"].voxels))
            yield volume, lost(f"t{n}") if n % 2 else outside(f"t{n}")
            del volume

    evaluator()(pairs())
    assert max(alive) <= 1  # the one before, until the next is there


def test_without_demons_nothing_is_said_of_them() -> None:
    values = evaluator(demons=None)([(reference(), None), (target("good"), prediction("good"))]).values
    assert list(values["stages"]) == STAGES[:4]
    assert "folding" not in values["measures"]["good"]
    assert set(values["reliability"]["spearman"]) == {"correlation"}
    assert values["overall_mean_mm"] == values["stages"]["rigid"]["mean_mm"]


def test_turned_by_hand() -> None:
    """The fixture's own motion: back after carry is the identity."""
    carried = MOTION.carry(landmarks())
    np.testing.assert_allclose(MOTION.back(carried), landmarks(), atol=1e-9)
    assert Rotation.from_matrix(MOTION.rotation).magnitude() > np.radians(50)
