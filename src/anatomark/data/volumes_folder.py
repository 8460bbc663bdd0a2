"""The volumes folder: ``volumes.csv`` beside volumes, masks and landmark files.

``volumes.csv`` has the columns volume_id, subject_id, file; optional mask, landmarks, second_rater and split (train for
the reference, val, test). Files are relative to the folder; ``file`` and ``mask`` may name the folder of a DICOM
series.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anatomark.data.frames_tables import read_table, refuse
from anatomark.data.splits import SPLITS
from anatomark.data.volume_records import VolumeRecord
from anatomark.types import AnatomarkError

TABLE = "volumes.csv"
COLUMNS = ("volume_id", "subject_id", "file")
ANNOTATIONS = ("mask", "landmarks", "second_rater")


class VolumesFolder:
    """A user's own volumes.

    Args:
        root: the folder.
    """

    def __init__(self, *, root: str | Path) -> None:
        self.root = Path(root)
        self.name = self.root.resolve().name

    def __call__(self) -> list[VolumeRecord]:
        return read_volumes(self.root)


def read_volumes(root: Path) -> list[VolumeRecord]:
    """Reads ``volumes.csv``; of the files it only asks whether they exist.

    Raises:
        AnatomarkError: the table, a column or a file is missing, or a value cannot be used; names file and row.
    """
    path = root / TABLE
    table = read_table(path, COLUMNS)
    if table is None:
        raise AnatomarkError(f"{path} does not exist; expected a folder with {TABLE} and its volumes")
    if table.empty:
        raise AnatomarkError(f"{path} lists no volume; add a row for each")
    refuse(path, table, table["volume_id"].duplicated(), "volume_id", "it is listed before; give unique ids")
    refuse(path, table, table["file"].duplicated(), "file", "it is listed before; list each volume once")
    for column in ("file", *ANNOTATIONS):
        if column in table:
            named = table[column].notna()
            exists = table[column].map(lambda file: (root / str(file)).exists()).astype(bool)
            refuse(path, table, named & ~exists, column, f"{root} holds no such file; add it or correct the row")
    if "split" in table:
        unknown = table["split"].notna() & ~table["split"].isin(SPLITS)
        refuse(path, table, unknown, "split", f"use {', '.join(SPLITS)}")
    return [_record(root, row) for row in table.to_dict("records")]


def _record(root: Path, row: Mapping[Any, Any]) -> VolumeRecord:
    given = {column: row[column] for column in (*ANNOTATIONS, "split") if isinstance(row.get(column), str)}
    files = {column: root / given[column] for column in ANNOTATIONS if column in given}
    return VolumeRecord(
        key=row["volume_id"],
        subject=row["subject_id"],
        file=root / row["file"],
        mask=files.get("mask"),
        landmarks=files.get("landmarks"),
        second_rater=files.get("second_rater"),
        split=given.get("split"),
    )
