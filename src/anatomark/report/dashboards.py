"""Pictures and tables -> the dashboards of the loggers that take them: TensorBoard, wandb, MLflow."""

import re

from matplotlib.figure import Figure
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from anatomark.report.pictures import figure_to_rgb
from anatomark.report.tables import csv_text, lay_out
from anatomark.types import Table


def log_picture(logger: Logger, tag: str, figure: Figure, *, step: int | None = None) -> bool:
    """Sends a figure to a logger that takes pictures.

    Args:
        logger: any Lightning logger.
        tag: name of the picture in the dashboard; ``/`` groups.
        figure: the picture.
        step: position on the dashboard's time axis.

    Returns:
        Whether the logger takes pictures (TensorBoard, wandb and MLflow do).
    """
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(tag, figure_to_rgb(figure), step, dataformats="HWC")
        return True
    if isinstance(logger, WandbLogger):
        logger.log_image(tag, [figure_to_rgb(figure)], step=step)
        return True
    if isinstance(logger, MLFlowLogger):
        key = re.sub(r"[^\w./ -]+", "_", tag)  # all that MLflow allows
        logger.experiment.log_image(logger.run_id, figure_to_rgb(figure), key=key, step=step or 0)
        return True
    return False


def log_table(logger: Logger, tag: str, table: Table) -> bool:
    """Sends a table to a logger that takes tables.

    wandb and MLflow get the exact numbers, TensorBoard the table as it is shown.

    Args:
        logger: any Lightning logger.
        tag: name of the table in the dashboard; ``/`` groups.
        table: the table.

    Returns:
        Whether the logger takes tables (TensorBoard, wandb and MLflow do).
    """
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_text(tag, markdown(table))
        return True
    if isinstance(logger, WandbLogger):
        import wandb  # an extra

        # A column may hold numbers and, where nothing was measured, text.
        logger.experiment.log({tag: wandb.Table(columns=table.columns, data=table.rows, allow_mixed_types=True)})
        return True
    if isinstance(logger, MLFlowLogger):
        logger.experiment.log_text(logger.run_id, csv_text(table), f"{tag}.csv")
        return True
    return False


def markdown(table: Table) -> str:
    """The table as Markdown, numbers formatted, under its title and above its note."""
    header, rows = lay_out(table)
    lines = [[cell.text for cell in header], ["---:" if cell.number else "---" for cell in header]]
    lines += [[cell.text for cell in row] for row in rows]
    body = "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines)
    return "\n\n".join(part for part in (table.title, body, table.note) if part)
