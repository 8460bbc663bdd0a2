"""Scattered volumes: voxels keep their values, and landmarks their voxels."""

import pytest
import torch
from volume_fixture import grid, noise

from anatomark.data.scattering import Scattering
from anatomark.geometry.volumes import Volume
from anatomark.types import AnatomarkError
from anatomark.volume_types import VolumeSample

INDEX = torch.tensor([2.0, 3.0, 4.0], dtype=torch.float64)


def make_sample(key: str) -> VolumeSample:
    given = noise(grid())
    point = given.geometry.to_mm(INDEX)
    mask = Volume(voxels=(given.voxels > 0).float(), geometry=given.geometry)
    return {
        "key": key,
        "subject": key,
        "volume": given,
        "original": given,
        "split": "test",
        "mask": mask,
        "landmarks": {"p": point},
        "second_rater": {"p": point + 1},
    }


@pytest.mark.parametrize("key", ["a", "b", "c"])
def test_everything_moves_together(key: str) -> None:
    given = make_sample(key)
    found = Scattering(field=2.0, seed=3)(given, outside=0.25)
    before, after = given["original"], found["original"]
    index = after.geometry.to_index(found["landmarks"]["p"])
    i, j, k = index.round().long().tolist()
    torch.testing.assert_close(index, torch.tensor([i, j, k]).double(), atol=1e-6, rtol=0)
    assert after.voxels[k, j, i] == before.voxels[4, 3, 2]
    assert after.geometry.size == tuple(2 * n for n in before.geometry.size)
    # Everything is there once, and air around it.
    assert torch.equal(after.voxels[after.voxels != 0.25].sort().values, before.voxels.flatten().sort().values)
    assert torch.equal(found["mask"].voxels > 0, (after.voxels > 0) & (after.voxels != 0.25))
    assert found["mask"].geometry == after.geometry
    # A rigid motion keeps handedness and distances.
    turned = [torch.tensor(volume.geometry.direction, dtype=torch.float64) for volume in (before, after)]
    assert float(turned[0].det()) == pytest.approx(float(turned[1].det()))
    apart = [sample["second_rater"]["p"] - sample["landmarks"]["p"] for sample in (given, found)]
    assert float(apart[0].norm()) == pytest.approx(float(apart[1].norm()))


def test_volumes_are_scattered_each_its_own_way_and_always_alike() -> None:
    first, again = (Scattering(seed=0)(make_sample("a"), outside=0.0)["original"] for _ in range(2))
    assert torch.equal(first.voxels, again.voxels)
    assert first.geometry == again.geometry
    for other in (Scattering(seed=1)(make_sample("a"), outside=0.0), Scattering()(make_sample("b"), outside=0.0)):
        assert other["original"].geometry.direction != first.geometry.direction


def test_without_rotation_and_more_field_nothing_changes() -> None:
    given = make_sample("a")
    same = Scattering(field=1.0, rotation=False)(given, outside=0.0)
    assert same["original"].geometry == given["original"].geometry
    assert torch.equal(same["original"].voxels, given["original"].voxels)
    assert torch.equal(same["landmarks"]["p"], given["landmarks"]["p"])


@pytest.mark.parametrize("field", [0.5, float("nan"), float("inf")])
def test_impossible_fields(field: float) -> None:
    with pytest.raises(AnatomarkError, match="Scattering: field is"):
        Scattering(field=field)
