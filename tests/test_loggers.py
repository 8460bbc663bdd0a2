"""``metrics.csv`` of a run: one file, continued when the run resumes."""

import csv
from pathlib import Path

import pytest
from pytorch_lightning.loggers import Logger

from anatomark.loggers import RunCSVLogger, close_loggers


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def log(folder: Path, *entries: tuple[int, dict[str, float]]) -> None:
    logger = RunCSVLogger(save_dir=str(folder))
    for step, metrics in entries:
        logger.log_metrics(metrics, step=step)
    close_loggers([logger], "success")


def test_metrics_lie_in_the_run_folder(tmp_path: Path) -> None:
    log(tmp_path, (0, {"train/loss": 1.5}), (1, {"val/kld": 0.5}))
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]
    first, second = rows(tmp_path)
    assert (first["step"], first["train/loss"], first["val/kld"]) == ("0", "1.5", "")
    assert (second["step"], second["train/loss"], second["val/kld"]) == ("1", "", "0.5")


def test_a_second_session_keeps_the_rows_of_the_first(tmp_path: Path) -> None:
    log(tmp_path, (0, {"train/loss": 1.5}), (1, {"train/loss": 1.25}))
    before = rows(tmp_path)
    # With fewer columns, then with one that the file does not have yet.
    log(tmp_path, (2, {"train/loss": 1.0}))
    log(tmp_path, (3, {"test/nss": 2.0}))
    after = rows(tmp_path)
    assert [row["step"] for row in after] == ["0", "1", "2", "3"]
    assert [{key: row[key] for key in before[0]} for row in after[:2]] == before
    assert (after[2]["train/loss"], after[2]["test/nss"]) == ("1.0", "")
    assert (after[3]["train/loss"], after[3]["test/nss"]) == ("", "2.0")
    with (tmp_path / "metrics.csv").open() as file:
        assert sum(line.startswith("step") or "train/loss" in line for line in file) == 1  # one header


@pytest.mark.parametrize("status", ["success", "failed"])
def test_every_logger_is_closed_with_the_status(status: str, tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []

    class Spy(RunCSVLogger):
        def finalize(self, status: str) -> None:
            told.append((self.save_dir, status))

    loggers: list[Logger] = [Spy(save_dir=str(tmp_path / name)) for name in "ab"]
    close_loggers(loggers, status)
    assert told == [(str(tmp_path / name), status) for name in "ab"]
