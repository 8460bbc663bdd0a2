"""DICOM series as scanners write them: one file per slice, in an order of its own."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid

CT = "1.2.840.10008.5.1.4.1.1.2"
INTERCEPT = -1024


def write_series(
    folder: Path,
    hu: np.ndarray,
    *,
    spacing_mm: tuple[float, float, float],
    origin_mm: np.ndarray,
    direction: np.ndarray,
    without: tuple[int, ...] = (),
    series: str = "",
    rle: bool = False,
    **attributes: Any,
) -> Path:
    """Writes whole HU ``(k j i)``; ``without`` leaves slices out, and ``attributes`` overwrite those of every file."""
    folder.mkdir(parents=True, exist_ok=True)
    series = series or generate_uid()
    for k in range(len(hu)):
        if k in without:
            continue
        dicom = Dataset()
        dicom.file_meta = FileMetaDataset()
        dicom.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dicom.file_meta.MediaStorageSOPClassUID = dicom.SOPClassUID = CT
        dicom.file_meta.MediaStorageSOPInstanceUID = dicom.SOPInstanceUID = generate_uid()
        dicom.Modality, dicom.SeriesInstanceUID, dicom.InstanceNumber = "CT", series, len(hu) - k
        dicom.Rows, dicom.Columns = hu.shape[1:]
        dicom.SamplesPerPixel, dicom.PhotometricInterpretation = 1, "MONOCHROME2"
        dicom.BitsAllocated, dicom.BitsStored, dicom.HighBit, dicom.PixelRepresentation = 16, 16, 15, 0
        dicom.RescaleSlope, dicom.RescaleIntercept = 1, INTERCEPT
        # The standard gives the distance of rows first.
        dicom.PixelSpacing = [spacing_mm[1], spacing_mm[0]]
        dicom.SliceThickness = 2 * spacing_mm[2]  # of the beam, not the distance of slices
        dicom.ImageOrientationPatient = [f"{value:.10f}" for value in direction[:, :2].T.ravel()]
        position = origin_mm + k * spacing_mm[2] * direction[:, 2]
        dicom.ImagePositionPatient = [f"{value:.8f}" for value in position]
        dicom.PixelData = (hu[k] - INTERCEPT).astype(np.uint16).tobytes()
        for name, value in attributes.items():
            if value is None:
                delattr(dicom, name)
            else:
                setattr(dicom, name, value(k) if callable(value) else value)
        if rle:
            dicom.compress(RLELossless, generate_instance_uid=False)
        # Names say nothing about the place.
        dicom.save_as(folder / f"{(7 * k) % 31:02d}{series[-6:]}", enforce_file_format=True)
    return folder
