"""OSIE: 700 photographs with the fixations of 15 viewers (Xu et al. 2014; MIT licence).

Real gaze, not medical.
"""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.io import loadmat
from scipy.io.matlab import MatReadError
from torch import Tensor

from anatomark.data.frames import FrameRecord
from anatomark.types import AnatomarkError, require

# What scipy raises for broken, truncated and foreign files, and what another structure than OSIE's gives.
UNREADABLE = (
    MatReadError,
    zlib.error,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    NotImplementedError,
)
EXPECTED = "OSIE's folder with data/eye/fixations.mat and data/stimuli/*.jpg"


class Osie:
    """Photographs ``data/stimuli`` with ``data/eye/fixations.mat``.

    All viewers saw all pictures, so the picture is the subject: a split by viewer would show every test
    picture in training.

    Args:
        root: folder that holds ``data``.
    """

    name = "OSIE"
    size = (800, 600)

    def __init__(self, *, root: str | Path) -> None:
        self.root = Path(root)

    def __call__(self) -> list[FrameRecord]:
        """The pictures present, ordered by name, one viewing per viewer with fixations inside the picture.

        Raises:
            AnatomarkError: the folder is not OSIE's.
        """
        table = require(self.root / "data" / "eye" / "fixations.mat", EXPECTED)
        stimuli = require(self.root / "data" / "stimuli", EXPECTED)
        try:
            entries = np.atleast_1d(loadmat(table, squeeze_me=True, struct_as_record=False)["fixations"])
            records = [self._record(entry, stimuli / str(entry.img)) for entry in entries]
        except UNREADABLE as error:
            raise AnatomarkError(f"{table} is not OSIE's table of fixations ({error}); download it again") from error
        present = sorted((record for record in records if record.file.is_file()), key=lambda record: record.key)
        if not present:
            raise AnatomarkError(f"{stimuli} holds none of the pictures of fixations.mat; expected {EXPECTED}")
        return present

    def _record(self, entry: Any, file: Path) -> FrameRecord:
        viewings = (self._viewing(viewer) for viewer in np.atleast_1d(entry.subjects))
        return FrameRecord(
            key=file.stem,
            subject=file.stem,
            file=file,
            size=self.size,
            viewings=tuple(viewing for viewing in viewings if len(viewing)),
        )

    def _viewing(self, viewer: Any) -> Float[Tensor, "_ 3"]:
        columns = [np.atleast_1d(values) for values in (viewer.fix_x, viewer.fix_y, viewer.fix_duration)]
        rows = np.column_stack(columns).astype(np.float32)
        inside = (rows[:, :2] >= 0).all(axis=1) & (rows[:, :2] < self.size).all(axis=1)
        return torch.from_numpy(rows[inside & (rows[:, 2] > 0)])
