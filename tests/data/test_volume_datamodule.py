"""Slices of volumes in the patient, one seed one result, and volumes as samples."""

from pathlib import Path

import numpy as np
import pytest
import torch
from volume_fixture import positions
from volumes_folder_fixture import SEMI_AXES_MM, WINDOW, geometry_of, inside, ramp, ready, write_volumes

from anatomark.data.slice_augmentation import SliceAugmentation
from anatomark.data.slice_draws import SliceDraw
from anatomark.data.sources.mouse_ct import MouseCt
from anatomark.data.volume_datamodule import VolumeDataModule
from anatomark.data.volumes import read_volume, write_mask, write_volume
from anatomark.geometry.hulls import convex_hull
from anatomark.geometry.volumes import Volume, VolumeGeometry
from anatomark.types import Batch

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_volumes(tmp_path_factory.mktemp("volumes") / "kept")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_volumes(tmp_path / "mine")


def batches(made: VolumeDataModule, stage: str) -> list[Batch]:
    return [made.transfer_batch_to_device(draw, CPU, 0) for draw in getattr(made, f"{stage}_dataloader")()]


def drawn(made: VolumeDataModule, stage: str) -> SliceDraw:
    return next(iter(getattr(made, f"{stage}_dataloader")()))


def pixels_mm(draw: SliceDraw, made: VolumeDataModule, split: str, size: int) -> torch.Tensor:
    """LPS mm of every pixel of every slice: patch voxel (i, j, k) lies at centre + spacing * rotation @ (i, j, k)."""
    steps = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    where = []
    for n, axis in enumerate(draw.axes.tolist()):
        offset = torch.full_like(rows, float(draw.offsets[n]))
        ijk = {0: (columns, rows, offset), 1: (columns, offset, rows), 2: (offset, columns, rows)}[axis]
        turned = torch.stack(ijk, dim=-1) @ draw.rotations[n].mT
        where.append(draw.centres[n] + draw.spacings[n] * turned)
    geometry = made.evaluation_dataset([split])[0]["volume"].geometry
    return geometry.to_mm(torch.stack(where))


@pytest.mark.parametrize(("stage", "split", "number"), [("train", "train", 0), ("val", "val", 1)])
def test_slices_show_their_place_in_the_patient(kept: Path, stage: str, split: str, number: int) -> None:
    torch.manual_seed(0)
    made = ready(kept, rotation="full", scale=0.2, batch_size=60)
    draw = drawn(made, stage)
    batch = made.transfer_batch_to_device(draw, CPU, 0)
    where, geometry = pixels_mm(draw, made, split, 24), geometry_of(number)
    # Away from the border, where values run to that of air.
    within = (geometry.to_index(where) > 1.0).all(-1) & (
        geometry.to_index(where) < torch.tensor(geometry.size, dtype=torch.float64) - 2.0
    ).all(-1)
    expected = (ramp(where, geometry) - WINDOW[0]) / (WINDOW[1] - WINDOW[0])
    assert float(within.double().mean()) > 0.5
    assert float((batch["image"][:, 0] - expected)[within].abs().max()) < 2e-3
    truth, mask = inside(where, geometry), batch["mask"][:, 0] == 1
    assert float(truth.double().mean()) > 0.05
    assert float((truth & mask).sum() / (truth | mask).sum()) > 0.75
    # The border of the structure is uncertain by the voxels of the file, its middle is not.
    assert bool(mask[inside(geometry.centre_mm + (where - geometry.centre_mm) * 1.8, geometry)].all())
    assert not bool(mask[~inside(geometry.centre_mm + (where - geometry.centre_mm) / 1.8, geometry)].any())


def stored_otherwise(volume: Volume) -> Volume:
    """The same volume, its i axis reversed and exchanged with k."""
    old = volume.geometry
    x, y, z = old.to_mm(torch.tensor([old.size[0] - 1.0, 0.0, 0.0], dtype=torch.float64)).tolist()
    a, b, c = ((k, j, -i) for i, j, k in old.direction)
    (i, j, k), (s, t, u) = old.size, old.spacing_mm
    grid = VolumeGeometry(spacing_mm=(u, t, s), origin_mm=(x, y, z), direction=(a, b, c), size=(k, j, i))
    return Volume(voxels=volume.voxels.flip(2).permute(2, 1, 0).contiguous(), geometry=grid)


def test_validation_shows_patients_as_the_reference_lies_however_they_are_stored(folder: Path) -> None:
    before = batches(ready(folder), "val")
    for name, write in (("valid.nii.gz", write_volume), ("valid_mask.nrrd", write_mask)):
        write(folder / name, stored_otherwise(read_volume(folder / name)))
    made = ready(folder)
    draw = drawn(made, "val")
    axes = torch.tensor(made.evaluation_dataset(["val"])[0]["volume"].geometry.direction).double() @ draw.rotations
    turned = torch.tensor(geometry_of(0).direction, dtype=torch.float64).mT @ axes
    # Three turns of up to 20 degrees.
    assert float(turned.diagonal(dim1=1, dim2=2).sum(1).min()) > 1 + 2 * np.cos(np.radians(36))
    for one, other in zip(before, batches(made, "val"), strict=True):
        torch.testing.assert_close(one["image"], other["image"], atol=1e-4, rtol=0)
        assert float((one["mask"] == other["mask"]).double().mean()) > 0.999


def test_what_slices_are_cut_of_is_held_once(kept: Path) -> None:
    resident = ready(kept)._resident["train"]
    held = {resident.sample[name].voxels.untyped_storage().data_ptr() for name in ("volume", "mask")}
    assert held == {resident._channels.untyped_storage().data_ptr()}


def test_slices_are_frames_with_a_mask_and_without_gaze(kept: Path) -> None:
    made = ready(kept)
    (batch, *_), n = batches(made, "val"), 6
    assert batch["image"].shape == batch["mask"].shape == (n, 1, 24, 24)
    assert batch["fixations"].shape == (n, 0, 3)
    assert not bool(batch["has_gaze"].any())
    assert [sample["key"] for sample in batch["samples"]] == [f"valid/{i}" for i in range(n)]
    for number, sample in enumerate(batch["samples"]):
        assert torch.equal(sample["image"], batch["image"][number])
        assert torch.equal(sample["mask"], batch["mask"][number])
        assert (sample["subject"], sample["split"]) == ("s1", "val")
        assert sample["spacing_mm"].tolist() == [0.25, 0.25]


def test_the_world_around_a_volume_is_air(kept: Path) -> None:
    (batch, *_) = batches(ready(kept, translation=1000.0, outside=0.2), "val")
    assert torch.allclose(batch["image"], torch.tensor(0.2))
    assert not bool(batch["mask"].any())


def test_one_seed_gives_one_training_and_every_epoch_its_own_slices(kept: Path) -> None:
    made = ready(kept, augmentation=SliceAugmentation(), scale=0.1)
    torch.manual_seed(5)
    first, second = batches(made, "train"), batches(made, "train")
    torch.manual_seed(5)
    again = batches(ready(kept, augmentation=SliceAugmentation(), scale=0.1), "train")
    assert len(first) == 3
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0]["image"], second[0]["image"])
    assert not torch.equal(first[0]["image"], first[1]["image"])


def test_training_goes_on_where_the_random_numbers_of_a_checkpoint_stand(kept: Path) -> None:
    made = ready(kept, augmentation=SliceAugmentation())
    torch.manual_seed(5)
    batches(made, "train")
    state = torch.get_rng_state()
    expected = batches(made, "train")
    torch.manual_seed(77)
    resumed = ready(kept, augmentation=SliceAugmentation())
    torch.set_rng_state(state)
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(batches(resumed, "train"), expected, strict=True))


def test_validation_and_test_slices_are_fixed_plain_and_others(kept: Path) -> None:
    torch.manual_seed(0)
    made = ready(kept, augmentation=SliceAugmentation(), scale=0.2)
    val = batches(made, "val")
    torch.manual_seed(9)
    again, test = batches(ready(kept), "val"), batches(made, "test")
    assert len(val) == len(test) == 2
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(val, again, strict=True))
    assert not {s["key"] for b in val for s in b["samples"]} & {s["key"] for b in test for s in b["samples"]}
    assert not torch.equal(val[0]["image"], test[0]["image"])


def test_volumes_are_predicted_one_by_one_beside_the_reference(kept: Path) -> None:
    made = ready(kept)
    found = [made.transfer_batch_to_device(batch, CPU, 0) for batch in made.predict_dataloader()]
    assert [[sample["key"] for sample in batch["volumes"]] for batch in found] == [["first"], ["second"]]
    assert {batch["reference"]["key"] for batch in found} == {"ref"}
    made.predict_splits = ("train", "test")
    assert len(made.predict_dataloader()) == 3
    assert [record.key for record in made.evaluation_dataset(["val", "train"]).records] == ["valid", "ref"]


def test_a_sample_has_cubic_voxels_the_grid_of_its_file_and_its_annotations(kept: Path) -> None:
    sample = ready(kept).evaluation_dataset(["test"])[0]
    geometry = geometry_of(2)
    assert sample["original"].geometry.matches(geometry)
    assert sample["volume"].geometry == sample["original"].geometry.isotropic(0.25)
    assert sample["mask"].geometry == sample["volume"].geometry
    scaled = (ramp(positions(geometry), geometry) - WINDOW[0]) / (WINDOW[1] - WINDOW[0])
    assert torch.allclose(sample["original"].voxels.double(), scaled, atol=1e-6)
    assert torch.allclose(sample["landmarks"]["centre"], geometry.centre_mm)
    assert set(sample["second_rater"]) == {"centre", "top"}
    mass = float(sample["mask"].voxels.sum()) * 0.25**3
    assert mass == pytest.approx(4 / 3 * torch.pi * float(SEMI_AXES_MM.prod()), rel=0.1)


def test_intensities_are_clipped_to_the_window(kept: Path) -> None:
    sample = ready(kept, window=(-10.0, 30.0)).evaluation_dataset(["train"])[0]
    for volume in (sample["volume"], sample["original"]):
        assert (float(volume.voxels.min()), float(volume.voxels.max())) == (0.0, 1.0)


def test_shells_can_be_learnt_by_their_hull(folder: Path) -> None:
    geometry = geometry_of(0)
    where = positions(geometry)
    middle = geometry.centre_mm + (where - geometry.centre_mm) * 1.8
    shell = inside(where, geometry) & ~inside(middle, geometry)
    write_mask(folder / "ref_mask.nrrd", Volume(voxels=shell.float(), geometry=geometry))
    (drawn_mask, hull) = (
        ready(folder, mask=kind).evaluation_dataset(["train"])[0]["mask"] for kind in ("drawn", "hull")
    )
    k, j, i = (n // 2 for n in hull.voxels.shape)
    assert (float(drawn_mask.voxels[k, j, i]), float(hull.voxels[k, j, i])) == (0.0, 1.0)
    assert bool((hull.voxels >= drawn_mask.voxels).all())
    filled = float(convex_hull(shell).sum()) * float(np.prod(geometry.spacing_mm))
    assert float(hull.voxels.sum()) * 0.25**3 == pytest.approx(filled, rel=0.03)


@pytest.mark.real_data
def test_real_mouse_ct_slices(data_dir: Path) -> None:
    made = VolumeDataModule(
        root=data_dir / "mouse_ct",
        source=MouseCt,
        reference="FVB_NJ_",
        validation="C57BL6_J_",
        window=(0, 160),
        mask="hull",
        rotation="full",
        validation_steps=2,
    )
    made.setup()
    sample = made.evaluation_dataset(["train"])[0]
    assert len(sample["landmarks"]) == 45
    assert all(0.02 < float(batch["mask"].mean()) < 0.2 for batch in batches(made, "val"))
