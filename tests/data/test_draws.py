"""Which training frames are drawn, how often, and in which order."""

import pytest
import torch
from datamodule_fixture import FIT, keys, module, ready, record

from anatomark.data.frames import FrameDataset
from anatomark.data.transforms import Compose, Fit, RandomFlip, RandomGamma, Spatial

AUGMENT = Compose(steps=[Spatial(steps=[RandomFlip(), Fit(height=32, width=40)]), RandomGamma()])


@pytest.mark.parametrize(
    ("batch_size", "expected"),
    [(8, [8]), (3, [3, 3]), (100, [8])],  # an incomplete last batch is dropped unless it is the only one
)
def test_every_training_frame_is_drawn_once(tiny_frames, batch_size, expected):
    data = ready(tiny_frames, batch_size=batch_size, val_fraction=0)
    assert len(data.records["train"]) == 8
    loader = data.train_dataloader()
    batches = list(loader)
    assert [len(batch["image"]) for batch in batches] == expected
    assert len(loader) == len(expected)
    assert len(set(keys(batches))) == sum(expected)


def test_same_seed_gives_the_same_batches_and_each_epoch_is_a_new_order(tiny_frames):
    def epochs(seed):
        torch.manual_seed(seed)
        loader = ready(tiny_frames, train_transform=AUGMENT, val_fraction=0).train_dataloader()
        return [list(loader) for _ in range(2)]

    first, again, other = epochs(0), epochs(0), epochs(1)
    for epoch, same in zip(first, again, strict=True):
        assert keys(epoch) == keys(same)
        for batch, twin in zip(epoch, same, strict=True):
            assert torch.equal(batch["image"], twin["image"])
            assert torch.equal(batch["fixations"], twin["fixations"])
    assert keys(first[0]) != keys(first[1])
    assert keys(first[0]) != keys(other[0])


def test_single_viewing_is_for_training_only(tmp_path):
    viewings = (torch.tensor([[1.0, 1.0, 9.0]]), torch.tensor([[2.0, 2.0, 9.0], [3.0, 3.0, 9.0]]))
    frames = [record(tmp_path, key, viewings=viewings) for key in "abcdef"]
    data = ready(frames, single_viewing=True, batch_size=1)
    torch.manual_seed(0)
    lengths = [batch["fixations"].shape[1] for _ in range(10) for batch in data.train_dataloader()]
    assert set(lengths) == {1, 2}
    assert {batch["fixations"].shape[1] for batch in data.val_dataloader()} == {3}


def test_cached_frames_are_read_once_and_equal(tiny_frames, monkeypatch):
    data = ready(tiny_frames, cache=True, val_fraction=0, batch_size=8)
    fresh = {s["key"]: s["image"] for s in FrameDataset(data.records["train"], transform=FIT)}
    loader = data.train_dataloader()
    assert keys(loader)
    monkeypatch.setattr("anatomark.data.frames.read_image", None)
    for batch in loader:
        for s in batch["samples"]:
            assert torch.equal(s["image"], fresh[s["key"]])


def test_workers_that_cache_outlive_the_epoch():
    for cache, workers, kept in ((True, 2, True), (False, 2, False), (True, 0, False)):
        loader = module([], cache=cache, num_workers=workers).loader_options
        assert (loader["persistent_workers"], loader["num_workers"]) == (kept, workers)
