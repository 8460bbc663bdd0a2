"""Subjects of the temporal-bone phantom: how their points map to those of the one anatomy that is drawn."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from anatomark.phantoms.temporal_bone_shapes import Points, Values
from anatomark.types import AnatomarkError

N_WAVES = 6
WAVELENGTHS_MM = (30.0, 60.0)
STEEPEST = 0.8
"""Largest slope of a displacement, below 1, so that it never folds and that fixed-point iteration inverts it."""
MOST_MM = STEEPEST / (N_WAVES * np.sqrt(2 / N_WAVES) * 2 * np.pi / WAVELENGTHS_MM[0])
"""Root mean square length of the displacements at which the slope can reach :data:`STEEPEST`."""

CLOSE_MM = 1e-10
MOST_ROUNDS = 300


@dataclass(frozen=True, kw_only=True, eq=False)
class Waves:
    """A smooth random vector field: a sum of plane sine waves.

    Attributes:
        amplitudes: vector of each wave.
        frequencies: wave vectors, radians per mm.
        phases: radians.
    """

    amplitudes: Float[np.ndarray, "w d"]
    frequencies: Float[np.ndarray, "w 3"]
    phases: Float[np.ndarray, "w"]

    @classmethod
    def draw(
        cls, rng: np.random.Generator, *, count: int, wavelengths_mm: tuple[float, float], rms: float, components: int
    ) -> "Waves":
        """Waves of equal amplitude in random directions.

        Args:
            rng: draws them.
            count: number of waves.
            wavelengths_mm: shortest and longest.
            rms: root mean square length of the field over all space.
            components: dimensions of its vectors.
        """
        amplitudes = rng.standard_normal((count, components))
        amplitudes *= rms * np.sqrt(2 / count) / np.linalg.norm(amplitudes, axis=1, keepdims=True)
        frequencies = rng.standard_normal((count, 3))
        lengths = rng.uniform(*wavelengths_mm, size=(count, 1))
        frequencies *= 2 * np.pi / lengths / np.linalg.norm(frequencies, axis=1, keepdims=True)
        return cls(amplitudes=amplitudes, frequencies=frequencies, phases=rng.uniform(0, 2 * np.pi, count))

    def at(self, points: Points) -> Float[np.ndarray, "n d"]:
        """The field at points, mm."""
        return np.asarray(np.sin(points @ self.frequencies.T + self.phases) @ self.amplitudes)

    def gradient(self, points: Points) -> Float[np.ndarray, "n d 3"]:
        """Derivatives of the field's components (d) along x, y and z."""
        slope = np.cos(points @ self.frequencies.T + self.phases)
        return np.asarray(np.einsum("nw,wd,wx->ndx", slope, self.amplitudes, self.frequencies))


@dataclass(frozen=True, kw_only=True, eq=False)
class Deformation:
    """The map from a subject's LPS mm to the drawn anatomy: motion, size and smooth displacement undone.

    A subject's point p is drawn as ``q + u(q) - u(0)`` with ``q = R^T (p - centre) / scale``, so that the anatomy's
    origin, the cochlea's centre, always lies at ``centre``.

    Attributes:
        centre_mm: where the origin lies in the subject, LPS mm.
        rotation: how the subject's head is turned.
        scale: its size.
        waves: the displacement u, mm.
    """

    centre_mm: Float[np.ndarray, "3"]
    rotation: Float[np.ndarray, "3 3"]
    scale: float
    waves: Waves

    @classmethod
    def draw(cls, rng: np.random.Generator, *, size_variation: float, deformation_mm: float) -> "Deformation":
        """The shape of a subject, neither moved nor turned.

        Args:
            rng: draws it.
            size_variation: largest relative difference of size.
            deformation_mm: root mean square length of the displacement, mm; below :data:`MOST_MM`.
        """
        return cls(
            centre_mm=np.zeros(3),
            rotation=np.eye(3),
            scale=1 + size_variation * rng.uniform(-1, 1),
            waves=Waves.draw(rng, count=N_WAVES, wavelengths_mm=WAVELENGTHS_MM, rms=deformation_mm, components=3),
        )

    def turned(self, rng: np.random.Generator, rotation_deg: float) -> "Deformation":
        """Turned about x, y and z, in this order, by angles drawn from -``rotation_deg`` to ``rotation_deg``."""
        angles = rotation_deg * rng.uniform(-1, 1, 3)
        return replace(self, rotation=Rotation.from_euler("xyz", angles, degrees=True).as_matrix())

    def at(self, centre_mm: Float[np.ndarray, "3"]) -> "Deformation":
        """Moved to another place."""
        return replace(self, centre_mm=centre_mm)

    def to_anatomy(self, points_mm: Points) -> Points:
        """Points of the subject, LPS mm, as points of the drawn anatomy, mm."""
        unmoved = (points_mm - self.centre_mm) @ self.rotation / self.scale
        return np.asarray(unmoved + self._displacement(unmoved))

    def to_subject(self, points: Points) -> Points:
        """Points of the drawn anatomy as those of the subject, LPS mm, to 1e-9 mm.

        Raises:
            AnatomarkError: the displacement is too steep to be inverted.
        """
        unmoved = points
        for _ in range(MOST_ROUNDS):
            before, unmoved = unmoved, points - self._displacement(unmoved)
            if np.abs(unmoved - before).max() < CLOSE_MM:
                return np.asarray(self.scale * unmoved @ self.rotation.T + self.centre_mm)
        raise AnatomarkError(
            f"the displacement of a subject cannot be inverted; keep deformation_mm below {MOST_MM:.2f}"
        )

    def jacobian_determinant(self, points_mm: Points) -> Values:
        """Determinant of the derivative of :meth:`to_anatomy`; positive everywhere, as nothing folds."""
        unmoved = (points_mm - self.centre_mm) @ self.rotation / self.scale
        return np.asarray(np.linalg.det(np.eye(3) + self.waves.gradient(unmoved)) / self.scale**3)

    def _displacement(self, unmoved: Points) -> Points:
        return np.asarray(self.waves.at(unmoved) - self.waves.at(np.zeros((1, 3))))
