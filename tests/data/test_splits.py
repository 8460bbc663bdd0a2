"""Splits never share a subject and depend on nothing but subjects and seed."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anatomark.data.frames import FrameRecord
from anatomark.data.splits import check_disjoint, split_records, subject_folds
from anatomark.types import AnatomarkError


def records(n_subjects, frames_each=2):
    return [
        FrameRecord(key=f"{s}_{f}", subject=f"s{s:02d}", file=Path(f"{s}_{f}.png"), plane="TV")
        for s in range(n_subjects)
        for f in range(frames_each)
    ]


def split(frames, *, fold=0, n_folds=5, val_fraction=0.2, seed=0):
    return split_records(frames, fold=fold, n_folds=n_folds, val_fraction=val_fraction, seed=seed)


def subjects(frames):
    return {frame.subject for frame in frames}


@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 5))
def test_folds_partition_the_subjects_into_equal_parts(n_subjects, n_folds, seed):
    names = [f"s{n}" for n in range(n_subjects)]
    n_folds = min(n_folds, n_subjects)
    folds = subject_folds(names, n_folds, seed)
    assert len(folds) == n_folds
    assert sorted(name for fold in folds for name in fold) == sorted(names)
    assert max(map(len, folds)) - min(map(len, folds)) <= 1


def test_folds_depend_on_the_set_of_subjects_and_the_seed_only():
    names = [f"s{n}" for n in range(20)]
    mixed = names * 3
    random.Random(0).shuffle(mixed)
    assert subject_folds(mixed, 5, 1) == subject_folds(names, 5, 1)
    assert subject_folds(names, 5, 1) != subject_folds(names, 5, 2)
    assert subject_folds(names, 5, 0) != [sorted(names)[fold::5] for fold in range(5)]  # drawn, not dealt in order


def test_every_subject_is_tested_once_over_the_folds():
    tested = Counter(s for fold in range(5) for s in subjects(split(records(17), fold=fold)["test"]))
    assert tested == Counter({f"s{n:02d}": 1 for n in range(17)})


@pytest.mark.parametrize(("val_fraction", "n_val"), [(0.2, 4), (0.01, 1), (0.5, 10)])
def test_shares_of_25_subjects(val_fraction, n_val):
    parts = split(records(25), val_fraction=val_fraction)
    counts = {name: len(subjects(frames)) for name, frames in parts.items()}
    assert counts == {"train": 20 - n_val, "val": n_val, "test": 5}
    assert {name: len(frames) for name, frames in parts.items()} == {n: 2 * c for n, c in counts.items()}


def test_no_validation_set_at_all():
    parts = split(records(10), val_fraction=0)
    assert parts["val"] == []
    assert len(parts["train"]) == 16


def test_split_is_the_same_for_any_order_of_frames():
    frames = records(12)
    mixed = random.Random(1).sample(frames, len(frames))
    for name, part in split(frames, fold=2).items():
        assert {f.key for f in part} == {f.key for f in split(mixed, fold=2)[name]}


def test_records_are_marked_and_otherwise_unchanged_and_in_order():
    frames = records(10)
    parts = split(frames)
    for name, part in parts.items():
        assert {frame.split for frame in part} == {name}
        assert [replace(frame, split=None) for frame in part] == [
            frame for frame in frames if frame.subject in subjects(part)
        ]
    assert all(frame.split is None for frame in frames)


def test_given_split_is_kept():
    frames = [replace(f, split=("train", "test", "val")[int(f.subject[1:]) % 3]) for f in records(9)]
    parts = split(frames)
    assert subjects(parts["test"]) == {"s01", "s04", "s07"}
    assert parts["train"] == [f for f in frames if f.split == "train"]
    with pytest.raises(AnatomarkError, match=r"data.fold is 3, but frame 0_0 and others name their split"):
        split(frames, fold=3)


def test_given_split_for_some_frames_only_is_refused():
    frames = records(4)
    frames[3] = replace(frames[3], split="train")
    with pytest.raises(AnatomarkError, match=r"frame 0_0 has no split while others have one"):
        split(frames)


def test_one_subject_cannot_be_split():
    with pytest.raises(AnatomarkError, match=r"no split is possible: .* one subject \(s00\)"):
        split(records(1, frames_each=9))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"fold": 5}, "data.fold is 5; with data.n_folds=5 it must be 0 to 4"),
        ({"fold": -1}, "data.fold is -1"),
        ({"n_folds": 1}, "data.n_folds is 1; with 8 subjects it must be 2 to 8"),
        ({"n_folds": 9}, "data.n_folds is 9"),
        ({"val_fraction": 1.0}, "data.val_fraction is 1.0"),
        ({"val_fraction": -0.1}, "data.val_fraction is -0.1"),
        ({"val_fraction": float("nan")}, "data.val_fraction is nan"),
        ({"val_fraction": 0.99}, "too few to train and validate on; set data.val_fraction=0"),
    ],
)
def test_impossible_split_is_refused(options, problem):
    with pytest.raises(AnatomarkError) as caught:
        split(records(8), **options)
    assert problem in str(caught.value)


def test_shared_subject_is_named():
    parts = split(records(10))
    check_disjoint(parts)
    leaked = parts["train"][0]
    parts["val"].append(replace(leaked, key="again"))
    with pytest.raises(AnatomarkError, match=rf"subject {leaked.subject} is in both train .* and val \(frame again\)"):
        check_disjoint(parts)


def test_given_split_that_shares_a_subject_is_found():
    frames = [replace(f, split="train" if f.key.endswith("_0") else "test") for f in records(3)]
    with pytest.raises(AnatomarkError, match="subject s00 is in both train"):
        check_disjoint(split(frames))
