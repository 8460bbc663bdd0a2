"""A data set of 100,000 frames streams with bounded memory, and faster than the saliency network learns.

    python benchmarks/loader_memory.py

Folders of 1,000 and of 100,000 rows, each with its sector, pixel size, size, plane, class and two landmarks, that name
the same few hundred images. Each is read by a fresh process with the data set and the recipe of ``model=saliency``,
without its cache of decoded frames, and a whole epoch is streamed with two workers, some six minutes. Memory is the
most that the process and its workers take together, pages that they share counted once: they copy what they touch.
Python's collector touches all of the main process once in thousands of batches, some 110 MB whatever the rows; here it
does so at the start of both epochs, the shorter of which would end before. The floor is the process before it reads the
folder.

The network's appetite is what its training step consumes on two threads without a loader.
"""

import gc
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import imageio.v3 as iio
import numpy as np
import torch
from hydra import compose, initialize_config_dir

from anatomark.data.datamodules import FrameDataModule
from anatomark.instantiation import instantiate, register_resolvers
from anatomark.types import Batch

ROOT = Path(__file__).parents[1]
ROWS, IMAGES, PER_SUBJECT, STEPS = (1_000, 100_000), 300, 20, 10
LOOK_EVERY = 20  # batches
WIDTH, HEIGHT = 432, 336
TARGETS = {"memory": 1.3, "appetite": 3.0}
HEADER = (
    "frame_id,subject_id,file,plane,label,width,height,spacing_x_mm,spacing_y_mm,"
    "apex_x_px,apex_y_px,radius_near_px,radius_far_px,half_angle_deg,tilt_deg"
)


def main() -> None:
    """Prints both memories and their ratio, both speeds and theirs, beside the targets."""
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder) / "images")
        read = [measure(Path(folder), rows) for rows in ROWS]
    for rows, one in zip(ROWS, read, strict=True):
        print(
            f"{rows:7,} rows: {one['total_mb']:.0f} MB in all, floor"
            f" {one['floor_mb']:.0f} MB, peak {one['peak_mb']:.0f} MB; read in {one['setup_s']:.1f} s;"
            f" {one['frames_per_s']:.0f} frames/s"
        )
    ratio = read[1]["total_mb"] / read[0]["total_mb"]
    print(f"memory at {ROWS[1]:,} rows / at {ROWS[0]:,}: {ratio:.2f} (target at most {TARGETS['memory']})")
    eaten = appetite()
    share = read[1]["frames_per_s"] / eaten
    print(f"the network learns from {eaten:.1f} frames/s; the loader gives {share:.1f} times that", end=" ")
    print(f"(target at least {TARGETS['appetite']})")


def write_images(folder: Path) -> None:
    """Speckle, which compresses as badly as ultrasound does."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(IMAGES):
        iio.imwrite(folder / f"{index}.png", rng.rayleigh(40, (HEIGHT, WIDTH)).clip(0, 255).astype(np.uint8))


def write_tables(folder: Path, rows: int) -> None:
    with (folder / "frames.csv").open("w") as frames, (folder / "points.csv").open("w") as points:
        frames.write(HEADER + "\n")
        points.write("frame_id,name,x_px,y_px\n")
        for index in range(rows):
            key = f"subject{index // PER_SUBJECT:05d}_frame{index:06d}"
            shape = f"{220 + index % 7}.25,-228.5,231.5,567.25,39.75,{index % 5}.5"
            frames.write(
                f"{key},subject{index // PER_SUBJECT:05d},images/{index % IMAGES}.png,{('TV', 'TC')[index % 2]},"
                f"{('a', 'b', 'c')[index % 3]},{WIDTH},{HEIGHT},0.2257,0.2257,{shape}\n"
            )
            points.write(f"{key},csp,{100 + index % 90}.5,137.5\n{key},lv,{200 + index % 90}.5,131.5\n")


def measure(folder: Path, rows: int) -> dict[str, float]:
    """What a fresh process tells of itself."""
    write_tables(folder, rows)
    ended = subprocess.run(
        [sys.executable, __file__, str(folder)], stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT
    )
    told: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return told


def stream(folder: str) -> None:
    """Reads a folder and streams its training frames; prints what that took, in JSON."""
    datamodule, images = make_data(folder), 0
    floor = memory_mb(os.getpid())
    started = perf_counter()
    datamodule.setup()
    setup_s = perf_counter() - started
    started, most = perf_counter(), 0.0
    for number, batch in enumerate(datamodule.train_dataloader()):
        images += len(batch["image"])
        if number == 0:
            gc.collect()
        if number % LOOK_EVERY == LOOK_EVERY - 1:
            most = max(most, all_memory_mb())
    elapsed = perf_counter() - started
    print(
        json.dumps(
            {
                "floor_mb": floor,
                "total_mb": most,
                "peak_mb": peak_mb(),
                "setup_s": setup_s,
                "frames_per_s": images / elapsed,
            }
        )
    )


def make_data(folder: str) -> FrameDataModule:
    words = [f"data.root={folder}", "data.cache=false", "data.num_workers=2", "data.allow_missing_gaze=true"]
    datamodule = instantiate(configuration("data=frames", *words).data)
    assert isinstance(datamodule, FrameDataModule)
    return datamodule


def configuration(*words: str):  # type: ignore[no-untyped-def]
    register_resolvers()
    with initialize_config_dir(str(ROOT / "conf")):
        return compose("train", overrides=["model=saliency", *words])


def all_memory_mb() -> float:
    """Memory of this process and of its workers."""
    workers = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return memory_mb(os.getpid()) + sum(memory_mb(int(worker)) for worker in workers)


def memory_mb(process: int) -> float:
    """Resident memory of a process, a page that n processes share counted as its n-th part."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def appetite() -> float:
    """Frames per second that the training step of ``model=saliency`` consumes on two threads; the best of three."""
    torch.set_num_threads(2)
    model = instantiate(configuration().model)
    model.log = lambda *_, **__: None
    size = configuration().data.batch_size
    batch: Batch = {
        "samples": [],
        "image": torch.randn(size, 1, 224, 288),
        "fixations": torch.tensor([[[100.0, 90.0, 200.0], [150.0, 60.0, 300.0]]]).repeat(size, 1, 1),
        "has_gaze": torch.ones(size, dtype=torch.bool),
    }
    configured = model.configure_optimizers()
    optimizer, seconds = configured["optimizer"], []
    for _ in range(3):
        started = perf_counter()
        for index in range(STEPS):
            optimizer.zero_grad()
            model.training_step(batch, index).backward()
            optimizer.step()
        seconds.append(perf_counter() - started)
    return STEPS * size / min(seconds)


if __name__ == "__main__":
    stream(sys.argv[1]) if len(sys.argv) > 1 else main()
