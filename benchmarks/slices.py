"""Oblique slices of image and mask: one sampling of a batch against SimpleITK's resampling, pose by pose.

    python benchmarks/slices.py

32 slices of 100 x 100 voxels, each of its own pose, out of a volume of 256 x 256 x 160 voxels, with trilinear
interpolation on one CPU thread. The paper resamples the volume for every pose and trains on its slices (algorithm 1):
the first peer resamples the patch of 100^3 voxels around the slice. The second one asks SimpleITK for nothing but the
slice. The last line is a whole patch, all of whose slices are used. With a GPU, the first line is measured there too.
"""

import numpy as np
import SimpleITK
import torch
from torch import Tensor

from anatomark.geometry.oblique import sample_patch, sample_slices
from anatomark.geometry.poses import Poses, draw_poses
from timing import best_seconds

SHAPE, SIDE, N_SLICES = (160, 256, 256), 100, 32
CENTRE = torch.tensor([127.5, 127.5, 79.5], dtype=torch.float64)
N_PATCHES = 2  # poses for which whole patches are resampled; all cost the same
REPEATS = 5


def make_volume() -> Tensor:
    """Smooth noise and a mask of it, ``(2 k j i)``."""
    noise = torch.rand(1, 1, *(side // 8 for side in SHAPE), generator=torch.Generator().manual_seed(0))
    image = torch.nn.functional.interpolate(noise, size=SHAPE, mode="trilinear")[0, 0]
    return torch.stack([image, (image > 0.6).float()])


def with_simpleitk(
    image: SimpleITK.Image, centre: Tensor, rotation: Tensor, size: tuple[int, int, int]
) -> SimpleITK.Image:
    """A patch of ``size`` (i, j, k) voxels around a pose."""
    transform = SimpleITK.AffineTransform(3)
    transform.SetMatrix(rotation.flatten().tolist())
    transform.SetTranslation(centre.tolist())
    resample = SimpleITK.ResampleImageFilter()
    resample.SetTransform(transform)
    resample.SetInterpolator(SimpleITK.sitkLinear)
    resample.SetSize(size)
    resample.SetOutputOrigin([-(n - 1) / 2 for n in size])
    return resample.Execute(image)


def resample_all(images: list[SimpleITK.Image], poses: Poses, depth: int, n: int) -> np.ndarray:
    """Image and mask of ``depth`` slices around the first ``n`` poses, ``(n 2 depth h w)``."""
    size = (SIDE, SIDE, depth)
    pairs = zip(poses.centres[:n], poses.rotations[:n], strict=True)
    parts = [[with_simpleitk(image, *pose, size) for image in images] for pose in pairs]
    return np.stack([np.stack([SimpleITK.GetArrayFromImage(image) for image in part]) for part in parts])


def ours(volume: Tensor, poses: Poses) -> Tensor:
    """The batch at once."""
    return sample_slices(volume, *poses, axis=0, offsets=torch.zeros(N_SLICES), size=(SIDE, SIDE), outside=0.0)


def on_gpu(volume: Tensor, poses: Poses) -> float:
    """Seconds of a batch on the GPU, the volume lying there."""
    resident = volume.cuda()

    def call() -> None:
        ours(resident, poses)
        torch.cuda.synchronize()

    return best_seconds(call, repeats=REPEATS)


def main() -> None:
    torch.set_num_threads(1)
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    volume = make_volume()
    images = [SimpleITK.GetImageFromArray(channel.numpy()) for channel in volume]
    poses = draw_poses(N_SLICES, centre=CENTRE, rotation="full", generator=torch.Generator().manual_seed(1))

    own = best_seconds(lambda: ours(volume, poses), repeats=REPEATS) / N_SLICES
    print(f"anatomark                    {1000 * own:8.2f} ms per slice of image and mask")
    if torch.cuda.is_available():
        print(f"anatomark on the GPU         {1000 * on_gpu(volume, poses) / N_SLICES:8.4f} ms")
    patch = best_seconds(lambda: resample_all(images, poses, SIDE, N_PATCHES), repeats=REPEATS) / N_PATCHES
    print(f"SimpleITK, patch per pose    {1000 * patch:8.2f} ms, {patch / own:6.1f} x")
    alone = best_seconds(lambda: resample_all(images, poses, 1, N_SLICES), repeats=REPEATS) / N_SLICES
    print(f"SimpleITK, slice per pose    {1000 * alone:8.2f} ms, {alone / own:6.1f} x")
    pose = (poses.centres[0], poses.rotations[0])
    whole = best_seconds(lambda: sample_patch(volume, *pose, size=(SIDE,) * 3, outside=0.0), repeats=REPEATS)
    print(f"a whole patch: anatomark {1000 * whole:.0f} ms, SimpleITK {1000 * patch:.0f} ms, {patch / whole:.1f} x")

    cut = resample_all(images, poses, 1, N_SLICES)[:, :, 0]
    print(f"largest difference from SimpleITK {np.abs(cut - ours(volume, poses).numpy()).max():.1e}")


if __name__ == "__main__":
    main()
