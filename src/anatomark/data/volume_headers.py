"""What the readers of SimpleITK let pass: damaged NIfTI files, and units in NRRD files.

A NIfTI file that ends early is read with whatever the memory held, NaN and infinity as 0, a spacing of 0 or NaN as 1
mm, and the units of NRRD files are not read at all.
"""

import gzip
import math
import re
import struct
import zlib
from io import BufferedIOBase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anatomark.types import AnatomarkError

_CHUNK = 1 << 24
_FLOATS = {16: "f4", 64: "f8"}
"""Codes of the voxels' types."""
_NIFTI_1, _NIFTI_2 = 348, 540
"""Bytes of the header, which begins with their number."""


def check_nifti(path: Path) -> None:
    """Reads a NIfTI file through, compressed or not.

    Raises:
        AnatomarkError: it is none, ends before its last voxel, is damaged, its spacing is not finite and positive, or a
            voxel is NaN or infinite.
    """
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(path, "rb") as file:
            header = _nifti_header(path, file.read(_NIFTI_1))
            before = len(file.read(header.start - _NIFTI_1))
            after, wrong = _read_through(file, header.floats)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise AnatomarkError(
            f"{path}: its compressed data ends early or is damaged; copy or export it again"
        ) from error
    if not all(math.isfinite(s) and s > 0 for s in header.spacing):
        raise AnatomarkError(
            f"{path}: its header says a voxel spacing of {header.spacing}; correct it: all are above 0"
        )
    found, expected = _NIFTI_1 + before + after, header.start + header.n_bytes
    if found < expected:
        raise AnatomarkError(f"{path}: ends after {found} of {expected} bytes; copy or export it again")
    if wrong:
        raise AnatomarkError(f"{path}: {wrong} voxels are NaN or infinite; replace them, as by air")


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


class _NiftiHeader(NamedTuple):
    """What is stored, and where.

    Attributes:
        spacing: as it is stored.
        start: bytes before the voxels.
        n_bytes: bytes of the voxels.
        floats: their type where it is one of floating point.
    """

    spacing: list[float]
    start: int
    n_bytes: int
    floats: np.dtype[Any] | None


def _nifti_header(path: Path, header: bytes) -> _NiftiHeader:
    for order in "<>":
        size = struct.unpack(f"{order}i", header[:4])[0] if len(header) >= _NIFTI_1 else None
        if size == _NIFTI_2:
            raise AnatomarkError(f"{path}: is a NIfTI-2 file, which is not read; write it as NIfTI-1")
        if size == _NIFTI_1:
            n_axes, *dims = struct.unpack(f"{order}8h", header[40:56])
            n_axes = min(max(n_axes, 0), 7)
            code, bits = struct.unpack(f"{order}2h", header[70:74])
            spacing = struct.unpack(f"{order}3f", header[80:92])
            (start,) = struct.unpack(f"{order}f", header[108:112])
            # The reader says what is wrong with a file of other than three axes.
            return _NiftiHeader(
                spacing=list(spacing[:n_axes]),
                start=max(int(start), _NIFTI_1) if math.isfinite(start) else _NIFTI_1,
                n_bytes=math.prod(dims[:n_axes]) * bits // 8,
                floats=np.dtype(f"{order}{_FLOATS[code]}") if code in _FLOATS else None,
            )
    raise AnatomarkError(f"{path}: does not begin as NIfTI files do; export it again, or correct its suffix")


def _read_through(file: BufferedIOBase, floats: np.dtype[Any] | None) -> tuple[int, int]:
    """Bytes left in a file, whose sum is checked where it is compressed, and how many voxels are no numbers."""
    total = wrong = 0
    while chunk := file.read(_CHUNK):
        total += len(chunk)
        if floats is not None:
            whole = len(chunk) // floats.itemsize * floats.itemsize  # the last chunk of a file that ends early
            wrong += int(np.count_nonzero(~np.isfinite(np.frombuffer(chunk[:whole], floats))))
    return total, wrong
