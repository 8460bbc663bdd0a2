"""The report page: one HTML file with its figures, tables and styles inside."""

import base64
import sys
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from typing import Any, TypedDict

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from matplotlib.figure import Figure

from anatomark.report.pictures import encode_png, encode_svg, holds_pixels
from anatomark.report.tables import lay_out
from anatomark.types import Report


class RunInfo(TypedDict):
    """Where the numbers of a report come from.

    Attributes:
        data_set: name of the data set; says "phantom" or "simulated" where that is what it is.
        runs: run folders that were evaluated.
        command: the exact command line.
        seed: seed of the evaluation.
        date: when, as text.
        version: version of this package.
        note: what the reader must know of the runs; empty for nothing.
    """

    data_set: str
    runs: list[str]
    command: str
    seed: int
    date: str
    version: str
    note: str


def describe_evaluation(data_set: str, runs: list[str], seed: int, *, note: str = "") -> RunInfo:
    """Describes an evaluation by this process: its command line, today's date and the version of the package."""
    return {
        "data_set": data_set,
        "runs": runs,
        "command": " ".join(["python", *sys.orig_argv[1:]]),
        "seed": seed,
        "date": date.today().isoformat(),
        "version": version("anatomark"),
        "note": note,
    }


def render_page(
    reports: Sequence[Report],
    files: Sequence[dict[str, str]],
    *,
    title: str,
    run_info: RunInfo,
    training_curves: Figure | None,
) -> str:
    """Renders the page.

    Args:
        reports: what the evaluators found.
        files: the data files of each report, name -> content: its JSON file, then one CSV file per table.
            They are embedded, so that the page can be sent to a colleague alone.
        title: heading of the page.
        run_info: where the numbers come from.
        training_curves: figure of the training run.

    Returns:
        The page as HTML.
    """
    sections = [_section(report, data) for report, data in zip(reports, files, strict=True)]
    curves = None if training_curves is None else _inline("Loss and validation metrics", training_curves)
    return _template().render(title=title, run_info=run_info, sections=sections, curves=curves)


def _section(report: Report, files: dict[str, str]) -> dict[str, Any]:
    data, *tables = [{"file": name, "href": _data_uri("text/plain", text.encode())} for name, text in files.items()]
    return {
        "name": report.name,
        "title": report.title,
        "data": data,
        "tables": [
            {"table": table, "layout": lay_out(table), **download}
            for table, download in zip(report.tables, tables, strict=True)
        ],
        "figures": [_inline(title, figure) for title, figure in report.figures.items()],
        "files": [
            {"path": path, "file": path.rpartition("/")[2], "href": _data_uri("text/plain", text.encode())}
            for path, text in report.files.items()
        ],
    }


def _inline(title: str, figure: Figure) -> dict[str, Any]:
    width, height = figure.get_size_inches()
    shown = {"title": title, "wide": bool(width > 2 * height)}
    if holds_pixels(figure):
        return shown | {"kind": "picture", "href": _data_uri("image/png", encode_png(figure))}
    return shown | {"kind": "chart", "href": _data_uri("image/svg+xml", encode_svg(figure))}


def _data_uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("anatomark.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")
