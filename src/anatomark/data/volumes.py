"""Volumes and masks from NIfTI, NRRD, MHA and DICOM files, each in its place in the patient."""

import math
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anatomark.data.dicom_series import read_dicom_series
from anatomark.data.volume_headers import check_nifti, check_nrrd
from anatomark.geometry.volumes import Volume, VolumeGeometry, as_image, geometry_of
from anatomark.types import AnatomarkError, require

NIFTI, NRRD, META = (".nii", ".nii.gz"), (".nrrd", ".nhdr"), (".mha", ".mhd")
SUFFIXES = NIFTI + NRRD + META
WRITTEN = (*NIFTI, ".nrrd", ".mha")
"""Formats of one file; the others are a header beside the voxels."""

FINEST_MM, COARSEST_MM, MOST_UNEQUAL = 1e-3, 20.0, 50.0
"""Spacings that are those of a volume in mm; in metres they are finer, in micrometres coarser or unequal."""
SMALLEST_FIELD_MM = 1.0
"""A field of view in metres is below it: even a whole body is 2 m."""


def read_volume(path: Path) -> Volume:
    """Reads a volume as ``float32``.

    Units of NIfTI files are heeded; everything else is in mm.

    Args:
        path: a NIfTI, NRRD or MHA file, or a folder that holds one DICOM series.

    Raises:
        AnatomarkError: it does not exist, cannot be read or ends early; is not a grey volume of three dimensions; its
            spacing is not one in mm; a voxel is NaN or infinite; of a DICOM series a slice is missing.
    """
    require(path, f"a volume: {', '.join(SUFFIXES)} or a folder of one DICOM series")
    image = read_dicom_series(path) if path.is_dir() else _read_file(path)
    try:
        geometry = geometry_of(image)
    except AnatomarkError as error:
        raise AnatomarkError(f"{path}: {error}") from error
    _require_mm(path, geometry)
    voxels = torch.from_numpy(sitk.GetArrayFromImage(image).astype(np.float32, copy=False))
    _require_finite(path, voxels)
    return Volume(voxels=voxels, geometry=geometry)


def read_mask(path: Path, frame: VolumeGeometry) -> Volume:
    """Reads the mask of one structure; its voxels are 0 and 1 whatever its label is.

    Args:
        path: as in :func:`read_volume`.
        frame: geometry of the volume that the mask belongs to.

    Raises:
        AnatomarkError: as in :func:`read_volume`; it lies in another frame than the volume, is empty, or holds more
            than one label.
    """
    mask = read_volume(path)
    if not mask.geometry.matches(frame):
        raise AnatomarkError(
            f"{path}: the mask lies in another frame than its volume: {_difference(mask.geometry, frame)}; write it on"
            " the volume's own grid"
        )
    inside = mask.voxels != 0
    labels = mask.voxels[inside]
    if labels.numel() == 0:
        raise AnatomarkError(f"{path}: the mask is empty; draw the structure, or give the file that holds it")
    if labels.min() != labels.max():
        raise AnatomarkError(
            f"{path}: the mask holds values from {labels.min():g} to {labels.max():g} besides 0; write one with the"
            " structure alone"
        )
    # Headers may be rounded differently: the volume's counts.
    return Volume(voxels=inside.float(), geometry=frame)


def write_volume(path: Path, volume: Volume) -> None:
    """Writes a volume as ``float32``, compressed; the file appears whole or not at all.

    Raises:
        AnatomarkError: the suffix is not one of ``WRITTEN``.
    """
    _write(path, volume.voxels, volume.geometry)


def write_mask(path: Path, mask: Volume) -> None:
    """As :func:`write_volume`, with 8 bits per voxel: 1 in the structure, 0 elsewhere."""
    _write(path, mask.voxels != 0, mask.geometry)


def _write(path: Path, voxels: Float[Tensor, "k j i"] | Bool[Tensor, "k j i"], geometry: VolumeGeometry) -> None:
    if not path.name.lower().endswith(WRITTEN):
        raise AnatomarkError(f"{path}: volumes are not written in this format; use {', '.join(WRITTEN)}")
    # The writer goes by the end of the name.
    temporary = path.with_name(f"unfinished.{path.name}")
    try:
        sitk.WriteImage(as_image(voxels, geometry), str(temporary), True)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read_file(path: Path) -> sitk.Image:
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise AnatomarkError(
            f"{path}: volumes are not read from such files; give {', '.join(SUFFIXES)} or the folder of a DICOM series"
        )
    if name.endswith(NIFTI):
        check_nifti(path)
    elif name.endswith(NRRD):
        check_nrrd(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        size = reader.GetSize()
        if len(size) != 3 or min(size) < 2 or reader.GetNumberOfComponents() != 1:
            shape = " x ".join(map(str, size))
            raise AnatomarkError(
                f"{path}: holds {shape} voxels of {reader.GetNumberOfComponents()} value(s), not a grey volume of three"
                " dimensions; give one, with at least 2 voxels along each"
            )
        reader.SetOutputPixelType(sitk.sitkFloat32)
        return reader.Execute()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip().removeprefix("sitk::ERROR: ")
        raise AnatomarkError(
            f"{path}: cannot be read, it is damaged, ends early or has an impossible header ({reason}); export it again"
        ) from error


def _require_mm(path: Path, geometry: VolumeGeometry) -> None:
    finest, coarsest = min(geometry.spacing_mm), max(geometry.spacing_mm)
    field = max(n * s for n, s in zip(geometry.size, geometry.spacing_mm, strict=True))
    if finest < FINEST_MM or field < SMALLEST_FIELD_MM:
        unit = "metres"
    elif coarsest > COARSEST_MM:
        unit = "micrometres"
    elif coarsest > MOST_UNEQUAL * finest:
        unit = "different units along its axes"
    else:
        return
    spacing = " x ".join(f"{s:g}" for s in geometry.spacing_mm)
    raise AnatomarkError(
        f"{path}: a spacing of {spacing} mm over {field:g} mm looks like {unit}; write the file with its spacing in mm"
    )


def _require_finite(path: Path, voxels: Float[Tensor, "k j i"]) -> None:
    wrong = ~voxels.isfinite()
    count = int(wrong.sum())
    if count:
        k, j, i = wrong.nonzero()[0].tolist()
        raise AnatomarkError(
            f"{path}: {count} voxels are NaN or infinite, the first at index ({i}, {j}, {k}); replace them, as by air"
        )


def _difference(mask: VolumeGeometry, volume: VolumeGeometry) -> str:
    """What differs most plainly, in words."""
    if mask.size != volume.size:
        return f"it has {mask.size} voxels, the volume {volume.size}"
    for name, unit in (("spacing_mm", "mm"), ("origin_mm", "mm"), ("direction", "")):
        ours, theirs = (np.array(getattr(geometry, name)) for geometry in (mask, volume))
        if not np.allclose(ours, theirs, rtol=1e-4, atol=1e-4):
            return f"its {name.removesuffix('_mm')} is {ours.tolist()} {unit}, the volume's {theirs.tolist()} {unit}"
    return f"its voxels lie up to {math.dist(mask.origin_mm, volume.origin_mm):g} mm from the volume's"
