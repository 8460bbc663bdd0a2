"""Which volume is the reference, which validates and which are targets (Wang et al. 2021)."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from anatomark.data.landmark_files import read_landmarks, require_same_names
from anatomark.data.splits import SPLITS, check_disjoint
from anatomark.data.volume_records import VolumeRecord
from anatomark.types import AnatomarkError

VolumeSplits = dict[str, list[VolumeRecord]]


def split_volumes(
    records: Sequence[VolumeRecord], *, reference: str | None = None, validation: str | None = None
) -> VolumeSplits:
    """Splits volumes into "train" (the reference), "val" (one volume) and "test" (the targets).

    Args:
        records: all volumes.
        reference: id of the reference; the split of the records is then not used. None: that says.
        validation: id of the validation volume, or None as well.

    Returns:
        Records that carry their split.

    Raises:
        AnatomarkError: there is no such split; the reference or the validation volume has no mask; two splits share a
            file or a subject; landmarks have other names than the reference's.
    """
    if (reference is None) != (validation is None):
        raise AnatomarkError(
            f"data.reference is {reference} and data.validation {validation}; give both ids, or neither where the data"
            " set itself says which they are"
        )
    if reference is not None and validation is not None:
        records = _by_id(records, reference, validation)
    splits = {name: [record for record in records if record.split == name] for name in SPLITS}
    _check_numbers(records, splits)
    for record in (*splits["train"], *splits["val"]):
        if record.mask is None:
            raise AnatomarkError(
                f"volume {record.key} ({record.file}) has no mask; the reference and the validation volume need one"
            )
    _check_files(splits)
    check_disjoint(splits, what="volume")
    _check_names(splits)
    return splits


def _by_id(records: Sequence[VolumeRecord], reference: str, validation: str) -> list[VolumeRecord]:
    keys = [record.key for record in records]
    for name, key in (("reference", reference), ("validation", validation)):
        if key not in keys:
            raise AnatomarkError(f"data.{name} is {key}, which is no volume of the data set; use one of {_few(keys)}")
    if reference == validation:
        raise AnatomarkError(f"data.reference and data.validation are both {reference}; validate on another volume")
    split_of = {reference: "train", validation: "val"}
    return [replace(record, split=split_of.get(record.key, "test")) for record in records]


def _check_numbers(records: Sequence[VolumeRecord], splits: VolumeSplits) -> None:
    without = [record.key for record in records if record.split is None]
    if without:
        raise AnatomarkError(
            f"volume {without[0]} has no split; fill the column, or set data.reference and data.validation"
        )
    for name, role in (("train", "the reference"), ("val", "the validation volume")):
        if len(splits[name]) != 1:
            raise AnatomarkError(
                f"{len(splits[name])} volumes have the split {name!r}; give it to one, {role}, or set"
                " data.reference and data.validation"
            )
    if not splits["test"]:
        raise AnatomarkError("there is no target beside the reference and the validation volume; add volumes")


def _check_files(splits: VolumeSplits) -> None:
    files = {name: {record.file.resolve(): record.key for record in records} for name, records in splits.items()}
    for first, second in combinations(files, 2):
        shared = sorted(files[first].keys() & files[second].keys())
        if shared:
            raise AnatomarkError(
                f"{shared[0]} is volume {files[first][shared[0]]} of {first} and volume {files[second][shared[0]]} of"
                f" {second}; the reference, the validation volume and the targets must be different files"
            )


def _check_names(splits: VolumeSplits) -> None:
    """Refuses landmarks that the reference has not, or the other way round."""
    (reference,) = splits["train"]
    expected = {} if reference.landmarks is None else read_landmarks(reference.landmarks)
    for record in (*splits["val"], *splits["test"]):
        if record.landmarks is None:
            continue
        if reference.landmarks is None:
            raise AnatomarkError(
                f"volume {record.key} has landmarks but the reference {reference.key} has none; mark them there too"
            )
        require_same_names(reference.landmarks, expected, record.landmarks, read_landmarks(record.landmarks))


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
