"""State dicts that come as files: read as plain tensors, checked by name and shape, and torchvision's loaded."""

import pickle
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from anatomark.types import AnatomarkError, require

PUBLISHED = "give the published weights"


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Reads a ``.pth`` with names and tensors; code in it never runs.

    Raises:
        AnatomarkError: the file is damaged, or holds something else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about odd files, which are refused here
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise AnatomarkError(
            f"{path} is damaged, or a pickle with code, which is never run; give the published state dict"
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise AnatomarkError(f"{path} is not a readable state dict; download it again") from error
    if not (
        isinstance(state, Mapping)
        and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items())
    ):
        raise AnatomarkError(f"{path} is not a state dict, names and tensors only; give the published one")
    return dict(state)


def own_weights(net: nn.Module) -> dict[str, Tensor]:
    """What a published state dict must hold for a network: all but the batch norms' counters, which old ones lack."""
    return {key: value for key, value in net.state_dict().items() if not key.endswith("num_batches_tracked")}


def check_state(
    published: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    *,
    known: Iterable[str],
    network: str,
    path: Path,
    remedy: str = PUBLISHED,
) -> None:
    """Checks that published weights are those of a network.

    Args:
        published: the weights of the file.
        own: those to load.
        known: keys that the file may hold, beside the batch norms' counters.
        network: what the file should belong to, such as "SonoNet".
        path: the file.
        remedy: what to do about weights of another shape.

    Raises:
        AnatomarkError: a weight is missing, unknown, of another shape or not finite.
    """
    missing = [key for key in own if key not in published]
    if missing:
        raise AnatomarkError(f"{path} lacks {missing[0]} ({len(missing)} keys in all); is it a {network} state dict?")
    known = set(known)
    unknown = [key for key in published if key not in known and not key.endswith("num_batches_tracked")]
    if unknown:
        raise AnatomarkError(
            f"{path} holds {unknown[0]} ({len(unknown)} keys in all), which no {network} has; {PUBLISHED}"
        )
    for key, value in own.items():
        if published[key].shape != value.shape:
            raise AnatomarkError(
                f"{path}: {key} has shape {tuple(published[key].shape)}, expected {tuple(value.shape)}; {remedy}"
            )
        if not bool(torch.isfinite(published[key]).all()):
            raise AnatomarkError(f"{path}: {key} holds NaN or infinity; download the file again")


def load_torchvision(net: nn.Module, path: Path, *, stem: str, head: str, network: str) -> None:
    """Loads torchvision's weights, such as those learnt from ImageNet, into a network without its classifier.

    Into a 1-channel network goes the **mean** of the published stem's three kernels. A grey frame then has a third of
    the response that the published network gives to the same frame copied into three channels, where the kernels add
    up; the batch norm behind the stem makes up for it as soon as it is trained, but its published running statistics
    are of the sum.

    Args:
        net: network with torchvision's keys.
        path: ``.pth`` with torchvision's state dict.
        stem: key of the first convolution's kernels.
        head: what the keys of the published classifier begin with; they are ignored.
        network: its name, for messages.

    Raises:
        AnatomarkError: the file is damaged, lacks a weight, has one too many, or one of another shape.
    """
    require(path, f"torchvision's weights of a {network}, .pth")
    published = {key: value for key, value in read_state_dict(path).items() if not key.startswith(head)}
    own = own_weights(net)
    kernels = published.get(stem)
    if kernels is not None and kernels.ndim == 4 and kernels.shape[1] == 3 and own[stem].shape[1] == 1:
        published[stem] = kernels.mean(1, keepdim=True)
    check_state(published, own, known=own, network=network, path=path)
    net.load_state_dict({key: published[key] for key in own}, strict=False)
