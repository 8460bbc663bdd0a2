"""Phantom of temporal-bone CT with the cochlea's landmarks, for Wang et al. 2021."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from anatomark.data.volume_records import VolumeRecord
from anatomark.data.volumes_folder import read_volumes
from anatomark.data.volumes_writer import RawVolume, write_volumes
from anatomark.geometry.volumes import Volume
from anatomark.phantoms.base import PhantomOnDisk
from anatomark.phantoms.temporal_bone_anatomy import TemporalBone
from anatomark.phantoms.temporal_bone_cochlea import cochlea
from anatomark.phantoms.temporal_bone_deformation import MOST_MM, Deformation
from anatomark.phantoms.temporal_bone_scan import FIELD_CENTRE_MM, CTScanner
from anatomark.types import AnatomarkError

BORDER_VOXELS = 2
"""How far the cochlea stays from the outermost voxels of the field of view."""
SHAPE, POSE, BONE, SCAN = range(4)
"""What a stream of random numbers is for: a subject keeps its shape when it is moved otherwise."""


class TemporalBonePhantom(PhantomOnDisk[RawVolume, VolumeRecord]):
    """CT volumes of left temporal bones in HU: spiral cochlea, vestibule, semicircular canals and internal auditory
    canal in dense bone, air cells, middle ear, marrow, soft tissue and air outside the head.

    Subjects differ by size and by a smooth displacement. The cochleas of the reference and the validation volume lie in
    the middle of the field of view; targets are moved and turned against them, never so far that the border cuts the
    cochlea.

    Truth: the cochlea's mask and the landmarks "centre" (of the modiolus, at the basal turn), "top" and "round_window",
    all by the same deformation as the tissues.

    Args:
        root: folder of the phantom.
        n_targets: number of targets, beside the reference and the validation volume.
        size: voxels along i, j and k; (512, 512, 160) in the paper.
        spacing_mm: their spacing; (0.25, 0.25, 0.24) in the paper.
        translation_mm: largest translation of targets along x, y and z, mm; null: anywhere in the field of view.
        rotation_deg: largest rotation of targets about each axis, degrees.
        size_variation: largest relative difference of a subject's size.
        deformation_mm: root mean square length of the displacement, mm.
        resolution_mm: full width at half maximum of the scanner's point spread along i, j and k, mm.
        noise_hu: standard deviation of the noise.
        seed: seed of everything.
        workers: processes that make the volumes; the result does not depend on it.

    Raises:
        AnatomarkError: a number out of range.
    """

    name = "temporal_bone phantom"

    def __init__(
        self,
        root: str | Path,
        *,
        n_targets: int = 20,
        size: Sequence[int] = (96, 96, 72),
        spacing_mm: Sequence[float] = (0.5, 0.5, 0.5),
        translation_mm: Sequence[float] | None = None,
        rotation_deg: float = 30.0,
        size_variation: float = 0.08,
        deformation_mm: float = 0.8,
        resolution_mm: Sequence[float] = (0.6, 0.6, 0.7),
        noise_hu: float = 60.0,
        seed: int = 0,
        workers: int | None = None,
    ) -> None:
        super().__init__(root, n_subjects=2 + n_targets, seed=seed, workers=workers)
        for key, numbers in (("size", size), ("spacing_mm", spacing_mm), ("resolution_mm", resolution_mm)):
            if len(numbers) != 3:
                raise AnatomarkError(f"{key} is {list(numbers)}; give three numbers, along i, j and k")
        self.scanner = CTScanner(
            size=(size[0], size[1], size[2]),
            spacing_mm=(spacing_mm[0], spacing_mm[1], spacing_mm[2]),
            resolution_mm=(resolution_mm[0], resolution_mm[1], resolution_mm[2]),
            noise_hu=noise_hu,
        )
        self.translation_mm = (math.inf,) * 3 if translation_mm is None else tuple(translation_mm)
        self.rotation_deg = rotation_deg
        self.size_variation = size_variation
        self.deformation_mm = deformation_mm
        if n_targets < 1:
            raise AnatomarkError(f"n_targets is {n_targets}; it must be at least 1")
        if len(self.translation_mm) != 3 or not all(largest >= 0 for largest in self.translation_mm):
            raise AnatomarkError(f"translation_mm is {translation_mm}; give three numbers of at least 0, or null")
        for key, value, most in (
            ("rotation_deg", rotation_deg, 180.0),
            ("size_variation", size_variation, 0.3),
            ("deformation_mm", deformation_mm, MOST_MM),
        ):
            if not 0 <= value <= most:
                raise AnatomarkError(f"{key} is {value}; it must lie between 0 and {most:.4g}")

    def parameters(self) -> dict[str, Any]:
        """Everything the files depend on."""
        return {
            **super().parameters(),
            "scanner": asdict(self.scanner),
            "translation_mm": [largest if math.isfinite(largest) else None for largest in self.translation_mm],
            "rotation_deg": self.rotation_deg,
            "size_variation": self.size_variation,
            "deformation_mm": self.deformation_mm,
        }

    def make_part(self, part: int) -> RawVolume:
        """The volume of one subject: the reference, the validation volume, then the targets."""
        bone = TemporalBone(self._rng(BONE, part))
        deformation = self.deformation(part)
        values, inside = self.scanner.scan(bone, deformation, self._rng(SCAN, part))
        geometry = self.scanner.geometry
        points = deformation.to_subject(np.stack(list(bone.landmarks.values())))
        return RawVolume(
            key=("reference", "validation")[part] if part < 2 else f"target{part - 1:02d}",
            subject=f"subject{part:02d}",
            split=("train", "val")[part] if part < 2 else "test",
            volume=Volume(voxels=torch.from_numpy(values), geometry=geometry),
            mask=Volume(voxels=torch.from_numpy(inside).float(), geometry=geometry),
            landmarks=dict(zip(bone.landmarks, torch.from_numpy(points), strict=True)),
        )

    def deformation(self, subject: int) -> Deformation:
        """Shape and place of one subject.

        Raises:
            AnatomarkError: the field of view does not hold its cochlea.
        """
        shape = Deformation.draw(
            self._rng(SHAPE, subject), size_variation=self.size_variation, deformation_mm=self.deformation_mm
        )
        rng = self._rng(POSE, subject)
        moved = subject >= 2
        if moved:
            shape = shape.turned(rng, self.rotation_deg)
        low, high = self._room(shape)
        largest = np.array(self.translation_mm) if moved else np.zeros(3)
        return shape.at(FIELD_CENTRE_MM + rng.uniform(np.clip(-largest, low, high), np.clip(largest, low, high)))

    def write(self, root: Path, parts: Iterable[RawVolume]) -> None:
        """Writes a volumes folder."""
        write_volumes(root, parts)

    def read(self) -> list[VolumeRecord]:
        """Reads the volumes folder."""
        return read_volumes(self.root)

    def _room(self, shape: Deformation) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        """Lowest and highest translation from the middle of the field of view that keep the cochlea inside."""
        tube = cochlea()
        axes = np.concatenate([np.eye(3), -np.eye(3)])
        surface = (tube.points[::10, None] + tube.radii[::10, None, None] * axes).reshape(-1, 3)
        outline = shape.to_subject(surface)
        spacing, size = np.array(self.scanner.spacing_mm), np.array(self.scanner.size)
        # Half a millimetre for what bulges between the outline's points.
        half = (size - 1) / 2 * spacing - BORDER_VOXELS * spacing - 0.5
        low, high = -half - outline.min(axis=0), half - outline.max(axis=0)
        if (low > high).any():
            raise AnatomarkError(
                f"a field of view of {(size * spacing).tolist()} mm does not hold the cochlea; raise size or spacing_mm"
            )
        return low, high

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *stream])
