"""The truth of the temporal-bone phantom against its volumes, its deformations and its poses."""

import json

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion, label
from scipy.spatial.transform import Rotation

from anatomark.data.landmark_files import read_landmarks
from anatomark.data.volumes import read_mask, read_volume
from anatomark.phantoms.temporal_bone import TemporalBonePhantom
from anatomark.phantoms.temporal_bone_anatomy import AIR, BRAIN, FLUID, OTIC_CAPSULE, TemporalBone
from anatomark.phantoms.temporal_bone_cochlea import AXIS, TO_WINDOW, cochlea
from anatomark.phantoms.temporal_bone_deformation import MOST_MM, Deformation
from anatomark.phantoms.temporal_bone_scan import FIELD_CENTRE_MM, CTScanner
from anatomark.phantoms.temporal_bone_shapes import arc_tube, ellipsoid, polyline_tube
from anatomark.types import AnatomarkError

TINY = {"n_targets": 2, "size": (48, 52, 44), "seed": 3, "workers": 1}
LANDMARKS = {"centre", "top", "round_window"}


def phantom(root="unused", **options):
    return TemporalBonePhantom(root, **{**TINY, **options})


@pytest.fixture(scope="module")
def volumes():
    made = phantom()
    return [made.make_part(part) for part in range(4)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantom") / "temporal_bone"
    return root, phantom(root)()


def contents(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_files_read_back_are_what_was_made(written, volumes):
    root, records = written
    assert [r.key for r in records] == ["reference", "validation", "target01", "target02"]
    assert [r.split for r in records] == ["train", "val", "test", "test"]
    assert len({r.subject for r in records}) == 4
    for record, raw in zip(records, volumes, strict=True):
        volume = read_volume(record.file)
        assert volume.geometry.matches(raw.volume.geometry)
        assert torch.equal(volume.voxels, raw.volume.voxels)
        assert torch.equal(read_mask(record.mask, volume.geometry).voxels, raw.mask.voxels)
        points = read_landmarks(record.landmarks)
        assert set(points) == LANDMARKS
        for name, point in points.items():
            assert point.numpy() == pytest.approx(raw.landmarks[name].numpy(), abs=1e-9)
    assert json.loads((root / "phantom.json").read_text())["phantom"] == "temporal_bone phantom"


def test_one_seed_gives_one_result_and_others_differ(written, volumes, tmp_path):
    root, _ = written
    phantom(tmp_path / "parallel", workers=2)()
    assert contents(tmp_path / "parallel") == contents(root)
    other = phantom(seed=4).make_part(0)
    assert not torch.equal(other.volume.voxels, volumes[0].volume.voxels)
    masks = {raw.mask.voxels.numpy().tobytes() for raw in volumes}
    assert len(masks) == 4


def test_mask_is_one_whole_cochlea(volumes):
    for raw in volumes:
        inside = raw.mask.voxels.numpy() > 0
        assert label(inside, np.ones((3, 3, 3)))[1] == 1
        assert 45 < inside.sum() * 0.5**3 < 120  # mm^3
        border = np.ones_like(inside)
        border[2:-2, 2:-2, 2:-2] = False
        assert not (inside & border).any()


def test_landmarks_lie_where_the_mask_has_its_ends(volumes):
    for raw in volumes:
        voxels = raw.mask.voxels.nonzero().double().flip(1)
        mask_mm = raw.mask.geometry.to_mm(voxels)
        centre, top, window = (raw.landmarks[name] for name in ("centre", "top", "round_window"))
        assert bool(raw.volume.geometry.contains(torch.stack([centre, top, window])).all())
        for end in (top, window):
            assert (mask_mm - end).norm(dim=1).min() < 0.5
        # The centre is in the modiolus, which no fluid fills, and near the middle of the mask.
        assert (mask_mm - centre).norm(dim=1).min() > 0.9
        assert (mask_mm.mean(dim=0) - centre).norm() < 2.5
        axis = (top - centre) / (top - centre).norm()
        reach = ((mask_mm - centre) @ axis).max() - (top - centre).norm()
        assert 0 < reach < 1.3
        # Beyond the window there is no fluid of the cochlea: its mask ends there.
        farthest = (mask_mm - centre).norm(dim=1).max()
        assert (window - centre).norm() > 0.75 * farthest


def test_spiral_has_two_and_a_half_turns_clockwise_from_the_apex():
    points = cochlea().points
    forward = np.cross(AXIS, TO_WINDOW)
    angle = np.unwrap(np.arctan2(points @ forward, points @ TO_WINDOW))
    assert (angle[-1] - angle[0]) / (2 * np.pi) == pytest.approx(-2.5, abs=1e-6)
    assert (np.diff(points @ AXIS) > 0).all()


def test_turns_of_the_spiral_do_not_touch():
    tube = cochlea()
    turn = len(tube.points) // 5 * 2
    for first in range(0, len(tube.points) - turn, 50):
        other = tube.points[first + turn // 2 :]
        gap = np.linalg.norm(other - tube.points[first], axis=1) - tube.radii[first] - tube.radii[first + turn // 2 :]
        assert gap.min() > 0.2


def test_tissues_have_their_values_before_blur():
    bone = TemporalBone(np.random.default_rng(0))
    tube = bone.cochlea
    middle = tube.points[200:-100:50]
    assert bone.hounsfield(middle, edge_mm=0.1) == pytest.approx(FLUID)
    outwards = tube.points[300] - AXIS * (tube.points[300] @ AXIS)
    away = tube.points[300] + outwards / np.linalg.norm(outwards) * (tube.radii[300] + 0.5)
    assert bone.hounsfield(away[None], edge_mm=0.1) == pytest.approx(OTIC_CAPSULE)
    places = np.array([(40.0, 0.0, 0.0), (-30.0, 30.0, 30.0), (1.2, 5.2, 1.0), (8.0, 1.5, -4.5)])
    assert bone.hounsfield(places, edge_mm=0.1) == pytest.approx([AIR, BRAIN, FLUID, AIR])


def test_scanned_values_are_those_of_ct(volumes):
    for raw in volumes:
        values, inside = raw.volume.voxels.numpy(), raw.mask.voxels.numpy() > 0
        assert np.array_equal(values, np.rint(values))
        assert -1024 <= values.min() < -900
        assert 1600 < values.max() < 2600
        assert values[binary_erosion(inside)].mean() < 500  # blur brings in bone


def _band(distance: float) -> float:
    """Autocovariance of that noise at a distance in voxels."""
    terms = ((1, 2.0), (-2, 5.0), (1, 8.0))
    return sum(sign * variance**-1.5 * np.exp(-(distance**2) / 2 / variance) for sign, variance in terms)


def test_noise_is_correlated_and_has_its_strength():
    quiet, noisy = (
        CTScanner(size=(40, 40, 40), spacing_mm=(0.25, 0.25, 0.25), resolution_mm=(0.0, 0.0, 0.0), noise_hu=noise)
        for noise in (0.0, 60.0)
    )
    bone = TemporalBone(np.random.default_rng(0))
    deformation = Deformation.draw(np.random.default_rng(1), size_variation=0.0, deformation_mm=0.5)
    deformation = deformation.at(np.array(FIELD_CENTRE_MM) + np.array((40.0, 0.0, 0.0)))  # within the head
    clean, noise = (scanner.scan(bone, deformation, np.random.default_rng(2))[0] for scanner in (quiet, noisy))
    difference = noise - clean
    assert difference.std() == pytest.approx(60, rel=0.02)
    # Of white noise through the difference of two Gaussians of 1 and 2 voxels.
    correlation = np.corrcoef(difference[:, :, 1:].ravel(), difference[:, :, :-1].ravel())[0, 1]
    assert correlation == pytest.approx(_band(1) / _band(0), abs=0.03)
    assert abs(difference.mean()) < 1


def test_deformation_and_its_inverse_agree_and_nothing_folds():
    rng = np.random.default_rng(0)
    points = rng.uniform(-40, 40, (2000, 3))
    for seed in range(5):
        rng = np.random.default_rng(seed)
        shape = (
            Deformation.draw(rng, size_variation=0.08, deformation_mm=MOST_MM).turned(rng, 180).at(rng.normal(size=3))
        )
        assert shape.to_anatomy(shape.to_subject(points)) == pytest.approx(points, abs=1e-8)
        assert shape.jacobian_determinant(points).min() > 0
        assert shape.to_anatomy(shape.centre_mm[None]) == pytest.approx(np.zeros((1, 3)), abs=1e-12)
        step = 1e-5
        numeric = [
            (shape.to_anatomy(points + step * axis) - shape.to_anatomy(points - step * axis)) / (2 * step)
            for axis in np.eye(3)
        ]
        assert np.linalg.det(np.stack(numeric, axis=2)) == pytest.approx(shape.jacobian_determinant(points), abs=1e-6)


def test_displacement_has_the_strength_that_is_asked_for():
    points = np.random.default_rng(0).uniform(-2000, 2000, (20000, 3))
    waves = Deformation.draw(np.random.default_rng(1), size_variation=0.0, deformation_mm=0.8).waves
    assert np.sqrt((waves.at(points) ** 2).sum(axis=1).mean()) == pytest.approx(0.8, rel=0.02)


def test_poses_are_drawn_as_asked():
    still = phantom(n_targets=20, size=(96, 96, 72), translation_mm=(0.0, 0.0, 0.0), rotation_deg=0.0)
    usual = phantom(n_targets=20, size=(96, 96, 72), translation_mm=(8.0, 8.0, 6.0), rotation_deg=12.0)
    anywhere = phantom(n_targets=20, size=(96, 96, 72))
    moved, turned = {}, {}
    for name, made in (("still", still), ("usual", usual), ("anywhere", anywhere)):
        poses = [made.deformation(subject) for subject in range(22)]
        assert all(np.allclose(p.centre_mm, FIELD_CENTRE_MM) and np.allclose(p.rotation, np.eye(3)) for p in poses[:2])
        moved[name] = np.array([p.centre_mm - FIELD_CENTRE_MM for p in poses[2:]])
        turned[name] = np.array([Rotation.from_matrix(p.rotation).as_euler("xyz", degrees=True) for p in poses[2:]])
        assert poses[5].scale == usual.deformation(5).scale  # a subject keeps its shape
    assert not moved["still"].any()
    assert np.allclose(turned["still"], 0)
    assert (np.abs(moved["usual"]) <= (8, 8, 6)).all()
    assert (np.abs(moved["usual"]).max(axis=0) > (6, 6, 4.5)).all()
    assert 9 < np.abs(turned["usual"]).max() <= 12
    assert (np.abs(moved["anywhere"]).max(axis=0) > (13, 13, 7)).all()
    assert 24 < np.abs(turned["anywhere"]).max() <= 30


def test_cochlea_is_never_cut_wherever_it_is_put():
    made = phantom(n_targets=12, size=(44, 44, 40), translation_mm=None, rotation_deg=30.0, seed=7)
    for subject in range(2, 14):
        raw = made.make_part(subject)
        index = raw.mask.voxels.nonzero()
        assert index.min() >= 2
        assert (index.max(dim=0).values <= torch.tensor(raw.mask.voxels.shape) - 3).all()
        assert bool(raw.volume.geometry.contains(torch.stack(list(raw.landmarks.values()))).all())


def test_shapes_have_the_distance_of_their_surface():
    ball = ellipsoid((1, 2, 3), (2, 2, 2), along=(1, 1, 0))
    points = np.array([(1.0, 2, 3), (1, 2, 8), (4, 2, 3), (1, 3, 3)])
    assert ball.distance(points) == pytest.approx([-2, 3, 1, -1])
    rod = polyline_tube([(0, 0, 0), (10, 0, 0)], [1, 1])
    assert rod.distance(np.array([(5.0, 3, 0), (5, 0, 0.5), (12, 0, 0)])) == pytest.approx([2, -0.5, 1], abs=1e-3)
    arc = arc_tube((0, 0, 0), (0, 0, 1), (1, 0, 0), radius=3, half_deg=90, tube=0.5)
    assert arc.distance(np.array([(0.0, 0, 3), (3, 0, 0), (0, 0, -1)])) == pytest.approx(
        [-0.5, -0.5, np.hypot(3, 1) - 0.5], abs=1e-3
    )
    for shape in (ball, rod, arc):
        low, high = shape.box()
        beyond = np.random.default_rng(0).uniform(-20, 20, (4000, 3))
        inside = beyond[shape.distance(beyond) < 0]
        assert ((inside >= low) & (inside <= high)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_targets": 0}, "n_targets is 0"),
        ({"size": (48, 48)}, r"size is \[48, 48\]; give three numbers"),
        ({"translation_mm": (1.0, -1.0, 0.0)}, "translation_mm"),
        ({"translation_mm": (1.0, float("nan"), 0.0)}, "translation_mm"),
        ({"rotation_deg": 200.0}, "rotation_deg is 200"),
        ({"deformation_mm": 1.5}, "deformation_mm is 1.5"),
        ({"size_variation": -0.1}, "size_variation"),
        ({"noise_hu": float("inf")}, "noise_hu"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_numbers_out_of_range_are_refused(change, message):
    with pytest.raises(AnatomarkError, match=message):
        phantom(**change)


def test_a_field_that_cannot_hold_the_cochlea_is_refused():
    with pytest.raises(AnatomarkError, match="does not hold the cochlea; raise size"):
        phantom(size=(16, 16, 16)).make_part(0)
