from pathlib import Path

import numpy as np
import pytest

from anatomark.report.curves import draw_training_curves
from anatomark.types import AnatomarkError

METRICS = """epoch,step,train/loss,val/loss,val/nss,test/nss,lr-SGD
0,10,4.0,,,,0.1
0,20,2.0,,,,0.1
0,20,,2.5,1.0,,
1,40,1.0,,,,0.1
1,40,,1.5,2.0,,
2,40,,,,3.0,
"""


def test_curves_are_means_per_epoch_without_learning_rate_and_test(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(METRICS)
    figure = draw_training_curves(tmp_path / "metrics.csv")
    lines = {line.get_label(): np.asarray(line.get_xydata()).tolist() for axes in figure.axes for line in axes.lines}
    assert lines == {
        "train/loss": [[0, 3.0], [1, 1.0]],
        "val/loss": [[0, 2.5], [1, 1.5]],
        "val/nss": [[0, 1.0], [1, 2.0]],
    }
    assert len(figure.axes) == 2


def test_curves_take_the_epoch_value_where_lightning_logs_both(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("epoch,step,loss_step,loss_epoch\n0,1,9.0,\n0,2,,5.0\n")
    (axes,) = draw_training_curves(tmp_path / "metrics.csv").axes
    assert [(line.get_label(), list(line.get_ydata())) for line in axes.lines] == [("loss", [5.0])]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "does not exist"),
        ("", "not a readable CSV"),
        ("step,train/loss\n0,1\n", "no column 'epoch'"),
        ("epoch,lr\n0,1\n", "no number in a column"),
    ],
)
def test_unusable_metrics_are_refused(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(AnatomarkError, match=rf"metrics\.csv.*{message}"):
        draw_training_curves(tmp_path / "metrics.csv")
