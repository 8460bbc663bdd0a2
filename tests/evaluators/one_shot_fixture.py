"""A reference of Gaussian blobs and targets made of it by a known similarity and smooth deformation."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from anatomark.evaluators.one_shot import OneShotEvaluator
from anatomark.evaluators.one_shot_patches import PatchRules
from anatomark.geometry.volumes import Volume, VolumeGeometry
from anatomark.registration.demons import DiffeomorphicDemons
from anatomark.registration.volumes import VolumeRegistration
from anatomark.volume_types import VolumePrediction, VolumeSample

SPACING_MM = 0.75
CENTRE = np.array([3.0, -20.0, 11.0])
NAMES = ("apex", "base", "window", "top", "spiral", "crest")
SEED = 4
RULES = PatchRules(spacing_mm=SPACING_MM, margin_mm=2.0, region_margin_mm=0.5, weight_fade_mm=1.0)


def blobs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres around the origin, mm, and heights of 30 Gaussians."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(30, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * 4.0 * rng.uniform(size=(30, 1)) ** (1 / 3), rng.choice([-0.4, 0.5], size=30)


def intensity(points: np.ndarray, seed: int = SEED) -> np.ndarray:
    """Of points relative to the reference's centre, mm: a faint ball with lighter and darker blobs."""
    centres, heights = blobs(seed)
    value = 0.1 / (1 + np.exp(2 * (np.linalg.norm(points, axis=-1) - 4.5)))
    for centre, height in zip(centres, heights, strict=True):
        value = value + height * np.exp(-((points - centre) ** 2).sum(-1) / (2 * 0.9**2))
    return 0.3 + 0.5 * value


def displacement(points: np.ndarray) -> np.ndarray:
    """A smooth bend of up to about 0.7 mm."""
    x, y, z = np.moveaxis(points, -1, 0)
    return 0.5 * np.stack([np.sin(0.7 * y), np.sin(0.7 * z + 1), np.sin(0.7 * x + 2)], axis=-1)


def landmarks() -> np.ndarray:
    return np.random.default_rng(1).uniform(-2.5, 2.5, (len(NAMES), 3))


@dataclass(frozen=True)
class Motion:
    """Reference to target, both relative to their own origins: ``centre + scale * rotation @ u`` where p = u + d(u)."""

    rotation: np.ndarray
    scale: float
    centre: np.ndarray

    def carry(self, points: np.ndarray) -> np.ndarray:
        """Points relative to the reference's centre -> LPS mm of the target."""
        u = points
        for _ in range(100):
            u = points - displacement(u)
        return self.centre + self.scale * u @ self.rotation.T

    def back(self, points: np.ndarray) -> np.ndarray:
        u = (points - self.centre) @ self.rotation / self.scale
        return u + displacement(u)


MOTION = Motion(Rotation.from_rotvec([0.5, -0.7, 0.6]).as_matrix(), 1.06, np.array([-30.0, 42.0, 7.0]))


def grid(middle: np.ndarray, *, turn: tuple[float, ...] = (0, 0, 0), side: int = 26) -> VolumeGeometry:
    direction = Rotation.from_rotvec(turn).as_matrix()
    origin = middle - direction @ np.full(3, (side - 1) / 2 * SPACING_MM)
    rows = tuple(tuple(row) for row in direction.tolist())
    return VolumeGeometry(
        spacing_mm=(SPACING_MM,) * 3, origin_mm=tuple(origin.tolist()), direction=rows, size=(side,) * 3
    )


def places(geometry: VolumeGeometry) -> np.ndarray:
    """LPS mm of all voxels, (k j i 3)."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.size[::-1]), indexing="ij")
    return geometry.to_mm(torch.tensor(np.stack([i, j, k], axis=-1), dtype=torch.float64)).numpy()


def named(points: np.ndarray) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(point.copy()) for name, point in zip(NAMES, points, strict=True)}


def sample(key: str, split: str, values: np.ndarray, geometry: VolumeGeometry) -> VolumeSample:
    volume = Volume(voxels=torch.from_numpy(values).float(), geometry=geometry)
    return {"key": key, "subject": key, "volume": volume, "original": volume, "split": split}


def reference() -> VolumeSample:
    geometry = grid(CENTRE, turn=(0.2, 0.1, -0.3))
    inside = places(geometry) - CENTRE
    mask = torch.from_numpy(np.linalg.norm(inside, axis=-1) <= 4.5).float()
    return {
        **sample("ref", "train", intensity(inside), geometry),
        "mask": Volume(voxels=mask, geometry=geometry),
        "landmarks": named(CENTRE + landmarks()),
    }


def target(
    key: str, *, seed: int = SEED, motion: Motion = MOTION, offset: tuple[float, ...] = (2, -2, 1)
) -> VolumeSample:
    """A volume of the moved structure, which lies ``offset`` mm from its middle, with noise."""
    geometry = grid(motion.centre - np.array(offset), turn=(-0.2, 0.3, 0.1))
    values = intensity(motion.back(places(geometry)), seed)
    noise = np.random.default_rng(len(key)).normal(0, 0.01, values.shape)
    return {**sample(key, "test", values + noise, geometry), "landmarks": named(motion.carry(landmarks()))}


def prediction(key: str, *, motion: Motion = MOTION, turn_deg: float = 5.0, mass: float = 380.0) -> VolumePrediction:
    """A pose that is wrong by an angle and 0.5 mm."""
    rotation = Rotation.from_rotvec(np.radians(turn_deg) * np.array([0.6, 0.8, 0.0])).as_matrix() @ motion.rotation
    last = motion.centre + np.array([0.3, 0.4, 0.0])
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, last - rotation @ CENTRE
    steps = np.array([[4.0, -3.0, 2.0], [1.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
    return {
        "key": key,
        "found": torch.tensor(True),
        "centres_mm": torch.from_numpy(last + steps),
        "masses_mm3": torch.tensor([200.0, mass]),
        "seconds": {stage: torch.tensor(1.5) for stage in ("start", "localisation", "inertia")},
        "pose": torch.from_numpy(pose),
        "ambiguous": torch.tensor(False),
    }


def lost(key: str) -> VolumePrediction:
    return {
        "key": key,
        "found": torch.tensor(False),
        "centres_mm": torch.zeros(1, 3, dtype=torch.float64),
        "masses_mm3": torch.zeros(1),
        "seconds": {"start": torch.tensor(1.0)},
    }


def evaluator(**changes: object) -> OneShotEvaluator:
    options: dict[str, object] = {
        "registration": VolumeRegistration(
            transform="similarity", metric="correlation", shrink=(2, 1), sigmas_mm=(0.75, 0.0), iterations=40
        ),
        "demons": DiffeomorphicDemons(shrink=(2, 1), iterations=(20, 10)),
        "spacing_mm": SPACING_MM,
        "naive": False,
        "n_examples": 1,
    }
    return OneShotEvaluator(**{**options, **changes})
