"""The network stage of one-shot localisation: batches of slices against slice-by-slice calls.

    python benchmarks/online_stage.py

One round of the search: a patch of 50^3 voxels is cut at a pose, the U-Net of the robust recipe (width 32, random
weights) sees its 150 slices along three axes, and their product is taken. Two CPU threads, float32 and bfloat16.
"""

import torch
from torch import Tensor

from anatomark.geometry.inertia import joint_probability
from anatomark.geometry.oblique import map_slices, sample_patch
from anatomark.geometry.poses import uniform_rotations
from anatomark.nets.unet import ShallowUNet
from timing import best_seconds

SHAPE, SIDE, WIDTH, BATCH = (90, 96, 96), 50, 32, 32
REPEATS = 3


def main() -> None:
    torch.set_num_threads(2)
    generator = torch.Generator().manual_seed(0)
    volume = torch.rand(SHAPE, generator=generator)
    centre = torch.tensor([47.0, 46.0, 45.0], dtype=torch.float64)
    rotation = uniform_rotations(1, generator=generator)[0]
    torch.manual_seed(0)
    net = ShallowUNet(width=WIDTH).eval()

    def segment(slices: Tensor) -> Tensor:
        return net(slices[:, None])[:, 0].float().sigmoid()

    def one_round(batch_size: int) -> Tensor:
        patch = sample_patch(volume, centre, rotation, size=(SIDE,) * 3, outside=0.0)
        return joint_probability(map_slices(segment, patch, batch_size=batch_size))

    def by_slices() -> Tensor:
        patch = sample_patch(volume, centre, rotation, size=(SIDE,) * 3, outside=0.0)
        seen = [torch.stack([segment(one[None])[0] for one in patch.unbind(axis)], dim=axis) for axis in range(3)]
        return joint_probability(torch.stack(seen))

    with torch.inference_mode():
        cut = best_seconds(
            lambda: sample_patch(volume, centre, rotation, size=(SIDE,) * 3, outside=0.0), repeats=REPEATS
        )
        print(f"cutting the patch             {1000 * cut:7.1f} ms")
        for name, half in (("float32", False), ("bfloat16", True)):
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                own = best_seconds(lambda: one_round(BATCH), repeats=REPEATS)
                peer = best_seconds(by_slices, repeats=REPEATS)
            print(f"{name}: batches of {BATCH} {1000 * own:9.1f} ms per round; slice by slice {1000 * peer:9.1f} ms,")
            print(f"    {peer / own:.2f} x")
        difference = (one_round(BATCH) - by_slices()).abs().max()
    print(f"largest difference {float(difference):.1e}")


if __name__ == "__main__":
    main()
