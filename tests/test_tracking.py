"""Tracked runs: several loggers at once, one run per job of a multirun with its words, closed with its status."""

import csv
import json
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from commands import Commands, small

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:(wandb|tensorboard|google).*")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def fail_for_seed(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Trainings with this seed break in their first batch."""
    from anatomark.models.saliency import SaliencyModel

    step = SaliencyModel.training_step

    def failing(self: SaliencyModel, *args: Any) -> torch.Tensor:
        if torch.initial_seed() == seed:
            raise RuntimeError("power cut")
        return step(self, *args)

    monkeypatch.setattr(SaliencyModel, "training_step", failing)


def two_jobs(commands: Commands, frames: Path, *loggers: str) -> Path:
    """Trains seeds 1 and 2, of which 2 fails, and gives the folder of the sweep."""
    words = ["seed=1,2", f"logger=[{','.join(loggers)}]", "hydra.sweep.dir=runs/sweep"]
    with pytest.raises(RuntimeError, match="power cut"):
        commands("train.py", "-m", *small(frames), *words)
    return commands.folder / "runs" / "sweep"


def test_wandb_tracks_each_job(commands: Commands, frames: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    fail_for_seed(monkeypatch, 2)
    sweep = two_jobs(commands, frames, "csv", "wandb")
    for job, seed, exit_code in (("0", "1", 0), ("1", "2", 1)):
        (run,) = (sweep / job / "wandb").glob("offline-run-*")
        config, ended = read_wandb(run)
        assert ended == exit_code
        assert config["overrides"]["seed"] == seed
        assert config["overrides"]["model.net.hidden"] == "8"
        assert config["model"]["net"]["hidden"] == 8
        assert config["choices"]["model"] == "saliency"


def read_wandb(run: Path) -> tuple[dict[str, Any], int]:
    """Configuration and exit code of an offline run, from its own record."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = run.glob("*.wandb")
    config: dict[str, Any] = {}
    ended = -1
    for data in read_log(path.read_bytes()):
        record = Record.FromString(data)
        updates = [*record.run.config.update, *record.config.update]
        config |= {item.key or item.nested_key[0]: json.loads(item.value_json) for item in updates}
        if record.WhichOneof("record_type") == "exit":
            ended = record.exit.exit_code
    return config, ended


def read_log(data: bytes, block: int = 32768) -> Iterator[bytes]:
    """Records of a file in LevelDB's log format, whose own header has 7 bytes."""
    at, record = 7, b""
    while at < len(data):
        if block - at % block < 7:  # no room for a header: the rest of a block is empty
            at += block - at % block
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def test_mlflow_tracks_each_job(commands: Commands, frames: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    fail_for_seed(monkeypatch, 2)
    two_jobs(commands, frames, "csv", "mlflow")
    with sqlite3.connect(commands.folder / "runs" / "mlflow.db") as store:
        runs = dict(store.execute("select run_uuid, status from runs").fetchall())
        params = "select run_uuid, value from params where key = ?"
        seeds = dict(store.execute(params, ["overrides/seed"]).fetchall())
        assert set(dict(store.execute(params, ["model/net/hidden"]).fetchall()).values()) == {"8"}
        names = {name for (name,) in store.execute("select name from experiments")}
    assert {seeds[run]: status for run, status in runs.items()} == {"1": "FINISHED", "2": "FAILED"}
    assert "saliency-frames" in names


def test_several_loggers_at_once(commands: Commands, frames: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for extra in ("tensorboard", "wandb", "mlflow"):
        pytest.importorskip(extra)
    maps = "callbacks.map_images={_target_:anatomark.callbacks.MapImages}"
    run = commands.train(frames, "logger=[csv,tensorboard,wandb,mlflow]", maps)
    with (run / "metrics.csv").open(newline="") as file:
        assert any(row["test/kld"] for row in csv.DictReader(file))
    assert list((run / "tensorboard").glob("events.out*"))
    settings = yaml.safe_load((run / "tensorboard" / "hparams.yaml").read_text())
    assert settings["overrides"]["model.net.hidden"] == "8"
    assert list(run.glob("wandb/offline-run-*/files/media/images/maps*.png"))
    with sqlite3.connect(commands.folder / "runs" / "mlflow.db") as store:
        assert store.execute("select count(*) from metrics where key = 'test/kld'").fetchone() == (1,)
    assert list((commands.folder / "runs" / "mlflow_artifacts").rglob("maps*.png"))
    assert not (run / "maps").exists()
