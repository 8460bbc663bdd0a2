"""Published weights of SonoNet: PyTorch state dicts and the original release's NumPy archives, into our networks."""

import logging
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from anatomark.nets.state_dicts import PUBLISHED, check_state, own_weights, read_state_dict
from anatomark.types import AnatomarkError, require

log = logging.getLogger(__name__)

CONVS_PER_BLOCK = (2, 2, 3, 3, 3)
# Lasagne's, with which the networks were trained; the inverse standard deviations of the archives contain it.
BATCH_NORM_EPS = 1e-4
# The published networks were trained on images of this standard deviation, ours have unit variance.
INPUT_SCALE = 255.0
# Of a convolution and its batch norm, in the order in which Lasagne stores them.
PARTS = ("0.weight", "1.bias", "1.weight", "1.running_mean", "1.running_var")
CONVOLUTIONS = [f"features.{block}.{conv}" for block, convs in enumerate(CONVS_PER_BLOCK) for conv in range(convs)]
LAST_LAYER = ("adaption.3.", "adaption.4.")
LAYOUT = [
    *(f"{convolution}.{part}" for convolution in CONVOLUTIONS for part in PARTS),
    *(f"adaption.{first + int(part[0])}{part[1:]}" for first in (0, 3) for part in PARTS),
]


def load_published(net: nn.Module, path: Path) -> None:
    """Loads published weights into a SonoNet or some of its first blocks.

    The first convolution is then scaled so that zero-mean, unit-variance images give exactly what the published
    preprocessing, which multiplies them by 255, gives. The last adaptation layer (``adaption.3`` and ``adaption.4``)
    belongs to the published classes: where the network has another number of classes, its own stays as it is.

    Args:
        net: a network with the keys of the state dict, or with those of some first blocks.
        path: ``.pth`` with a state dict (read as plain tensors: code in it never runs), or ``.npz`` of the original
            Theano and Lasagne release: arrays arr_0, arr_1, ..., per convolution its kernels and the batch norm's
            beta, gamma, mean and inverse standard deviation.

    Raises:
        AnatomarkError: the file is damaged, lacks a weight, has one too many, or has another width.
    """
    require(path, "the published weights of a SonoNet, .pth or .npz")
    published = _read_archive(path) if path.suffix == ".npz" else read_state_dict(path)
    own = own_weights(net)
    theirs, ours = _classes(published), _classes(own)
    if theirs is not None and ours is not None and theirs != ours:
        log.info("%s tells %d classes, the network %d: its last layer starts at random", path, theirs, ours)
        own = {key: value for key, value in own.items() if not key.startswith(LAST_LAYER)}
    check_state(published, own, known=LAYOUT, network="SonoNet", path=path, remedy=_remedy(published, own))
    net.load_state_dict({key: published[key] for key in own}, strict=False)
    with torch.no_grad():
        net.get_parameter("features.0.0.0.weight").mul_(INPUT_SCALE)


def _classes(state: Mapping[str, Tensor]) -> int | None:
    kernels = state.get("adaption.3.weight")
    return None if kernels is None or kernels.ndim == 0 else len(kernels)


def _remedy(published: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    theirs, ours = published.get(LAYOUT[0]), own[LAYOUT[0]]
    if theirs is not None and theirs.shape[1:] == ours.shape[1:] and len(theirs) != len(ours):
        return f"set width to that of the file, {len(theirs)}"
    return PUBLISHED


def _read_archive(path: Path) -> dict[str, Tensor]:
    try:
        # Opened here, as NumPy leaves an archive it cannot read open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise AnatomarkError(f"{path} is not a readable NumPy archive; download it again") from error
    names = [f"arr_{index}" for index in range(len(LAYOUT))]
    wrong = next((name for name in names if name not in arrays), None)
    wrong = wrong or next((name for name in arrays if name not in names), None)
    if wrong is not None:
        raise AnatomarkError(
            f"{path} holds {len(arrays)} arrays; those of a SonoNet are {names[0]} to {names[-1]}, and"
            f" {wrong} is {'unknown' if wrong in arrays else 'missing'}; give the published archive"
        )
    return {key: _to_tensor(arrays[name], key, f"{path}: {name}") for name, key in zip(names, LAYOUT, strict=True)}


def _to_tensor(array: npt.NDArray[Any], key: str, where: str) -> Tensor:
    if not np.issubdtype(array.dtype, np.floating):
        raise AnatomarkError(f"{where} holds {array.dtype}, not numbers with a fraction; give the published archive")
    values = array.astype(np.float64)
    if key.endswith("running_var"):
        if not ((values > 0) & (values < 1.01 / BATCH_NORM_EPS**0.5)).all():
            raise AnatomarkError(
                f"{where} is no inverse standard deviation of a batch norm with epsilon {BATCH_NORM_EPS};"
                " give the published archive"
            )
        values = np.maximum(values**-2 - BATCH_NORM_EPS, 0)  # below 0 by rounding only
    # The release convolves without flipping the kernels (flip_filters=False), as PyTorch does.
    return torch.from_numpy(values.astype(np.float32))
