"""Synthetic streams of known truth: heads in random poses, Gaussian maps, one-hot features."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from anatomark.evaluators.discovery import LandmarkDiscovery
from anatomark.types import Ellipse, Prediction, Sample

STRIDE, ROWS, COLUMNS = 8, 28, 36
HEIGHT, WIDTH = ROWS * STRIDE, COLUMNS * STRIDE
CENTRES = {"csp": complex(-42, 6), "lv": complex(40, -14), "cerebellum": complex(44, 20)}
SEMI_AXES = (85.0, 66.0)
AXIS_OF = {"csp": 0, "lv": 1, "cerebellum": 2, "clutter": 3}
N_FEATURES = 6

Blob = tuple[complex, float, Sequence[float]]


def feature(name: str) -> list[float]:
    """A one-hot feature vector per structure."""
    return [float(i == AXIS_OF[name]) for i in range(N_FEATURES)]


class Head:
    """A head in a random pose: ``place`` maps head coordinates (complex px) to image coordinates."""

    def __init__(self, rng: np.random.Generator, *, flip: bool | None = None) -> None:
        self.scale = rng.uniform(0.75, 1.0)
        self.angle = rng.uniform(-0.3, 0.3)
        self.centre = complex(WIDTH / 2 + rng.uniform(-20, 20), HEIGHT / 2 + rng.uniform(-12, 12))
        self.flip = bool(rng.random() < 0.5) if flip is None else flip

    def place(self, z: complex) -> complex:
        turned = self.scale * (math.cos(self.angle) + 1j * math.sin(self.angle)) * z
        return self.centre + (-turned.conjugate() if self.flip else turned)

    def ellipse(self) -> Ellipse:
        angle = -self.angle if self.flip else self.angle
        return Ellipse(centre=xy(self.centre), semi_axes=self.scale * torch.tensor(SEMI_AXES), angle=angle)


def xy(z: complex) -> torch.Tensor:
    return torch.tensor([z.real, z.imag])


def make_prediction(
    key: str, blobs: Sequence[Blob], rng: np.random.Generator, *, run: str | None = None, jitter: float = 0.02
) -> Prediction:
    """A map of Gaussians (position, height, features); each cell has the features of the strongest one."""
    x, y = np.meshgrid(*((np.arange(n) + 0.5) * STRIDE - 0.5 for n in (COLUMNS, ROWS)))
    shape = [h * np.exp(-(abs(x + 1j * y - z) ** 2) / (2 * 11.0**2)) for z, h, _ in blobs]
    strength = np.stack(shape) if blobs else np.zeros((1, ROWS, COLUMNS))
    vectors = np.array([f for _, _, f in blobs] or [[0.0] * N_FEATURES])
    features = vectors[strength.argmax(axis=0)].transpose(2, 0, 1)
    noise = rng.normal(scale=jitter, size=features.shape)
    prediction = Prediction(
        key=key,
        maps=torch.from_numpy(strength.max(axis=0)).float()[None],
        map_stride=STRIDE,
        features=torch.from_numpy(features + noise).float(),
    )
    if run is not None:
        prediction["run"] = run
    return prediction


def make_sample(
    key: str,
    centres: Mapping[str, complex],
    *,
    ellipse: Ellipse | None,
    plane: str | None = "TV",
    split: str | None = None,
    image: torch.Tensor | None = None,
) -> Sample:
    sample = Sample(
        key=key,
        subject=f"subject of {key}",
        image=torch.zeros(1, HEIGHT, WIDTH) if image is None else image,
        spacing_mm=torch.tensor([0.2, 0.2]),
        points={name: xy(z) for name, z in centres.items()},
    )
    if ellipse is not None:
        sample["ellipse"] = ellipse
    if plane is not None:
        sample["plane"] = plane
    if split is not None:
        sample["split"] = split
    return sample


def make_stream(
    n: int,
    *,
    seed: int = 0,
    names: Sequence[str] = ("csp", "lv"),
    plane: str = "TV",
    run: str | None = None,
    split: str | None = None,
    prefix: str = "f",
    permutation: Sequence[int] | None = None,
) -> list[tuple[Sample, Prediction]]:
    """Complete frames whose landmarks lie exactly on their annotated structures."""
    rng = np.random.default_rng(seed)
    stream = []
    for index in range(n):
        head, key = Head(rng), f"{prefix}{index:03d}"
        centres = {name: head.place(CENTRES[name]) for name in names}
        blobs = [(centres[name], rng.uniform(0.6, 1), feature(name)) for name in names]
        prediction = make_prediction(key, blobs, rng, run=run)
        if permutation is not None:
            prediction["features"] = prediction["features"][list(permutation)]
        sample = make_sample(key, centres, ellipse=head.ellipse(), plane=plane, split=split)
        stream.append((sample, prediction))
    return stream


def discovery(**options: object) -> LandmarkDiscovery:
    """A discovery with few restarts, which one-hot features do not need."""
    defaults: dict[str, object] = {"structures": {"TV": ["csp", "lv"]}, "n_init": 2, "k_range": (2, 4)}
    return LandmarkDiscovery(**(defaults | options))  # type: ignore[arg-type]
