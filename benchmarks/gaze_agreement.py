"""Fixation filter against two experts, sample by sample (Cohen's kappa, fixation against everything else).

    ANATOMARK_DATA=... python benchmarks/gaze_agreement.py

Recordings of Andersson et al. 2017 (500 Hz, pictures); beside it, the experts' agreement with each other, and
what other lengths of the moving average give.
"""

import os
import sys
from itertools import groupby
from pathlib import Path

import numpy as np
from sklearn.metrics import cohen_kappa_score

from anatomark.data.gaze import GazeFilter
from anatomark.data.sources.andersson import LabelledRecording, read_andersson
from anatomark.types import AnatomarkError

SMOOTHING_SAMPLES = (1, 3, 5, 7, 11, 15, 21)


def filter_agreement(recording: LabelledRecording, gaze: GazeFilter) -> float:
    """Kappa of the filter with the expert of a recording."""
    labels = gaze.labels(recording.t_ms, recording.xy_px, recording.valid, where=recording.name)
    return float(cohen_kappa_score(recording.fixation, labels))


def print_recordings(recordings: list[LabelledRecording]) -> None:
    """One line per recording: the default filter against each expert, the experts against each other."""
    print(f"{'recording':<22}{'filter-MN':>10}{'filter-RA':>10}{'MN-RA':>8}")
    rows = []
    for name, group in groupby(recordings, key=lambda r: r.name):
        first, second = group
        ours = [filter_agreement(r, GazeFilter(screen=r.screen)) for r in (first, second)]
        rows.append([*ours, float(cohen_kappa_score(first.fixation, second.fixation))])
        print(f"{name:<22}{rows[-1][0]:>10.3f}{rows[-1][1]:>10.3f}{rows[-1][2]:>8.3f}")
    mean = np.mean(rows, axis=0)
    print(f"{'mean':<22}{mean[0]:>10.3f}{mean[1]:>10.3f}{mean[2]:>8.3f}")
    print(f"filter / experts: {mean[:2].mean() / mean[2]:.2f}")


def print_windows(recordings: list[LabelledRecording]) -> None:
    """Mean agreement with both experts by the length of the moving average."""
    for samples in SMOOTHING_SAMPLES:
        kappas = [filter_agreement(r, GazeFilter(screen=r.screen, smoothing_samples=samples)) for r in recordings]
        period = np.median(np.diff(recordings[0].t_ms))
        print(f"{samples:>3} samples ({samples * period:.0f} ms): mean kappa {np.mean(kappas):.3f}")


def main() -> None:
    if "ANATOMARK_DATA" not in os.environ:
        raise AnatomarkError("ANATOMARK_DATA is not set; set it to the folder that holds andersson2017")
    recordings = read_andersson(Path(os.environ["ANATOMARK_DATA"]) / "andersson2017")
    print_recordings(recordings)
    print_windows(recordings)


if __name__ == "__main__":
    try:
        main()
    except AnatomarkError as error:
        sys.exit(str(error))
