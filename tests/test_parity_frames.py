"""The frames an exported graph is compared on: the run's own, or random ones of the same size and range."""

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from anatomark.instantiation import instantiate
from anatomark.parity_frames import read_parity_frames
from anatomark.phantoms.fetal_head import FetalHeadPhantom
from anatomark.types import AnatomarkError

GREY = {"Standardise": (-5.0, 5.0), "MinMax": (0.0, 1.0)}


def step(name: str, /, **options: Any) -> dict[str, Any]:
    return {"_target_": f"anatomark.data.transforms.{name}", **options}


def configuration(root: Path, source: dict[str, Any], *steps: dict[str, Any]) -> DictConfig:
    return OmegaConf.create(
        {
            "_target_": "anatomark.data.datamodules.FrameDataModule",
            "root": str(root),
            "source": {**source, "_partial_": True},
            "train_transform": step("Compose", steps=[]),
            "eval_transform": step("Compose", steps=list(steps)),
            "n_folds": 3,
        }
    )


def folder_of(root: Path, *steps: dict[str, Any]) -> DictConfig:
    screen = {"_target_": "anatomark.data.gaze.ScreenGeometry", "distance_m": 0.5, "size_m": [0.3, 0.2]}
    screen |= {"resolution_px": [1920, 1080], "frame_origin_px": [480, 220], "frame_scale": 10}
    gaze = {"_target_": "anatomark.data.gaze.GazeFilter", "screen": screen}
    return configuration(root, {"_target_": "anatomark.data.frames_folder.FramesFolder", "gaze": gaze}, *steps)


@pytest.mark.parametrize("grey", GREY)
@pytest.mark.parametrize("empty", [False, True], ids=["absent", "empty"])
def test_without_data_frames_are_random_and_always_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, grey: str, empty: bool
) -> None:
    root = tmp_path / "gone"
    if empty:
        root.mkdir()
    crop, fit = step("CropToBox", name="head"), step("Fit", height=40, width=56)
    cfg = folder_of(root, step("Spatial", steps=[crop, fit]), step(grey))
    images, origin = read_parity_frames(cfg)
    assert (images.shape, origin) == ((8, 1, 40, 56), "random")
    torch.testing.assert_close(read_parity_frames(cfg).images, images, rtol=0, atol=0)
    assert f"{root} does not hold the run's data" in caplog.text
    low, high = images.flatten(1).aminmax(dim=1)
    least, most = GREY[grey]
    assert least <= low.min() < high.max() <= most
    if grey == "MinMax":
        assert (low.unique().tolist(), high.unique().tolist()) == ([0], [1])
    else:
        assert images.mean((1, 2, 3)).abs().max() < 1e-5
        assert images.std((1, 2, 3)).sub(1).abs().max() < 1e-4
    assert images.std(0).min() > 0.05  # no two alike


def test_polar_frames_are_random_too(tmp_path: Path) -> None:
    polar = {"_target_": "anatomark.data.polar.ToPolar", "height": 24, "width": 32}
    assert read_parity_frames(folder_of(tmp_path / "gone", polar)).images.shape == (8, 1, 24, 32)


def test_frames_without_a_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AnatomarkError, match=r"no step of data\.eval_transform says the size.*data\.root="):
        read_parity_frames(folder_of(tmp_path / "gone", step("Standardise")))


def test_with_data_frames_are_spread_over_the_test_frames(frames: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = folder_of(frames, step("Spatial", steps=[step("Fit", height=64, width=96)]))
    images, origin = read_parity_frames(cfg)
    assert origin == "test"
    datamodule = instantiate(cfg)
    datamodule.setup()
    dataset = datamodule.evaluation_dataset(["test"])
    assert len(images) == len(dataset) <= 8
    assert all(torch.equal(image, dataset[index]["image"]) for index, image in enumerate(images))
    monkeypatch.setattr("anatomark.parity_frames.N_FRAMES", 2)
    assert len(dataset) > 2
    first, last = read_parity_frames(cfg).images
    assert torch.equal(first, dataset[0]["image"])
    assert torch.equal(last, dataset[len(dataset) - 1]["image"])


def test_a_phantom_is_never_written_nor_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = {"_target_": "anatomark.phantoms.fetal_head.FetalHeadPhantom", "workers": 1, "n_subjects": 3}
    source = {**target, "frames_per_subject": 2, "image_size": [64, 80]}
    fit = step("Spatial", steps=[step("Fit", height=32, width=48)])
    FetalHeadPhantom(tmp_path / "other", n_subjects=3, frames_per_subject=2, image_size=(64, 80), workers=1, seed=0)()
    monkeypatch.setattr(FetalHeadPhantom, "make_subject", lambda *_: pytest.fail("written"))
    for root, seed, expected in (("gone", 0, "random"), ("other", 1, "random"), ("other", 0, "test")):
        cfg = configuration(tmp_path / root, {**source, "seed": seed}, fit)
        assert read_parity_frames(cfg).origin == expected
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
