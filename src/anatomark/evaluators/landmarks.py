"""Evaluator: are the discovered landmarks where the anatomy is? (Droste et al. 2020, section 3)"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from anatomark.evaluators.discovery import DROSTE_STRUCTURES, Discovery, LandmarkDiscovery
from anatomark.evaluators.groups import LandmarkGroup
from anatomark.evaluators.landmark_frame import NOT_MEASURED, LandmarkFrame
from anatomark.report.figures import LandmarkPanel, draw_landmark_grid
from anatomark.types import Prediction, Report, Sample, Table

PUBLISHED_NEAR_PERCENT = 88.0
PUBLISHED_FOUND_PERCENT = 77.1

_COUNTS = {
    "n_frames": "frames",
    "n_complete": "complete frames",
    "n_landmarks": "landmarks",
    "n_structures": "structures",
}


class LandmarksEvaluator:
    """Reports the landmarks of every frame and how many lie on the structure they are named after.

    ``landmarks_near_structure`` is the share of named landmarks within 10 % of the outline's long axis of their
    structure; ``structures_found`` the share of annotated structures with such a landmark. Both count fully
    annotated frames only (all structures of the plane and the outline), and those that named clusters
    too, as in the paper.

    Args:
        discovery: how landmarks are found.
        n_examples: columns of the landmark grid per plane.
    """

    def __init__(self, *, discovery: LandmarkDiscovery, n_examples: int = 6) -> None:
        self.discovery = discovery
        self.n_examples = n_examples

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits whose frames the stream has to hold."""
        return self.discovery.splits

    def __call__(self, pairs: Iterable[tuple[Sample, Prediction]]) -> Report:
        """Evaluates a stream of frames.

        Args:
            pairs: as for :class:`LandmarkDiscovery`, which also says what is raised.
        """
        discovery = self.discovery(pairs)
        planes = {plane: _rates(frames) for plane, frames in discovery.planes.items()}
        silhouettes = [group.clustering.silhouette for group in discovery.groups]
        values = {
            "k": float(np.mean([group.clustering.k for group in discovery.groups])),
            "silhouette": float(np.mean(silhouettes)),
            **_rates(discovery.frames),
            "planes": planes,
            "groups": [_group_values(group, self.discovery.structures) for group in discovery.groups],
            "images": [_image_values(frame) for frame in discovery.frames],
        }
        return Report(
            name="landmarks",
            title="Salient landmarks",
            values=values,
            tables=[_rate_table(discovery, planes, values), _group_table(values["groups"])],
            figures=self._figures(discovery),
        )

    def _figures(self, discovery: Discovery) -> dict[str, Figure]:
        figures = {}
        for plane, frames in discovery.planes.items():
            complete = [frame for frame in frames if frame.complete]
            n = min(self.n_examples, len(complete))
            if n:
                panels = [_panel(complete[i]) for i in np.linspace(0, len(complete) - 1, n).round().astype(int)]
                figures[f"Landmarks, {plane}"] = draw_landmark_grid(panels, self.discovery.structures[plane])
        return figures


def _rates(frames: Sequence[LandmarkFrame]) -> dict[str, Any]:
    complete = [frame for frame in frames if frame.complete]
    n_near = sum(frame.n_near for frame in complete)
    n_landmarks = sum(len(frame.points) for frame in complete)
    n_structures = sum(len(frame.structures) for frame in complete)
    return {
        "landmarks_near_structure": n_near / n_landmarks if n_landmarks else None,
        "structures_found": n_near / n_structures if n_structures else None,
        "n_frames": len(frames),
        "n_complete": len(complete),
        "n_landmarks": n_landmarks,
        "n_structures": n_structures,
        "n_near": n_near,
    }


def _group_values(group: LandmarkGroup, structures: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    wanted = dict.fromkeys(s for plane in group.planes for s in structures[plane])
    return {
        "run": group.run,
        "planes": list(group.planes),
        "k": group.clustering.k,
        "silhouette": group.clustering.silhouette,
        "cluster_names": list(group.names),
        "structures_without_cluster": [s for s in wanted if s not in group.centroids],
        "n_landmarks_clustered": group.n_landmarks,
        "n_frames_naming": group.n_vote_frames,
    }


def _image_values(frame: LandmarkFrame) -> dict[str, Any]:
    return {
        "key": frame.key,
        "subject": frame.subject,
        "run": frame.run,
        "plane": frame.plane,
        "landmarks": {name: list(point) for name, point in frame.points.items()},
        "peaks": [asdict(peak) | {"point": list(peak.point)} for peak in frame.peaks],
        "complete": frame.complete,
        "aligned": frame.aligned,
        "strict": frame.complete and frame.strict,
    }


def _rate_table(discovery: Discovery, planes: dict[str, dict[str, Any]], values: dict[str, Any]) -> Table:
    rows: list[list[str | float | int]] = [
        [
            plane,
            _percent(v["landmarks_near_structure"]),
            _percent(v["structures_found"]),
            *(v[c] for c in _COUNTS),
        ]
        for plane, v in [*planes.items(), ("all planes", values)]
    ]
    comparable = not DROSTE_STRUCTURES.keys().isdisjoint(planes)
    if comparable:
        title, gaps = "Droste 2020, TV and TC (published)", [NOT_MEASURED] * len(_COUNTS)
        rows.append([title, PUBLISHED_NEAR_PERCENT, PUBLISHED_FOUND_PERCENT, *gaps])
    return Table(
        title="Landmarks near their structure, structures near their landmark",
        columns=["plane", "landmarks near, %", "structures found, %", *_COUNTS.values()],
        rows=rows,
        note="Near: within 10 % of the outline's long axis. Both rates on fully annotated frames only."
        + (" The published numbers are on private data." if comparable else ""),
    )


def _group_table(groups: list[dict[str, Any]]) -> Table:
    rows: list[list[str | float | int]] = [
        [
            g["run"],
            " + ".join(g["planes"]),
            g["k"],
            g["silhouette"],
            g["n_landmarks_clustered"],
            g["n_frames_naming"],
            ", ".join(name or NOT_MEASURED for name in g["cluster_names"]),
        ]
        for g in groups
    ]
    return Table(
        title="Clusters of landmark features",
        columns=["run", "plane", "k", "silhouette", "landmarks", "frames that name", "clusters"],
        rows=rows,
        note="k by the largest silhouette; a dash is a cluster without a structure. A high silhouette does"
        " not mean that the clusters are the structures.",
    )


def _percent(share: float | None) -> float | str:
    return NOT_MEASURED if share is None else 100 * share


def _panel(frame: LandmarkFrame) -> LandmarkPanel:
    if frame.image is None or frame.saliency is None:
        raise ValueError(f"frame {frame.key} was kept without its image; only complete frames can be drawn")
    return LandmarkPanel(
        title=frame.key,
        image=frame.image,
        saliency=frame.saliency,
        landmarks=frame.points,
        truth=frame.centres,
        others=[peak.point for peak in frame.peaks if peak.structure is None],
    )
