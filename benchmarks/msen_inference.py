"""Inference of M-SEN, frame by frame, beside the same network without its attention branch.

    python benchmarks/msen_inference.py

One 240 x 240 px frame at a time, SonoNet-16 width, attention stride 16, two CPU threads, single precision. Both give
class scores; only M-SEN gives an attention map. Batch norms are folded into the convolutions before them, as
``predict.py`` does; the last line is of M-SEN as it was trained.
"""

from copy import deepcopy
from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn

from anatomark.inference.folding import fold_batch_norms
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
    """Prints frames per second of all three, measured in turn, and the ratio of the first two."""
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    trained = Generator(trunk=SonoNetTrunk(n_blocks=3)).eval()
    msen = deepcopy(trained)
    fold_batch_norms(msen)
    nets = (msen, WithoutAttention(msen).eval(), trained)
    frames = torch.randn(FRAMES, 1, SIDE, SIDE)
    for net in nets:
        seconds_per_frame(net, frames[:3])
    times = [[seconds_per_frame(net, frames) for net in nets] for _ in range(ROUNDS)]
    whole, without, unfolded = (1 / median(column) for column in zip(*times, strict=True))
    print(f"M-SEN                    {whole:6.1f} frames/s (target {TARGET:.0f})")
    print(f"without attention branch {without:6.1f} frames/s")
    print(f"ratio                    {whole / without:6.2f}")
    print(f"batch norms not folded   {unfolded:6.1f} frames/s")


if __name__ == "__main__":
    main()
