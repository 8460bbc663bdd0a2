import csv
import json
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger

from anatomark.loggers import RunMLFlowLogger
from anatomark.report.writer import log_reports
from anatomark.types import Report, Table


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
    tables=[
        Table(title="Errors; phantom", columns=["method", "csp | lv"], rows=[["salient", 0.1 + 0.2], ["none", "-"]]),
        Table(title="Counts", columns=["n"], rows=[[7]], note="pairs"),
    ],
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
    shown, _ = (events.Tensors(f"tables/registration_{n}/text_summary")[0].tensor_proto.string_val[0] for n in (1, 2))
    assert shown.decode().splitlines() == [
        "Errors; phantom",
        "",
        "| method | csp \\| lv |",
        "| --- | ---: |",
        "| salient | 0.300 |",
        "| none | - |",
    ]
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
    (table,) = tmp_path.glob("wandb/offline-run-*/files/media/table/tables/registration_1_*.table.json")
    assert json.loads(table.read_text())["data"] == [["salient", 0.1 + 0.2], ["none", "-"]]
    pictures = tmp_path.glob("wandb/offline-run-*/files/media/images/registration/*.png")
    assert {path.name.split("_")[0] for path in pictures} == {"Chart", "Picture"}


def test_mlflow_gets_numbers_figures_and_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    logger = RunMLFlowLogger(save_dir=str(tmp_path), experiment_name="e", run_name="r")
    log_reports([REPORT], [logger])
    logger.finalize("success")
    run = logger.experiment.get_run(logger.run_id)
    assert run.data.metrics["registration/errors/salient/csp"] == 0.1 + 0.2
    (artifacts,) = tmp_path.glob("mlflow_artifacts/*/artifacts")
    with (artifacts / "tables" / "registration_1.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["method", "csp | lv"], ["salient", "0.30000000000000004"], ["none", "-"]]
    assert {re.split("[+%]", path.name)[0] for path in artifacts.glob("images/*.png")} == {
        "registration~Chart",
        "registration~Picture",
    }
