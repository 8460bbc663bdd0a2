"""Writes a volumes folder that :mod:`anatomark.data.volumes_folder` reads back."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import SimpleITK as sitk  # noqa: N813

from anatomark.data.landmark_files import write_landmarks
from anatomark.data.volumes import write_mask
from anatomark.data.volumes_folder import TABLE
from anatomark.geometry.volumes import Volume, as_image
from anatomark.types import AnatomarkError
from anatomark.volume_types import Landmarks


@dataclass(frozen=True, kw_only=True, eq=False)
class RawVolume:
    """A volume to write.

    Attributes:
        key: unique id.
        subject: id of the person scanned.
        split: "train" (the reference), "val" or "test".
        volume: whole numbers within 16 bits, such as HU.
        mask: the structure, on the same grid.
        landmarks: LPS mm.
    """

    key: str
    subject: str
    split: str
    volume: Volume
    mask: Volume
    landmarks: Landmarks


def write_volumes(root: Path, volumes: Iterable[RawVolume]) -> None:
    """Writes volumes as they come, as compressed NIfTI of 16 bits; the table comes last.

    Args:
        root: folder to make.
        volumes: the volumes.

    Raises:
        AnatomarkError: the folder exists already, there are no volumes, two have the same key.
    """
    if root.exists():
        raise AnatomarkError(f"{root} exists already; remove it or write to another folder")
    for folder in ("volumes", "masks", "landmarks"):
        (root / folder).mkdir(parents=True)
    rows: list[dict[str, str]] = []
    for raw in volumes:
        row = {
            "volume_id": raw.key,
            "subject_id": raw.subject,
            "file": f"volumes/{raw.key}.nii.gz",
            "mask": f"masks/{raw.key}.nii.gz",
            "landmarks": f"landmarks/{raw.key}.mrk.json",
            "split": raw.split,
        }
        if (root / row["file"]).exists():
            raise AnatomarkError(f"two volumes have the key {raw.key}; give unique keys")
        image = sitk.Cast(as_image(raw.volume.voxels, raw.volume.geometry), sitk.sitkInt16)
        sitk.WriteImage(image, str(root / row["file"]), True)
        write_mask(root / row["mask"], raw.mask)
        write_landmarks(root / row["landmarks"], raw.landmarks)
        rows.append(row)
    if not rows:
        raise AnatomarkError(f"there are no volumes to write to {root}; make at least one")
    pd.DataFrame(rows).to_csv(root / TABLE, index=False)
