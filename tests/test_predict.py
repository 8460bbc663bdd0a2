"""predict.py: frames nobody annotated, from the command line to tables, pictures and videos."""

from collections.abc import Iterator
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from PIL import Image

from anatomark.evaluators.maps import main_map
from anatomark.geometry.peaks import cell_to_pixel, find_peaks, refine_peaks
from commands import Commands
from predict_inputs import frame, rows, write_video
from refused import assert_refused, contents

FIT = (
    "data.eval_transform={_target_:anatomark.data.transforms.Compose,steps:["
    "{_target_:anatomark.data.transforms.Spatial,steps:[{_target_:anatomark.data.transforms.Fit,height:%d,width:%d}]},"
    "{_target_:anatomark.data.transforms.Standardise}]}"
)


def test_a_folder_of_images_and_dicom(commands: Commands, run: Path, images: Path) -> None:
    ended = commands("predict.py", f"run={run}", f"input={images}")
    assert ended.code == 0, ended.err
    assert "frames/s" in ended.out
    folder = run / "predictions_of" / "images"
    assert {path.name for path in folder.iterdir()} == {"input.json", "predictions.csv", "landmarks.csv", "overlays"}
    table = rows(folder / "predictions.csv")
    found = [(row["file"], row["frame"]) for row in table]
    assert found == [("a.dcm", "0"), ("a.dcm", "1"), ("a.png", "0"), ("wide.png", "0")]
    assert not any(row["label"] or row["score"] or row["x0_px"] for row in table)  # a saliency model tells no classes
    pictures = {name: iio.imread(folder / "overlays" / name).shape for name in contents(folder / "overlays")}
    assert pictures == {
        "a.dcm/000000.png": (64, 96, 3),
        "a.dcm/000001.png": (64, 96, 3),
        "a.png.png": (64, 96, 3),
        "wide.png": (64, 192, 3),
    }
    assert not list(run.parent.rglob("*.new-*"))


def test_landmarks_are_the_peaks_of_the_map_in_px_of_the_frame(commands: Commands, run: Path, tmp_path: Path) -> None:
    """The same frame, seen small by the network, with its map put back by hand."""
    from anatomark.data.datamodules import collate
    from anatomark.data.frames import FrameDataset, FrameRecord
    from anatomark.instantiation import instantiate
    from anatomark.runs import load_config, load_model

    path = tmp_path / "twice.png"
    iio.imwrite(path, frame(0).repeat(2, axis=0).repeat(2, axis=1))  # 192 x 128 px, brought to 96 x 64 px
    words = ["discovery.threshold=0.02", "discovery.min_distance=1"]
    ended = commands("predict.py", f"run={run}", f"input={path}", f"output={tmp_path / 'out'}", *words)
    assert ended.code == 0, ended.err
    table = rows(tmp_path / "out" / "landmarks.csv")

    cfg = load_config(run)
    (sample,) = FrameDataset(
        [FrameRecord(key="a", subject="s", file=path)], transform=instantiate(cfg.data.eval_transform)
    )
    with torch.inference_mode():
        (prediction,) = load_model(cfg, run, "best").eval().predict(collate([sample]))
    maps = main_map(sample, prediction)[None]
    peaks = find_peaks(maps, min_distance=1, threshold=0.02)
    small = cell_to_pixel(refine_peaks(maps, peaks), prediction["map_stride"])
    expected = 2 * (small + 0.5) - 0.5
    inside = ((expected >= -0.5) & (expected <= torch.tensor([191.5, 127.5]))).all(1)
    assert inside.any()
    found = torch.tensor([[float(row["x_px"]), float(row["y_px"])] for row in table], dtype=torch.float64)
    torch.testing.assert_close(found, expected[inside], rtol=0, atol=0.011)
    assert [row["name"] for row in table] == [f"peak {n + 1}" for n in range(len(table))]
    assert [float(row["weight"]) for row in table] == pytest.approx(peaks.value[inside].tolist(), abs=1e-4)


def test_a_video_comes_with_its_annotated_copy(commands: Commands, run: Path, tmp_path: Path) -> None:
    from anatomark.data.media import open_media

    video = write_video(tmp_path / "scan.mp4")
    ended = commands("predict.py", f"run={run}", f"input={video}", "data.batch_size=3", "overlays=false")
    assert ended.code == 0, ended.err
    folder = run / "predictions_of" / "scan"
    written = {"input.json", "predictions.csv", "landmarks.csv", "scan_annotated.mp4"}
    assert {path.name for path in folder.iterdir()} == written
    assert [int(row["frame"]) for row in rows(folder / "predictions.csv")] == list(range(7))
    copy = open_media(folder / "scan_annotated.mp4")
    assert (copy.n_frames, copy.rate) == (7, 25)
    drawn, given = (list(media.frames()) for media in (copy, open_media(video)))
    assert all(one.shape == other.shape for one, other in zip(drawn, given, strict=True))
    # The map is coloured, the frames are not.
    assert max(np.ptp(one.astype(int), axis=2).max() for one in drawn) > 60
    assert max(np.ptp(one.astype(int), axis=2).max() for one in given) < 10


def test_several_videos_beside_an_image_and_below_it(commands: Commands, run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    (folder / "study").mkdir(parents=True)
    for name in ("a.mp4", "study/b.avi"):
        write_video(folder / name, 3)
    iio.imwrite(folder / "c.png", frame(0))
    ended = commands("predict.py", f"run={run}", f"input={folder}", "data.batch_size=2")
    assert ended.code == 0, ended.err
    output = run / "predictions_of" / "mixed"
    videos = {"a_annotated.mp4", "study/b_annotated.mp4"}
    numbered = {f"overlays/{name}/00000{number}.png" for name in ("a.mp4", "study/b.avi") for number in range(3)}
    assert set(contents(output)) == {
        "input.json",
        "predictions.csv",
        "landmarks.csv",
        "overlays/c.png",
        *videos,
        *numbered,
    }
    files = [row["file"] for row in rows(output / "predictions.csv")]
    assert files == ["a.mp4"] * 3 + ["c.png"] + ["study/b.avi"] * 3


def test_frames_are_read_no_further_than_the_batch(run: Path) -> None:
    from anatomark.data.media import Media
    from anatomark.inference.loop import Predictor
    from anatomark.inference.samples import Frame
    from anatomark.runs import load_config, load_model

    cfg = load_config(run)
    cfg.data.batch_size = 3
    read: list[int] = []

    class Endless:
        path, n_frames, spacing_mm = Path("scan"), 0, None

        def frames(self) -> Iterator[np.ndarray]:
            while True:
                read.append(len(read))
                yield frame(0)[..., None]

    media: Media = Endless()
    given = (Frame(media, number, pixels) for number, pixels in enumerate(media.frames()))
    findings = Predictor(load_model(cfg, run, "best"), cfg)(given)
    for expected in (3, 3, 3, 6):
        next(findings)
        assert len(read) == expected


def test_every_frame_of_files_named_alike_has_its_overlay(commands: Commands, run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "alike"
    (folder / "clip").mkdir(parents=True)
    stack = [Image.fromarray(frame(number)) for number in range(2)]
    stack[0].save(folder / "clip.tif", save_all=True, append_images=stack[1:])
    for name in ("clip_000001.png", "clip/000001.png", "clip.png", "clip.png.png", "clip.tif.png"):
        iio.imwrite(folder / name, frame(3))
    ended = commands("predict.py", f"run={run}", f"input={folder}", f"output={tmp_path / 'out'}")
    assert ended.code == 0, ended.err
    assert len(contents(tmp_path / "out" / "overlays")) == len(rows(tmp_path / "out" / "predictions.csv")) == 7


def test_names_that_look_like_numbers(commands: Commands, run: Path, tmp_path: Path) -> None:
    """Hydra would make 20261121, 2026.1 and true of them."""
    for name in ("2026_1121", "2026.10", "True"):
        (tmp_path / name).mkdir()
        iio.imwrite(tmp_path / name / "a.png", frame(0))
        ended = commands("predict.py", f"run={run}", f"input={name}", f"output=7{name}")
        assert ended.code == 0, ended.err
        assert (tmp_path / f"7{name}" / "predictions.csv").is_file()


def test_maps_that_are_not_shown_are_not_computed(
    commands: Commands, tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = as_built(tmp_path, "soft_proposal", "toussaint.size=64", "model.grad_cam=true")

    def refuse(*_: object) -> None:
        raise AssertionError("Grad-CAM was computed")

    monkeypatch.setattr("anatomark.models.soft_proposal.grad_cam", refuse)
    ended = commands("predict.py", f"run={run}", f"input={images}")
    assert ended.code == 0, ended.err


def as_built(folder: Path, model: str, *words: str) -> Path:
    """The run folder of a model of two classes that was not trained."""
    from anatomark.runs import save_config
    from test_configs import composed

    common = ["data=frames", f"data.root={folder}", "data.classes=[background,plane]", "data.batch_size=3"]
    cfg = composed(f"model={model}", *common, "trainer.accelerator=cpu", *words)
    choices = HydraConfig.get().runtime.choices
    cfg.checkpoint = None
    (folder / "run").mkdir()
    save_config(cfg, folder / "run", choices)
    return folder / "run"


def test_a_run_that_crops_to_an_annotated_box_says_what_to_do(commands: Commands, tmp_path: Path, images: Path) -> None:
    run = as_built(tmp_path, "msen", "cai.size=32", "cai.disc_resolution=16")
    words = [f"run={run}", f"input={images}"]
    assert_refused(commands("predict.py", *words), "abdominal_wall", "data.eval_transform=")
    assert not (run / "predictions_of").exists()
    assert commands("predict.py", *words, FIT % (32, 32)).code == 0
    assert_found(run / "predictions_of" / "images" / "predictions.csv", least_score=0.5)  # the larger of two


def test_a_polar_network_finds_the_sector_and_draws_on_the_frame_as_it_came(
    commands: Commands, tmp_path: Path, images: Path
) -> None:
    run = as_built(tmp_path, "soft_proposal", "toussaint.size=64")
    words = [f"run={run}", f"input={images}"]
    ended = commands("predict.py", *words)  # as they are
    assert ended.code == 0, ended.err
    table = run / "predictions_of" / "images" / "predictions.csv"
    assert_found(table, least_score=0)
    stretched = rows(table)
    assert_refused(commands("predict.py", *words, "data.frustum=guess"), "data.frustum is guess")
    assert_refused(commands("predict.py", *words, "data.frustum=estimate"), "a.dcm", "sector")
    assert rows(table) == stretched

    iio.imwrite(tmp_path / "scan.png", sector())
    ended = commands("predict.py", f"run={run}", f"input={tmp_path / 'scan.png'}", "data.frustum=estimate")
    assert ended.code == 0, ended.err
    assert_found(run / "predictions_of" / "scan" / "predictions.csv", least_score=0)
    (row,) = rows(run / "predictions_of" / "scan" / "predictions.csv")
    assert 0.9 < float(row["sector_quality"]) <= 1
    assert not any(row["sector_quality"] for row in stretched)
    drawn = iio.imread(run / "predictions_of" / "scan" / "overlays" / "scan.png")
    assert drawn.shape == (200, 240, 3)
    coloured = np.ptp(drawn.astype(int), axis=2) > 10
    outside = ~sector().astype(bool)
    assert coloured[60:].sum() > 500
    # Nothing but the box where the scanner shows nothing; text stands above row 60.
    y, x = np.mgrid[:200, :240]
    x0, y0, x1, y1 = (float(row[f"{edge}_px"]) for edge in ("x0", "y0", "x1", "y1"))
    from_line = np.abs(np.minimum.reduce([x - x0, y - y0, x1 - x, y1 - y]))
    assert (outside & (from_line > 4))[60:].sum() > 1000
    assert (coloured & outside & (from_line > 4))[60:].sum() == 0


def sector() -> np.ndarray:
    """A curvilinear frame of 240 x 200 px, black around its sector."""
    y, x = np.mgrid[:200, :240]
    depth, angle = np.hypot(x - 119.5, y + 40), np.arctan2(x - 119.5, y + 40)
    inside = (depth > 60) & (depth < 230) & (np.abs(angle) < 0.5)
    return np.where(inside, np.random.default_rng(0).integers(60, 200, inside.shape), 0).astype(np.uint8)


def assert_found(table: Path, *, least_score: float) -> None:
    widths = {"wide.png": 192, "scan.png": 240}
    heights = {"scan.png": 200}
    for row in rows(table):
        assert row["label"] in ("background", "plane")
        assert least_score <= float(row["score"]) <= 1
        probabilities = {name: float(row[f"p_{name}"]) for name in ("background", "plane")}
        assert probabilities[row["label"]] == max(probabilities.values()) == float(row["score"])
        x0, y0, x1, y1 = (float(row[f"{edge}_px"]) for edge in ("x0", "y0", "x1", "y1"))
        assert -0.5 <= x0 < x1 <= widths.get(row["file"], 96) - 0.5
        assert -0.5 <= y0 < y1 <= heights.get(row["file"], 64) - 0.5


def test_an_earlier_output_is_replaced_whole(commands: Commands, run: Path, images: Path) -> None:
    words = [f"run={run}", f"input={images}"]
    assert commands("predict.py", *words).code == 0
    (images / "wide.png").unlink()
    assert commands("predict.py", *words).code == 0
    folder = run / "predictions_of" / "images"
    assert len(rows(folder / "predictions.csv")) == 3
    assert not (folder / "overlays" / "wide.png").exists()
