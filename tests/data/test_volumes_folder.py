"""volumes.csv as records, the roles of volumes, and what is said of folders that cannot be used."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from refusal import refused
from volumes_folder_fixture import VOLUMES, change, drop, read_table, write_table, write_volumes

from anatomark.data.sources.mouse_ct import MouseCt
from anatomark.data.volume_records import VolumeSource
from anatomark.data.volume_splits import split_volumes
from anatomark.data.volumes_folder import VolumesFolder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_volumes(tmp_path / "mine")


def keys(folder: Path, **ids: str) -> dict[str, list[str]]:
    splits = split_volumes(VolumesFolder(root=folder)(), **ids)
    assert all(record.split == split for split, records in splits.items() for record in records)
    return {split: [record.key for record in records] for split, records in splits.items()}


def test_a_row_is_a_record(folder: Path) -> None:
    source = VolumesFolder(root=folder)
    assert isinstance(source, VolumeSource)
    assert source.name == "mine"
    records = {record.key: record for record in source()}
    assert list(records) == ["ref", "valid", "first", "second"]
    first = records["first"]
    assert (first.subject, first.split) == ("s2", "test")
    assert [path and path.name for path in (first.file, first.mask, first.landmarks, first.second_rater)] == [
        "first.nii.gz",
        "first_mask.nrrd",
        "first.mrk.json",
        "first.mrk.json",
    ]
    assert records["ref"].second_rater is None


def test_annotations_and_splits_are_optional(folder: Path) -> None:
    drop(folder, "mask", "landmarks", "second_rater", "split")
    for record in VolumesFolder(root=folder)():
        assert (record.mask, record.landmarks, record.second_rater, record.split) == (None,) * 4


def test_ids_are_text(folder: Path) -> None:
    change(folder, "ref", "volume_id", "007")
    change(folder, "ref", "subject_id", "012")
    record = VolumesFolder(root=folder)()[0]
    assert (record.key, record.subject) == ("007", "012")
    for number, key in enumerate(VOLUMES):
        change(folder, key, "volume_id", f"{number:03d}")
    assert [record.key for record in VolumesFolder(root=folder)()] == ["000", "001", "002", "003"]


def test_the_column_or_the_configuration_says_which_volumes_train_and_validate(folder: Path) -> None:
    assert keys(folder) == {"train": ["ref"], "val": ["valid"], "test": ["first", "second"]}
    chosen = keys(folder, reference="second", validation="ref")
    assert chosen == {"train": ["second"], "val": ["ref"], "test": ["valid", "first"]}
    drop(folder, "split")
    assert keys(folder, reference="second", validation="ref") == chosen


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("volume_id", "", "fill it in"),
        ("volume_id", "valid", "it is listed before"),
        ("subject_id", "", "fill it in"),
        ("file", "none.nii.gz", "holds no such file"),
        ("file", "valid.nii.gz", "it is listed before"),
        ("mask", "none.nrrd", "holds no such file"),
        ("landmarks", "none.fcsv", "holds no such file"),
        ("second_rater", "none.fcsv", "holds no such file"),
        ("split", "training", "use train, val, test"),
    ],
)
def test_a_wrong_cell_is_named_with_its_row(folder: Path, column: str, value: str, says: str) -> None:
    change(folder, "first", column, value)
    message = refused(VolumesFolder(root=folder))
    assert f"{folder / 'volumes.csv'}, row 4: {column} is " in message
    assert says in message


def test_a_folder_without_its_table_or_columns_is_refused(folder: Path) -> None:
    drop(folder, "subject_id")
    assert "volumes.csv lacks the column subject_id" in refused(VolumesFolder(root=folder))
    (folder / "volumes.csv").write_text("volume_id,subject_id,file\n")
    assert "lists no volume" in refused(VolumesFolder(root=folder))
    (folder / "volumes.csv").unlink()
    assert "expected a folder with volumes.csv" in refused(VolumesFolder(root=folder))


def no_split(folder: Path) -> None:
    change(folder, "second", "split", "")


def two_references(folder: Path) -> None:
    change(folder, "second", "split", "train")


def no_validation(folder: Path) -> None:
    change(folder, "valid", "split", "test")


def no_target(folder: Path) -> None:
    write_table(folder, read_table(folder)[:2])


def no_mask(folder: Path) -> None:
    change(folder, "valid", "mask", "")


def shared_subject(folder: Path) -> None:
    change(folder, "second", "subject_id", "s0")


def one_file_twice(folder: Path) -> None:
    (folder / "copy.nii.gz").symlink_to(folder / "ref.nii.gz")
    change(folder, "valid", "file", "copy.nii.gz")


def other_names(folder: Path) -> None:
    (folder / "other.csv").write_text("name,x_mm,y_mm,z_mm\ncentre,0,0,0\nwindow,1,1,1\n")
    change(folder, "second", "landmarks", "other.csv")


def unmarked_reference(folder: Path) -> None:
    change(folder, "ref", "landmarks", "")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (no_split, "volume second has no split"),
        (two_references, "2 volumes have the split 'train'; give it to one, the reference"),
        (no_validation, "0 volumes have the split 'val'"),
        (no_target, "there is no target"),
        (no_mask, "volume valid ("),
        (shared_subject, "subject s0 is in both train (volume ref) and test (volume second)"),
        (one_file_twice, "ref.nii.gz is volume ref of train and volume valid of val"),
        (other_names, "other.csv: lacks top and adds window against"),
        (unmarked_reference, "volume valid has landmarks but the reference ref has none"),
    ],
)
def test_roles_that_cannot_be_are_refused(folder: Path, spoil: Callable[[Path], None], says: str) -> None:
    spoil(folder)
    assert says in refused(lambda: split_volumes(VolumesFolder(root=folder)()))


@pytest.mark.parametrize(
    ("reference", "validation", "says"),
    [
        ("ref", "ref", "data.reference and data.validation are both ref"),
        ("ref", None, "data.reference is ref and data.validation None; give both"),
        ("nobody", "ref", "data.reference is nobody, which is no volume of the data set; use one of ref, valid"),
        ("ref", "nobody", "data.validation is nobody"),
    ],
)
def test_ids_that_cannot_be_are_refused(folder: Path, reference: str | None, validation: str | None, says: str) -> None:
    records = VolumesFolder(root=folder)()
    assert says in refused(lambda: split_volumes(records, reference=reference, validation=validation))


def test_mouse_ct_is_read_in_its_own_layout(tmp_path: Path) -> None:
    for name in ("targets/A_J_.nii.gz", "targets/B_J_.nii.gz", "masks/B_J_.nii.gz", "target_LMs/A_J_.mrk.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert "B_J_.mrk.json does not exist; expected the folder with" in refused(MouseCt(root=tmp_path))
    (tmp_path / "target_LMs" / "B_J_.mrk.json").touch()
    first, second = MouseCt(root=tmp_path)()
    assert (first.key, first.subject, first.mask) == ("A_J_", "A_J_", None)
    assert second.mask == tmp_path / "masks" / "B_J_.nii.gz"
    assert "targets does not exist" in refused(MouseCt(root=tmp_path / "none"))
    (tmp_path / "empty" / "targets").mkdir(parents=True)
    assert "holds no volume" in refused(MouseCt(root=tmp_path / "empty"))


@pytest.mark.real_data
def test_real_mouse_ct(data_dir: Path) -> None:
    records = MouseCt(root=data_dir / "mouse_ct")()
    splits = split_volumes(records, reference="FVB_NJ_", validation="C57BL6_J_")
    assert np.array_equal([len(splits[name]) for name in ("train", "val", "test")], [1, 1, 6])
