"""HC18: fetal head frames with the outline of the head (van den Heuvel et al. 2018; CC BY 4.0). No gaze.

The mask of a frame is the inside of its head ellipse.
"""

import math
from pathlib import Path

import pandas as pd

from anatomark.data.frame_masks import EllipseMask
from anatomark.data.frames import FrameRecord
from anatomark.data.pixels import read_image
from anatomark.data.sources.masks import head_ellipse
from anatomark.types import AnatomarkError, require

TABLE = "training_set_pixel_size_and_HC.csv"
EXPECTED = f"HC18's folder with {TABLE} and training_set/NNN_HC.png beside NNN_HC_Annotation.png"
COLUMNS = ("filename", "pixel size(mm)")


class Hc18:
    """Frames ``training_set/NNN_HC.png``; ``NNN_2HC.png`` shows the same subject again.

    Args:
        root: folder that holds the table and ``training_set``.
    """

    name = "HC18"

    def __init__(self, *, root: str | Path) -> None:
        self.root = Path(root)

    def __call__(self) -> list[FrameRecord]:
        """All frames of the table that are present, with the head ellipse fitted to outline or filled mask.

        Raises:
            AnatomarkError: the folder is not HC18's.
        """
        path = require(self.root / TABLE, EXPECTED)
        try:
            table = pd.read_csv(path).rename(columns=str.strip)
        except ValueError as error:
            raise AnatomarkError(f"{path} is no readable table; expected {EXPECTED}") from error
        missing = [column for column in COLUMNS if column not in table.columns]
        if missing:
            raise AnatomarkError(f"{path} lacks the column {missing[0]!r}; expected {EXPECTED}")
        folder = require(self.root / "training_set", EXPECTED)
        rows = [(folder / name, float(spacing)) for name, spacing in table[list(COLUMNS)].itertuples(index=False)]
        records = [_record(file, spacing) for file, spacing in rows if file.is_file()]
        if not records:
            raise AnatomarkError(f"{folder} holds none of the frames of {TABLE}; expected {EXPECTED}")
        return records


def _record(file: Path, spacing_mm: float) -> FrameRecord:
    annotation = require(file.with_name(f"{file.stem}_Annotation.png"), EXPECTED)
    mask = read_image(annotation, mode="L") > 0
    if not 0 < spacing_mm < math.inf:
        raise AnatomarkError(f"{TABLE}: the pixel size of {file.name} is {spacing_mm}; it must be positive")
    ellipse = head_ellipse(mask, annotation)
    return FrameRecord(
        key=file.stem,
        subject=file.stem.split("_")[0],
        file=file,
        spacing_mm=(spacing_mm, spacing_mm),
        size=(mask.shape[1], mask.shape[0]),
        ellipse=ellipse,
        mask=EllipseMask(ellipse=ellipse),
    )
