"""The labelled scanner screens published with SonoNet (Baumgartner et al. 2017). No gaze."""

from pathlib import Path

from anatomark.data.frames import FrameRecord
from anatomark.data.pixels import image_size
from anatomark.types import AnatomarkError, require

CLASS_OF = {
    "3VV": "3VV",
    "4CH": "4CH",
    "ABDOMINAL": "Abdominal",
    "BACKGROUND": "Background",
    "BRAIN-CB": "Brain (Cb.)",
    "BRAIN-TV": "Brain (Tv.)",
    "FEMUR": "Femur",
    "KIDNEYS": "Kidneys",
    "LIPS": "Lips",
    "LVOT": "LVOT",
    "PROFILE": "Profile",
    "RVOT": "RVOT",
    "SPINE-CORONAL": "Spine (cor.)",
    "SPINE-SAGITTAL": "Spine (sag.)",
}
"""Class by file name, in the order of the published network's outputs."""

SIZE = (975, 735)
EXPECTED = f"a folder with {', '.join(f'{name}.png' for name in CLASS_OF)} or some of them"


class SonoNetFrames:
    """Whole screens, named by what they show; all test frames, as there are too few to train on.

    Args:
        root: folder that holds them.
    """

    name = "SonoNet's example frames"

    def __init__(self, *, root: str | Path) -> None:
        self.root = Path(root)

    def __call__(self) -> list[FrameRecord]:
        """All frames, ordered by name; whom they show is not known, so each counts as a subject.

        Raises:
            AnatomarkError: the folder is not SonoNet's.
        """
        files = sorted(require(self.root, EXPECTED).glob("*.png"))
        if not files:
            raise AnatomarkError(f"{self.root} holds no PNG; expected {EXPECTED}")
        return [_record(file) for file in files]


def _record(file: Path) -> FrameRecord:
    if file.stem not in CLASS_OF:
        raise AnatomarkError(f"{file} is named after no class of SonoNet; expected {EXPECTED}")
    size = image_size(file)
    if size != SIZE:
        raise AnatomarkError(
            f"{file} is {size[0]} x {size[1]} px; the image is cut out of screens of {SIZE[0]} x {SIZE[1]}"
        )
    return FrameRecord(key=file.stem, subject=file.stem, file=file, split="test", label=CLASS_OF[file.stem], size=size)
