"""The search of a structure in volumes, with a network that sees it exactly."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from anatomark.geometry.inertia import moments
from anatomark.geometry.poses import uniform_rotations
from anatomark.geometry.volumes import Volume, VolumeGeometry
from anatomark.models.structure_search import StructureSearch
from anatomark.types import AnatomarkError
from anatomark.volume_types import VolumeSample

SEMI_AXES = torch.tensor([8.0, 5.5, 3.5], dtype=torch.float64)
IDENTITY = torch.eye(3, dtype=torch.float64)


def geometry(size: tuple[int, int, int], direction: Tensor = IDENTITY, origin: float = -30.0) -> VolumeGeometry:
    a, b, c = (tuple(row) for row in direction.tolist())
    return VolumeGeometry(spacing_mm=(1, 1, 1), origin_mm=(origin, origin, origin), direction=(a, b, c), size=size)


def make_sample(grid: VolumeGeometry, *, centre: Tensor, rotation: Tensor = IDENTITY, key: str = "a") -> VolumeSample:
    """A bright ellipsoid, brighter towards one end of each axis, in a dark volume with a small bright ball."""
    i, j, k = (torch.arange(n, dtype=torch.float64) for n in grid.size)
    index = torch.stack(torch.meshgrid(k, j, i, indexing="ij")[::-1], dim=-1)
    points = grid.to_mm(index)
    own = (points - centre) @ rotation / SEMI_AXES
    inside = own.square().sum(-1) <= 1
    shade = 0.72 + 0.2 * own[..., 0] + 0.12 * own[..., 1]
    ball = (points - centre - rotation @ torch.tensor([0.0, 12.0, 0.0]).double()).norm(dim=-1) < 2
    voxels = torch.where(inside, shade, torch.where(ball, 0.9, 0.1)).float()
    volume = Volume(voxels=voxels, geometry=grid)
    mask = replace(volume, voxels=inside.float())
    return {"key": key, "subject": key, "volume": volume, "original": volume, "split": "test", "mask": mask}


def see(slices: Tensor) -> Tensor:
    return torch.where(slices > 0.45, 0.99, 0.01)


def make_search(**options: object) -> StructureSearch:
    settings: dict[str, object] = {"patch_size": 26, "scan_stride": 2, "tolerance_mm": 0.5, "sign_stride": 1, **options}
    return StructureSearch(**settings)  # type: ignore[arg-type]


def turns(n: int) -> Tensor:
    return uniform_rotations(n, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("number", range(6))
def test_finds_position_and_rotation(number: int) -> None:
    search = make_search()
    reference = search.describe(see, make_sample(geometry((48, 48, 48)), centre=torch.zeros(3).double()))
    rotation, stored = turns(12)[number], turns(12)[6 + number]
    grid = geometry((52, 50, 54), stored, origin=0.0)
    centre = grid.centre_mm + torch.tensor([6.0, -7.0, 5.0]).double()
    found = search.find(see, make_sample(grid, centre=centre, rotation=rotation, key="b"), reference)
    assert bool(found["found"])
    # The ball that lies beside the structure draws the first look at the whole volume a little to itself.
    assert float((found["centres_mm"][0] - centre).norm()) < 2
    pose = found["pose"]
    # The network sees more of the bright end, in the reference as well.
    torch.testing.assert_close(pose[:3, 3], centre, atol=0.3, rtol=0)
    angle = torch.rad2deg(torch.acos(((pose[:3, :3] @ rotation.mT).trace() - 1) / 2).clamp(-1, 1))
    assert float(angle) < 3
    torch.testing.assert_close(pose[:3, :3] @ reference.moments.centre_mm + pose[:3, 3], found["centres_mm"][-1])
    best, second = found["sign_scores"].sort(descending=True).values[:2].tolist()
    assert best > 0.85
    assert best - second > 0.02  # the dark surroundings look alike from everywhere
    assert not found["ambiguous"]
    # Where the map lies: its own moments are those of the structure.
    again = moments(found["maps"][0], found["affine"])
    torch.testing.assert_close(again.centre_mm, found["centres_mm"][-1])
    assert float(again.mass_mm3) == pytest.approx(float(found["masses_mm3"][-1]))
    assert found["seconds"].keys() == {"start", "localisation", "inertia"}


def without_shades(sample: VolumeSample) -> VolumeSample:
    volume = sample["volume"]
    even = replace(volume, voxels=torch.where(sample["mask"].voxels > 0, 0.72, volume.voxels))
    return {**sample, "volume": even, "original": even}


def test_surroundings_turn_a_structure_that_is_the_same_from_four_sides() -> None:
    search = make_search()
    reference = search.describe(
        see, without_shades(make_sample(geometry((48, 48, 48)), centre=torch.zeros(3).double()))
    )
    for rotation in turns(6):
        sample = make_sample(geometry((48, 48, 48)), centre=torch.zeros(3).double(), rotation=rotation, key="b")
        found = search.find(see, without_shades(sample), reference)
        # All but the ball beside it stays as it is under half a turn about its middle axis.
        side = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
        assert float((found["pose"][:3, :3] @ side) @ (rotation @ side)) > 0.99


def test_volumes_stored_in_mirrored_order_are_no_mirrored_patients() -> None:
    search = make_search()
    reference = search.describe(see, make_sample(geometry((48, 48, 48)), centre=torch.zeros(3).double()))
    mirrored = geometry((52, 50, 54), torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)), origin=0.0)
    rotation = turns(1)[0]
    found = search.find(see, make_sample(mirrored, centre=mirrored.centre_mm, rotation=rotation), reference)
    assert float((found["pose"][:3, :3] - rotation).norm()) < 0.1


def test_starting_at_the_reference_needs_overlap_and_goes_on_in_rounds() -> None:
    search = make_search(init="reference", patch_size=24)
    reference = search.describe(see, make_sample(geometry((60, 60, 60)), centre=torch.zeros(3).double()))
    centre = torch.tensor([8.0, 3.0, -2.0]).double()
    found = search.find(see, make_sample(geometry((60, 60, 60)), centre=centre), reference)
    torch.testing.assert_close(found["centres_mm"][0], reference.moments.centre_mm)
    assert len(found["centres_mm"]) > 3  # the first patch cuts the structure
    torch.testing.assert_close(found["pose"][:3, 3], centre, atol=0.3, rtol=0)
    far = search.find(see, make_sample(geometry((60, 60, 60)), centre=centre + 14), reference)
    assert not far["found"]
    assert "pose" not in far


def test_an_absent_structure_is_not_found() -> None:
    search = make_search()
    reference = search.describe(see, make_sample(geometry((48, 48, 48)), centre=torch.zeros(3).double()))
    empty = make_sample(geometry((40, 40, 40)), centre=torch.full((3,), 500.0).double(), key="empty")
    found = search.find(see, empty, reference)
    assert not found["found"]
    assert found["key"] == "empty"
    assert found["centres_mm"].shape == (0, 3)


def test_larger_slices_come_fewer_at_a_time() -> None:
    seen: list[torch.Size] = []

    def watch(slices: Tensor) -> Tensor:
        seen.append(slices.shape)
        return see(slices)

    search = make_search(batch_size=4)
    reference = search.describe(see, make_sample(geometry((48, 48, 48)), centre=torch.zeros(3).double()))
    search.find(watch, make_sample(geometry((60, 90, 70)), centre=torch.zeros(3).double()), reference)
    assert max(shape.numel() for shape in seen) <= max(4 * 26 * 26, 70 * 90)
    assert {n for n, height, width in seen if (height, width) == (26, 26)} == {4, 2}  # 26 slices by fours


def test_a_structure_that_is_lost_once_aligned_has_no_mass() -> None:
    search = make_search()
    sample = make_sample(geometry((48, 48, 48)), centre=torch.zeros(3).double(), rotation=turns(1)[0], key="b")
    reference = search.describe(see, make_sample(geometry((48, 48, 48)), centre=torch.zeros(3).double()))
    expected = search.find(see, sample, reference)
    n_rounds = len(expected["masses_mm3"]) - 1
    calls = 0

    def forget(slices: Tensor) -> Tensor:
        nonlocal calls
        calls += slices.shape[1:] == (26, 26)
        return see(slices) if calls <= 3 * n_rounds else torch.zeros_like(slices)

    found = search.find(forget, sample, reference)
    assert bool(found["found"])
    assert float(found["masses_mm3"][-1]) == 0
    assert not found["maps"].any()
    torch.testing.assert_close(found["centres_mm"][-1], found["centres_mm"][-2])
    assert float((found["pose"] - expected["pose"]).norm()) < 1.5


def test_the_reference_is_what_the_network_sees_not_the_mask() -> None:
    search = make_search()
    sample = make_sample(geometry((48, 48, 48)), centre=torch.zeros(3).double())
    grown = replace(sample["mask"], voxels=sample["mask"].voxels.roll(3, dims=2))
    described = search.describe(see, {**sample, "mask": grown})
    torch.testing.assert_close(described.moments.centre_mm, torch.zeros(3).double(), atol=0.6, rtol=0)


def test_a_network_that_sees_nothing_is_told_about() -> None:
    sample = make_sample(geometry((48, 48, 48)), centre=torch.zeros(3).double(), key="ref")
    with pytest.raises(AnatomarkError, match="does not find the structure in its own reference, ref"):
        make_search().describe(torch.zeros_like, sample)
    del sample["mask"]
    with pytest.raises(AnatomarkError, match="reference ref has no mask"):
        make_search().describe(see, sample)


@pytest.mark.parametrize(
    "options",
    [
        {"init": "centre"},
        {"patch_size": 0},
        {"max_rounds": 0},
        {"tolerance_mm": 0.0},
        {"tolerance_mm": float("nan")},
        {"scan_stride": 0},
    ],
)
def test_impossible_options(options: dict[str, object]) -> None:
    (name,) = options
    with pytest.raises(AnatomarkError, match=name):
        make_search(**options)
