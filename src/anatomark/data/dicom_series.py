"""A folder of DICOM slices as one volume."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Float

from anatomark.data.dicom import is_dicom
from anatomark.types import AnatomarkError

_POSITION, _ORIENTATION, _PIXEL_SPACING = "0020|0032", "0020|0037", "0028|0030"
_INDEX = "DICOMDIR"
_UNEVEN_BY = 0.1
_DRIFT_PX = 0.5
_SAME_DIRECTION_WITHIN = 1e-3


@dataclass(frozen=True, kw_only=True)
class _Slice:
    path: Path
    position_mm: Float[np.ndarray, "3"]
    direction: Float[np.ndarray, "3 3"]
    spacing_mm: tuple[float, float]
    size: tuple[int, int]


def read_dicom_series(folder: Path) -> sitk.Image:
    """Reads the one series of a folder, its slices in the order of their positions.

    Files that are not DICOM are left out. Slices may differ from even spacing by a tenth, as rounded headers do.

    Raises:
        AnatomarkError: there is none or more than one series; its slices lack a position or pixel size, differ in size
            or direction, lie unevenly (one is missing), twice at one place or sheared (a tilted gantry); a file is
            damaged.
    """
    slices = [_read_header(path) for path in _series_files(folder)]
    if len(slices) < 2:
        raise AnatomarkError(f"{folder}: the series is a single slice, {slices[0].path.name}; give a whole series")
    first = slices[0]
    for other in slices[1:]:
        _require_alike(folder, first, other)
    # The cross product of rows and columns; the volume is right-handed when slices ascend along it.
    normal = first.direction[:, 2]
    slices.sort(key=lambda item: float(item.position_mm @ normal))
    step = _even_step(folder, slices, normal)
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    # Slices may be rescaled differently, and each is before they are stacked.
    reader.SetOutputPixelType(sitk.sitkFloat32)
    reader.SetFileNames([str(item.path) for item in slices])
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise AnatomarkError(f"{folder}: a slice of its series holds damaged pixel data; export it again") from error
    image.SetSpacing((*first.spacing_mm, step))
    image.SetOrigin(slices[0].position_mm.tolist())
    image.SetDirection(first.direction.ravel().tolist())
    return image


def _series_files(folder: Path) -> list[Path]:
    ids = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if not ids:
        raise AnatomarkError(
            f"{folder} holds no DICOM series; give a folder of one series, or a NIfTI, NRRD or MHA file"
        )
    if len(ids) > 1:
        raise AnatomarkError(
            f"{folder} holds {len(ids)} DICOM series ({', '.join(sorted(ids))}); put each into a folder of its own"
        )
    files = [Path(name) for name in sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), ids[0])]
    listed = {file.name for file in files}
    for path in sorted(folder.iterdir()):
        # The scan silently leaves out files that it cannot read to their end: the last slice would go unnoticed.
        if path.is_file() and path.name not in listed and path.name.upper() != _INDEX and is_dicom(path):
            raise AnatomarkError(
                f"{path}: a DICOM file that cannot be read whole, or is of no series; export it again or remove it"
            )
    return files


def _read_header(path: Path) -> _Slice:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise AnatomarkError(f"{path}: no DICOM file with readable pixel data; export it again") from error
    # Without these the reader says 1 mm, at the origin, for every slice.
    needed = {"position": _POSITION, "orientation": _ORIENTATION, "pixel spacing": _PIXEL_SPACING}
    missing = [name for name, key in needed.items() if not reader.HasMetaDataKey(key)]
    size = reader.GetSize()
    if missing or len(size) != 3 or size[2] != 1:
        what = f"does not say its {' and '.join(missing)}" if missing else "is not a single slice"
        raise AnatomarkError(f"{path}: {what}; export the series as one file per slice, or convert it to NIfTI")
    return _Slice(
        path=path,
        position_mm=np.array(reader.GetOrigin()),
        direction=np.array(reader.GetDirection()).reshape(3, 3),
        spacing_mm=reader.GetSpacing()[:2],
        size=size[:2],
    )


def _require_alike(folder: Path, first: _Slice, other: _Slice) -> None:
    differs = {
        "size": first.size != other.size,
        "pixel spacing": not np.allclose(first.spacing_mm, other.spacing_mm, rtol=1e-3, atol=0),
        "orientation": not np.allclose(first.direction, other.direction, rtol=0, atol=_SAME_DIRECTION_WITHIN),
    }
    names = [name for name, wrong in differs.items() if wrong]
    if names:
        raise AnatomarkError(
            f"{folder}: {other.path.name} differs from {first.path.name} in {' and '.join(names)}; keep only the slices"
            " of one volume"
        )


def _even_step(folder: Path, slices: list[_Slice], normal: Float[np.ndarray, "3"]) -> float:
    """The distance of neighbouring slices, mm."""
    positions = np.stack([item.position_mm for item in slices])
    heights = positions @ normal
    gaps = np.diff(heights)
    # A missing slice makes a gap wider, never narrower.
    step = gaps.min()
    wide = int(gaps.argmax())
    if step <= 1e-3 * gaps[wide] or step <= 0:
        at = int(gaps.argmin())
        raise AnatomarkError(
            f"{folder}: {slices[at].path.name} and {slices[at + 1].path.name} lie at the same place; keep only the"
            " slices of one volume"
        )
    if gaps[wide] > (1 + _UNEVEN_BY) * step:
        raise AnatomarkError(
            f"{folder}: {gaps[wide]:.4g} mm between {slices[wide].path.name} and {slices[wide + 1].path.name}, but"
            f" {step:.4g} mm elsewhere: a slice is missing or the spacing uneven; export the whole series again"
        )
    drift = positions - positions[0] - np.outer(heights - heights[0], normal)
    if np.linalg.norm(drift, axis=1).max() > _DRIFT_PX * min(slices[0].spacing_mm):
        raise AnatomarkError(
            f"{folder}: its slices are shifted against each other (a tilted gantry?); correct the tilt and convert the"
            " series to NIfTI"
        )
    return float((heights[-1] - heights[0]) / (len(slices) - 1))
