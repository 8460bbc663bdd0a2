"""The list of classes numbers the labels, and every fold needs all of them."""

from dataclasses import replace

import pytest
from datamodule_fixture import module, ready, record

from anatomark.data.classes import check_labels, check_names
from anatomark.types import AnatomarkError


def half_planes(folder, n_subjects=6, planes_of=range(6)):
    """Two frames per subject: background, and a plane for some subjects."""
    return [
        record(folder, f"{s}_{name}", subject=f"s{s}", label=name if s in planes_of else "background")
        for s in range(n_subjects)
        for name in ("background", "plane")
    ]


def test_labels_are_indices_of_the_list(tmp_path):
    for classes in (["background", "plane"], ["plane", "background"]):
        data = ready(half_planes(tmp_path), classes=classes)
        for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
            for batch in loader:
                expected = [classes.index(sample["key"].split("_")[1]) for sample in batch["samples"]]
                assert batch["label"].tolist() == [sample["label"] for sample in batch["samples"]] == expected


def test_a_frame_shows_its_class_and_all_others_it_names(tmp_path):
    shown = {"f0": ("b", ()), "f1": ("c", ("a",)), "f2": ("a", ("c", "b"))}
    frames = [record(tmp_path, key, split="test", label=label, also=also) for key, (label, also) in shown.items()]
    (batch,) = ready(frames, classes=["a", "b", "c"]).test_dataloader()
    assert batch["label"].tolist() == [1, 2, 0]
    assert batch["present"].tolist() == [[False, True, False], [True, False, True], [True, True, True]]
    frames[1] = replace(frames[1], label=None)
    (batch,) = ready(frames, classes=["a", "b", "c"]).test_dataloader()
    assert not {"label", "present"} & batch.keys()
    assert ["present" in sample for sample in batch["samples"]] == [True, False, True]


def test_without_a_list_there_are_no_labels(tmp_path):
    batch = next(iter(ready(half_planes(tmp_path)).test_dataloader()))
    assert not {"label", "present"} & batch.keys()


def test_label_outside_the_list_is_refused(tmp_path):
    with pytest.raises(AnatomarkError) as caught:
        module(
            [*half_planes(tmp_path), record(tmp_path, "odd", label="femur")], classes=["background", "plane"]
        ).setup()
    assert "frame odd is labelled 'femur', which is not one of data.classes [background, plane]" in str(caught.value)
    with pytest.raises(AnatomarkError, match=r"frame two is labelled 'femur', which is not one of data.classes"):
        check_labels([record(tmp_path, "two", label="plane", also=("background", "femur"))], ["background", "plane"])
    check_labels([record(tmp_path, "two", label="plane", also=("femur",))], [])
    with pytest.raises(AnatomarkError, match=r"data.classes lists 'plane' twice"):
        module([], classes=["plane", "background", "plane"])


def test_fold_without_positives_is_refused(tmp_path):
    frames = half_planes(tmp_path, planes_of=[0])
    problems = set()
    for fold in range(3):
        data = module(frames, classes=["background", "plane"], fold=fold, val_fraction=0)
        try:
            data.setup()
            data.train_dataloader()
        except AnatomarkError as error:
            problems.add(str(error).split(";")[0])
    missing = {f"the test split of fold {n} has no frame of class 'plane'" for n in range(3)}
    assert len(problems & missing) == 2  # the third has all planes, so that none is left to train on
    (other,) = problems - missing
    assert other.startswith("the training split of fold")
    assert other.endswith("has no frame of class 'plane'")


def test_split_that_the_data_set_gives_may_test_some_classes_but_must_train_all(tmp_path):
    frames = [record(tmp_path, key, split="train" if key < "c" else "test", label="x") for key in "abcd"]
    data = ready(frames, classes=["x", "y"])
    assert len(data.test_dataloader().dataset) == 2
    with pytest.raises(AnatomarkError, match="the training split of fold 0 has no frame of class 'y'"):
        data.train_dataloader()


def test_set_that_is_for_tests_only(tmp_path):
    data = ready([record(tmp_path, key, split="test") for key in "ab"])
    assert len(data.test_dataloader().dataset) == 2
    assert data.val_dataloader() == []
    with pytest.raises(AnatomarkError, match="listed has no training frames"):
        data.train_dataloader()


def test_class_that_is_no_text_is_refused():
    with pytest.raises(AnatomarkError, match=r"data.classes lists 0, and names are text.*\['0',other\]"):
        check_names([0, 1])  # what Hydra makes of data.classes=[0,1]
