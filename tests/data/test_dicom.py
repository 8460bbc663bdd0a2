"""DICOM files: what white is, and the pixel size."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anatomark.data.dicom import DicomFile
from dicom_fixture import write_dicom

STACK = np.random.default_rng(0).integers(0, 256, (2, 20, 30), dtype=np.uint8)
VALUES = np.arange(600, dtype=np.uint16).reshape(1, 20, 30)
WINDOW = {"WindowCenter": 300.5, "WindowWidth": 201}
RESCALED = {"WindowCenter": 600.5 - 1024, "WindowWidth": 401, "RescaleSlope": 2, "RescaleIntercept": -1024}
TWELVE_BITS, SIGNED = {"BitsStored": 12, "HighBit": 11}, {"PixelRepresentation": 1}
SOP_CLASSES = {
    "secondary capture": "1.2.840.10008.5.1.4.1.1.7",
    "multi-frame grey": "1.2.840.10008.5.1.4.1.1.7.2",
    "multi-frame colour": "1.2.840.10008.5.1.4.1.1.7.4",
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "MG": "1.2.840.10008.5.1.4.1.1.1.2",
    "XA": "1.2.840.10008.5.1.4.1.1.12.1",
    "ultrasound": "1.2.840.10008.5.1.4.1.1.3.1",
}


def frames(path: Path) -> np.ndarray:
    return np.stack(list(DicomFile(path).frames()))


@pytest.mark.parametrize("stored", [{}, TWELVE_BITS, SIGNED], ids=["16 bits", "12 bits", "signed"])
@pytest.mark.parametrize("window", [WINDOW, RESCALED], ids=["as stored", "rescaled"])
def test_an_inverted_file_has_its_window(tmp_path: Path, window: Any, stored: Any) -> None:
    attributes = window | stored
    bright = frames(write_dicom(tmp_path / "a.dcm", VALUES, **attributes)).astype(int)
    inverted = write_dicom(tmp_path / "b.dcm", VALUES, PhotometricInterpretation="MONOCHROME1", **attributes)
    assert bright.min() == 0
    assert bright.max() == 255
    assert np.abs(frames(inverted) - (255 - bright)).max() <= 1


def test_a_file_without_photometric_interpretation_is_read(tmp_path: Path) -> None:
    for pixels in (STACK, STACK * np.uint16(257)):
        path = write_dicom(tmp_path / "a.dcm", pixels, without=("PhotometricInterpretation",))
        assert frames(path).shape == (2, 20, 30, 1)


@pytest.mark.parametrize("detector", [{}, {"ImagerPixelSpacing": [0.4, 0.3]}], ids=["alone", "beside the detector's"])
@pytest.mark.parametrize("sop_class", SOP_CLASSES.values(), ids=SOP_CLASSES)
def test_pixel_size_is_that_of_pixel_spacing(tmp_path: Path, sop_class: str, detector: Any) -> None:
    spaced = write_dicom(tmp_path / "a.dcm", STACK, SOPClassUID=sop_class, PixelSpacing=[0.2, 0.1], **detector)
    assert DicomFile(spaced).spacing_mm == (0.1, 0.2)  # the file gives rows first
    assert DicomFile(write_dicom(tmp_path / "b.dcm", STACK, SOPClassUID=sop_class, **detector)).spacing_mm is None


@pytest.mark.parametrize("damaged", [["0.2"], ["0.2", "0.1", "0.1"], ["0.2", "0"], ["-0.2", "0.1"], ["0.2", "nan"]])
def test_a_damaged_pixel_size_is_none(tmp_path: Path, damaged: list[str]) -> None:
    path = write_dicom(tmp_path / "a.dcm", STACK, PixelSpacing=["0.2", "0.1"])
    text = "\\".join(damaged)
    content, valid = path.read_bytes(), b"\x28\x00\x30\x00DS\x08\x000.2\\0.1 "
    assert content.count(valid) == 1
    padded = text.encode() + b" " * (len(text) % 2)
    path.write_bytes(content.replace(valid, valid[:6] + len(padded).to_bytes(2, "little") + padded))
    assert DicomFile(path).spacing_mm is None
