"""Transventricular planes with masks of head, CSP and lateral ventricle (from FETAL_PLANES_DB; CC BY 4.0).

Nobody's gaze on these frames is public, so it is simulated around the annotated CSP and LV.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, UInt8

from anatomark.data.frame_masks import MaskFile
from anatomark.data.frames import FrameRecord, Mask, read_grey
from anatomark.data.pixels import read_image
from anatomark.data.sources.masks import bounding_box, head_ellipse
from anatomark.data.sources.simulated_gaze import SimulatedGaze
from anatomark.types import AnatomarkError, require

STRUCTURES = ("head", "csp", "lv")
RED, GREEN, OLIVE = (128, 0, 0), (0, 128, 0), (128, 128, 0)
# A head covers a third of the frame, a CSP far less than one in fifty pixels.
MIN_HEAD_SHARE = 0.05
# Head length where none is annotated, as a share of the frame's width: the mean of the annotated frames.
TYPICAL_HEAD_SHARE = 0.68


class FetalBrain:
    """Frames ``images/*.png`` with ``masks/*.png`` of the same name.

    Args:
        root: folder that holds both.
        gaze: how gaze is simulated.
        mask: the structure to segment, "head", "csp" or "lv". Frames on which it is not annotated have no mask.

    Raises:
        AnatomarkError: there is no such structure.
    """

    name = "fetal_brain (simulated gaze)"

    def __init__(self, *, root: str | Path, gaze: SimulatedGaze, mask: str = "head") -> None:
        if mask not in STRUCTURES:
            raise AnatomarkError(
                f"data.source.mask is {mask}; it must be {', '.join(STRUCTURES[:-1])} or {STRUCTURES[-1]}"
            )
        self.root = Path(root)
        self.gaze = gaze
        self.mask = mask

    def __call__(self) -> list[FrameRecord]:
        """All frames, ordered by name; structures that a mask lacks are not annotated.

        Raises:
            AnatomarkError: the folder lacks images or masks, or a mask shows something else.
        """
        expected = "a folder with images/PatientNNNNN_*.png and masks/ of the same names"
        require(self.root / "images", expected)
        files = sorted((self.root / "images").glob("*.png"))
        if not files:
            raise AnatomarkError(f"{self.root / 'images'} holds no PNG; expected {expected}")
        return [self._record(file, require(self.root / "masks" / file.name, expected)) for file in files]

    def _record(self, file: Path, mask_file: Path) -> FrameRecord:
        masks = structure_masks(read_image(mask_file, mode="RGB"))
        boxes = {name: bounding_box(mask) for name, mask in masks.items() if name != "head"}
        if not boxes:
            raise AnatomarkError(
                f"{mask_file} shows neither CSP nor LV in the colours {RED}, {GREEN} or {OLIVE};"
                " remove the frame and its mask"
            )
        points = {name: (box[:2] + box[2:]) / 2 for name, box in boxes.items()}
        head = head_ellipse(masks["head"], mask_file) if "head" in masks else None
        height, width = next(iter(masks.values())).shape
        record = FrameRecord(
            key=file.stem,
            subject=file.stem.split("_")[0],
            file=file,
            plane="TV",
            size=(width, height),
            points=points,
            boxes=boxes,
            ellipse=head,
            mask=MaskFile(file=mask_file, read=Structure(name=self.mask)) if self.mask in masks else None,
        )
        if head is not None:
            centre, extent = head["centre"], 2 * float(head["semi_axes"][0])
        else:
            centre, extent = torch.stack(list(points.values())).mean(dim=0), TYPICAL_HEAD_SHARE * width
        viewings = self.gaze(record.key, read_grey(record), points, centre, extent)
        return replace(record, viewings=viewings)


@dataclass(frozen=True, kw_only=True)
class Structure:
    """Reads one structure of a mask file that shows it.

    Attributes:
        name: the structure.
    """

    name: str

    def __call__(self, file: Path) -> Mask:
        return structure_masks(read_image(file, mode="RGB"))[self.name]


def structure_masks(colours: UInt8[np.ndarray, "h w 3"]) -> dict[str, Bool[np.ndarray, "h w"]]:
    """Masks by structure.

    A mask's colours number the labels present, so their meaning depends on whether there is a head.
    With a head: red head, green LV, olive CSP. Without: red CSP, green LV. The head is returned filled.
    """
    # One comparison per channel: NumPy reduces slowly along an axis of three.
    channels = np.ascontiguousarray(np.moveaxis(colours, 2, 0))
    red, green, olive = (
        np.logical_and.reduce([channel == value for channel, value in zip(channels, colour, strict=True)])
        for colour in (RED, GREEN, OLIVE)
    )
    if red.mean() >= MIN_HEAD_SHARE:
        found = {"head": red | green | olive, "lv": green, "csp": olive}
    else:
        found = {"csp": red, "lv": green}
    return {name: mask for name, mask in found.items() if mask.any()}
