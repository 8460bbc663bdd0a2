"""A volumes folder whose structure is an ellipsoid in the patient, whatever the grids of its files."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from volume_fixture import grid, positions

from anatomark.data.landmark_files import write_landmarks
from anatomark.data.volume_datamodule import VolumeDataModule
from anatomark.data.volumes import write_mask, write_volume
from anatomark.data.volumes_folder import VolumesFolder
from anatomark.geometry.volumes import Volume, VolumeGeometry

SEMI_AXES_MM = torch.tensor([1.6, 2.1, 2.7], dtype=torch.float64)
WINDOW = (-500.0, 500.0)
"""Holds every intensity of :func:`ramp`."""
VOLUMES = {"ref": "train", "valid": "val", "first": "test", "second": "test"}


def geometry_of(number: int) -> VolumeGeometry:
    """Oblique, of unequal spacing, another one for each volume."""
    turn = Rotation.from_euler("xyz", (25 + 40 * number, -40, 130 - 25 * number), degrees=True).as_matrix()
    spacing = ((0.3, 0.45, 1.1), (0.5, 0.35, 0.9), (0.4, 0.4, 0.4), (0.6, 0.3, 0.5))[number]
    size = tuple(round(float(mm) / s) for mm, s in zip((9.0, 9.5, 10.0), spacing, strict=True))
    return grid(size, spacing_mm=spacing, direction=tuple(tuple(row) for row in turn.tolist()))


def inside(points_mm: Tensor, geometry: VolumeGeometry) -> Tensor:
    """Whether points are in the ellipsoid about the middle of the volume, along the axes of the patient."""
    return ((points_mm - geometry.centre_mm) / SEMI_AXES_MM).square().sum(-1) <= 1


def ramp(points_mm: Tensor, geometry: VolumeGeometry) -> Tensor:
    """Intensities that say where they are."""
    return (points_mm - geometry.centre_mm) @ torch.tensor([30.0, -20.0, 10.0], dtype=torch.float64)


def write_volumes(root: Path) -> Path:
    """Writes four volumes with masks and two landmarks each, and ``volumes.csv``."""
    root.mkdir(parents=True)
    rows = []
    for number, (key, split) in enumerate(VOLUMES.items()):
        geometry = geometry_of(number)
        where = positions(geometry)
        write_volume(root / f"{key}.nii.gz", Volume(voxels=ramp(where, geometry).float(), geometry=geometry))
        write_mask(root / f"{key}_mask.nrrd", Volume(voxels=inside(where, geometry).float(), geometry=geometry))
        points = {"centre": geometry.centre_mm, "top": geometry.centre_mm + torch.tensor([0.0, 0.0, 2.0])}
        write_landmarks(root / f"{key}.mrk.json", points)
        rows.append(
            {
                "volume_id": key,
                "subject_id": f"s{number}",
                "file": f"{key}.nii.gz",
                "mask": f"{key}_mask.nrrd",
                "landmarks": f"{key}.mrk.json",
                "second_rater": f"{key}.mrk.json" if split == "test" else "",
                "split": split,
            }
        )
    write_table(root, rows)
    return root


def write_table(root: Path, rows: list[dict[str, Any]]) -> None:
    with (root / "volumes.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def read_table(root: Path) -> list[dict[str, Any]]:
    with (root / "volumes.csv").open(newline="") as file:
        return [dict(row) for row in csv.DictReader(file)]


def change(root: Path, key: str, column: str, value: str) -> None:
    """Overwrites one cell of ``volumes.csv``."""
    rows = read_table(root)
    rows[list(VOLUMES).index(key)][column] = value
    write_table(root, rows)


def drop(root: Path, *columns: str) -> None:
    """Removes columns of ``volumes.csv``."""
    write_table(root, [{name: row[name] for name in row if name not in columns} for row in read_table(root)])


def rewrite(path: Path, geometry: VolumeGeometry, voxels: np.ndarray) -> None:
    """Writes other voxels into a volume of the folder."""
    write_volume(path, Volume(voxels=torch.from_numpy(voxels).float(), geometry=geometry))


def module(root: Path, **changed: Any) -> VolumeDataModule:
    options: dict[str, Any] = {"window": WINDOW, "patch_size": 24, "translation": 4.0, "batch_size": 6, "steps": 3}
    return VolumeDataModule(root=root, source=VolumesFolder, **(options | {"validation_steps": 2} | changed))


def ready(root: Path, **changed: Any) -> VolumeDataModule:
    made = module(root, **changed)
    made.setup()
    return made
