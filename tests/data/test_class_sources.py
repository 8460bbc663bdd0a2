"""SonoNet's example screens and FETAL_PLANES_DB, in miniature copies of their layouts and for real."""

from collections import Counter
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
import yaml
from refusal import refused

from anatomark.data.classes import check_labels
from anatomark.data.frames import FrameDataset, FrameSource
from anatomark.data.sources.fetal_planes import FetalPlanes
from anatomark.data.sources.sononet_frames import CLASS_OF, SonoNetFrames
from anatomark.instantiation import instantiate
from commands import CONF

HEADER = "Image_name;Patient_num;Plane;Brain_plane;Operator;US_Machine;Train \n"


def data_config(name):
    return yaml.safe_load((CONF / "data" / f"{name}.yaml").read_text())["data"]


def write_screens(root, *names, size=(735, 975)):
    root.mkdir()
    for name in names:
        iio.imwrite(root / f"{name}.png", np.zeros((*size, 3), np.uint8))
    return root


def test_screens_are_named_by_what_they_show(tmp_path):
    source = SonoNetFrames(root=write_screens(tmp_path / "set", "SPINE-SAGITTAL", "3VV", "BRAIN-TV"))
    assert isinstance(source, FrameSource)
    records = source()
    assert [(r.key, r.label) for r in records] == [
        ("3VV", "3VV"),
        ("BRAIN-TV", "Brain (Tv.)"),
        ("SPINE-SAGITTAL", "Spine (sag.)"),
    ]
    assert {record.split for record in records} == {"test"}
    assert len({record.subject for record in records}) == 3


def test_classes_of_the_configuration_are_the_networks_outputs():
    classes = data_config("sononet_frames")["classes"]
    published = "3VV,4CH,Abdominal,Background,Brain (Cb.),Brain (Tv.),Femur,Kidneys,Lips,LVOT,Profile,RVOT"
    assert classes == [*published.split(","), "Spine (cor.)", "Spine (sag.)"] == list(CLASS_OF.values())


def test_folder_of_other_screens(tmp_path):
    assert "expected a folder with 3VV.png, 4CH.png" in refused(SonoNetFrames(root=tmp_path / "none"))
    assert "holds no PNG; expected" in refused(SonoNetFrames(root=tmp_path))
    odd = SonoNetFrames(root=write_screens(tmp_path / "odd", "HEART"))
    assert "HEART.png is named after no class of SonoNet; expected" in refused(odd)
    small = SonoNetFrames(root=write_screens(tmp_path / "small", "LVOT", size=(768, 1024)))
    assert "LVOT.png is 1024 x 768 px; the image is cut out of screens of 975 x 735" in refused(small)


def write_planes(root, *rows, header=HEADER):
    (root / "Images").mkdir(parents=True)
    for row in rows:
        iio.imwrite(root / "Images" / f"{row.split(';')[0]}.png", np.zeros((8, 9), np.uint8))
    (root / "FETAL_PLANES_DB_data.csv").write_text(header + "\n".join(rows))
    return root


def test_fetal_planes_records(tmp_path):
    rows = (
        "Patient00001_Plane1_1_of_2;1;Other;Not A Brain;Op. 1;Aloka;1",
        "Patient00002_Plane3_1_of_1;2;Fetal brain;Trans-thalamic;Op. 1;Aloka;0 ",
    )
    root = write_planes(tmp_path / "set", *rows)
    (root / "FETAL_PLANES_DB_data.csv").write_text(HEADER + "\n".join([*rows, "absent;3;Other;;;;1"]))
    source = FetalPlanes(root=root)
    assert isinstance(source, FrameSource)
    assert [(r.key, r.subject, r.label, r.split) for r in source()] == [
        ("Patient00001_Plane1_1_of_2", "1", "Other", "train"),
        ("Patient00002_Plane3_1_of_1", "2", "Fetal brain", "test"),
    ]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a;;Other;;;;1", "a has no Patient_num"),
        ("a;1;;;;;1", "a has no Plane"),
        ("a;1;Other;;;;yes", "Train of a is 'yes'; use 1 or 0"),
    ],
)
def test_fetal_planes_row_that_cannot_be_used(tmp_path, row, problem):
    assert problem in refused(FetalPlanes(root=write_planes(tmp_path / "set", row)))


def test_fetal_planes_folder_that_is_not_one(tmp_path):
    assert "expected FETAL_PLANES_DB's folder with FETAL_PLANES_DB_data.csv" in refused(FetalPlanes(root=tmp_path))
    root = write_planes(tmp_path / "set", "a;1;Other;;;;1", header=HEADER.replace("Train", "Test"))
    assert "lacks the column 'Train'" in refused(FetalPlanes(root=root))
    (root / "FETAL_PLANES_DB_data.csv").write_text(HEADER + "b;1;Other;;;;1")
    assert "Images holds none of the frames" in refused(FetalPlanes(root=root))
    (root / "FETAL_PLANES_DB_data.csv").write_text("")
    assert "is no readable table" in refused(FetalPlanes(root=root))


@pytest.mark.real_data
def test_real_fetal_planes(data_dir: Path):
    records = FetalPlanes(root=data_dir / "fetal_planes")()
    assert len(records) == len({record.subject for record in records}) == 20
    assert Counter(record.label for record in records)["Fetal brain"] == 8
    check_labels(records, data_config("fetal_planes")["classes"])
    assert FrameDataset(records)[0]["image"].ndim == 3


@pytest.mark.real_data
def test_the_published_network_names_all_real_screens(data_dir: Path):
    from anatomark.nets.sononet import SonoNet

    config = data_config("sononet_frames")
    records = SonoNetFrames(root=data_dir / "sononet16" / "examples")()
    dataset = FrameDataset(records, transform=instantiate(config["eval_transform"]), classes=config["classes"])
    weights = str(data_dir / "sononet16" / "SonoNet16.pth")
    net = SonoNet(width=16, n_classes=len(config["classes"]), weights=weights).eval()
    samples = list(dataset)
    assert len(samples) == 7
    with torch.no_grad():
        logits = net(torch.stack([sample["image"] for sample in samples])).logits
    assert logits.argmax(1).tolist() == [sample["label"] for sample in samples]
