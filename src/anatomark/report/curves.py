"""Training curves from the ``metrics.csv`` of Lightning's CSV logger."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from anatomark.types import AnatomarkError, require

_TRAIN, _VAL = "#8a97a6", "#0b7285"
_PANELS_PER_ROW = 4


def draw_training_curves(metrics_csv: Path) -> Figure:
    """Draws losses in one panel and every other validation metric in a panel of its own, all per epoch.

    Args:
        metrics_csv: file of Lightning's CSV logger: a column ``epoch`` and one column per logged name, empty
            where a row does not hold it. Several rows of an epoch are averaged.

    Raises:
        AnatomarkError: the file is missing, unreadable or holds no curve.
    """
    curves = _read_curves(metrics_csv)
    losses = [name for name in curves if "loss" in name.lower()]
    metrics = [name for name in curves if name.startswith("val") and name not in losses]
    panels = ([losses] if losses else []) + [[name] for name in metrics]
    if not panels:
        raise AnatomarkError(
            f"{metrics_csv}: no number in a column *loss* or val*; expected a training run's metrics.csv"
        )
    n_columns = min(_PANELS_PER_ROW, len(panels))
    n_rows = -(-len(panels) // n_columns)
    figure = Figure(figsize=(2.9 * n_columns, 2.2 * n_rows), layout="constrained")
    for position, names in enumerate(panels, start=1):
        _draw_panel(figure.add_subplot(n_rows, n_columns, position), {name: curves[name] for name in names})
    return figure


def _read_curves(metrics_csv: Path) -> dict[str, "pd.Series[float]"]:
    require(metrics_csv, "the metrics.csv that the CSV logger writes into the run folder")
    try:
        frame = pd.read_csv(metrics_csv)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise AnatomarkError(f"{metrics_csv}: not a readable CSV file ({error}); train again") from error
    if "epoch" not in frame:
        raise AnatomarkError(f"{metrics_csv}: no column 'epoch'; expected the CSV logger's metrics.csv")
    names = [str(name) for name in frame.select_dtypes("number") if name not in ("epoch", "step")]
    # Where Lightning logs a value per step and per epoch, the epoch's is the exact mean over its samples.
    names = [name for name in names if not (name.endswith("_step") and f"{name[:-5]}_epoch" in names)]
    per_epoch = {name: frame[["epoch", name]].dropna().groupby("epoch")[name].mean() for name in names}
    return {name.removesuffix("_epoch"): curve for name, curve in per_epoch.items() if len(curve)}


def _draw_panel(axes: Axes, curves: dict[str, "pd.Series[float]"]) -> None:
    for name, curve in curves.items():
        colour = _VAL if name.startswith("val") else _TRAIN
        marker = "o" if len(curve) <= 25 else ""
        axes.plot(curve.index, curve.to_numpy(), color=colour, marker=marker, markersize=3, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.set_xlabel("epoch", fontsize=8)
    axes.set_title("loss" if len(curves) > 1 else next(iter(curves)), fontsize=9, loc="left", fontweight="bold")
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if len(curves) > 1:
        axes.legend(fontsize=7, frameon=False)
