"""Oblique slices and patches: SciPy's and SimpleITK's values, and the volume's own slices."""

import math

import numpy as np
import pytest
import SimpleITK
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from anatomark.geometry import oblique
from anatomark.geometry.oblique import map_slices, patch_affine, sample_patch, sample_slices, to_mask
from anatomark.geometry.poses import Poses, draw_poses, rotations_from_angles
from anatomark.types import AnatomarkError

AIR = -0.25
N = 12
# The axes i, j, k = 0, 1, 2 along columns, rows and normal of a slice, per axis of the patch's tensor.
AXES = {0: (0, 1, 2), 1: (0, 2, 1), 2: (1, 2, 0)}


def make_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def volume() -> Tensor:
    return torch.rand(18, 22, 25, generator=make_generator())


@pytest.fixture
def poses() -> Poses:
    """Any rotation, and far enough off the middle for some slices to leave the volume."""
    return draw_poses(
        N, centre=torch.tensor([12.0, 10.5, 8.5]), translation=8, rotation="full", generator=make_generator()
    )


def positions(
    centre: Tensor, rotation: Tensor, axis: int, offset: float, size: tuple[int, int], spacing: float
) -> np.ndarray:
    """Voxels (i, j, k) a slice shows, ``(3 h w)``, from the definition, pixel by pixel."""
    found = np.empty((3, *size))
    column, row, normal = AXES[axis]
    for y in range(size[0]):
        for x in range(size[1]):
            u = np.zeros(3)
            u[column], u[row], u[normal] = x - (size[1] - 1) / 2, y - (size[0] - 1) / 2, offset
            found[:, y, x] = centre.numpy() + spacing * rotation.numpy() @ u
    return found


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_values_are_scipys(volume: Tensor, poses: Poses, axis: int) -> None:
    offsets = torch.linspace(-6, 6, N)
    spacing = torch.linspace(0.5, 1.7, N)
    found = sample_slices(volume, *poses, axis=axis, offsets=offsets, size=(9, 14), spacing=spacing, outside=AIR)
    assert found.shape == (N, 9, 14)
    for slice_, centre, rotation, offset, step in zip(found, *poses, offsets.tolist(), spacing.tolist(), strict=True):
        where = positions(centre, rotation, axis, offset, (9, 14), step)
        expected = map_coordinates(volume.double().numpy(), where[::-1], order=1, mode="grid-constant", cval=AIR)
        np.testing.assert_allclose(slice_.numpy(), expected, rtol=0, atol=1e-5)
    assert (found == AIR).any()
    assert (found > 0).float().mean() > 0.3


def test_values_are_simpleitks(volume: Tensor) -> None:
    """A patch of 0.8 mm voxels out of a volume of 1 mm ones, turned about its middle."""
    centre, size, spacing = torch.tensor([11.3, 10.8, 8.1], dtype=torch.float64), (8, 10, 12), 0.8
    euler = SimpleITK.Euler3DTransform()
    euler.SetRotation(0.3, -0.2, 0.5)
    euler.SetTranslation(centre.tolist())
    rotation = torch.tensor(euler.GetMatrix(), dtype=torch.float64).view(3, 3)
    filter_ = SimpleITK.ResampleImageFilter()
    filter_.SetTransform(euler)
    filter_.SetInterpolator(SimpleITK.sitkLinear)
    filter_.SetSize(size[::-1])
    filter_.SetOutputSpacing([spacing] * 3)
    filter_.SetOutputOrigin([-spacing * (n - 1) / 2 for n in size[::-1]])
    expected = SimpleITK.GetArrayFromImage(filter_.Execute(SimpleITK.GetImageFromArray(volume.numpy())))
    found = sample_patch(volume, centre, rotation, size=size, spacing=spacing, outside=AIR)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-5)
    assert (expected != 0).all()  # SimpleITK treats the last half voxel otherwise, so all of it lies inside


@pytest.mark.parametrize("shape", [(4, 8, 16), (5, 9, 14)])
def test_the_identity_gives_the_volumes_own_slices(shape: tuple[int, int, int]) -> None:
    volume = torch.rand(shape, generator=make_generator())
    middle = (torch.tensor(shape[::-1], dtype=torch.float64) - 1) / 2
    for axis, n in enumerate(shape):
        size = tuple(side for other, side in enumerate(shape) if other != axis)
        found = sample_slices(
            volume,
            middle.expand(n, 3),
            torch.eye(3, dtype=torch.float64).expand(n, 3, 3),
            axis=axis,
            offsets=torch.arange(n) - (n - 1) / 2,
            size=(size[0], size[1]),
            outside=AIR,
        )
        for index in range(n):
            expected = volume.select(axis, index)
            torch.testing.assert_close(found[index], expected, rtol=0, atol=2e-6)
            assert shape[0] == 5 or torch.equal(found[index], expected)  # powers of two lose no bit
    patch = sample_patch(volume, middle, torch.eye(3, dtype=torch.float64), size=shape, outside=AIR)
    torch.testing.assert_close(patch, volume, rtol=0, atol=2e-6)


def test_a_quarter_turn_transposes_and_flips(volume: Tensor) -> None:
    """About k, from i towards j: the patch's i axis is the volume's j, its j axis the volume's -i."""
    k, j, i = volume.shape
    middle = (torch.tensor([i, j, k]) - 1) / 2
    turn = rotations_from_angles(torch.tensor([[0.0, 0.0, math.pi / 2]]))[0]
    patch = sample_patch(volume, middle, turn, size=(k, i, j), outside=AIR)
    torch.testing.assert_close(patch, volume.transpose(1, 2).flip(1), rtol=0, atol=1e-5)


def test_a_shift_moves_the_patch_and_air_fills_the_rest(volume: Tensor) -> None:
    middle = torch.tensor([12.0, 10.5, 8.5])
    patch = sample_patch(volume, middle + torch.tensor([3, -2, 4]), torch.eye(3), size=(18, 22, 25), outside=AIR)
    expected = torch.full_like(volume, AIR)
    expected[:14, 2:, :22] = volume[4:, :20, 3:]
    torch.testing.assert_close(patch, expected, rtol=0, atol=1e-5)
    far = sample_patch(volume, torch.tensor([500.0, 0, 0]), torch.eye(3), size=(3, 3, 3), outside=AIR)
    assert torch.equal(far, torch.full((3, 3, 3), AIR))


def test_batched_is_one_by_one_with_axes_mixed(volume: Tensor, poses: Poses) -> None:
    axes, offsets = torch.arange(N) % 3, torch.linspace(-3, 3, N)
    together = sample_slices(volume, *poses, axis=axes, offsets=offsets, size=(7, 7), outside=AIR)
    for n in range(N):
        alone = sample_slices(
            volume,
            poses.centres[n : n + 1],
            poses.rotations[n : n + 1],
            axis=n % 3,
            offsets=offsets[n : n + 1],
            size=(7, 7),
            outside=AIR,
        )
        torch.testing.assert_close(alone[0], together[n], rtol=0, atol=0)


def test_channels_are_cut_alike_each_with_its_own_surroundings(volume: Tensor, poses: Poses) -> None:
    mask = (volume > 0.6).float()
    options = {"axis": 1, "offsets": torch.zeros(N), "size": (16, 12)}
    both = sample_slices(torch.stack([volume, mask]), *poses, **options, outside=(AIR, 0.0))
    assert both.shape == (N, 2, 16, 12)
    torch.testing.assert_close(both[:, 0], sample_slices(volume, *poses, **options, outside=AIR))
    torch.testing.assert_close(both[:, 1], sample_slices(mask, *poses, **options, outside=0.0))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_those_of_the_patch(volume: Tensor, poses: Poses, axis: int) -> None:
    size = (6, 8, 10)
    patch = sample_patch(volume, poses.centres[1], poses.rotations[1], size=size, spacing=1.2, outside=AIR)
    n = size[axis]
    cut = sample_slices(
        volume,
        poses.centres[1].expand(n, 3),
        poses.rotations[1].expand(n, 3, 3),
        axis=axis,
        offsets=torch.arange(n) - (n - 1) / 2,
        size=tuple(np.delete(size, axis).tolist()),
        spacing=1.2,
        outside=AIR,
    )
    torch.testing.assert_close(cut, patch.movedim(axis, 0), rtol=0, atol=1e-5)


def test_a_patch_in_parts_is_the_patch_at_once(volume: Tensor, poses: Poses, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = (volume, poses.centres[0], poses.rotations[0])
    whole = sample_patch(*arguments, size=(7, 5, 6), outside=AIR)
    monkeypatch.setattr(oblique, "_POINTS_AT_ONCE", 70)
    assert torch.equal(sample_patch(*arguments, size=(7, 5, 6), outside=AIR), whole)


def test_the_affine_says_which_voxels_a_patch_shows(poses: Poses) -> None:
    """Volumes whose values are their own positions."""
    k, j, i = torch.meshgrid(*(torch.arange(40.0) for _ in range(3)), indexing="ij")
    centre, rotation, size = torch.tensor([19.0, 21.5, 18.2]), poses.rotations[3], (5, 7, 9)
    shown = sample_patch(torch.stack([i, j, k]), centre, rotation, size=size, spacing=1.3, outside=math.pi)
    affine = patch_affine(centre, rotation, size=size, spacing=1.3)
    for voxel in ((0, 0, 0), (8, 6, 4), (2, 5, 1)):
        expected = affine @ torch.tensor([*voxel, 1], dtype=torch.float64)
        torch.testing.assert_close(shown[:, voxel[2], voxel[1], voxel[0]].double(), expected[:3], rtol=0, atol=1e-4)


def test_a_mask_keeps_its_volume_under_any_pose() -> None:
    """A ball of radius 6 voxels stays one, where the pose says."""
    axis = torch.arange(32.0)
    squared = (axis - 15).square()
    ball = (squared[:, None, None] + (axis - 17).square()[:, None] + (axis - 14).square() <= 36).float()
    pose = draw_poses(1, centre=torch.tensor([14.0, 17.0, 15.0]), rotation="full", generator=make_generator(3))
    mask = to_mask(sample_patch(ball, pose.centres[0], pose.rotations[0], size=(48, 48, 48), outside=0.0))
    assert mask.dtype == torch.bool
    assert float(mask.sum()) == pytest.approx(4 / 3 * math.pi * 6**3, rel=0.03)
    found = mask.nonzero().double().mean(0).flip(0)
    affine = patch_affine(pose.centres[0], pose.rotations[0], size=(48, 48, 48))
    back = affine[:3, :3] @ found + affine[:3, 3]
    torch.testing.assert_close(back, torch.tensor([14.0, 17.0, 15.0], dtype=torch.float64), rtol=0, atol=0.1)
    assert to_mask(torch.tensor([0.49, 0.5])).tolist() == [False, True]


def test_slices_of_three_axes_come_back_in_the_order_of_the_patch() -> None:
    patch = torch.rand(5, 6, 7, generator=make_generator())
    sizes: list[tuple[int, ...]] = []

    def identity(slices: Tensor) -> Tensor:
        sizes.append(tuple(slices.shape))
        return slices

    assert torch.equal(map_slices(identity, patch, batch_size=4), patch.expand(3, 5, 6, 7))
    assert sizes == [(4, 6, 7), (1, 6, 7), (4, 5, 7), (2, 5, 7), (4, 5, 6), (3, 5, 6)]
    blurred = map_slices(lambda slices: slices.cumsum(2), patch)
    assert torch.equal(blurred[0], patch.cumsum(2))
    assert torch.equal(blurred[1], patch.cumsum(2))
    assert torch.equal(blurred[2], patch.cumsum(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axis": 3}, "axis of a slice must be 0, 1 or 2"),
        ({"axis": -1}, "axis of a slice must be 0, 1 or 2"),
        ({"spacing": 0.0}, "spacing of a slice must be above 0"),
        ({"spacing": math.nan}, "spacing of a slice must be above 0"),
        ({"outside": (0.0, 1.0)}, "one finite number for all channels"),
        ({"outside": math.nan}, "one finite number for all channels"),
        ({"offsets": torch.tensor([math.nan])}, "holds NaN or infinity"),
        ({"centres": torch.tensor([[0.0, math.inf, 0.0]])}, "holds NaN or infinity"),
        ({"volume": torch.zeros(3, 3, 3, dtype=torch.float16)}, "convert it to float32"),
    ],
)
def test_what_cannot_be_sampled_is_refused(change: dict[str, object], message: str) -> None:
    arguments = {
        "volume": torch.zeros(3, 3, 3),
        "centres": torch.ones(1, 3),
        "rotations": torch.eye(3)[None],
        "axis": 0,
        "offsets": torch.zeros(1),
        "size": (2, 2),
        "outside": 0.0,
    }
    with pytest.raises(AnatomarkError, match=message):
        sample_slices(**(arguments | change))  # type: ignore[arg-type]
