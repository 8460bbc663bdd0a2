"""All 3,916 pairs of 89 frames by their landmarks, beside elastix per pair; prints both and the ratio.

The frames are one random texture under random similarities, so the errors of both are known to be near zero.

Run: ``python benchmarks/registration_pairs.py``
"""

import math
import time
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from anatomark.evaluators.pair_errors import FrameStack, all_pairs, pair_errors, salient_transforms
from anatomark.geometry.similarity import apply_transform, compose, flip_matrix
from anatomark.geometry.warp import centred_similarity, warp
from anatomark.registration.elastix import ElastixSimilarity

FRAMES = 89
SIZE = (224, 288)
ATLAS = torch.tensor([[110.0, 112.0], [180.0, 120.0], [144.0, 111.5]], dtype=torch.float64)
"""Two landmarks and the HC centre in the unmoved frame, px."""
HC_AXIS = 180.0
REPEATS = 50
ELASTIX_PAIRS = 5


def texture() -> Tensor:
    """A blob with structure at two scales that fades towards the border, in [0, 1]."""
    rng = torch.Generator().manual_seed(0)
    image = torch.zeros(1, 1, *SIZE)
    for cells, weight in ((8, 1.0), (20, 0.6)):
        noise = torch.randn(1, 1, cells, cells, generator=rng)
        image += weight * F.interpolate(noise, size=SIZE, mode="bicubic", align_corners=False)
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in SIZE), indexing="ij")
    image = image * torch.exp(-3 * (x**2 + y**2))
    return (image - image.min()) / (image.max() - image.min())


def poses() -> tuple[Tensor, Tensor]:
    """Maps of the unmoved frame to every frame, every second one mirrored, and their scales."""
    rng = torch.Generator().manual_seed(1)
    angle, scale = torch.rand(2, FRAMES, generator=rng, dtype=torch.float64)
    angle, scale = (angle - 0.5) * math.radians(20), 0.9 + 0.2 * scale
    maps = [centred_similarity(SIZE, angle=float(a), scale=float(s)) for a, s in zip(angle, scale, strict=True)]
    return torch.stack([compose(m, flip_matrix(SIZE[1])) if i % 2 else m for i, m in enumerate(maps)]), scale


def stack_of(maps: Tensor, scale: Tensor) -> FrameStack:
    truth = apply_transform(maps, ATLAS)
    return FrameStack(
        truth=truth,
        landmarks=truth[:, :2],
        hc_axis=HC_AXIS * scale,
        width=torch.full((FRAMES,), float(SIZE[1]), dtype=torch.float64),
        mirror=flip_matrix(SIZE[1]).expand(FRAMES, 2, 3),
    )


def time_ours(stack: FrameStack, pairs: Tensor) -> tuple[float, Tensor]:
    """Seconds of the fastest of several runs over all pairs, and their errors."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        errors = pair_errors(salient_transforms(stack, pairs), stack, pairs)
        times.append(time.perf_counter() - start)
    return min(times), errors


def time_elastix(stack: FrameStack, maps: Tensor) -> tuple[float, Tensor]:
    """Seconds per pair of equally oriented frames, and their errors."""
    engine = ElastixSimilarity()
    chosen = range(0, 2 * ELASTIX_PAIRS + 2, 2)
    images = warp(texture().expand(len(chosen), 1, *SIZE), maps[list(chosen)], size=SIZE)[:, 0]
    engine(images[0], images[1])  # loads ITK
    found = []
    start = time.perf_counter()
    for source, target in pairwise(images):
        matrix = engine(source, target)
        if matrix is None:
            raise SystemExit("elastix found no map for a pair of textures")
        found.append(matrix)
    seconds = (time.perf_counter() - start) / ELASTIX_PAIRS
    pairs = torch.tensor([list(chosen)[:-1], list(chosen)[1:]])
    return seconds, pair_errors(torch.stack(found), stack, pairs)


def main() -> None:
    torch.set_num_threads(1)
    maps, scale = poses()
    stack, pairs = stack_of(maps, scale), all_pairs(FRAMES)
    ours, our_errors = time_ours(stack, pairs)
    peer, peer_errors = time_elastix(stack, maps)
    n = pairs.shape[1]
    print(
        f"registration, {n} pairs of {FRAMES} frames, 1 thread: anatomark {ours * 1e3:.2f} ms for all"
        f" transforms and errors (largest error {float(our_errors.max()):.1e} % of HC)"
    )
    print(
        f"elastix {peer:.3f} s per pair, mean of {ELASTIX_PAIRS} (largest error"
        f" {float(peer_errors.max()):.2f} % of HC), {peer * n / 60:.1f} min for all pairs;"
        f" ratio {peer * n / ours:.2g}"
    )


if __name__ == "__main__":
    main()
