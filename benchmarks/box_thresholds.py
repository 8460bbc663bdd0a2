"""Boxes of the largest parts above many thresholds: all at once, and labelled mask by mask.

    python benchmarks/box_thresholds.py

64 maps of 7 x 7 random cells, interpolated to 224 x 288 px, and 20 thresholds each, as MaxBoxAcc asks for; one CPU
thread, processor time. The peers are OpenCV's connectedComponentsWithStats where it is installed
(pip install opencv-python-headless), SciPy's label and scikit-image's. All boxes must be the same.
"""

import importlib
import importlib.util
from collections.abc import Callable
from functools import partial
from time import process_time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label
from torch import Tensor

from anatomark.evaluators.localisation_rules import BoxRules
from anatomark.geometry.boxes import fraction_thresholds
from anatomark.geometry.parts import largest_boxes
from timing import best_seconds

N_MAPS, CELLS, SIZE, N_THRESHOLDS = 64, 7, (224, 288), 20
REPEATS = 5

Mask = NDArray[np.bool_]
Boxes = NDArray[np.float32]


def make_maps() -> tuple[Tensor, Tensor]:
    """Maps and their thresholds."""
    cells = torch.rand(N_MAPS, 1, CELLS, CELLS, generator=torch.Generator().manual_seed(0))
    maps = torch.nn.functional.interpolate(cells, size=SIZE, mode="bilinear")[:, 0]
    rules = BoxRules(threshold="contrast", component="all", n_fractions=N_THRESHOLDS)
    return maps, fraction_thresholds(maps, rules.fractions)


def ours(maps: Tensor, thresholds: Tensor) -> Boxes:
    return largest_boxes(maps, thresholds).numpy()


def mask_by_mask(box_of: Callable[[Mask], list[float]], maps: Tensor, thresholds: Tensor) -> Boxes:
    masks = (map_ >= level for map_, levels in zip(maps.numpy(), thresholds.numpy(), strict=True) for level in levels)
    return np.array([box_of(mask) for mask in masks], dtype=np.float32).reshape(*thresholds.shape, 4)


def box_by_opencv(mask: Mask) -> list[float]:
    cv2: Any = importlib.import_module("cv2")
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    x, y, width, height, _ = stats[1 + stats[1:, cv2.CC_STAT_AREA].argmax()]
    return [x - 0.5, y - 0.5, x + width - 0.5, y + height - 0.5]


def box_by_scipy(mask: Mask) -> list[float]:
    return _box_of_largest(ndimage.label(mask, structure=np.ones((3, 3)))[0])


def box_by_scikit_image(mask: Mask) -> list[float]:
    return _box_of_largest(label(mask, connectivity=2))


def _box_of_largest(labels: NDArray[np.int64]) -> list[float]:
    largest = np.bincount(labels.ravel())[1:].argmax()
    y, x = ndimage.find_objects(labels)[largest]
    return [x.start - 0.5, y.start - 0.5, x.stop - 0.5, y.stop - 0.5]


def main() -> None:
    torch.set_num_threads(1)
    maps, thresholds = make_maps()
    peers = {"SciPy": box_by_scipy, "scikit-image": box_by_scikit_image}
    if importlib.util.find_spec("cv2"):
        importlib.import_module("cv2").setNumThreads(1)
        peers["OpenCV"] = box_by_opencv
    found = ours(maps, thresholds)
    seconds = best_seconds(partial(ours, maps, thresholds), repeats=REPEATS, timer=process_time)
    print(f"{N_MAPS} maps x {N_THRESHOLDS} thresholds: anatomark {seconds / N_MAPS * 1e3:.2f} ms per map")
    for name, box_of in peers.items():
        label_all = partial(mask_by_mask, box_of, maps, thresholds)
        if not np.array_equal(found, label_all()):
            raise SystemExit(f"{name} finds other boxes")
        theirs = best_seconds(label_all, repeats=REPEATS, timer=process_time)
        print(f"{name}: {theirs / N_MAPS * 1e3:.2f} ms per map, ratio {theirs / seconds:.1f}, the same boxes")


if __name__ == "__main__":
    main()
