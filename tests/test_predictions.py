"""Predictions on disk: exact, whole or absent, and streamed as often as wanted."""

from dataclasses import replace
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from anatomark.data.frames import FrameDataset
from anatomark.data.frames_folder import read_frames
from anatomark.data.transforms import Compose, Fit, Spatial, Standardise
from anatomark.predictions import PooledPredictions, PredictionWriter, RunPredictions, load_prediction, save_prediction
from anatomark.types import AnatomarkError, Batch, Prediction
from frames_fixture import GAZE


def make_prediction(key: str = "s0_TV", seed: int = 0) -> Prediction:
    draw = torch.Generator().manual_seed(seed)
    return {
        "key": key,
        "maps": torch.rand(2, 8, 12, generator=draw),
        "map_stride": 8,
        "logits": torch.randn(3, generator=draw),
        "features": torch.randn(5, 8, 12, generator=draw),
        "other_maps": {"Grad-CAM": torch.rand(2, 8, 12, generator=draw), "a/b": torch.rand(1, 8, 12, generator=draw)},
        "points": {"csp": torch.tensor([1.25, 2.5]), "lv/left": torch.tensor([3.0, 4.0])},
    }


def test_a_prediction_comes_back_as_it_was(tmp_path: Path) -> None:
    given = make_prediction()
    save_prediction(given, tmp_path)
    read = load_prediction(tmp_path, "s0_TV", run="runs/a")
    assert torch.equal(read["maps"], given["maps"])
    assert torch.equal(read["logits"], given["logits"])
    assert (read["key"], read["map_stride"], read["run"]) == ("s0_TV", 8, "runs/a")
    for found, expected in ((read["points"], given["points"]), (read["other_maps"], given["other_maps"])):
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], value) for name, value in expected.items())
    # Half precision: 11 significant bits.
    assert read["features"].dtype == torch.float32
    torch.testing.assert_close(read["features"], given["features"], rtol=2**-11, atol=1e-6)


def test_mixed_precision_is_stored(tmp_path: Path) -> None:
    given = make_prediction()
    given["maps"], given["features"] = given["maps"].bfloat16(), given["features"].bfloat16()
    save_prediction(given, tmp_path)
    read = load_prediction(tmp_path, given["key"], run="r")
    assert torch.equal(read["maps"], given["maps"].float())
    torch.testing.assert_close(read["features"], given["features"].float())


def test_what_was_not_predicted_stays_absent(tmp_path: Path) -> None:
    save_prediction({"key": "a", "maps": torch.ones(1, 2, 2)}, tmp_path)
    assert load_prediction(tmp_path, "a", run="r").keys() == {"key", "maps", "run"}


@pytest.mark.parametrize("key", ["a/b", "../up", "a b", "ä%2F", "x.npz"])
def test_any_key_is_a_file_of_the_folder(tmp_path: Path, key: str) -> None:
    folder = tmp_path / "predictions"
    folder.mkdir()
    save_prediction(make_prediction(key), folder)
    assert load_prediction(folder, key, run="r")["key"] == key
    assert len(list(folder.iterdir())) == 1
    assert list(tmp_path.iterdir()) == [folder]


def test_keys_do_not_collide(tmp_path: Path) -> None:
    for seed, key in enumerate(("a/b", "a%2Fb", "a_b")):
        save_prediction(make_prediction(key, seed), tmp_path)
    maps = [load_prediction(tmp_path, key, run="r")["maps"] for key in ("a/b", "a%2Fb", "a_b")]
    assert all(torch.equal(m, make_prediction(seed=seed)["maps"]) for seed, m in enumerate(maps))


def test_a_missing_prediction_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnatomarkError, match="no prediction of s9_TC; evaluate the run again"):
        load_prediction(tmp_path, "s9_TC", run="r")


def write(writer: PredictionWriter, trainer: pl.Trainer, module: pl.LightningModule, *keys: str) -> None:
    batch: Batch = {"samples": [], "image": torch.zeros(0, 1, 64, 96)}
    writer.write_on_batch_end(trainer, module, [make_prediction(key) for key in keys], None, batch, 0, 0)


def start_over(folder: Path) -> tuple[PredictionWriter, pl.Trainer, pl.LightningModule]:
    """A writer that begins, where the folder holds an earlier prediction."""
    folder.mkdir()
    (folder / "old.npz").touch()
    trainer, module = pl.Trainer(logger=False, accelerator="cpu"), pl.LightningModule()
    writer = PredictionWriter(folder=folder)
    writer.on_predict_start(trainer, module)
    return writer, trainer, module


def test_the_folder_appears_whole(tmp_path: Path) -> None:
    folder = tmp_path / "predictions"
    writer, trainer, module = start_over(folder)
    write(writer, trainer, module, "a", "b")
    assert [path.name for path in folder.iterdir()] == ["old.npz"]
    writer.on_predict_end(trainer, module)
    assert {path.name for path in folder.iterdir()} == {"a.npz", "b.npz"}
    assert list(tmp_path.iterdir()) == [folder]


def test_a_failure_leaves_the_earlier_predictions(tmp_path: Path) -> None:
    folder = tmp_path / "predictions"
    writer, trainer, module = start_over(folder)
    write(writer, trainer, module, "a")
    writer.on_exception(trainer, module, RuntimeError("power cut"))
    assert [path.name for path in folder.iterdir()] == ["old.npz"]
    assert list(tmp_path.iterdir()) == [folder]


def test_streams_repeat_and_pool(frames: Path, tmp_path: Path) -> None:
    parts = {"one": {0: "train", 1: "test", 2: "val"}, "two": {1: "train", 0: "test"}}
    streams = [make_stream(frames, tmp_path / run, part) for run, part in parts.items()]
    pooled = PooledPredictions(streams, splits=("test",), sample_splits=("train",))
    seen = [[(sample["key"], sample["split"], p and (p["key"], p["run"])) for sample, p in pooled] for _ in range(2)]
    first, second = (record.key for record in read_frames(frames, GAZE)[:2])
    expected = [
        (first, "train", None),
        (second, "test", (second, "one")),
        (second, "train", None),
        (first, "test", (first, "two")),
    ]
    assert seen == [expected, expected]
    assert [sample["key"] for sample, _ in PooledPredictions(streams, splits=("test",))] == [second, first]


def test_frames_are_found_where_they_were_tested(frames: Path, tmp_path: Path) -> None:
    parts = {"one": {0: "train", 1: "test"}, "two": {1: "train", 0: "test"}}
    streams = [make_stream(frames, tmp_path / run, part) for run, part in parts.items()]
    keys = [record.key for record in read_frames(frames, GAZE)[:2]]
    found = PooledPredictions(streams, splits=("train", "test")).find(keys, "test")
    assert list(found) == keys
    assert [found[key][1]["run"] for key in keys] == ["two", "one"]
    assert all(sample["key"] == key == p["key"] for key, (sample, p) in found.items())


def make_stream(frames: Path, folder: Path, splits: dict[int, str]) -> RunPredictions:
    """Some frames, by number, in their splits; all with predictions but those of "val"."""
    folder.mkdir()
    records = [replace(read_frames(frames, GAZE)[number], split=split) for number, split in splits.items()]
    for seed, record in enumerate(records):
        if record.split != "val":
            save_prediction(make_prediction(record.key, seed), folder)
    transform = Compose(steps=[Spatial(steps=[Fit(height=64, width=96)]), Standardise()])
    dataset = FrameDataset(records, transform=transform)
    return RunPredictions(dataset=dataset, folder=folder, run=folder.name, data_set="tiny")
