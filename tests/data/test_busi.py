"""BUSI in a miniature copy of its layout and for real."""

from collections import Counter
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from refusal import refused

from anatomark.data.frames import FrameDataset, FrameSource
from anatomark.data.sources.busi import Busi
from anatomark.data.splits import check_disjoint, split_records

SHAPE = (40, 60)


def mask(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    drawn = np.zeros(SHAPE, np.uint8)
    for x0, y0, x1, y1 in boxes:
        drawn[y0:y1, x0:x1] = 255
    return drawn


def write(root: Path, **files: np.ndarray) -> Path:
    """Files by name, ``benign_1_mask`` being "benign/benign (1)_mask.png", beside one frame of each class."""
    for name in ("benign", "malignant", "normal"):
        (root / name).mkdir(parents=True)
        iio.imwrite(root / name / f"{name} (1).png", np.full((*SHAPE, 3), 9, np.uint8))
    for name, pixels in files.items():
        label, number, *rest = name.split("_")
        iio.imwrite(root / label / f"{'_'.join([f'{label} ({number})', *rest])}.png", pixels)
    return root


def test_folders_are_classes_and_every_image_its_own_subject(tmp_path: Path) -> None:
    source = Busi(root=write(tmp_path / "busi", benign_10=np.zeros(SHAPE, np.uint8)))
    assert isinstance(source, FrameSource)
    assert "split by image: no subject is given" in source.name
    records = source()
    assert [(record.key, record.label) for record in records] == [
        ("benign (1)", "benign"),
        ("benign (10)", "benign"),
        ("malignant (1)", "malignant"),
        ("normal (1)", "normal"),
    ]
    assert all(record.subject == record.key and not record.boxes for record in records)


def test_all_lesions_of_a_frame_are_in_one_box(tmp_path: Path) -> None:
    masks = {
        "benign_1_mask": mask((10, 5, 20, 15)),
        "benign_1_mask_1": mask((30, 12, 40, 30)),
        "benign_10": np.zeros(SHAPE, np.uint8),
        "benign_10_mask": np.repeat(mask((1, 2, 3, 4))[..., None], 3, axis=2),  # colour, as some are published
        "normal_1_mask": mask(),
    }
    records = {record.key: record for record in Busi(root=write(tmp_path / "busi", **masks))()}
    assert len(records) == 4
    assert records["benign (1)"].boxes["lesion"].tolist() == [9.5, 4.5, 39.5, 29.5]
    assert records["benign (10)"].boxes["lesion"].tolist() == [0.5, 1.5, 2.5, 3.5]  # not that of frame 1
    assert records["normal (1)"].boxes == {}
    assert records["malignant (1)"].size is None
    assert FrameDataset([records["benign (1)"]])[0]["image"].shape == (1, *SHAPE)


def test_a_folder_that_is_not_one(tmp_path: Path) -> None:
    assert "benign does not exist; expected BUSI's folder with benign, malignant, normal" in refused(
        Busi(root=tmp_path)
    )
    root = write(tmp_path / "busi", benign_1_mask=mask((1, 1, 2, 2)), benign_1_mask_1=np.zeros((9, 9), np.uint8))
    assert "benign (1)_mask_1.png is of another size than benign (1)_mask.png" in refused(Busi(root=root))
    (root / "benign" / "benign (1)_mask_1.png").write_bytes(b"broken")
    assert "benign (1)_mask_1.png: not a readable image" in refused(Busi(root=root))
    (root / "benign" / "benign (1)_mask_1.png").unlink()
    (root / "normal" / "normal (1).png").rename(root / "normal" / "normal (1)_mask.png")
    assert "normal holds no frame; expected BUSI's folder" in refused(Busi(root=root))


def test_a_mask_of_another_size_than_its_frame(tmp_path: Path) -> None:
    root = write(tmp_path / "busi", benign_1_mask=np.zeros((9, 9), np.uint8))
    assert "benign (1).png is 60 x 40 px but its annotations are made for 9 x 9" in refused(
        lambda: FrameDataset(Busi(root=root)())[0]
    )


@pytest.mark.real_data
def test_real_busi_is_split_by_image(data_dir: Path) -> None:
    records = Busi(root=data_dir / "busi")()
    assert Counter(record.label for record in records) == {"benign": 40, "malignant": 20, "normal": 20}
    assert FrameDataset(records[:1])[0]["image"].shape == (1, 256, 256)
    splits = split_records(records, fold=0, n_folds=5, val_fraction=0.0, seed=0)
    check_disjoint(splits)
    assert {name: len(part) for name, part in splits.items()} == {"train": 64, "val": 0, "test": 16}
