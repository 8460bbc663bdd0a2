"""Fetal brain masks and HC18, in miniature copies of their layouts and for real."""

from collections import Counter

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from refusal import refused
from scipy.special import ellipe

from anatomark.data.frames import FrameDataset, FrameSource
from anatomark.data.sources.fetal_brain import FetalBrain, structure_masks
from anatomark.data.sources.hc18 import Hc18
from anatomark.data.sources.simulated_gaze import SimulatedGaze
from anatomark.types import AnatomarkError

SHAPE = (120, 160)
ROWS, COLUMNS = np.mgrid[: SHAPE[0], : SHAPE[1]]
COLOURS = np.zeros((256, 3), np.uint8)
COLOURS[1:4] = [(128, 0, 0), (0, 128, 0), (128, 128, 0)]
RED, GREEN, OLIVE = 1, 2, 3
TWO_BARS = (COLUMNS < 20) | (COLUMNS > 140)
CSP_BOX, LV_BOX = (slice(50, 58), slice(40, 54)), (slice(70, 90), slice(100, 120))


def ellipse_mask(x=80.0, y=60.0, a=70.0, b=50.0):
    return ((COLUMNS - x) / a) ** 2 + ((ROWS - y) / b) ** 2 <= 1


def brain_mask(*, head, csp=True, lv=True):
    labels = np.zeros(SHAPE, np.uint8)
    if head:
        labels[ellipse_mask()] = RED
    if lv:
        labels[LV_BOX] = GREEN
    if csp:
        labels[CSP_BOX] = OLIVE if head else RED
    return labels


def write_brain(root, masks, *, palette=False):
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    grey = np.random.default_rng(0).integers(0, 200, SHAPE, dtype=np.uint8)
    for name, labels in masks.items():
        iio.imwrite(root / "images" / f"{name}.png", grey)
        if palette:
            image = Image.fromarray(labels).convert("P")
            image.putpalette(COLOURS.ravel().tolist())
            image.save(root / "masks" / f"{name}.png")
        else:
            iio.imwrite(root / "masks" / f"{name}.png", COLOURS[labels])
    return root


def brain(root, **options):
    return FetalBrain(root=root, gaze=SimulatedGaze(**options))


def test_colours_mean_what_the_heads_presence_says():
    with_head = structure_masks(COLOURS[brain_mask(head=True)])
    without = structure_masks(COLOURS[brain_mask(head=False)])
    for masks in (with_head, without):
        for name, where in (("csp", CSP_BOX), ("lv", LV_BOX)):
            expected = np.zeros(SHAPE, bool)
            expected[where] = True
            assert np.array_equal(masks[name], expected)
    assert np.array_equal(with_head["head"], ellipse_mask())
    assert "head" not in without
    assert set(structure_masks(COLOURS[brain_mask(head=True, csp=False)])) == {"head", "lv"}
    assert set(structure_masks(COLOURS[brain_mask(head=False, lv=False)])) == {"csp"}


@pytest.mark.parametrize("palette", [False, True])
def test_fetal_brain_records(tmp_path, palette):
    masks = {
        "Patient00002_Plane3_1_of_2": brain_mask(head=False),
        "Patient00001_Plane3_2_of_2": brain_mask(head=True, csp=False),
        "Patient00001_Plane3_1_of_2": brain_mask(head=True),
    }
    source = brain(write_brain(tmp_path / "set", masks, palette=palette))
    assert isinstance(source, FrameSource)
    assert "simulated gaze" in source.name
    whole, no_csp, no_head = source()
    assert [record.key for record in (whole, no_csp, no_head)] == sorted(masks)
    assert [record.subject for record in (whole, no_csp, no_head)] == ["Patient00001"] * 2 + ["Patient00002"]
    assert {record.plane for record in (whole, no_csp, no_head)} == {"TV"}
    assert whole.boxes["csp"].tolist() == [39.5, 49.5, 53.5, 57.5]
    assert whole.points["lv"].tolist() == [109.5, 79.5]
    assert whole.ellipse["centre"].tolist() == pytest.approx([80, 60], abs=0.01)
    assert whole.ellipse["semi_axes"].tolist() == pytest.approx([70, 50], abs=0.2)
    assert set(no_csp.points) == set(no_csp.boxes) == {"lv"}
    assert no_head.ellipse is None
    assert set(no_head.points) == {"csp", "lv"}
    assert all(len(record.viewings) == 10 for record in (whole, no_csp, no_head))


@pytest.mark.parametrize("name", ["head", "csp", "lv"])
def test_fetal_brain_masks_show_the_chosen_structure_and_nothing_else(tmp_path, name):
    labels = {"Patient1_1": brain_mask(head=True), "Patient2_1": brain_mask(head=False, csp=False)}
    root = write_brain(tmp_path / "set", labels)
    samples = FrameDataset(FetalBrain(root=root, gaze=SimulatedGaze(), mask=name)())
    annotated = [structure_masks(COLOURS[drawn]) for drawn in labels.values()]
    assert [set(one) for one in annotated] == [{"head", "csp", "lv"}, {"lv"}]
    for sample, masks in zip(samples, annotated, strict=True):
        assert ("mask" in sample) == (name in masks)
        assert name not in masks or np.array_equal(sample["mask"][0].numpy(), masks[name])


def test_fetal_brain_has_no_masks_of_other_structures(tmp_path):
    with pytest.raises(AnatomarkError, match=r"data\.source\.mask is skull; it must be head, csp or lv"):
        FetalBrain(root=tmp_path, gaze=SimulatedGaze(), mask="skull")


def test_no_gaze_on_what_is_not_annotated(tmp_path):
    root = write_brain(tmp_path / "set", {"Patient1_1": brain_mask(head=True, csp=False)})
    (record,) = brain(root, distractors=0, spread=0)()
    assert (torch.cat(record.viewings)[:, :2] == record.points["lv"]).all()


def test_gaze_of_a_frame_does_not_depend_on_the_others(tmp_path):
    masks = {f"Patient{n}_1": brain_mask(head=True) for n in range(3)}
    every = {record.key: record for record in brain(write_brain(tmp_path / "all", masks))()}
    alone = brain(write_brain(tmp_path / "one", {"Patient2_1": masks["Patient2_1"]}))()[0]
    assert torch.equal(torch.cat(alone.viewings), torch.cat(every["Patient2_1"].viewings))


def test_distractors_stay_at_the_head(tmp_path):
    root = write_brain(tmp_path / "set", {"Patient1_1": brain_mask(head=True), "Patient2_1": brain_mask(head=False)})
    picture = np.zeros(SHAPE, np.uint8)
    for x, y in ((80, 20), (3, 3), (156, 3)):  # in the head and in the corners
        picture[y - 2 : y + 3, x - 2 : x + 3] = 250
    for key in ("Patient1_1", "Patient2_1"):
        iio.imwrite(root / "images" / f"{key}.png", picture)
    for record in brain(root, distractors=3, spread=0)():
        xy = torch.cat(record.viewings)[:, :2]
        targets = torch.stack([*record.points.values(), torch.tensor([80.0, 20.0])])
        distance = torch.cdist(xy, targets)
        assert (distance.amin(dim=1) <= 1).all()
        assert (distance.amin(dim=0) <= 1).all()


def test_fetal_brain_folder_that_is_not_one(tmp_path):
    assert "expected a folder with images/PatientNNNNN_*.png and masks/" in refused(brain(tmp_path / "none"))
    (tmp_path / "images").mkdir()
    assert "holds no PNG; expected" in refused(brain(tmp_path))
    root = write_brain(tmp_path / "set", {"Patient1_1": brain_mask(head=True)})
    iio.imwrite(root / "masks" / "Patient1_1.png", np.zeros((*SHAPE, 3), np.uint8))
    assert "Patient1_1.png shows neither CSP nor LV" in refused(brain(root))
    halves = np.where(TWO_BARS, RED, 0)
    halves[LV_BOX] = GREEN
    iio.imwrite(root / "masks" / "Patient1_1.png", COLOURS[halves])
    assert "masks/Patient1_1.png: the mask covers" in refused(brain(root))
    iio.imwrite(root / "masks" / "Patient1_1.png", COLOURS[brain_mask(head=True)][:, :-1])
    assert "Patient1_1.png is 160 x 120 px but its annotations are made for 159 x 120" in refused(brain(root))
    (root / "masks" / "Patient1_1.png").write_bytes(b"broken")
    assert "masks/Patient1_1.png: not a readable image" in refused(brain(root))
    (root / "masks" / "Patient1_1.png").unlink()
    assert "masks/Patient1_1.png does not exist; expected" in refused(brain(root))


def write_hc18(root, annotations, spacing=0.1):
    (root / "training_set").mkdir(parents=True)
    for stem, mask in annotations.items():
        iio.imwrite(root / "training_set" / f"{stem}.png", np.zeros(SHAPE, np.uint8))
        iio.imwrite(root / "training_set" / f"{stem}_Annotation.png", (mask * 255).astype(np.uint8))
    pd.DataFrame(
        {
            "filename": [f"{stem}.png" for stem in annotations],
            "pixel size(mm)": spacing,
            "head circumference (mm)": 300.0,
        }
    ).to_csv(root / "training_set_pixel_size_and_HC.csv", index=False)
    return root


def test_hc18_outline_and_filled_annotation_give_one_ellipse(tmp_path):
    filled = ellipse_mask(80, 60, 60, 40)
    outline = ellipse_mask(80, 60, 61, 41) & ~ellipse_mask(80, 60, 59, 39)
    records = Hc18(root=write_hc18(tmp_path / "set", {"003_HC": filled, "003_2HC": outline, "011_HC": filled}))()
    assert [(r.key, r.subject) for r in records] == [("003_HC", "003"), ("003_2HC", "003"), ("011_HC", "011")]
    for record in records:
        head = record.mask(SHAPE[::-1])
        assert np.count_nonzero(head != filled) < 0.01 * np.count_nonzero(filled)
        assert record.spacing_mm == (0.1, 0.1)
        assert record.viewings == ()
        assert record.plane is None
        assert record.ellipse["centre"].tolist() == pytest.approx([80, 60], abs=0.05)
        assert record.ellipse["semi_axes"].tolist() == pytest.approx([60, 40], abs=0.3)


def test_hc18_folder_that_is_not_one(tmp_path):
    assert "expected HC18's folder with training_set_pixel_size_and_HC.csv" in refused(Hc18(root=tmp_path))
    root = write_hc18(tmp_path / "set", {"003_HC": ellipse_mask()})
    for mask, problem in ((ROWS < 0, "the mask is empty"), (TWO_BARS, "the mask covers")):
        iio.imwrite(root / "training_set" / "003_HC_Annotation.png", mask.astype(np.uint8) * 255)
        assert f"003_HC_Annotation.png: {problem}" in refused(Hc18(root=root))
    (root / "training_set" / "003_HC_Annotation.png").write_bytes(b"broken")
    assert "003_HC_Annotation.png: not a readable image" in refused(Hc18(root=root))
    (root / "training_set" / "003_HC_Annotation.png").unlink()
    assert "003_HC_Annotation.png does not exist; expected" in refused(Hc18(root=root))
    (root / "training_set" / "003_HC.png").unlink()
    assert "training_set holds none of the frames" in refused(Hc18(root=root))
    table = root / "training_set_pixel_size_and_HC.csv"
    table.write_text("filename,size\n003_HC.png,0.1\n")
    assert "lacks the column 'pixel size(mm)'" in refused(Hc18(root=root))
    table.write_text("")
    assert "is no readable table" in refused(Hc18(root=root))


@pytest.mark.parametrize("spacing", [0.0, -1.0, float("nan")])
def test_hc18_pixel_size_out_of_range(tmp_path, spacing):
    root = write_hc18(tmp_path / "set", {"003_HC": ellipse_mask()}, spacing)
    assert "pixel size of 003_HC.png is" in refused(Hc18(root=root))


@pytest.mark.real_data
def test_real_fetal_brain(data_dir):
    records = brain(data_dir / "fetal_brain")()
    shown = Counter((r.ellipse is not None, "csp" in r.points, "lv" in r.points) for r in records)
    assert shown == {(True, True, True): 11, (False, True, True): 4, (True, False, True): 14}
    assert len({record.subject for record in records}) == 27
    for record in records:
        assert len(record.viewings) == 10
        if record.ellipse is not None:
            # LV and CSP lie in the head, and the head is no longer than the frame.
            offset = torch.stack(list(record.points.values())) - record.ellipse["centre"]
            assert (offset.norm(dim=1) < record.ellipse["semi_axes"][0]).all()
            assert 500 < 2 * record.ellipse["semi_axes"][0] < 959
        for name, box in record.boxes.items():
            assert record.points[name].tolist() == ((box[:2] + box[2:]) / 2).tolist()
            assert (box[2:] - box[:2]).max() < 0.2 * 959
    samples = list(FrameDataset(records))
    assert samples[0]["image"].shape == (1, 661, 959)
    heads = [(sample["mask"], sample["ellipse"]["semi_axes"]) for sample in samples if "mask" in sample]
    assert len(heads) == 25
    for mask, semi_axes in heads:
        assert float(mask.sum()) == pytest.approx(torch.pi * float(semi_axes.prod()), rel=0.02)


@pytest.mark.real_data
def test_real_hc18_ellipses_have_the_published_circumference(data_dir):
    records = Hc18(root=data_dir / "hc18")()
    assert len(records) == 80
    assert {record.size for record in records} == {(800, 540)}
    table = pd.read_csv(data_dir / "hc18" / "training_set_pixel_size_and_HC.csv", index_col="filename")
    for record in records:
        major, minor = record.ellipse["semi_axes"].tolist()
        circumference = 4 * major * ellipe(1 - (minor / major) ** 2) * record.spacing_mm[0]
        published = table.loc[f"{record.key}.png", "head circumference (mm)"]
        assert circumference == pytest.approx(published, rel=0.02)
