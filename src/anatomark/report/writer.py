"""Reports -> JSON, CSV, one self-contained HTML page, console tables and loggers."""

import csv
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as ConsoleTable
from rich.text import Text

from anatomark.report.curves import draw_training_curves
from anatomark.report.folders import replaced_folder
from anatomark.report.page import RunInfo, render_page
from anatomark.report.pictures import log_picture
from anatomark.report.tables import check_table, lay_out
from anatomark.types import AnatomarkError, Report, Table

_PAGE = "index.html"


def write_reports(
    reports: Sequence[Report],
    folder: Path,
    *,
    title: str,
    run_info: RunInfo,
    training_curves: Path | None = None,
) -> Path:
    """Writes a report folder: JSON and CSV files and one page that needs neither them nor a network.

    Everything is written to a temporary folder first; an existing report is then replaced whole, so a
    failure leaves what was there.

    Args:
        reports: what the evaluators found, in the order of the page.
        folder: folder to write; an existing one must be an earlier report.
        title: heading of the page.
        run_info: where the numbers come from.
        training_curves: ``metrics.csv`` of the run, drawn on the page.

    Returns:
        Path of ``index.html``.

    Raises:
        AnatomarkError: a number is not finite, a value is not plain JSON, a table is not rectangular, two
            files would have one name, or ``folder`` holds something else than a report.
    """
    files = [_data_files(report) for report in reports]
    _refuse_same_names(files)
    curves = None if training_curves is None else draw_training_curves(training_curves)
    page = render_page(reports, files, title=title, run_info=run_info, training_curves=curves)
    with replaced_folder(folder, mark=_PAGE, kind="report") as fresh:
        for name, text in [*(item for group in files for item in group.items()), (_PAGE, page)]:
            (fresh / name).write_text(text, encoding="utf-8")
    return folder / _PAGE


def name_data_set(report: Report, data_set: str) -> Report:
    """Says in every table and in the values which data set was measured, phantoms and simulated gaze included."""
    tables = [replace(table, title=f"{table.title}; {data_set}") for table in report.tables]
    return replace(report, values={"data_set": data_set, **report.values}, tables=tables)


def print_tables(reports: Iterable[Report]) -> None:
    """Prints every table of the reports to the console."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)  # a log file has no window to fit into
    for report in reports:
        for table in report.tables:
            console.print(_console_table(table))


def log_reports(reports: Iterable[Report], loggers: Iterable[Logger]) -> None:
    """Sends the single numbers of the reports to every logger, and the figures to those that take pictures.

    Numbers are named ``<report>/<key>/<key>``; those of single subjects and lists (one entry per image, say) stay in
    the JSON file.
    """
    reports = list(reports)
    for logger in loggers:
        for report in reports:
            logger.log_metrics(dict(_flatten(report.values, report.name)))
            for title, figure in report.figures.items():
                log_picture(logger, f"{report.name}/{title}", figure)
        logger.save()


def _console_table(table: Table) -> ConsoleTable:
    header, rows = lay_out(table)
    grid = ConsoleTable(
        title=escape(table.title),
        title_justify="left",
        caption=escape(table.note) or None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for cell in header:
        grid.add_column(escape(cell.text), justify="right" if cell.number else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(cell.text, style="italic cyan" if cell.published else "") for cell in row))
    return grid


def _flatten(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        if isinstance(value, dict) and key != "subjects":
            yield from _flatten(value, f"{prefix}/{key}")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}/{key}", value


def _data_files(report: Report) -> dict[str, str]:
    """File name -> content: the JSON file, then one CSV file per table."""
    if not re.fullmatch(r"[\w-]+", report.name):
        raise AnatomarkError(f"report name {report.name!r} is no file name; use letters, digits, '_' and '-'")
    _check_plain(report.values, report.name)
    files = {f"{report.name}.json": json.dumps(report.values, indent=2, ensure_ascii=False) + "\n"}
    for number, table in enumerate(report.tables, start=1):
        check_table(table, report.name)
        text = StringIO()
        csv.writer(text, lineterminator="\n").writerows([table.columns, *table.rows])
        files[f"{report.name}_{number}.csv" if len(report.tables) > 1 else f"{report.name}.csv"] = text.getvalue()
    return files


def _refuse_same_names(files: list[dict[str, str]]) -> None:
    names = Counter(name for group in files for name in group)
    for name, count in names.items():
        if count > 1:
            raise AnatomarkError(f"{count} reports would write {name}; give every evaluator its own name")


def _check_plain(value: object, key: str) -> None:
    match value:
        case dict():
            for name, item in value.items():
                if not isinstance(name, str):
                    raise AnatomarkError(f"{key}: the key {name!r} is not text; JSON keys are")
                _check_plain(item, f"{key}.{name}")
        case list() | tuple():
            for index, item in enumerate(value):
                _check_plain(item, f"{key}[{index}]")
        case float() if not math.isfinite(value):
            raise AnatomarkError(f"{key} is {value}; an evaluator must leave out what it could not measure")
        case None | str() | int() | float():
            pass
        case _:
            raise AnatomarkError(f"{key} is a {type(value).__name__}; make it a plain number, text or list")
