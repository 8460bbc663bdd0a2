"""What was measured on every volume -> the numbers of the report. What was not measured is absent."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from anatomark.evaluators.one_shot_reliability import SIGNALS, rank_correlation

Errors = Mapping[str, float]
"""Landmark -> distance to where the expert put it, mm; empty where there is no expert."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """An aligned target.

    Attributes:
        errors: stage -> errors.
        seconds: stage -> its duration.
        correlation: of the aligned intensities within the region.
        mass_ratio: probability summed over the structure, of the volume of the reference's mask.
        folding: share of folding voxels; None without demons.
        reasons: why it is not to be trusted.
        doubts: signal -> landmark -> how little it is to be relied on.
    """

    errors: Mapping[str, Errors]
    seconds: Mapping[str, float]
    correlation: float
    mass_ratio: float
    folding: float | None
    reasons: Sequence[str]
    doubts: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class TargetResult:
    """All that is known of one target.

    Attributes:
        key: its id.
        measured: None where it failed.
        failure: why it did; empty where it did not.
        naive: errors of the registration without localisation.
        naive_seconds: duration of that; None where it was not tried.
        naive_failure: why it failed; empty where it did not.
        second_rater: distances between the two experts' points.
    """

    key: str
    measured: Measured | None = None
    failure: str = ""
    naive: Errors = field(default_factory=dict)
    naive_seconds: float | None = None
    naive_failure: str = ""
    second_rater: Errors = field(default_factory=dict)


def summarise(results: Sequence[TargetResult], *, stages: Sequence[str], signal: str) -> dict[str, Any]:
    """The values of the report.

    Args:
        results: all targets.
        stages: their order; the errors of the last are the result.
        signal: what landmarks are ranked by.
    """
    aligned = {result.key: result.measured for result in results if result.measured is not None}
    final = {key: measured.errors[stages[-1]] for key, measured in aligned.items()}
    trusted = {key: errors for key, errors in final.items() if not aligned[key].reasons}
    values: dict[str, Any] = {
        "n_volumes": len(results),
        **describe_errors(final),
        "failed": [result.key for result in results if result.measured is None],
        "failures": {result.key: result.failure for result in results if result.measured is None},
        "untrusted": {key: list(measured.reasons) for key, measured in aligned.items() if measured.reasons},
        "stages": {stage: _stage(aligned.values(), stage) for stage in stages if aligned},
        "measures": {key: _measures(measured) for key, measured in aligned.items()},
        "reliability": _reliability(aligned, stages[-1], signal),
    }
    if len(trusted) < len(final):
        values["trusted_only"] = describe_errors(trusted)
    tried = [result for result in results if result.naive_seconds is not None]
    if tried:
        values["naive"] = {
            **describe_errors({result.key: result.naive for result in tried}),
            "failed": {result.key: result.naive_failure for result in tried if result.naive_failure},
            "seconds": fmean(result.naive_seconds or 0.0 for result in tried),
        }
    if any(result.second_rater for result in results):
        values["second_rater"] = describe_errors({result.key: result.second_rater for result in results})
    return values


def describe_errors(errors: Mapping[str, Errors]) -> dict[str, Any]:
    """Mean errors over everything, per landmark and per volume.

    Args:
        errors: volume -> landmark -> mm.

    Returns:
        ``overall_mean_mm`` (absent without errors), ``landmarks`` with ``mean_mm``, ``sd_mm`` (n - 1; absent for a
        single volume) and ``n``, and ``volumes``.
    """
    by_landmark: dict[str, list[float]] = {}
    for of_volume in errors.values():
        for name, error in of_volume.items():
            by_landmark.setdefault(name, []).append(error)
    everything = [error for of_landmark in by_landmark.values() for error in of_landmark]
    return {
        **({"overall_mean_mm": fmean(everything)} if everything else {}),
        "landmarks": {
            name: {
                "mean_mm": fmean(of_landmark),
                **({"sd_mm": stdev(of_landmark)} if len(of_landmark) > 1 else {}),
                "n": len(of_landmark),
            }
            for name, of_landmark in by_landmark.items()
        },
        "volumes": {key: fmean(of_volume.values()) for key, of_volume in errors.items() if of_volume},
    }


def _stage(aligned: Iterable[Measured], stage: str) -> dict[str, float]:
    aligned = list(aligned)
    errors = [error for measured in aligned for error in measured.errors[stage].values()]
    mean = {"mean_mm": fmean(errors)} if errors else {}
    return {**mean, "seconds": fmean(measured.seconds[stage] for measured in aligned)}


def _measures(measured: Measured) -> dict[str, float]:
    return {
        "correlation": measured.correlation,
        "mass_ratio": measured.mass_ratio,
        **({} if measured.folding is None else {"folding": measured.folding}),
        "seconds": sum(measured.seconds.values()),
    }


def _reliability(aligned: Mapping[str, Measured], last: str, signal: str) -> dict[str, Any]:
    """How well each signal orders the landmarks by their error, and the order by the chosen one."""
    scores: dict[str, dict[str, float]] = {}
    for name in SIGNALS:
        volumes = [(m.doubts[name], m.errors[last]) for m in aligned.values() if name in m.doubts and m.errors[last]]
        pairs = [[(doubts[landmark], error) for landmark, error in errors.items()] for doubts, errors in volumes]
        within = [found for of_volume in pairs if (found := _rank(of_volume)) is not None]
        pooled = _rank([pair for of_volume in pairs for pair in of_volume])
        if pooled is not None:
            scores[name] = {"pooled": pooled, **({"within_volume": fmean(within)} if within else {})}
    return {
        "signal": signal,
        "spearman": scores,
        "most_reliable_first": {key: _ranked(measured.doubts[signal]) for key, measured in aligned.items()},
    }


def _ranked(doubts: Mapping[str, float]) -> list[str]:
    return sorted(doubts, key=lambda name: (doubts[name], name))


def _rank(pairs: Sequence[tuple[float, float]]) -> float | None:
    return rank_correlation([doubt for doubt, _ in pairs], [error for _, error in pairs])
