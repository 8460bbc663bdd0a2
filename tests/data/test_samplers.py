"""How often which training frame is drawn."""

from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from datamodule_fixture import keys, module, ready, record
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import WeightedRandomSampler

from anatomark.data.frames import FrameRecord
from anatomark.data.samplers import ClassBalancedBatches, ClassBalancedDraws, StructureBalanced, structure_weights
from anatomark.types import AnatomarkError

POINT = torch.tensor([3.0, 4.0])
BOX = torch.tensor([1.0, 1.0, 5.0, 5.0])


def frames(folder, shown):
    return [
        FrameRecord(key=str(n), subject=str(n), file=folder, points=dict.fromkeys(names, POINT))
        for n, names in enumerate(shown)
    ]


def labelled(*counts):
    names = "abcdefg"
    return [
        FrameRecord(key=f"{names[c]}{n}", subject="s", file=Path(), label=names[c])
        for c, count in enumerate(counts)
        for n in range(count)
    ]


def test_structure_weights_by_hand(tmp_path):
    listed = frames(tmp_path, [("csp",), ("csp", "lv"), ("lv",), ("lv",), ("lv",), ()])
    # CSP is in two frames and LV in four: shares of 1/2 and 1/4 each.
    expected = torch.tensor([0.5, 0.75, 0.25, 0.25, 0.25, 0.0], dtype=torch.float64)
    torch.testing.assert_close(structure_weights(listed, ["csp", "lv"]), expected)
    boxed = [replace(frame, points={}, boxes=dict.fromkeys(frame.points, BOX)) for frame in listed]
    torch.testing.assert_close(structure_weights(boxed, ["csp", "lv"]), expected)


def test_structure_balance_is_torchs_weighted_draw(tmp_path):
    listed = frames(tmp_path, [("csp",), ("csp", "lv"), ("lv",), ()])
    torch.manual_seed(3)
    expected = list(WeightedRandomSampler([0.5, 1.0, 0.5, 0.0], 160))
    torch.manual_seed(3)
    assert list(StructureBalanced(listed, structures=["csp", "lv"], draws=160)) == expected
    assert len(StructureBalanced(listed, structures=["csp"])) == 4


def test_balanced_draws_show_the_rarer_structure_as_often(tmp_path):
    listed = [record(tmp_path, f"csp{n}", split="train", points={"csp": POINT}) for n in range(2)]
    listed += [record(tmp_path, f"lv{n}", split="train", points={"lv": POINT}) for n in range(8)]
    listed += [record(tmp_path, "none", split="train"), record(tmp_path, "test", split="test")]
    sampling = partial(StructureBalanced, structures=["csp", "lv"], draws=1000)
    data = ready(listed, sampling=sampling, batch_size=50, cache=True)
    torch.manual_seed(0)
    drawn = Counter(keys(data.train_dataloader()))
    assert sum(drawn.values()) == 1000
    assert drawn["csp0"] + drawn["csp1"] == pytest.approx(500, abs=65)  # four standard deviations
    assert len(drawn) == 10
    assert not drawn["none"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"structures": ["CSP"]}, "data.sampling.structures names 'CSP', but no training frame has"),
        ({"structures": []}, "data.sampling.structures names none"),
        ({"structures": ["csp"], "draws": 0}, "data.sampling.draws is 0; make it at least 1"),
    ],
)
def test_impossible_structure_balance(tmp_path, options, problem):
    data = ready([record(tmp_path, key, points={"csp": POINT}) for key in "abcdef"])
    data.sampling = partial(StructureBalanced, **options)
    with pytest.raises(AnatomarkError, match=problem):
        data.train_dataloader()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=2, max_size=4), st.integers(1, 4), st.integers(0, 3))
def test_every_batch_has_as_many_of_each_class(counts, share, seed):
    listed, batch_size = labelled(*counts), share * len(counts)
    torch.manual_seed(seed)
    sampler = ClassBalancedBatches(listed, batch_size=batch_size)
    drawn = [listed[index] for index in sampler]
    assert len(drawn) == len(sampler) == -(-len(listed) // batch_size) * batch_size
    for first in range(0, len(drawn), batch_size):
        batch = Counter(frame.label for frame in drawn[first : first + batch_size])
        assert set(batch.values()) == {share}
        assert len(batch) == len(counts)
    times = Counter(frame.key for frame in drawn)
    for name in {frame.label for frame in listed}:  # all frames of a class are drawn before one is drawn again
        own = [times[frame.key] for frame in listed if frame.label == name]
        assert max(own) - min(own) <= 1


def test_classes_are_shuffled_and_every_epoch_and_seed_is_another_order():
    sampler = ClassBalancedBatches(labelled(40, 10), batch_size=10, batches=3)

    def epochs(seed):
        torch.manual_seed(seed)
        return [list(sampler) for _ in range(2)]

    first, second = epochs(0)
    assert len(first) == 30
    assert epochs(0) == [first, second]
    assert first != second
    assert epochs(1)[0] != first
    assert [i for i in first if i >= 40][:10] != sorted(i for i in first if i >= 40)[:10]
    state = torch.get_rng_state()
    third = list(sampler)
    torch.set_rng_state(state)
    assert list(sampler) == third  # a resumed run goes on from the state alone


def two_devices(monkeypatch):
    """Plays each of two devices in turn."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda *args: 2)
    for rank in range(2):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda *args, rank=rank: rank)
        yield rank


def test_devices_share_the_batches_of_one_draw(monkeypatch):
    listed = labelled(9, 5)
    torch.manual_seed(0)
    whole = list(ClassBalancedBatches(listed, batch_size=4))  # four batches
    parts = []
    for _ in two_devices(monkeypatch):
        torch.manual_seed(0)
        sampler = ClassBalancedBatches(listed, batch_size=4)
        parts.append(list(sampler))
        assert len(sampler) == len(parts[-1]) == 8
    assert parts[0][:4] + parts[1][:4] + parts[0][4:] + parts[1][4:] == whole


def test_data_module_makes_balanced_batches(tmp_path):
    listed = [record(tmp_path, f"{c}{n}", split="train", label=c) for c, k in (("a", 9), ("b", 2)) for n in range(k)]
    listed += [record(tmp_path, f"test {c}", split="test", label=c) for c in "ab"]
    sampling = partial(ClassBalancedBatches, batch_size=4)
    data = ready(listed, classes=["b", "a"], sampling=sampling, batch_size=4)
    loader = data.train_dataloader()
    labels = [batch["label"].tolist() for batch in loader]
    assert len(labels) == len(loader) == 3
    assert all(sorted(batch) == [0, 0, 1, 1] for batch in labels)


@pytest.mark.parametrize(
    ("listed", "options", "problem"),
    [
        (labelled(3, 3), {"batch_size": 5}, r"data.batch_size is 5, which 2 classes \(a, b\) .* a multiple of 2"),
        (labelled(3, 3), {"batch_size": 4, "batches": 0}, "data.sampling.batches is 0"),
        (labelled(3), {"batch_size": 4}, "all training frames are of the class a"),
        (
            [*labelled(3, 3), FrameRecord(key="odd", subject="s", file=Path())],
            {"batch_size": 4},
            "frame odd has no class",
        ),
    ],
)
def test_impossible_class_balance(listed, options, problem):
    with pytest.raises(AnatomarkError, match=problem):
        ClassBalancedBatches(listed, **options)


@pytest.mark.parametrize(("counts", "median"), [((3, 40, 8), 8), ((9, 2), 5), ((4, 7, 1, 9, 100, 30, 12), 9)])
def test_an_epoch_of_balanced_draws_is_the_median_class_count(counts, median):
    sampler = ClassBalancedDraws(labelled(*counts))
    assert len(sampler) == len(list(sampler)) == median
    assert len(ClassBalancedDraws(labelled(*counts), draws=17)) == 17


def test_every_class_and_every_frame_of_it_is_drawn_as_often():
    listed = labelled(100, 20, 5)
    torch.manual_seed(0)
    drawn = [listed[i] for i in ClassBalancedDraws(listed, draws=30_000)]
    for name, count in Counter(frame.label for frame in drawn).items():
        assert count == pytest.approx(10_000, abs=330), name  # four standard deviations
        times = Counter(frame.key for frame in drawn if frame.label == name)
        own = [frame.key for frame in listed if frame.label == name]
        share = 10_000 / len(own)
        assert all(times[key] == pytest.approx(share, abs=5 * share**0.5) for key in own)


def test_what_a_frame_shows_besides_does_not_balance():
    listed = [replace(frame, also=("a",)) if frame.label == "b" else frame for frame in labelled(6, 2)]
    plain = ClassBalancedDraws(labelled(6, 2))
    assert torch.equal(ClassBalancedDraws(listed).weights, plain.weights)


def test_balanced_draws_follow_the_global_generator():
    sampler = ClassBalancedDraws(labelled(40, 10, 30), draws=50)
    torch.manual_seed(0)
    first, state, second = list(sampler), torch.get_rng_state(), list(sampler)
    torch.manual_seed(0)
    assert [list(sampler), list(sampler)] == [first, second]
    assert first != second
    torch.set_rng_state(state)
    assert list(sampler) == second  # a resumed run goes on from the state alone
    torch.manual_seed(1)
    assert list(sampler) != first


def test_devices_share_one_draw(monkeypatch):
    listed = labelled(9, 5)
    torch.manual_seed(0)
    whole = list(ClassBalancedDraws(listed, draws=10))
    parts = []
    for _ in two_devices(monkeypatch):
        torch.manual_seed(0)
        sampler = ClassBalancedDraws(listed, draws=10)
        parts.append(list(sampler))
        assert len(sampler) == len(parts[-1]) == 5
        assert len(ClassBalancedDraws(listed, draws=11)) == 6
    assert (parts[0], parts[1]) == (whole[::2], whole[1::2])


def test_data_module_draws_in_balance(tmp_path):
    listed = [record(tmp_path, f"{c}{n}", split="train", label=c) for c, k in (("a", 9), ("b", 3)) for n in range(k)]
    listed += [record(tmp_path, f"test {c}", split="test", label=c) for c in "ab"]
    data = ready(listed, classes=["b", "a"], sampling=ClassBalancedDraws, batch_size=4)
    assert [len(batch["label"]) for batch in data.train_dataloader()] == [4]  # of 6 draws, incomplete batches dropped
    missing = ready(listed, classes=["b", "a"], sampling=ClassBalancedDraws)
    missing.records["train"] = [frame for frame in missing.records["train"] if frame.label == "a"]
    with pytest.raises(AnatomarkError, match=r"the training split of fold 0 has no frame of class 'b'"):
        missing.train_dataloader()


@pytest.mark.parametrize(
    ("listed", "draws", "problem"),
    [
        (labelled(3, 3), 0, "data.sampling.draws is 0; make it at least 1, or null for the median class count"),
        (labelled(3), None, "all training frames are of the class a"),
        ([*labelled(3, 3), FrameRecord(key="odd", subject="s", file=Path())], None, "frame odd has no class"),
    ],
)
def test_impossible_balanced_draws(listed, draws, problem):
    with pytest.raises(AnatomarkError, match=problem):
        ClassBalancedDraws(listed, draws=draws)


@pytest.mark.parametrize("value", [0, -1])
def test_batch_size_out_of_range(value):
    with pytest.raises(AnatomarkError, match=rf"data\.batch_size is {value}; .* at least 1"):
        module([], batch_size=value)
