"""Pictures of a sweep: parallel coordinates of what varied, and the best so far."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Line
from matplotlib.ticker import MaxNLocator

from anatomark.collecting.axes import Scale, make_scale, spans_decades
from anatomark.collecting.endings import Status
from anatomark.collecting.groups import FOLD, SEED
from anatomark.collecting.jobs import Job, Sweep
from anatomark.collecting.ranking import Ranking

_BEST, _DONE, _OTHER, _FAILED = "#c2410c", "#0b7285", "#8a97a6", "#b91c1c"
_LOST: tuple[tuple[Status, str, str], ...] = (
    ("failed", "X", _FAILED),
    ("pruned", "x", _OTHER),
    ("unfinished", "|", _OTHER),
)
_SHADES = "viridis"
_MAX_LABEL = 22  # characters of a tick


def draw_figures(sweep: Sweep, ranking: Ranking) -> dict[str, Figure]:
    """Title -> figure."""
    better = "lower" if ranking.mode == "min" else "higher"
    figures = {f"Best {ranking.metric} so far ({better} is better)": draw_best_so_far(sweep, ranking)}
    if drawn_keys(sweep):
        title = f"What varied, and {ranking.metric}; {sweep.unit} {ranking.best} is the best"
        figures[title] = draw_parallel(sweep, ranking)
    return figures


def drawn_keys(sweep: Sweep) -> list[str]:
    """The axes of parallel coordinates: seed and fold are none where something else varies."""
    own = [key for key in sweep.keys if key not in (SEED, FOLD)]
    return own or [key for key in sweep.keys if key != FOLD or not sweep.trials]


def draw_parallel(sweep: Sweep, ranking: Ranking) -> Figure:
    """One line per job that has a score: through its value of every parameter to the score, in whose shade it is.

    Trials of several jobs have one each. Pruned ones are dashed, the best is in front.
    """
    keys = drawn_keys(sweep)
    jobs = [job for job in sweep.ranked if job.name in ranking.scores and all(key in job.parameters for key in keys)]
    jobs.sort(key=lambda job: job.name == ranking.best)  # the last one is drawn on top
    columns = {key: [job.parameters[key] for job in jobs] for key in keys}
    scales = {key: make_scale(values) for key, values in columns.items()}
    scales[ranking.metric] = score = make_scale([ranking.scores[job.name] for job in jobs])
    figure = Figure(figsize=(max(6.0, 1.9 * len(scales)), 3.9), layout="constrained")
    axes = figure.add_subplot()
    _draw_scales(axes, scales)
    for number, job in enumerate(jobs):
        quality = 1 - score.heights[number] if ranking.mode == "min" else score.heights[number]
        _draw_line(axes, [scale.heights[number] for scale in scales.values()], job, quality, ranking.best)
    return figure


def _draw_line(axes: Axes, heights: list[float], job: Job, quality: float, best: str) -> None:
    """A smooth line, so that two that meet on an axis can be told apart beyond it."""
    points, codes = [(0.0, heights[0])], [Line.MOVETO]
    for number, (left, right) in enumerate(pairwise(heights)):
        points += [(number + 0.5, left), (number + 0.5, right), (number + 1.0, right)]
        codes += [Line.CURVE4] * 3
    is_best = job.name == best
    colour = _BEST if is_best else _OTHER if job.status == "pruned" else colormaps[_SHADES](0.9 * (1 - quality))
    style = "--" if job.status == "pruned" else "-"
    width = 2.4 if is_best else 1.2
    axes.add_patch(PathPatch(Line(points, codes), facecolor="none", edgecolor=colour, lw=width, ls=style, alpha=0.9))


def _draw_scales(axes: Axes, scales: Mapping[str, Scale]) -> None:
    for position, (name, scale) in enumerate(scales.items()):
        axes.axvline(position, color="#2b343d", lw=1)
        for height, text in scale.ticks:
            axes.plot([position - 0.02, position], [height, height], color="#2b343d", lw=1)
            axes.text(
                position - 0.035,
                height,
                _shorten(text),
                ha="right",
                va="center",
                fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
                zorder=4,
            )
        note = "\n(log)" if scale.logarithmic else ""
        bold = "bold" if position == len(scales) - 1 else "normal"
        axes.text(position, 1.06, name + note, ha="center", va="bottom", fontsize=9, fontweight=bold)
    axes.set_xlim(-0.35, len(scales) - 0.85)
    axes.set_ylim(-0.05, 1.06)
    axes.axis("off")


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_LABEL else f"{text[: _MAX_LABEL - 1]}\N{HORIZONTAL ELLIPSIS}"


def draw_best_so_far(sweep: Sweep, ranking: Ranking) -> Figure:
    """The score of every job, or trial of several, over its number, the best until then, and those without one."""
    numbers = number_jobs(sweep)
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.add_subplot()
    scored = {status: [] for status in ("finished", "pruned")}  # type: dict[str, list[str]]
    for job in sweep.ranked:
        if job.name in ranking.scores and job.status in scored:
            scored[job.status].append(job.name)
    for status, marker, colour in (("finished", "o", _DONE), ("pruned", "x", _OTHER)):
        names = scored[status]
        if names:
            x, y = [numbers[name] for name in names], [ranking.scores[name] for name in names]
            axes.scatter(x, y, marker=marker, color=colour, s=26, label=status, zorder=3)
    x, y = best_so_far(sweep, ranking)
    axes.step([*x, max(numbers.values())], [*y, y[-1]], where="post", color=_BEST, lw=1.6, label="best so far")
    for status, marker, colour in _LOST:
        lost = [numbers[job.name] for job in sweep.of_status(status) if job.name not in ranking.scores]
        if lost:
            # On the lower edge, whatever the scores are.
            edge = axes.get_xaxis_transform()
            label = status if status != "pruned" else "pruned, no score"
            heights = np.zeros(len(lost))
            axes.scatter(
                lost, heights, marker=marker, color=colour, s=36, transform=edge, label=label, clip_on=False, zorder=5
            )
    if spans_decades([ranking.scores[name] for names in scored.values() for name in names]):
        axes.set_yscale("log")
    axes.margins(y=0.1)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
    axes.set_xlabel(sweep.unit, fontsize=9)
    axes.set_ylabel(ranking.metric, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def number_jobs(sweep: Sweep) -> dict[str, int]:
    """Job, or trial of several -> its number; its place where folders are not called by numbers."""
    if all(job.name.isdecimal() for job in sweep.ranked):
        return {job.name: int(job.name) for job in sweep.ranked}
    return {job.name: place for place, job in enumerate(sweep.ranked)}


def best_so_far(sweep: Sweep, ranking: Ranking) -> tuple[list[int], list[float]]:
    """Numbers of those that have a score, and the best score of those until each; pruned ones count for none."""
    numbers = number_jobs(sweep)
    names = [job.name for job in sweep.of_status("finished") if job.name in ranking.scores]
    scores = np.array([ranking.scores[name] for name in names])
    best = np.minimum.accumulate(scores) if ranking.mode == "min" else np.maximum.accumulate(scores)
    return [numbers[name] for name in names], best.tolist()
