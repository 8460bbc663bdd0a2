"""Frames that rows share: read once, with the split of each fold."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from anatomark.data.frames import FrameDataset
from anatomark.data.frames_folder import read_frames
from anatomark.evaluation.shared_frames import KeptSamples, SharedDataset
from anatomark.types import Sample
from frames_fixture import GAZE


class Counting(FrameDataset):
    """Counts what is read."""

    n_read = 0

    def __getitem__(self, index: int) -> Sample:
        Counting.n_read += 1
        return super().__getitem__(index)


@pytest.fixture
def folds(frames: Path) -> list[Counting]:
    Counting.n_read = 0
    records = read_frames(frames, GAZE)[:2]
    splits = (("train", "test"), ("test", "train"))
    return [Counting([replace(r, split=s) for r, s in zip(records, named, strict=True)]) for named in splits]


def test_a_frame_is_read_once_and_has_the_split_of_its_fold(folds: list[Counting]) -> None:
    kept = KeptSamples()
    shared = [SharedDataset(fold, name="same", kept=kept) for fold in folds]
    for _ in range(2):
        assert [s[i]["split"] for s in shared for i in range(2)] == ["train", "test", "test", "train"]
    assert Counting.n_read == 2
    for mine, alone in zip(shared, folds, strict=True):
        for index in range(2):
            sample, expected = mine[index], alone[index]
            assert sample.keys() == expected.keys()
            assert torch.equal(sample["image"], expected["image"])


def test_data_sets_that_read_otherwise_share_nothing(folds: list[Counting]) -> None:
    kept = KeptSamples()
    for name in ("small", "large"):
        SharedDataset(folds[0], name=name, kept=kept)[0]
    assert Counting.n_read == 2


def tensor_bytes(sample: Sample) -> int:
    """Of a sample of the fixture: tensors and mappings of these."""
    parts = [part for value in sample.values() for part in (value.values() if isinstance(value, dict) else [value])]
    return sum(part.nbytes for part in parts if isinstance(part, torch.Tensor))


def test_memory_is_bounded(folds: list[Counting]) -> None:
    one = max(tensor_bytes(FrameDataset.__getitem__(folds[0], index)) for index in range(2))
    dataset = SharedDataset(folds[0], name="same", kept=KeptSamples(max_bytes=one))
    for index in (0, 0, 1, 1, 0):
        dataset[index]
    assert Counting.n_read == 3


def test_a_polar_frame_counts_with_the_frame_it_was_made_of() -> None:
    def read(key: str) -> Sample:
        small, large = (
            Sample(key=key, subject="s", image=torch.zeros(1, side, side), spacing_mm=torch.ones(2)) for side in (8, 80)
        )
        n_read.append(key)
        return {**small, "cartesian": {**large, "boxes": {"a": torch.zeros(4)}}}

    n_read: list[str] = []
    one = 4 * (8 * 8 + 80 * 80 + 2 + 2 + 4)
    for max_bytes, expected in ((2 * one, "ab"), (2 * one - 1, "aba")):
        n_read.clear()
        kept = KeptSamples(max_bytes=max_bytes)
        for key in "aba":
            kept.get(("same", key), lambda key=key: read(key))
        assert "".join(n_read) == expected
