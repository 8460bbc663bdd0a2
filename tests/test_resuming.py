"""What a run is continued from."""

import logging
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from anatomark.errors import AnatomarkError
from anatomark.finished import mark_finished
from anatomark.resuming import find_job, last_checkpoint, prepare_folder
from anatomark.runs import save_config


def save(run: Path, name: str, epoch: int) -> Path:
    path = run / "checkpoints" / f"{name}.ckpt"
    path.parent.mkdir(exist_ok=True)
    torch.save({"state_dict": {"weight": torch.full((100,), float(epoch))}, "epoch": epoch, "global_step": epoch}, path)
    return path


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def epoch_of(path: Path) -> int:
    return int(torch.load(path, weights_only=True)["epoch"])


def test_the_last_checkpoint_is_taken_where_it_is_good(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path, "best", 5)  # of an epoch that ended while the last one was being written
    last = save(tmp_path, "last", 4)
    assert last_checkpoint(tmp_path) == last
    assert epoch_of(last) == 4
    assert not caplog.records


def test_the_newest_good_one_replaces_a_truncated_last_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, epoch in (("best", 3), ("pretrained", 1), ("last", 4), ("swa", 4)):
        save(tmp_path, name, epoch)
    for name in ("last", "swa"):
        truncate(tmp_path / "checkpoints" / f"{name}.ckpt")
    with caplog.at_level(logging.WARNING):
        last = last_checkpoint(tmp_path)
    assert last == tmp_path / "checkpoints" / "last.ckpt"
    assert epoch_of(last) == 3
    (message,) = caplog.messages
    assert "last.ckpt is damaged: training goes on from best.ckpt, after epoch 3; " in message
    assert "last.ckpt.damaged" in message
    assert (last.parent / "last.ckpt.damaged").exists()
    assert epoch_of(last.parent / "best.ckpt") == 3


def test_a_last_one_that_was_not_written_yet_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path, "best", 0)
    last = last_checkpoint(tmp_path)
    assert last is not None
    assert epoch_of(last) == 0
    assert "last.ckpt is missing: training goes on from best.ckpt" in caplog.text


def test_a_run_stopped_before_its_first_checkpoint_starts_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert last_checkpoint(tmp_path) is None
    assert "training starts from the beginning" in caplog.text
    mark_finished(tmp_path, 0.5)
    with pytest.raises(AnatomarkError, match="holds no checkpoint"):
        last_checkpoint(tmp_path)


def test_damaged_checkpoints_alone_are_refused_and_kept(tmp_path: Path) -> None:
    paths = [save(tmp_path, name, 1) for name in ("best", "last")]
    for path in paths:
        truncate(path)
    before = {path: path.read_bytes() for path in paths}
    with pytest.raises(AnatomarkError, match=r"no checkpoint that can be read \(last\.ckpt and 1 more\).*remove"):
        last_checkpoint(tmp_path)
    assert {path: path.read_bytes() for path in sorted(paths[0].parent.iterdir())} == before


def test_a_training_from_the_beginning_forgets_an_earlier_one(tmp_path: Path) -> None:
    last = save(tmp_path, "last", 4)
    unfinished = last.with_name("best.ckpt.123.tmp")
    for path in (unfinished, tmp_path / "metrics.csv", tmp_path / "train.log"):
        path.touch()
    prepare_folder(tmp_path, last)
    assert last.exists()
    assert not unfinished.exists()
    assert (tmp_path / "metrics.csv").exists()
    prepare_folder(tmp_path, None)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["checkpoints", "train.log"]


def configuration(lr: float, **commands: object) -> DictConfig:
    return OmegaConf.create({"lr": lr, "model": {}, "data": {}, "run": None, "resume": False} | commands)


def test_a_job_goes_on_from_its_own_configuration_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    choices = {"model": "saliency"}
    wanted, other = configuration(0.1, gap=float("nan")), configuration(0.2, gap=float("nan"))
    assert find_job(wanted, tmp_path, choices) is None  # its first time
    save_config(wanted, tmp_path, choices)
    assert find_job(wanted, tmp_path, choices) is None  # killed in its first epoch
    assert find_job(other, tmp_path, choices) is None  # of which nothing is lost
    last = save(tmp_path, "last", 4)
    with caplog.at_level(logging.INFO):
        assert find_job(wanted, tmp_path, choices) == last
    assert "goes on from its last checkpoint" in caplog.text
    for config, made, keys in ((other, choices, "lr"), (wanted, {"model": "msen"}, "choices")):
        with pytest.raises(AnatomarkError, match=rf"unfinished run of another configuration \({keys} differ\)"):
            find_job(config, tmp_path, made)
    truncate(last)
    with pytest.raises(AnatomarkError, match="no checkpoint that can be read"):
        find_job(wanted, tmp_path, choices)
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(AnatomarkError, match=r"holds checkpoints, but no config\.yaml"):
        find_job(wanted, tmp_path, choices)
    with pytest.raises(AnatomarkError, match="leave -m out"):
        find_job(configuration(0.1, run="runs/a", resume=True), tmp_path, choices)
