"""Many pairs in worker processes give what one process gives."""

import pytest
import torch
from torch import Tensor

from anatomark.registration.keypoints import KeypointRansac
from anatomark.registration.parallel import register_pairs
from anatomark.types import AnatomarkError


class Shift:
    """Maps by the difference of the images' first pixels; finds nothing when the source's is 3."""

    def __call__(self, source: Tensor, target: Tensor) -> Tensor | None:
        if float(source[0, 0]) == 3:
            return None
        matrix = torch.eye(2, 3, dtype=torch.float64)
        matrix[0, 2] = float(target[0, 0] - source[0, 0])
        return matrix


class Refuses:
    def __call__(self, source: Tensor, target: Tensor) -> Tensor | None:
        raise AnatomarkError("the source image is bad")


IMAGES = [torch.full((4 + i, 6), float(i)) for i in range(5)]
PAIRS = torch.tensor([[0, 1], [4, 1], [3, 2], [1, 4], [0, 0]])


@pytest.mark.parametrize("workers", [0, 2])
def test_results_keep_the_order_of_the_pairs(workers: int) -> None:
    result = register_pairs(Shift(), IMAGES, PAIRS, workers=workers, description="shifts")
    assert result.found.tolist() == [True, True, False, True, True]
    assert result.matrices[:, 0, 2].tolist() == [1, -3, 0, 3, 0]
    torch.testing.assert_close(result.matrices[2], torch.eye(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_the_engine_arrives_whole(workers: int) -> None:
    with pytest.raises(AnatomarkError, match=r"^the source image is bad$"):
        register_pairs(Refuses(), IMAGES, PAIRS, workers=workers, description="errors")


def test_no_pairs_and_bad_workers() -> None:
    none = torch.empty(0, 2, dtype=torch.int64)
    result = register_pairs(Shift(), IMAGES, none, workers=2, description="nothing")
    assert result.matrices.shape == (0, 2, 3)
    assert result.found.shape == (0,)
    with pytest.raises(AnatomarkError, match="`workers` is -1"):
        register_pairs(Shift(), IMAGES, PAIRS, workers=-1, description="bad")


def test_keypoints_are_detected_once_per_image(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [torch.rand(60, 60, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    detected = []
    detect = KeypointRansac._detect
    monkeypatch.setattr(KeypointRansac, "_detect", lambda self, image: detected.append(1) or detect(self, image))
    pairs = torch.combinations(torch.arange(4))
    register_pairs(KeypointRansac(detector="orb"), images, pairs, workers=0, description="orb")
    assert len(detected) == 4
