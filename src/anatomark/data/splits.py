"""Subject-disjoint splits: no person is ever in two of training, validation and test."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from anatomark.data.frames import FrameRecord
from anatomark.subjects import Record
from anatomark.types import AnatomarkError

SPLITS = ("train", "val", "test")


def subject_folds(subjects: Iterable[str], n_folds: int, seed: int) -> list[list[str]]:
    """Deals the distinct subjects into folds whose sizes differ by one at most.

    The folds depend on the set of subjects and the seed alone, not on the order of the frames.

    Raises:
        AnatomarkError: fewer subjects than folds.
    """
    distinct = sorted(set(subjects))
    if len(distinct) < 2:
        raise AnatomarkError(
            f"no split is possible: all frames belong to one subject ({', '.join(distinct)}); add others"
        )
    if not 2 <= n_folds <= len(distinct):
        raise AnatomarkError(
            f"data.n_folds is {n_folds}; with {len(distinct)} subjects it must be 2 to {len(distinct)}"
        )
    dealt = np.random.default_rng(seed).permutation(distinct).tolist()
    return [sorted(dealt[fold::n_folds]) for fold in range(n_folds)]


def split_records(
    records: Sequence[FrameRecord], *, fold: int, n_folds: int, val_fraction: float, seed: int
) -> dict[str, list[FrameRecord]]:
    """Splits frames by subject; every returned record carries its split.

    Where the data set fixes the split of every frame, it is kept and the other arguments are not used.

    Args:
        records: frames.
        fold: the fold that is the test set.
        n_folds: number of folds.
        val_fraction: share of the subjects outside the test fold that validate, at least one unless 0.
        seed: seed of the draw.

    Returns:
        "train", "val" and "test".

    Raises:
        AnatomarkError: no such split exists.
    """
    if any(record.split is not None for record in records):
        if fold:
            raise AnatomarkError(
                f"data.fold is {fold}, but frame {records[0].key} and others name their split, which makes every fold"
                " the same; leave data.fold out, or remove the split column"
            )
        return _given_split(records)
    if not 0 <= fold < n_folds:
        raise AnatomarkError(f"data.fold is {fold}; with data.n_folds={n_folds} it must be 0 to {n_folds - 1}")
    if not 0 <= val_fraction < 1:
        raise AnatomarkError(f"data.val_fraction is {val_fraction}; it must be at least 0 and below 1")
    folds = subject_folds((record.subject for record in records), n_folds, seed)
    rest = sorted({subject for number, subjects in enumerate(folds) if number != fold for subject in subjects})
    n_val = max(round(val_fraction * len(rest)), 1) if val_fraction > 0 else 0
    if n_val >= len(rest):
        raise AnatomarkError(f"{len(rest)} subjects are too few to train and validate on; set data.val_fraction=0")
    val = set(np.random.default_rng([seed, fold]).permutation(rest)[:n_val].tolist())
    test = set(folds[fold])
    split_of = {record.subject: "test" if record.subject in test else "train" for record in records}
    split_of |= dict.fromkeys(val, "val")
    marked = [replace(record, split=split_of[record.subject]) for record in records]
    return {name: [record for record in marked if record.split == name] for name in SPLITS}


def check_disjoint(splits: Mapping[str, Sequence[Record]], *, what: str = "frame") -> None:
    """Refuses splits that share a subject.

    Args:
        splits: name -> frames or volumes.
        what: which of them, for the message.

    Raises:
        AnatomarkError: names the subject and where it is found.
    """
    subjects = {name: {record.subject: record.key for record in records} for name, records in splits.items()}
    for first, second in combinations(subjects, 2):
        shared = sorted(subjects[first].keys() & subjects[second].keys())
        if shared:
            raise AnatomarkError(
                f"subject {shared[0]} is in both {first} ({what} {subjects[first][shared[0]]}) and {second}"
                f" ({what} {subjects[second][shared[0]]}); put all {what}s of a subject into one split"
            )


def _given_split(records: Sequence[FrameRecord]) -> dict[str, list[FrameRecord]]:
    without = [record.key for record in records if record.split is None]
    if without:
        raise AnatomarkError(f"frame {without[0]} has no split while others have one; fill the column or remove it")
    splits = {name: [record for record in records if record.split == name] for name in SPLITS}
    if not splits["test"]:
        raise AnatomarkError("no frame has the split 'test'; name some or remove the column")
    return splits
