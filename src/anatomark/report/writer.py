"""Reports -> JSON, CSV, one self-contained HTML page, console tables and loggers."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as ConsoleTable
from rich.text import Text

from anatomark.report.curves import draw_training_curves
from anatomark.report.dashboards import log_picture, log_table
from anatomark.report.folders import check_replaceable, replaced_folder
from anatomark.report.page import RunInfo, render_page
from anatomark.report.tables import check_table, csv_text, lay_out
from anatomark.types import AnatomarkError, Report, Table

_PAGE, _KIND = "index.html", "report"
_INSIDE = re.compile(r"(?!\.)[^/\\:\x00-\x1f]+(/(?!\.)[^/\\:\x00-\x1f]+)*")


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
            files would have one name, a file would lie outside the report, or ``folder`` holds something else than a
            report.
    """
    files = [_data_files(report) for report in reports]
    _refuse_same_names([*files, *(report.files for report in reports), {_PAGE: ""}])
    curves = None if training_curves is None else draw_training_curves(training_curves)
    page = render_page(reports, files, title=title, run_info=run_info, training_curves=curves)
    with replaced_folder(folder, mark=_PAGE, kind=_KIND) as fresh:
        groups = [*files, *(report.files for report in reports), {_PAGE: page}]
        for name, text in (item for group in groups for item in group.items()):
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_text(text, encoding="utf-8")
    return folder / _PAGE


def check_report_folder(folder: Path) -> None:
    """Refuses a folder in which :func:`write_reports` could not write, before anything is measured.

    Raises:
        AnatomarkError: it holds something else than an earlier report.
    """
    check_replaceable(folder, mark=_PAGE, kind=_KIND)


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
    """Sends the single numbers of the reports to every logger, figures and tables to those that take them.

    Numbers are named ``<report>/<key>/<key>``; those of single subjects and lists (one entry per image, say) stay in
    the JSON file. Tables are named as their files: ``tables/<report>``.
    """
    reports = list(reports)
    for logger in loggers:
        for report in reports:
            logger.log_metrics(dict(flatten(report.values, report.name)))
            for title, figure in report.figures.items():
                log_picture(logger, f"{report.name}/{title}", figure)
            for number, table in enumerate(report.tables, start=1):
                log_table(logger, f"tables/{_stem(report, number)}", table)
        logger.save()


def flatten(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    """The single numbers of a report's values by path, such as ``saliency/model/nss``, without those of subjects."""
    for key, value in values.items():
        if isinstance(value, dict) and key != "subjects":
            yield from flatten(value, f"{prefix}/{key}")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}/{key}", value


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


def _data_files(report: Report) -> dict[str, str]:
    """File name -> content: the JSON file, then one CSV file per table. Checks the other files' names besides."""
    for name in report.files:
        # Written so that a file is inside the folder on every system.
        if not _INSIDE.fullmatch(name):
            raise AnatomarkError(
                f"{report.name}: a file cannot be called {name!r}; use folders and names without ':', '\\' or control"
                " characters that do not begin with '.'"
            )
    if not re.fullmatch(r"[\w-]+", report.name):
        raise AnatomarkError(f"report name {report.name!r} is no file name; use letters, digits, '_' and '-'")
    _check_plain(report.values, report.name)
    files = {f"{report.name}.json": json.dumps(report.values, indent=2, ensure_ascii=False) + "\n"}
    for number, table in enumerate(report.tables, start=1):
        check_table(table, report.name)
        files[f"{_stem(report, number)}.csv"] = csv_text(table)
    return files


def _stem(report: Report, number: int) -> str:
    """What a table of a report is called, counted from 1."""
    return f"{report.name}_{number}" if len(report.tables) > 1 else report.name


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
