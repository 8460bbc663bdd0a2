"""What the one-shot evaluator cuts out of volumes, and what it refuses."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from one_shot_fixture import (
    CENTRE,
    RULES,
    SPACING_MM,
    evaluator,
    landmarks,
    lost,
    named,
    prediction,
    reference,
    target,
)

from anatomark.evaluators.one_shot_patches import ReferencePatch, cut_reference, cut_target
from anatomark.geometry.volumes import as_image
from anatomark.types import AnatomarkError
from anatomark.volume_types import VolumePrediction, VolumeSample

Pair = tuple[VolumeSample, VolumePrediction | None]


@pytest.fixture(scope="module")
def patch() -> ReferencePatch:
    return cut_reference(reference(), RULES)


def test_the_patch_is_cut_along_the_references_axes(patch: ReferencePatch) -> None:
    whole = as_image(reference()["original"].voxels, reference()["original"].geometry)
    np.testing.assert_allclose(patch.image.GetDirection(), whole.GetDirection())
    shown = sitk.Resample(whole, patch.image, sitk.Transform(), sitk.sitkLinear)
    np.testing.assert_allclose(sitk.GetArrayFromImage(patch.image), sitk.GetArrayFromImage(shown), atol=1e-5)
    assert patch.volume_mm3 == pytest.approx(4 / 3 * np.pi * 4.5**3, rel=0.05)
    size_mm = np.array(patch.image.GetSize()) * SPACING_MM
    assert (np.abs(size_mm - (9 + 2 * RULES.margin_mm)) < 2.5 * SPACING_MM).all()


def test_the_region_is_the_mask_with_its_margin(patch: ReferencePatch) -> None:
    k, j, i = (index.ravel() for index in np.indices(patch.image.GetSize()[::-1]))
    places = [patch.image.TransformIndexToPhysicalPoint(index) for index in np.stack([i, j, k], axis=1).tolist()]
    distance_mm = np.linalg.norm(np.array(places) - CENTRE, axis=1)
    region, weight = (sitk.GetArrayFromImage(image).ravel() for image in (patch.region, patch.weight))
    # The mask is a ball of 4.5 mm, and a voxel's centre lies within half its diagonal of the mask's edge.
    rounding, edge = SPACING_MM * np.sqrt(3) / 2, 4.5 + RULES.region_margin_mm
    assert region[distance_mm < edge - rounding].all()
    assert not region[distance_mm > edge + rounding].any()
    assert (weight[distance_mm > edge + RULES.weight_fade_mm + rounding] == 0).all()
    np.testing.assert_array_equal(region > 0, weight == 1)


def test_the_part_of_the_target_holds_the_posed_patch(patch: ReferencePatch) -> None:
    volume, pose = target("good"), prediction("good")["pose"]
    part = cut_target(volume, patch, pose)
    posed = patch.points @ pose[:3, :3].numpy().T + pose[:3, 3].numpy()
    index = np.array([part.TransformPhysicalPointToContinuousIndex(point) for point in posed.tolist()])
    assert ((index > 0) & (index < np.array(part.GetSize()) - 1)).all()
    original = as_image(volume["original"].voxels, volume["original"].geometry)
    same = sitk.Resample(original, part, sitk.Transform(), sitk.sitkLinear)
    np.testing.assert_allclose(sitk.GetArrayFromImage(part), sitk.GetArrayFromImage(same), atol=1e-4)


def refused_reference(**changes: object) -> list[Pair]:
    return [({**reference(), **changes}, None), (target("t"), lost("t"))]


def far_landmark() -> dict[str, torch.Tensor]:
    return named(CENTRE + landmarks()) | {"top": torch.tensor([100.0, 0.0, 0.0], dtype=torch.float64)}


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        (
            lambda: refused_reference(landmarks=far_landmark()),
            r"1 of 6 landmarks lie outside the patch .*top.*margin_mm",
        ),
        (lambda: refused_reference(landmarks={}), "has no landmarks"),
        (lambda: [(target("t"), lost("t")), (reference(), None)], "no reference came before"),
        (lambda: [(reference(), None)], "no target volume"),
        (lambda: [(reference(), None), (target("t"), lost("t")), (target("t"), lost("t"))], "came twice"),
        (
            lambda: [(reference(), None), ({**target("t"), "landmarks": {"tip": torch.zeros(3)}}, lost("t"))],
            "no landmark tip",
        ),
    ],
)
def test_streams_that_cannot_be_evaluated(pairs: object, says: str) -> None:
    with pytest.raises(AnatomarkError, match=says):
        evaluator()(pairs())  # type: ignore[operator]


def test_a_reference_needs_a_structure() -> None:
    bare = reference()
    empty = bare["mask"]
    with pytest.raises(AnatomarkError, match="mask is empty"):
        cut_reference({**bare, "mask": type(empty)(voxels=0 * empty.voxels, geometry=empty.geometry)}, RULES)
    del bare["mask"]
    with pytest.raises(AnatomarkError, match="has no mask"):
        cut_reference(bare, RULES)


@pytest.mark.parametrize(
    "changes",
    [
        {"reliability": "spread"},
        {"demons": None, "reliability": "jacobian"},
        {"spacing_mm": 0.0},
        {"mass_ratio": (3.0, 0.3)},
        {"mass_ratio": (1.0,)},
        {"min_correlation": float("nan")},
        {"window_mm": 0.0},
    ],
)
def test_options_that_cannot_be(changes: dict[str, object]) -> None:
    with pytest.raises(AnatomarkError):
        evaluator(**changes)
