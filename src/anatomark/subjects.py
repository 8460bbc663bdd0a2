"""Who was trained on: ``splits.json`` of a run folder, so that nobody is tested whom the network has seen."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from anatomark.errors import AnatomarkError
from anatomark.files import write_whole

_FILE = "splits.json"
_SEEN = {"train": "trained on", "val": "validated on"}


@runtime_checkable
class Record(Protocol):
    """What is known of a frame or volume before it is read."""

    @property
    def key(self) -> str:
        """Unique id."""
        ...

    @property
    def subject(self) -> str:
        """Id of the person scanned."""
        ...

    @property
    def split(self) -> str | None:
        """Train, val or test; None before the data set is split."""
        ...


Records = Mapping[str, Sequence[Record]]
"""The frames or volumes of "train", "val" and "test"."""


def record_subjects(folder: Path, data_set: str, records: Records) -> None:
    """Writes the subjects of each split and how many frames or volumes it has, by data set, into the run folder.

    Subjects that the run has seen in an earlier session stay among those it has seen.

    Args:
        folder: run folder.
        data_set: name of the data set.
        records: what is trained, validated and tested on.

    Raises:
        AnatomarkError: the file of an earlier session is damaged.
    """
    every = _read(folder)
    earlier = {split: _subjects(every.get(data_set, {}), split) for split in _SEEN}
    splits = {
        split: {
            "n": len(of_split),
            "subjects": sorted({record.subject for record in of_split} | earlier.get(split, set())),
        }
        for split, of_split in records.items()
    }
    write_whole(folder / _FILE, json.dumps(every | {data_set: splits}, indent=1, ensure_ascii=False) + "\n")


def check_subjects(folder: Path, data_set: str, records: Records) -> None:
    """Refuses to test a run on subjects that it has seen, as where the data set has changed since it was trained.

    Runs without ``splits.json``, of models evaluated as they are built, have seen nobody; subjects of another data set
    are other people, whatever their ids.

    Args:
        folder: run folder.
        data_set: name of the data set.
        records: what the data set would be trained, validated and tested on now.

    Raises:
        AnatomarkError: names the subject.
    """
    splits = _read(folder).get(data_set, {})
    tested = {record.subject for record in records["test"]}
    for split, what in _SEEN.items():
        seen = sorted(tested & _subjects(splits, split))
        if seen:
            raise AnatomarkError(
                f"{folder} was {what} subject {seen[0]}, one of {len(seen)} such subjects of the test split that"
                f" {data_set} has now; restore the data set, or the data.fold, data.n_folds, data.val_fraction and"
                f" data.split_seed of the training ({_FILE} says who was in which split)"
            )


def _read(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / _FILE
    if not path.is_file():
        return {}
    try:
        every: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        lists = [split["subjects"] for splits in every.values() for split in splits.values()]
        if not all(isinstance(subjects, list) for subjects in lists):
            raise TypeError
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise AnatomarkError(f"{path} is damaged; restore it") from error
    return every


def _subjects(splits: Mapping[str, Any], split: str) -> set[str]:
    return set(splits[split]["subjects"]) if split in splits else set()
