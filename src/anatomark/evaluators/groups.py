"""Clusters of the landmarks of one feature space, and their names."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anatomark.evaluators.candidates import Candidates
from anatomark.evaluators.clusters import (
    UNNAMED,
    Clustering,
    FloatArray,
    IntArray,
    Naming,
    cluster_features,
    name_clusters,
    nearest_cluster,
    pick_independent,
    pick_joint,
    tells_apart,
)
from anatomark.evaluators.contrast import contrast_axes, highest_peaks
from anatomark.evaluators.landmark_frame import LandmarkFrame, Peak
from anatomark.types import AnatomarkError


@dataclass(frozen=True, kw_only=True)
class Margins:
    """How the joint pick uses feature margins.

    Attributes:
        weight: of a margin against the log height of a peak.
        smallest: below it a peak is not picked for a structure.
    """

    weight: float
    smallest: float


@dataclass(frozen=True, kw_only=True)
class LandmarkGroup:
    """The clusters of one feature space.

    Attributes:
        run: whose network made the features.
        planes: the planes clustered together.
        clustering: k-means of the fit frames' landmarks.
        names: structure of every cluster; None where a cluster shows none.
        centroids: mean feature vector over all landmarks in a structure's clusters; a structure that no
            cluster is named after is absent.
        axes: feature directions that the vectors are projected on before anything else, (f, a).
        n_landmarks: how many landmarks were clustered.
        n_vote_frames: how many annotated frames named the clusters.
    """

    run: str
    planes: tuple[str, ...]
    clustering: Clustering
    names: tuple[str | None, ...]
    centroids: dict[str, FloatArray]
    axes: FloatArray
    n_landmarks: int
    n_vote_frames: int

    def match(self, candidates: Candidates, *, margins: Margins | None) -> LandmarkFrame:
        """Names a frame's landmarks.

        Args:
            candidates: the frame's peaks.
            margins: of the joint pick; None labels every peak by itself.
        """
        clusters = np.zeros(0, dtype=np.int64)
        picked: dict[str, int] = {}
        if len(candidates.values):
            features = candidates.features @ self.axes
            clusters = nearest_cluster(features, self.clustering.centroids)
            picked = self._pick(candidates, features, clusters, margins)
        owner = {index: structure for structure, index in picked.items()}
        xy = [(float(x), float(y)) for x, y in candidates.xy]
        return LandmarkFrame(
            **vars(candidates.frame),
            points={structure: xy[index] for structure, index in picked.items()},
            peaks=[
                Peak(point=xy[i], value=float(v), cluster=int(c), structure=owner.get(i))
                for i, (v, c) in enumerate(zip(candidates.values, clusters, strict=True))
            ],
            image=candidates.image,
            saliency=candidates.saliency,
        )

    def _pick(
        self, candidates: Candidates, features: FloatArray, clusters: IntArray, margins: Margins | None
    ) -> dict[str, int]:
        named = [s for s in candidates.frame.structures if s in self.centroids]
        if not named:
            return {}
        if margins is None:
            index = {name: i for i, name in enumerate(named)}
            of_cluster = np.array([UNNAMED if n is None else index.get(n, UNNAMED) for n in self.names])
            picked = pick_independent(candidates.values, of_cluster[clusters], len(named))
        else:
            centroids = np.stack([self.centroids[s] for s in named])
            picked = pick_joint(
                candidates.values,
                features,
                centroids,
                margin_weight=margins.weight,
                min_margin=margins.smallest,
            )
        return {name: int(i) for name, i in zip(named, picked, strict=True) if i >= 0}


def fit_group(
    candidates: Sequence[Candidates],
    *,
    k_range: tuple[int, int],
    n_init: int,
    random_state: int,
    contrast: float | None,
    k_choice: str,
    naming: Naming,
    vote_fraction: float,
    min_vote_frames: int,
) -> LandmarkGroup:
    """Clusters the landmarks of frames that share a feature space and names the clusters.

    Args:
        candidates: the frames' peaks; see :class:`LandmarkDiscovery` for the options.

    Raises:
        AnatomarkError: too few landmarks, or no annotated frame.
    """
    run, planes = candidates[0].frame.run, tuple(sorted({c.frame.plane for c in candidates}))
    where = f"run {run}, plane {' and '.join(planes)}"
    structures = list(dict.fromkeys(s for c in candidates for s in c.frame.structures))
    features = np.concatenate([c.features for c in candidates])
    axes = np.eye(features.shape[1])
    if contrast is not None:
        axes = contrast_axes(highest_peaks(candidates), regularisation=contrast)
    features = features @ axes
    fits = cluster_features(features, k_range=k_range, n_init=n_init, random_state=random_state, where=where)
    voting = _draw_voters(candidates, vote_fraction, min_vote_frames, random_state, where)
    ballots = _Ballots.collect(candidates, voting, structures)
    told_apart = [fit for fit in fits if k_choice == "named" and tells_apart(**ballots.of(fit))]
    clustering = (told_apart or fits)[0]
    names = name_clusters(**ballots.of(clustering), naming=naming)
    owner = names[clustering.labels]
    members = {name: features[owner == i] for i, name in enumerate(structures)}
    return LandmarkGroup(
        run=run,
        planes=planes,
        clustering=clustering,
        names=tuple(None if n == UNNAMED else structures[n] for n in names),
        centroids={name: vectors.mean(axis=0) for name, vectors in members.items() if len(vectors)},
        axes=axes,
        n_landmarks=len(features),
        n_vote_frames=len(voting),
    )


def _draw_voters(candidates: Sequence[Candidates], fraction: float, at_least: int, seed: int, where: str) -> list[int]:
    annotated = [i for i, c in enumerate(candidates) if c.frame.ellipse is not None and c.frame.centres]
    if not annotated:
        raise AnatomarkError(
            f"{where}: no frame the clusters are fitted on has an ellipse and a structure annotated, so"
            " they cannot be named; annotate some in ellipses.csv and in points.csv or boxes.csv"
        )
    n = min(len(annotated), max(at_least, math.ceil(fraction * len(annotated))))
    drawn = np.random.default_rng(seed).choice(annotated, n, replace=False)
    return sorted(int(i) for i in drawn)


@dataclass(frozen=True, kw_only=True)
class _Ballots:
    """The landmarks of the voting frames: which landmark, and the structure it lies near."""

    landmarks: IntArray
    nearest: IntArray
    n_annotated: IntArray

    @classmethod
    def collect(cls, candidates: Sequence[Candidates], voting: list[int], structures: list[str]) -> "_Ballots":
        first = np.cumsum([0, *(len(c.values) for c in candidates)])
        votes = [
            (int(first[i]) + p, near)
            for i in voting
            for p, (x, y) in enumerate(candidates[i].xy)
            # Off all that is annotated, a landmark may lie on a structure that nobody annotated.
            if (near := candidates[i].frame.nearest((float(x), float(y)))) or candidates[i].frame.complete
        ]
        return cls(
            landmarks=np.array([landmark for landmark, _ in votes], dtype=np.int64),
            nearest=np.array([structures.index(s) if s else len(structures) for _, s in votes], dtype=np.int64),
            n_annotated=np.array([sum(s in candidates[i].frame.centres for i in voting) for s in structures]),
        )

    def of(self, clustering: Clustering) -> dict[str, Any]:
        return {
            "labels": clustering.labels[self.landmarks],
            "nearest": self.nearest,
            "k": clustering.k,
            "n_annotated": self.n_annotated,
        }
