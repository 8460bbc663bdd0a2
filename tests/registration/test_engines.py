"""Every engine against images warped by a known similarity."""

import importlib.metadata
import pickle
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from anatomark.geometry.similarity import apply_transform
from anatomark.geometry.warp import centred_similarity, warp
from anatomark.registration.elastix import ElastixSimilarity
from anatomark.registration.engine import Engine
from anatomark.registration.keypoints import KeypointRansac
from anatomark.registration.simpleitk import SimpleITKSimilarity
from anatomark.types import AnatomarkError

SIZE = (96, 128)
CHECKED = torch.tensor([[40.0, 30.0], [85.0, 40.0], [64.0, 66.0]], dtype=torch.float64)

ENGINES: dict[str, tuple[type, dict[str, Any]]] = {
    "elastix": (ElastixSimilarity, {}),
    "simpleitk": (SimpleITKSimilarity, {}),
    "sift": (KeypointRansac, {"detector": "sift"}),
    "orb": (KeypointRansac, {"detector": "orb"}),
}


def build(name: str) -> Engine:
    kind, options = ENGINES[name]
    engine: Engine = kind(**options)
    return engine


def textured(seed: int, size: tuple[int, int] = SIZE) -> Tensor:
    """A blob with structure at three scales that fades towards the border, in [0, 1]."""
    rng = torch.Generator().manual_seed(seed)
    image = torch.zeros(1, 1, *size)
    for cells, weight in ((8, 1.0), (20, 0.6), (60, 0.3)):
        noise = torch.randn(1, 1, cells, cells, generator=rng)
        image += weight * F.interpolate(noise, size=size, mode="bicubic", align_corners=False)
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in size), indexing="ij")
    image = image * torch.exp(-3 * (x**2 + y**2))
    return ((image - image.min()) / (image.max() - image.min()))[0, 0]


def moved_pair(
    *, angle: float, scale: float, shift: tuple[float, float], size: tuple[int, int] = SIZE
) -> tuple[Tensor, Tensor, Tensor]:
    """Source, target and the true map of source px to target px."""
    source = textured(0)
    truth = centred_similarity(SIZE, angle=angle, scale=scale)
    truth[:, 2] += torch.tensor(shift)
    return source, warp(source[None, None], truth[None], size=size)[0, 0], truth


def error_px(found: Tensor | None, truth: Tensor) -> float:
    assert found is not None
    assert found.dtype == torch.float64
    difference = apply_transform(found, CHECKED) - apply_transform(truth, CHECKED)
    return float(difference.norm(dim=1).max())


@pytest.mark.parametrize("name", ENGINES)
def test_recovers_the_map_from_source_to_target(name: str) -> None:
    engine = build(name)
    # Both directions of rotation and scale, so that an inverted map cannot pass.
    for angle, scale, shift in [(0.15, 1.1, (4.0, -3.0)), (-0.1, 0.9, (-3.0, 2.0))]:
        source, target, truth = moved_pair(angle=angle, scale=scale, shift=shift)
        assert error_px(engine(source, target), truth) < 0.7


@pytest.mark.parametrize("name", ENGINES)
def test_images_of_different_sizes(name: str) -> None:
    source, target, truth = moved_pair(angle=0.1, scale=1.05, shift=(14.0, 12.0), size=(120, 150))
    assert error_px(build(name)(source, target), truth) < 0.7


@pytest.mark.parametrize("name", ENGINES)
def test_same_answer_every_time_also_after_pickling(name: str) -> None:
    source, target, _ = moved_pair(angle=0.1, scale=1.05, shift=(2.0, 1.0))
    engine = build(name)
    first = engine(source, target)
    assert first is not None
    for other in (engine, build(name), pickle.loads(pickle.dumps(engine))):
        again = other(source, target)
        assert again is not None
        assert torch.equal(first, again)


@pytest.mark.parametrize("name", ENGINES)
def test_silent_and_without_files(
    name: str, capfd: pytest.CaptureFixture[str], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source, target, _ = moved_pair(angle=0.1, scale=1.05, shift=(2.0, 1.0))
    build(name)(source, target)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ENGINES)
def test_a_constant_image_gives_nothing(name: str) -> None:
    image, flat = textured(0), torch.full(SIZE, 0.3)
    engine = build(name)
    assert engine(flat, image) is None
    assert engine(image, flat) is None


@pytest.mark.parametrize("name", ENGINES)
def test_nan_is_refused(name: str) -> None:
    broken = textured(0)
    broken[3, 5] = torch.nan
    with pytest.raises(AnatomarkError, match="target image holds NaN"):
        build(name)(textured(0), broken)


@pytest.mark.parametrize("name", ["elastix", "simpleitk"])
def test_images_too_small_for_the_pyramid_are_refused(name: str) -> None:
    with pytest.raises(AnatomarkError, match="source image has 50 x 20 px; this engine needs 32 px"):
        build(name)(textured(0, (20, 50)), textured(0))


@pytest.mark.parametrize("detector", ["sift", "orb"])
def test_unrelated_images_give_nothing_by_keypoints(detector: Any) -> None:
    assert KeypointRansac(detector=detector)(textured(0), textured(1)) is None


def test_lost_overlap_gives_nothing() -> None:
    corners = torch.zeros(2, 64, 64)
    corners[0, 0, 0] = corners[1, 63, 63] = 1
    assert SimpleITKSimilarity()(corners[0], corners[1]) is None
    noise = torch.rand(233, 200, generator=torch.Generator().manual_seed(0))
    assert ElastixSimilarity()(noise[:200], noise[200:, :33]) is None


def test_another_failure_of_elastix_is_raised_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anatomark.registration.elastix.LOST_OVERLAP", "something else")
    noise = torch.rand(233, 200, generator=torch.Generator().manual_seed(0))
    with pytest.raises(
        AnatomarkError, match=r"elastix failed: ITK ERROR: .*Too many samples.*; check the pair's images"
    ):
        ElastixSimilarity()(noise[:200], noise[200:, :33])


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(AnatomarkError, match="iterations=0"):
        ElastixSimilarity(iterations=0)
    with pytest.raises(AnatomarkError, match="resolutions=0"):
        SimpleITKSimilarity(resolutions=0)


def test_elastix_without_its_extra_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(AnatomarkError, match=r'pip install "anatomark\[elastix\]"'):
        ElastixSimilarity()
