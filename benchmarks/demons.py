"""Diffeomorphic demons in a pyramid against SimpleITK's filter at a single level: time and what is left to register.

    python benchmarks/demons.py

Two patches of 128^3 voxels: smooth blobs, and the same carried by a known smooth displacement of up to 6 voxels. Both
sides get the iterations of the pyramid's levels together, and one thread. The residual is the mean squared difference
after warping, relative to that before; the error is the distance of the found displacement from the true one, voxels,
where there is something to see.
"""

from time import perf_counter

import numpy as np
import SimpleITK
from scipy.ndimage import gaussian_filter, map_coordinates

from anatomark.registration.demons import DiffeomorphicDemons

SIDE, LARGEST = 128, 6.0
ITERATIONS = (60, 40, 20)


def make_pair() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reference, target and displacement: the reference at p looks like the target at p + displacement(p)."""
    draw = np.random.default_rng(0)
    target = gaussian_filter(draw.standard_normal((SIDE,) * 3), 4.0)
    field = np.stack([gaussian_filter(draw.standard_normal((SIDE,) * 3), 16.0) for _ in range(3)])
    field *= LARGEST / np.linalg.norm(field, axis=0).max()
    reference = map_coordinates(target, np.indices(target.shape) + field, order=1, mode="nearest")
    return reference / target.std(), target / target.std(), field


def single_level(reference: SimpleITK.Image, target: SimpleITK.Image) -> SimpleITK.Image:
    """SimpleITK's filter at full resolution."""
    demons = SimpleITK.DiffeomorphicDemonsRegistrationFilter()
    demons.SetNumberOfThreads(1)
    demons.SetNumberOfIterations(sum(ITERATIONS))
    demons.SetSmoothDisplacementField(True)
    demons.SetStandardDeviations(1.0)
    demons.SetMaximumRMSError(0.0)
    return demons.Execute(reference, target)


def pyramid(reference: SimpleITK.Image, target: SimpleITK.Image, shrink: tuple[int, ...]) -> SimpleITK.Image:
    """Ours."""
    demons = DiffeomorphicDemons(
        shrink=shrink, iterations=ITERATIONS[: len(shrink)], field_sigma=1.0, histogram_matching=False
    )
    return demons(reference, target).field


def describe(
    name: str, found: SimpleITK.Image, seconds: float, pair: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    reference, target, truth = pair
    field = SimpleITK.GetArrayFromImage(found).transpose(3, 0, 1, 2)[::-1]  # (x, y, z) to (k, j, i)
    warped = map_coordinates(target, np.indices(target.shape) + field, order=1, mode="nearest")
    inner = (slice(16, -16),) * 3
    residual = ((warped - reference)[inner] ** 2).mean() / ((target - reference)[inner] ** 2).mean()
    error = np.linalg.norm(field - truth, axis=0)[inner].mean()
    print(f"{name:34s} {seconds:6.1f} s, residual {residual:.4f}, error {error:.2f} voxels")


def main() -> None:
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    pair = make_pair()
    reference, target = (SimpleITK.GetImageFromArray(array.astype(np.float32)) for array in pair[:2])
    runs = {
        "anatomark, shrink 4, 2, 1": lambda: pyramid(reference, target, (4, 2, 1)),
        "anatomark, shrink 4, 2": lambda: pyramid(reference, target, (4, 2)),
        "SimpleITK, one level": lambda: single_level(reference, target),
    }
    seconds = {}
    for name, run in runs.items():
        start = perf_counter()
        found = run()
        seconds[name] = perf_counter() - start
        describe(name, found, seconds[name], pair)
    first, second, peer = seconds.values()
    print(f"faster than one level: {peer / first:.1f} x to full resolution, {peer / second:.1f} x to half")


if __name__ == "__main__":
    main()
