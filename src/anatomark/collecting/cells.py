"""What the tables of a sweep show in their cells: parameters, spreads, intervals and links."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from anatomark.collecting.axes import show_value
from anatomark.collecting.groups import Spread
from anatomark.collecting.jobs import Job
from anatomark.collecting.ranking import Ranking
from anatomark.collecting.subjects import Score
from anatomark.evaluators.landmark_frame import NOT_MEASURED
from anatomark.report.tables import Link

Cell = str | float | int


def names_of(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """All names of some jobs' numbers, in the order in which they first appear."""
    return list(dict.fromkeys(name for numbers in found for name in numbers))


def short_names(metrics: Sequence[str], ranking: Ranking | None) -> list[str]:
    """The score and the test metrics; without any of them, those of validation. Counts of frames are left out."""
    score = [ranking.metric] if ranking else []
    scores = [metric for metric in metrics if metric not in score and not metric.split("/")[-1].startswith("n_")]
    for split in ("test/", "val/"):
        if chosen := [metric for metric in scores if metric.startswith(split)]:
            return [*score, *chosen]
    return score


def parameters_of(job: Job, keys: Sequence[str]) -> list[Cell]:
    """The values of some keys for a job; not measured where nothing says them."""
    return [show_value(job.parameters[key]) if key in job.parameters else NOT_MEASURED for key in keys]


def parameter_cells(parameters: Mapping[str, Any]) -> list[Cell]:
    """Values of parameters as a page shows them."""
    return [show_value(value) for value in parameters.values()]


def exact_cell(value: Any) -> Cell:
    """A parameter's value as a CSV file holds it."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else show_value(value)


def or_empty(value: Cell | None) -> Cell:
    """A number, or the empty cell of a CSV file."""
    return "" if value is None else value


def page_link(job: Job) -> str:
    """The link to a job's report from the page of its sweep; not measured where it has none."""
    return Link("page", f"../{quote(page_of(job))}") if job.has_page else NOT_MEASURED


def page_of(job: Job) -> str:
    """A job's report, seen from the folder of its sweep."""
    return f"{job.name}/report/index.html"


def spread_over(spread: Mapping[str, Spread], absent: str = NOT_MEASURED) -> str:
    """What spreads are over, such as "5 folds"."""
    for found in spread.values():
        return f"{found.n} {found.over if found.n > 1 else found.over.removesuffix('s')}"
    return absent


def spread_cells(spread: Mapping[str, Spread], metrics: Sequence[str]) -> list[Cell]:
    """Mean, standard deviation and interval of some metrics as text."""
    return [_describe(spread[metric]) if metric in spread else NOT_MEASURED for metric in metrics]


def _describe(found: Spread) -> str:
    if found.sd is None or found.low is None or found.high is None:
        return _digits(found.mean)
    interval = f"[{_digits(found.low)}, {_digits(found.high)}]"
    return f"{_digits(found.mean)} \N{PLUS-MINUS SIGN} {_digits(found.sd)} {interval}"


def _digits(value: float) -> str:
    return f"{value:.2g}" if 0 < abs(value) < 5e-4 else f"{value:.3f}"


def interval_cell(score: Score | None, header: str) -> str:
    """A score with its interval as text, in percent where its header says so."""
    if score is None or score.value is None:
        return NOT_MEASURED
    factor, digits = (100, 1) if header.endswith("%") else (1, 3)

    def show(value: float) -> str:
        return f"{factor * value:z.{digits}f}"

    if score.low is None or score.high is None:
        return show(score.value)
    return f"{show(score.value)} [{show(score.low)}, {show(score.high)}]"
