"""DICOM files as scanners write them."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid

ULTRASOUND = "1.2.840.10008.5.1.4.1.1.3.1"  # multi-frame


def write_dicom(
    path: Path, pixels: np.ndarray | None, *, rle: bool = False, without: tuple[str, ...] = (), **attributes: Any
) -> Path:
    """Writes frames ``(n h w)`` in grey or ``(n h w 3)`` in colour; None writes a file without pixel data.

    ``without`` names attributes to leave out; ``attributes`` overwrite others.
    """
    dicom = Dataset()
    dicom.file_meta = FileMetaDataset()
    dicom.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dicom.file_meta.MediaStorageSOPClassUID = dicom.SOPClassUID = ULTRASOUND
    dicom.file_meta.MediaStorageSOPInstanceUID = dicom.SOPInstanceUID = generate_uid()
    dicom.Modality = "US"
    if pixels is not None:
        bits = 8 * pixels.dtype.itemsize
        dicom.NumberOfFrames, dicom.Rows, dicom.Columns = pixels.shape[:3]
        dicom.SamplesPerPixel = 3 if pixels.ndim == 4 else 1
        dicom.PhotometricInterpretation = "RGB" if pixels.ndim == 4 else "MONOCHROME2"
        dicom.BitsAllocated, dicom.BitsStored, dicom.HighBit, dicom.PixelRepresentation = bits, bits, bits - 1, 0
        if pixels.ndim == 4:
            dicom.PlanarConfiguration = 0
        dicom.PixelData = pixels.tobytes()
    for name, value in attributes.items():
        setattr(dicom, name, value)
    for name in without:
        delattr(dicom, name)
    if rle:
        dicom.compress(RLELossless)
    dicom.save_as(path, enforce_file_format=True)
    return path
