"""Inference of M-SEN, frame by frame, beside the same network without its attention branch.

    python benchmarks/msen_inference.py

One 240 x 240 px frame at a time, SonoNet-16 width, attention stride 16, two CPU threads, evaluation mode. Both give
class scores; only M-SEN gives an attention map. Nothing is fused: these are the networks as ``evaluate.py`` runs them.
"""

from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn

from anatomark.nets.msen import Generator
from anatomark.nets.sononet import SonoNetTrunk

SIDE, THREADS, FRAMES, ROUNDS = 240, 2, 20, 5
TARGET = 40.0
"""Frames per second the project asks of M-SEN."""


class WithoutAttention(nn.Module):
    """A generator's trunk and classification branch; every cell weighs the same."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.cells = generator.cells
        self.classification = generator.classification

    def forward(self, image: Tensor) -> Tensor:
        cells = self.cells(image)
        return self.classification(cells, torch.ones_like(cells[:, 0]))


def seconds_per_frame(net: nn.Module, frames: Tensor) -> float:
    """Mean over single frames."""
    start = perf_counter()
    for frame in frames:
        net(frame[None])
    return (perf_counter() - start) / len(frames)


@torch.inference_mode()
def main() -> None:
    """Prints frames per second of both, measured in turn, and their ratio."""
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    msen = Generator(trunk=SonoNetTrunk(n_blocks=3)).eval()
    plain = WithoutAttention(msen).eval()
    frames = torch.randn(FRAMES, 1, SIDE, SIDE)
    for net in (msen, plain):
        seconds_per_frame(net, frames[:3])
    times = [(seconds_per_frame(msen, frames), seconds_per_frame(plain, frames)) for _ in range(ROUNDS)]
    whole, without = (1 / median(column) for column in zip(*times, strict=True))
    print(f"M-SEN                    {whole:6.1f} frames/s (target {TARGET:.0f})")
    print(f"without attention branch {without:6.1f} frames/s")
    print(f"ratio                    {whole / without:6.2f}")


if __name__ == "__main__":
    main()
