"""Andersson et al. 2017: raw gaze with the event labels of two experts.

"One algorithm to rule them all? An evaluation and discussion of ten eye movement event-detection algorithms",
Behavior Research Methods 49, 616-637. Files ``<subject>_<stimulus>_labelled_<expert>.mat`` as published.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from anatomark.data.gaze import ScreenGeometry
from anatomark.types import AnatomarkError, require

PATTERN = "*_labelled_*.mat"
FIXATION_LABEL = 1
"""Of fixation, saccade, post-saccadic oscillation, smooth pursuit, blink, undefined: 1 to 6."""


@dataclass(frozen=True, kw_only=True)
class LabelledRecording:
    """One recording with the labels of one expert.

    Attributes:
        name: subject and stimulus; equal for the experts of one recording.
        expert: initials of the expert.
        screen: geometry of eye and screen.
        t_ms: times from the first sample, ms.
        xy_px: gaze, px of the screen.
        valid: the tracker saw the eye and placed the gaze on the screen.
        fixation: the expert calls the sample part of a fixation.
    """

    name: str
    expert: str
    screen: ScreenGeometry
    t_ms: Float[np.ndarray, "n"]
    xy_px: Float[np.ndarray, "n 2"]
    valid: Bool[np.ndarray, "n"]
    fixation: Bool[np.ndarray, "n"]


def read_andersson(root: Path) -> list[LabelledRecording]:
    """Reads all recordings below a folder, sorted by name and expert.

    Raises:
        AnatomarkError: the folder or its files are missing, or a file cannot be read.
    """
    files = sorted(require(root, f"the folder with {PATTERN} of Andersson et al. 2017").rglob(PATTERN))
    if not files:
        raise AnatomarkError(f"{root} holds no {PATTERN}; expected the labelled data of Andersson et al. 2017")
    return [read_recording(file) for file in files]


def read_recording(file: Path) -> LabelledRecording:
    """Reads one file; errors as for :func:`read_andersson`."""
    name, expert = file.stem.rsplit("_labelled_", 1)
    try:
        data = loadmat(file, squeeze_me=True, struct_as_record=False)["ETdata"]
        position = np.asarray(data.pos, dtype=float)
        screen = ScreenGeometry(
            distance_m=float(data.viewDist),
            size_m=tuple(map(float, data.screenDim)),
            resolution_px=tuple(map(int, data.screenRes)),
        )
    except (MatReadError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise AnatomarkError(f"{file} is not a labelled recording ({error}); download it again") from error
    xy = position[:, 3:5]
    on_screen = ((xy >= -0.5) & (xy <= np.array(screen.resolution_px) - 0.5)).all(axis=1)
    return LabelledRecording(
        name=name,
        expert=expert,
        screen=screen,
        t_ms=(position[:, 0] - position[0, 0]) / 1000,
        xy_px=xy,
        # The tracker writes (0, 0) where it lost the eye.
        valid=on_screen & (xy != 0).any(axis=1),
        fixation=position[:, 5] == FIXATION_LABEL,
    )
