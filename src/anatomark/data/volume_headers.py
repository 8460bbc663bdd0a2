"""What the readers of SimpleITK let pass: damaged NIfTI files, and units in NRRD files.

A NIfTI file that ends early is read with whatever the memory held, a spacing of 0 or NaN as 1 mm, and the units of NRRD
files are not read at all.
"""

import gzip
import math
import re
import struct
import zlib
from io import BufferedIOBase
from pathlib import Path

from anatomark.types import AnatomarkError

_CHUNK = 1 << 24
_NIFTI_1, _NIFTI_2 = 348, 540
"""Bytes of the header, which begins with their number."""


def check_nifti(path: Path) -> None:
    """Reads a NIfTI file through, compressed or not.

    Raises:
        AnatomarkError: it is none, ends before its last voxel, is damaged, or its spacing is not finite and positive.
    """
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(path, "rb") as file:
            header = file.read(_NIFTI_1)
            spacing, expected = _nifti_header(path, header)
            found = len(header) + _count(file)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise AnatomarkError(
            f"{path}: its compressed data ends early or is damaged; copy or export it again"
        ) from error
    if not all(math.isfinite(s) and s > 0 for s in spacing):
        raise AnatomarkError(f"{path}: its header says a voxel spacing of {spacing}; correct it: all are above 0")
    if found < expected:
        raise AnatomarkError(f"{path}: ends after {found} of {expected} bytes; copy or export it again")


def check_nrrd(path: Path) -> None:
    """Reads the text header of a NRRD file.

    Raises:
        AnatomarkError: it says another unit than mm.
    """
    with path.open("rb") as file:
        for line in file:
            if not line.strip():
                break  # the voxels follow
            key, _, value = line.decode("latin-1").partition(":")
            if key.strip().lower() not in ("space units", "units"):
                continue
            others = sorted({unit for unit in re.findall(r'"([^"]*)"', value) if unit.lower() not in ("mm", "")})
            if others:
                raise AnatomarkError(
                    f'{path}: "{key.strip()}" are {", ".join(others)}; write the file in mm, the only unit read'
                )


def _nifti_header(path: Path, header: bytes) -> tuple[list[float], int]:
    """Spacing as it is stored, and the bytes of the whole file."""
    for order in "<>":
        size = struct.unpack(f"{order}i", header[:4])[0] if len(header) >= _NIFTI_1 else None
        if size == _NIFTI_2:
            raise AnatomarkError(f"{path}: is a NIfTI-2 file, which is not read; write it as NIfTI-1")
        if size == _NIFTI_1:
            n_axes, *dims = struct.unpack(f"{order}8h", header[40:56])
            n_axes = min(max(n_axes, 0), 7)
            (bits,) = struct.unpack(f"{order}h", header[72:74])
            spacing = struct.unpack(f"{order}3f", header[80:92])
            (start,) = struct.unpack(f"{order}f", header[108:112])
            n_bytes = math.prod(dims[:n_axes]) * bits // 8
            # The reader says what is wrong with a file of other than three axes.
            return list(spacing[:n_axes]), n_bytes + (int(start) if math.isfinite(start) else 0)
    raise AnatomarkError(f"{path}: does not begin as NIfTI files do; export it again, or correct its suffix")


def _count(file: BufferedIOBase) -> int:
    """Bytes left in a file; of a compressed one, this also checks its sum."""
    total = 0
    while chunk := file.read(_CHUNK):
        total += len(chunk)
    return total
