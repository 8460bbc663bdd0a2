"""BUSI: breast ultrasound, benign, malignant and normal (Al-Dhabyani et al. 2020). No gaze.

The data set gives no subjects, although it is of 600 women and 780 images: every image counts as its own subject, so
that two images of one woman may be in training and test. Scores on it are those of a split by image.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from anatomark.data.frames import FrameRecord
from anatomark.data.pixels import read_image
from anatomark.data.sources.masks import bounding_box
from anatomark.types import AnatomarkError, require

CLASSES = ("benign", "malignant", "normal")
EXPECTED = f"BUSI's folder with {', '.join(CLASSES)}, each with 'CLASS (N).png' and, if at hand, 'CLASS (N)_mask.png'"


class Busi:
    """Frames ``CLASS/CLASS (N).png``; masks of lesions beside them, ``..._mask.png``, ``..._mask_1.png``, are optional.

    Args:
        root: folder that holds one folder per class.
    """

    name = "BUSI (split by image: no subject is given)"

    def __init__(self, *, root: str | Path) -> None:
        self.root = Path(root)

    def __call__(self) -> list[FrameRecord]:
        """All frames, by class and name, each of its own subject; the box "lesion" holds all lesions of its masks.

        Raises:
            AnatomarkError: the folder is not BUSI's, or masks of a frame differ in size.
        """
        return [record for name in CLASSES for record in self._class(name)]

    def _class(self, name: str) -> list[FrameRecord]:
        files = sorted(require(self.root / name, EXPECTED).glob("*.png"))
        frames = [file for file in files if "_mask" not in file.stem]
        if not frames:
            raise AnatomarkError(f"{self.root / name} holds no frame; expected {EXPECTED}")
        return [_record(file, name, [mask for mask in files if _is_mask_of(mask, file)]) for file in frames]


def _is_mask_of(mask: Path, frame: Path) -> bool:
    return mask.stem == f"{frame.stem}_mask" or mask.stem.startswith(f"{frame.stem}_mask_")


def _record(file: Path, name: str, mask_files: list[Path]) -> FrameRecord:
    record = FrameRecord(key=file.stem, subject=file.stem, file=file, label=name)
    if not mask_files:
        return record
    masks = [read_image(mask, mode="L") > 0 for mask in mask_files]
    for mask, mask_file in zip(masks, mask_files, strict=True):
        if mask.shape != masks[0].shape:
            raise AnatomarkError(f"{mask_file} is of another size than {mask_files[0].name}; download it again")
    lesions = np.logical_or.reduce(masks)
    height, width = lesions.shape
    boxes = {"lesion": bounding_box(lesions)} if lesions.any() else {}
    return replace(record, size=(width, height), boxes=boxes)
