"""The frames on which an exported graph is compared with its model: the run's test frames, or random ones."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from omegaconf import DictConfig
from torch import Tensor
from torch.nn.functional import interpolate

from anatomark.data.datamodules import FrameDataModule, collate
from anatomark.data.transforms import MinMax, Standardise
from anatomark.instantiation import instantiate
from anatomark.types import AnatomarkError, Sample

log = logging.getLogger(__name__)

N_FRAMES = 8
_SEED, _BLOBS = 0, 8


class ParityFrames(NamedTuple):
    """Frames as the model sees them.

    Attributes:
        images: the frames.
        origin: what they are, such as "test".
    """

    images: Float[Tensor, "b c h w"]
    origin: str


def read_parity_frames(data: DictConfig) -> ParityFrames:
    """Some of a run's test frames; random ones where its data set is not there, such as on another computer.

    A phantom that has not been written counts as not there, as writing it may take hours.

    Args:
        data: the run's data set.

    Raises:
        AnatomarkError: the data set cannot be read, or it is not there and its transform says no size.
    """
    root = Path(data.root)
    if root.is_dir() and any(root.iterdir()):
        datamodule: FrameDataModule = instantiate(data)
        # Only phantoms can be of other parameters than their folder.
        if getattr(datamodule.source, "is_current", lambda: True)():
            return ParityFrames(_spread_frames(datamodule), "test")
    frames = _random_frames(data)
    log.warning("%s does not hold the run's data (data.root=): the graph is checked on random frames instead", root)
    return ParityFrames(frames, "random")


def _spread_frames(datamodule: FrameDataModule) -> Float[Tensor, "b c h w"]:
    """Test frames, spread evenly over all of them."""
    datamodule.setup()
    dataset = datamodule.evaluation_dataset(["test"])
    spread = torch.linspace(0, len(dataset) - 1, min(N_FRAMES, len(dataset))).round().int().tolist()
    return collate([dataset[index] for index in spread])["image"]


def _random_frames(data: DictConfig) -> Float[Tensor, "b 1 h w"]:
    """Bright and dark blobs under some noise, of the size and range of the run's frames; always the same."""
    steps = list(_steps(instantiate(data.eval_transform)))
    sizes = [step.size for step in steps if hasattr(step, "size")]
    if not sizes:
        raise AnatomarkError(
            f"{data.root} does not hold the run's data, and no step of data.eval_transform says the size of its frames;"
            " give the folder by data.root="
        )
    draw = torch.Generator().manual_seed(_SEED)
    blobs = interpolate(torch.rand(N_FRAMES, 1, _BLOBS, _BLOBS, generator=draw), size=sizes[-1], mode="bilinear")
    images = 0.9 * blobs + 0.1 * torch.rand(blobs.shape, generator=draw)
    for step in steps:
        if isinstance(step, Standardise | MinMax):
            samples: list[Sample] = [
                {"key": "", "subject": "", "image": image, "spacing_mm": torch.ones(2)} for image in images
            ]
            images = torch.stack([step(sample)["image"] for sample in samples])
    return images


def _steps(transform: object) -> Iterator[object]:
    """The steps of a transform, at any depth."""
    if not hasattr(transform, "steps"):
        yield transform
    for step in getattr(transform, "steps", ()):
        yield from _steps(step)
