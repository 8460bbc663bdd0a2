"""The data module: what is in a batch, who is in which split, what Lightning makes of it."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from datamodule_fixture import FIT, keys, module, ready, record
from torch import nn

from anatomark.data.datamodules import collate
from anatomark.data.frames_folder import FramesFolder
from anatomark.data.transforms import Compose
from anatomark.types import AnatomarkError
from frames_fixture import GAZE


def sample(key="a", rows=1, size=(8, 9), **fields):
    return {
        "key": key,
        "subject": key,
        "image": torch.full((1, *size), float(rows)),
        "spacing_mm": torch.ones(2),
        "fixations": torch.arange(3.0 * rows).reshape(rows, 3) + 1,
        **fields,
    }


def subjects(batches):
    return {s["subject"] for batch in batches for s in batch["samples"]}


def test_collate_stacks_and_pads_with_rows_of_zero_duration():
    samples = [sample("a", 2, label=1), sample("b", 0, label=0), sample("c", 3, label=2)]
    batch = collate(samples)
    assert batch["samples"] == samples
    assert batch["image"].shape == (3, 1, 8, 9)
    assert batch["image"][:, 0, 0, 0].tolist() == [2, 0, 3]
    assert batch["fixations"].shape == (3, 3, 3)
    for padded, s in zip(batch["fixations"], samples, strict=True):
        n = len(s["fixations"])
        assert torch.equal(padded[:n], s["fixations"])
        assert (padded[n:] == 0).all()
    assert batch["label"].tolist() == [1, 0, 2]
    assert batch["label"].dtype == torch.int64


def test_a_label_that_one_sample_lacks_the_batch_lacks():
    samples = [sample("a", label=1), sample("b", label=1)]
    assert "label" in collate(samples)
    del samples[1]["label"]
    assert set(collate(samples)) == {"samples", "image", "fixations", "has_gaze"}


def test_a_frame_without_gaze_among_others_gets_fixations_without_weight():
    samples = [sample("a", label=1), sample("b", label=1)]
    own = samples[0]["fixations"]
    del samples[1]["fixations"]
    batch = collate(samples)
    torch.testing.assert_close(batch["fixations"][0], own)
    assert (batch["fixations"][1] == 0).all()
    assert batch["has_gaze"].tolist() == [True, False]
    samples[1]["fixations"] = torch.zeros(0, 3)  # recorded, but nothing fixated
    assert collate(samples)["has_gaze"].tolist() == [True, True]
    for one in samples:
        del one["fixations"]
    batch = collate(samples)
    assert batch["fixations"].shape == (2, 0, 3)
    assert batch["has_gaze"].tolist() == [False, False]


def test_unequal_sizes_are_refused_with_both_frames_and_the_remedy():
    with pytest.raises(AnatomarkError) as caught:
        collate([sample("first"), sample("wide", size=(8, 10))])
    message = str(caught.value)
    assert "frame wide is (1, 8, 10) and first (1, 8, 9)" in message
    assert "Fit" in message
    assert "\n" not in message


def test_every_frame_is_in_one_split_and_no_subject_in_two(tiny_frames):
    data = ready(tiny_frames, batch_size=5)
    parts = {"train": data.train_dataloader(), "val": data.val_dataloader(), "test": data.test_dataloader()}
    people = {name: subjects(loader) for name, loader in parts.items()}
    assert {name: len(found) for name, found in people.items()} == {"train": 2, "val": 2, "test": 2}
    assert len(set.union(*people.values())) == 6
    for name, loader in parts.items():
        (batch,) = loader
        assert batch["image"].shape == (4, 1, 32, 40)
        assert {s["split"] for s in batch["samples"]} == {name}
        assert len(set(keys([batch]))) == 4


def test_each_subject_is_tested_in_one_fold(tiny_frames):
    tested = Counter(key for fold in range(3) for key in keys(ready(tiny_frames, fold=fold).test_dataloader()))
    assert len(tested) == 12
    assert set(tested.values()) == {1}


def test_split_seed_and_not_the_training_seed_makes_the_split(tiny_frames):
    drawn = []
    for training_seed, split_seed in ((0, 0), (1, 0), (0, 4)):
        torch.manual_seed(training_seed)
        np.random.seed(training_seed)  # noqa: NPY002  Lightning seeds NumPy's global stream
        drawn.append(keys(ready(tiny_frames, split_seed=split_seed).test_dataloader()))
    assert drawn[0] == drawn[1] != drawn[2]


def test_subject_in_two_given_splits_is_refused(tmp_path):
    splits = {"a": "train", "b": "test", "c": "val"}
    frames = [record(tmp_path, key, split=split) for key, split in splits.items()]
    assert [r.key for r in ready(frames).records["val"]] == ["c"]
    frames[2] = replace(frames[2], subject="a")
    with pytest.raises(AnatomarkError, match=r"subject a is in both train \(frame a\) and val \(frame c\)"):
        module(frames).setup()


def test_source_is_read_once(tmp_path):
    data = ready([record(tmp_path, key) for key in "abcdef"])
    before = data.records
    data.source = None
    data.setup("test")
    assert data.records is before


def test_augmentation_reaches_training_frames_only(tiny_frames):
    inverted = Compose(steps=[FIT, lambda s: {**s, "image": -s["image"]}])
    data = ready(tiny_frames, train_transform=inverted)
    assert all((batch["image"] <= 0).all() for batch in data.train_dataloader())
    for loader in (data.val_dataloader(), data.test_dataloader()):
        assert all((batch["image"] >= 0).all() for batch in loader)
    assert data.evaluation_dataset(["train"])[0]["image"].max() > 0


class Regression(pl.LightningModule):
    """Trains a little and counts batches."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 8)
        self.seen = Counter()

    def training_step(self, batch, batch_idx):
        self.seen["train"] += 1
        return self.layer(batch["image"]).square().mean()

    def validation_step(self, batch, batch_idx):
        self.seen["val"] += 1

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


@pytest.mark.parametrize(("val_fraction", "seen"), [(0.5, {"train": 2, "val": 2}), (0, {"train": 4})])
def test_lightning_trains_with_and_without_a_validation_set(tiny_frames, val_fraction, seen):
    data = module(tiny_frames, val_fraction=val_fraction, batch_size=2)
    model = Regression()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=1.0 if val_fraction else 0,
    )
    trainer.fit(model, datamodule=data)
    assert model.seen == seen


def test_transfer_moves_the_stacked_tensors_and_leaves_the_samples_alone():
    samples = [sample("a", 2, label=1), sample("b", 1, label=0)]
    batch = collate(samples)
    moved = module([]).transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert set(moved) == set(batch)
    for name in ("image", "fixations", "has_gaze", "label"):
        assert moved[name].is_meta
        assert moved[name].shape == batch[name].shape
    assert moved["samples"] is batch["samples"]
    assert not any(v.is_meta for s in moved["samples"] for v in s.values() if isinstance(v, torch.Tensor))


def test_predicted_frames_are_those_of_the_evaluation_in_its_order(tiny_frames):
    data = ready(tiny_frames)
    assert keys(data.predict_dataloader()) == [r.key for r in data.records["test"]]
    data.predict_splits = ("val", "train")
    expected = [r.key for split in ("val", "train") for r in data.records[split]]
    assert keys(data.predict_dataloader()) == expected
    assert [s["key"] for s in data.evaluation_dataset(("val", "train"))] == expected


def test_evaluation_keeps_the_order_of_the_source(tiny_frames):
    data = ready(tiny_frames)
    order = [r.key for r in FramesFolder(root=tiny_frames, gaze=GAZE)()]
    for loader in (data.test_dataloader(), data.val_dataloader()):
        found = keys(loader)
        assert found == sorted(found, key=order.index)
