"""Which training frames are drawn, how often, and in which order."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from datamodule_fixture import FIT, keys, module, ready, record

from anatomark.data.datamodules import balance_weights
from anatomark.data.frames import FrameDataset
from anatomark.data.transforms import Compose, Fit, RandomFlip, RandomGamma, Spatial
from anatomark.types import AnatomarkError

AUGMENT = Compose(steps=[Spatial(steps=[RandomFlip(), Fit(height=32, width=40)]), RandomGamma()])
POINT = torch.tensor([3.0, 4.0])
BOX = torch.tensor([1.0, 1.0, 5.0, 5.0])


@pytest.mark.parametrize(
    ("draws", "batch_size", "expected"),
    [
        (None, 8, [8]),  # 8 training frames
        (None, 3, [3, 3]),  # an incomplete last batch is dropped
        (None, 100, [8]),  # unless it is the only one
        (20, 5, [5, 5, 5, 5]),
        (2, 5, [2]),
    ],
)
@pytest.mark.parametrize("balance", [(), ("csp",)])
def test_draws_per_epoch(tiny_frames, draws, batch_size, expected, balance):
    data = ready(tiny_frames, draws_per_epoch=draws, batch_size=batch_size, balance=balance, val_fraction=0)
    assert len(data.records["train"]) == 8
    loader = data.train_dataloader()
    assert [len(batch["image"]) for batch in loader] == expected
    assert len(loader) == len(expected)


def test_more_draws_than_frames_show_every_frame_equally_often(tiny_frames):
    data = ready(tiny_frames, draws_per_epoch=24, batch_size=4, val_fraction=0)
    assert set(Counter(keys(data.train_dataloader())).values()) == {3}


def test_balance_weights_by_hand(tmp_path):
    shown = [("csp",), ("csp", "lv"), ("lv",), ("lv",), ("lv",), ()]
    frames = [record(tmp_path, str(n), points=dict.fromkeys(names, POINT)) for n, names in enumerate(shown)]
    # CSP is in two frames and LV in four: shares of 1/2 and 1/4 each.
    expected = torch.tensor([0.5, 0.75, 0.25, 0.25, 0.25, 0.0], dtype=torch.float64)
    torch.testing.assert_close(balance_weights(frames, ["csp", "lv"]), expected)
    boxed = [replace(frame, points={}, boxes=dict.fromkeys(frame.points, BOX)) for frame in frames]
    torch.testing.assert_close(balance_weights(boxed, ["csp", "lv"]), expected)
    assert (balance_weights(frames, []) == 0).all()


def test_balanced_draws_show_the_rarer_structure_as_often(tmp_path):
    frames = [record(tmp_path, f"csp{n}", split="train", points={"csp": POINT}) for n in range(2)]
    frames += [record(tmp_path, f"lv{n}", split="train", points={"lv": POINT}) for n in range(8)]
    frames.append(record(tmp_path, "none", split="train"))
    frames.append(record(tmp_path, "test", split="test"))
    data = ready(frames, balance=["csp", "lv"], draws_per_epoch=1000, batch_size=50, cache=True)
    torch.manual_seed(0)
    drawn = Counter(keys(data.train_dataloader()))
    assert sum(drawn.values()) == 1000
    assert drawn["csp0"] + drawn["csp1"] == pytest.approx(500, abs=65)  # four standard deviations
    assert len(drawn) == 10
    assert not drawn["none"]


def test_balance_of_a_structure_nobody_has(tmp_path):
    data = ready([record(tmp_path, key, points={"csp": POINT}) for key in "abcdef"], balance=["CSP"])
    with pytest.raises(AnatomarkError, match=r"data.balance names 'CSP', but no training frame has"):
        data.train_dataloader()


@pytest.mark.parametrize("option", ["batch_size", "draws_per_epoch"])
@pytest.mark.parametrize("value", [0, -1])
def test_counts_out_of_range(option, value):
    with pytest.raises(AnatomarkError, match=rf"data\.{option} is {value}; .* at least 1"):
        module([], **{option: value})


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
