"""Micro-CT of mouse skulls with 45 landmarks each (Rolfe et al.; GPL-3.0)."""

from pathlib import Path

from anatomark.data.volume_records import VolumeRecord
from anatomark.types import AnatomarkError, require

SUFFIX = ".nii.gz"
EXPECTED = "the folder with targets/STRAIN.nii.gz, target_LMs/STRAIN.mrk.json and masks/STRAIN.nii.gz"


class MouseCt:
    """One skull of each strain; masks of the cranium, which are shells of bone, for some.

    Args:
        root: folder that holds ``targets``, ``target_LMs`` and ``masks``.
    """

    name = "mouse CT"

    def __init__(self, *, root: str | Path) -> None:
        self.root = Path(root)

    def __call__(self) -> list[VolumeRecord]:
        """All volumes, by name.

        Raises:
            AnatomarkError: the folder is not that of the data set.
        """
        files = sorted(require(self.root / "targets", EXPECTED).glob(f"*{SUFFIX}"))
        if not files:
            raise AnatomarkError(f"{self.root / 'targets'} holds no volume; expected {EXPECTED}")
        return [self._record(file) for file in files]

    def _record(self, file: Path) -> VolumeRecord:
        key = file.name.removesuffix(SUFFIX)
        mask = self.root / "masks" / file.name
        return VolumeRecord(
            key=key,
            subject=key,
            file=file,
            mask=mask if mask.is_file() else None,
            landmarks=require(self.root / "target_LMs" / f"{key}.mrk.json", EXPECTED),
        )
