import csv
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger

from anatomark.report.writer import log_reports
from anatomark.types import Report


def draw(values: list[float]) -> Figure:
    figure = Figure(figsize=(4, 2))
    figure.add_subplot().imshow(np.array([values]))
    return figure


REPORT = Report(
    name="registration",
    title="Registration",
    values={
        "n_pairs": 7,
        "errors": {"salient": {"csp": 0.1 + 0.2}},
        "unit": "%",
        "ids": [1, 2],
        "subjects": {"s1": {"tp": 3}},
        "found": True,
    },
    figures={"Chart": draw([1, 2]), "Picture": draw([3, 4, 5])},
)


def test_csv_logger_gets_the_numbers(tmp_path: Path) -> None:
    log_reports([REPORT], [CSVLogger(tmp_path, name="", version="")])
    with (tmp_path / "metrics.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["registration/errors/salient/csp"]) == 0.1 + 0.2
    assert float(row["registration/n_pairs"]) == 7
    assert not any("subjects" in name for name in row)
    assert "registration/ids" not in row


def test_tensorboard_gets_numbers_and_figures(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path, name="", version="")
    log_reports([REPORT], [logger])
    logger.finalize("success")
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert events.Scalars("registration/errors/salient/csp")[0].value == pytest.approx(0.3)
    encoded = events.Images("registration/Picture")[0].encoded_image_string
    with Image.open(BytesIO(encoded)) as image:
        assert image.width > image.height > 100
    assert sorted(events.Tags()["images"]) == ["registration/Chart", "registration/Picture"]


def test_wandb_offline_gets_numbers_and_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(project="anatomark-test", save_dir=tmp_path, offline=True)
    try:
        log_reports([REPORT], [logger])
        summary = dict(logger.experiment.summary)
    finally:
        wandb.finish()
    assert summary["registration/errors/salient/csp"] == pytest.approx(0.3)
    pictures = tmp_path.glob("wandb/offline-run-*/files/media/images/registration/*.png")
    assert {path.name.split("_")[0] for path in pictures} == {"Chart", "Picture"}
