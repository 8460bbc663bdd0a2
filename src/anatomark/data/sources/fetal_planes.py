"""FETAL_PLANES_DB: frames of six kinds of plane (Burgos-Artizzu et al. 2020; CC BY 4.0). No gaze."""

from pathlib import Path

import pandas as pd

from anatomark.data.frames import FrameRecord
from anatomark.types import AnatomarkError, require

TABLE = "FETAL_PLANES_DB_data.csv"
COLUMNS = ("Image_name", "Patient_num", "Plane", "Train")
SPLIT_OF = {"1": "train", "0": "test"}
EXPECTED = f"FETAL_PLANES_DB's folder with {TABLE} and Images/*.png"


class FetalPlanes:
    """Frames ``Images/NAME.png`` of a table with the patient, the plane and the published split.

    Args:
        root: folder that holds the table and ``Images``.
    """

    name = "FETAL_PLANES_DB"

    def __init__(self, *, root: str | Path) -> None:
        self.root = Path(root)

    def __call__(self) -> list[FrameRecord]:
        """All frames of the table that are present, in its order.

        Raises:
            AnatomarkError: the folder is not FETAL_PLANES_DB's.
        """
        path = require(self.root / TABLE, EXPECTED)
        try:
            # The published header ends in a space.
            table = pd.read_csv(path, sep=";", dtype=str, keep_default_na=False).rename(columns=str.strip)
        except ValueError as error:
            raise AnatomarkError(f"{path} is no readable table; expected {EXPECTED}") from error
        missing = [column for column in COLUMNS if column not in table]
        if missing:
            raise AnatomarkError(f"{path} lacks the column {missing[0]!r}; expected {EXPECTED}")
        folder = require(self.root / "Images", EXPECTED)
        rows = [tuple(map(str.strip, row)) for row in table[list(COLUMNS)].itertuples(index=False, name=None)]
        records = [_record(folder, *row) for row in rows if (folder / f"{row[0]}.png").is_file()]
        if not records:
            raise AnatomarkError(f"{folder} holds none of the frames of {TABLE}; expected {EXPECTED}")
        return records


def _record(folder: Path, name: str, patient: str, plane: str, train: str) -> FrameRecord:
    for column, value in (("Patient_num", patient), ("Plane", plane)):
        if not value:
            raise AnatomarkError(f"{TABLE}: {name} has no {column}; fill it in")
    if train not in SPLIT_OF:
        raise AnatomarkError(f"{TABLE}: Train of {name} is {train!r}; use 1 or 0")
    file = folder / f"{name}.png"
    return FrameRecord(key=name, subject=patient, file=file, split=SPLIT_OF[train], plane=plane, label=plane)
