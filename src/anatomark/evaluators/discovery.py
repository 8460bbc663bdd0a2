"""Visually salient landmarks: peaks of saliency maps, matched across images by their features.

Droste et al. 2020, "Discovering salient anatomical landmarks by predicting human gaze", sections 2.1 and 2.2.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from anatomark.evaluators.candidates import CandidateReader, Candidates
from anatomark.evaluators.clusters import Naming
from anatomark.evaluators.groups import LandmarkGroup, Margins, fit_group
from anatomark.evaluators.landmark_frame import LandmarkFrame
from anatomark.types import AnatomarkError, Prediction, Sample

TRAIN_SPLIT = "train"

DROSTE_STRUCTURES: dict[str, Sequence[str]] = {"TV": ("csp", "lv"), "TC": ("csp", "cerebellum")}
"""Standard plane -> structures that sonographers look at (Droste et al. 2020, figure 2)."""

GroupKey = tuple[str, ...]
"""(run, plane), or (run,) where planes are clustered together."""


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """What was found.

    Attributes:
        frames: every reported frame with its landmarks, ordered by run and key.
        groups: the clusters they come from, ordered by run and plane.
    """

    frames: list[LandmarkFrame]
    groups: list[LandmarkGroup]

    @property
    def planes(self) -> dict[str, list[LandmarkFrame]]:
        """The reported frames by plane, planes in alphabetical order."""
        return {p: [f for f in self.frames if f.plane == p] for p in sorted({f.plane for f in self.frames})}


class LandmarkDiscovery:
    """Finds landmarks in saliency maps and names them.

    Feature spaces of different runs cannot be compared, so every (run, plane) is clustered by itself; frames
    of different runs meet again through the structures' names. The clusters are named by a seeded subset of
    the fit frames that carry an ellipse (the outline of head or abdomen) and at least one of their structures:
    ``vote_fraction`` of them, but at least ``min_vote_frames``, or all if there are fewer.

    Args:
        structures: plane -> structures with one landmark each; a sample without plane belongs to the only
            entry.
        min_distance: half window of the local maximum, cells (d of eq. 1).
        threshold: smallest height of a peak (t of eq. 2).
        saliency_norm: "max" divides each map by its maximum first, without which a softmax map over 1008
            cells has hardly a peak above 0.1; "none" is for maps already in [0, 1].
        normalise_features: scale feature vectors to unit length.
        k_range: smallest and largest number of clusters tried.
        n_init: restarts of k-means per k.
        random_state: seed of k-means and of the draw of voting frames.
        contrast: regularisation of the feature directions in which a frame's highest peaks differ
            (:func:`~anatomark.evaluators.contrast.contrast_axes`), on which everything is projected first; None uses
            the features as they are.
        k_choice: "silhouette" takes the best silhouette (paper); "named" the best among those whose clusters tell all
            structures apart by vote, if there is one.
        naming: "majority" names each cluster by the majority of its votes (paper); "assigned" first gives every
            structure a cluster of its own (:func:`~anatomark.evaluators.clusters.name_clusters`).
        fit_on: "test" clusters and names the reported frames themselves, as the paper does; "train" uses the
            run's training frames for both, so that no annotation of a reported frame names anything.
        assignment: "independent" labels every peak by its own cluster and keeps the highest peak of each
            structure; "joint" picks distinct peaks for all structures of a frame together.
        margin_weight: weight of the feature margin against the log height in the joint pick.
        min_margin: smallest margin of a peak picked in the joint pick, in units of the distance between centroids: 1 at
            the structure's own centroid, -1 at the other's; None for no limit.
        joint_planes: cluster all planes of a run together.
        vote_fraction: share of the annotated fit frames that name the clusters.
        min_vote_frames: smallest number of them.
    """

    def __init__(
        self,
        *,
        structures: Mapping[str, Sequence[str]] = MappingProxyType(DROSTE_STRUCTURES),
        min_distance: int = 2,
        threshold: float = 0.1,
        saliency_norm: Literal["max", "none"] = "max",
        normalise_features: bool = False,
        k_range: Sequence[int] = (2, 10),
        n_init: int = 10,
        random_state: int = 0,
        contrast: float | None = None,
        k_choice: Literal["silhouette", "named"] = "silhouette",
        naming: Naming = "majority",
        fit_on: Literal["test", "train"] = "test",
        assignment: Literal["independent", "joint"] = "independent",
        margin_weight: float = 0.5,
        min_margin: float | None = None,
        joint_planes: bool = False,
        vote_fraction: float = 0.1,
        min_vote_frames: int = 10,
    ) -> None:
        _check_range("threshold", threshold, 0 < threshold <= 1, "in (0, 1]")
        _check_range("min_distance", min_distance, min_distance >= 1, "at least 1")
        _check_range("vote_fraction", vote_fraction, 0 <= vote_fraction <= 1, "in [0, 1]")
        _check_range("min_vote_frames", min_vote_frames, min_vote_frames >= 1, "at least 1")
        _check_range("n_init", n_init, n_init >= 1, "at least 1")
        valid_k = len(k_range) == 2 and 2 <= k_range[0] <= k_range[1]
        _check_range("k_range", list(k_range), valid_k, "two numbers 2 <= smallest <= largest")
        _check_range("saliency_norm", saliency_norm, saliency_norm in ("max", "none"), "max or none")
        _check_range("contrast", contrast, contrast is None or contrast > 0, "positive or null")
        _check_range("k_choice", k_choice, k_choice in ("silhouette", "named"), "silhouette or named")
        _check_range("naming", naming, naming in ("majority", "assigned"), "majority or assigned")
        _check_range("fit_on", fit_on, fit_on in ("test", "train"), "test or train")
        _check_range("assignment", assignment, assignment in ("independent", "joint"), "independent or joint")
        planes = {plane: tuple(names) for plane, names in structures.items()}
        named = bool(planes) and all(names and len(set(names)) == len(names) for names in planes.values())
        _check_range("structures", dict(structures), named, "planes with distinct structures each")
        enough = contrast is None or min(map(len, planes.values())) > 1
        _check_range("contrast", contrast, enough, "null where a plane has a single structure")
        self.structures = planes
        self.fit_on = fit_on
        self._read = CandidateReader(
            planes=planes,
            min_distance=min_distance,
            threshold=threshold,
            saliency_norm=saliency_norm,
            normalise_features=normalise_features,
        )
        self._k_range = (k_range[0], k_range[1])
        self._n_init = n_init
        self._random_state = random_state
        self._contrast = contrast
        self._k_choice = k_choice
        self._naming: Naming = naming
        smallest = -math.inf if min_margin is None else min_margin
        self._margins = Margins(weight=margin_weight, smallest=smallest) if assignment == "joint" else None
        self._joint_planes = joint_planes
        self._vote_fraction = vote_fraction
        self._min_vote_frames = min_vote_frames

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits whose frames the stream has to hold."""
        return (TRAIN_SPLIT, "test") if self.fit_on == "train" else ("test",)

    def __call__(self, pairs: Iterable[tuple[Sample, Prediction]]) -> Discovery:
        """Discovers the landmarks of every frame outside the training split.

        Args:
            pairs: frames with a main map and with features on the map's grid, each once per run; with
                ``fit_on="train"`` the training frames too. Only peaks are kept of each.

        Raises:
            AnatomarkError: a frame cannot be used, or there is too little to cluster or to name clusters
                with.
        """
        training, reported = self._collect(pairs)
        if not reported:
            raise AnatomarkError("no frame outside the training split to find landmarks in; evaluate on the test split")
        fit = training if self.fit_on == "train" else reported
        groups = {key: self._fit(key, fit.get(key, [])) for key in sorted(reported)}
        frames = [
            groups[key].match(candidates, margins=self._margins) for key in groups for candidates in reported[key]
        ]
        return Discovery(frames=sorted(frames, key=lambda f: (f.key, f.run)), groups=list(groups.values()))

    def _collect(
        self, pairs: Iterable[tuple[Sample, Prediction]]
    ) -> tuple[dict[GroupKey, list[Candidates]], dict[GroupKey, list[Candidates]]]:
        training: dict[GroupKey, list[Candidates]] = {}
        reported: dict[GroupKey, list[Candidates]] = {}
        seen: set[tuple[str, str]] = set()
        for sample, prediction in pairs:
            in_training = sample.get("split") == TRAIN_SPLIT
            if in_training and self.fit_on == "test":
                continue
            candidates = self._read(sample, prediction, keep_image=not in_training)
            run, key = candidates.frame.run, candidates.frame.key
            if (run, key) in seen:
                raise AnatomarkError(f"frame {key} comes twice in run {run}; give every frame once per run")
            seen.add((run, key))
            group = (run,) if self._joint_planes else (run, candidates.frame.plane)
            (training if in_training else reported).setdefault(group, []).append(candidates)
        return training, reported

    def _fit(self, key: GroupKey, candidates: list[Candidates]) -> LandmarkGroup:
        if not candidates:
            raise AnatomarkError(
                f"run {', plane '.join(key)}: `fit_on: train` needs predictions of the run's training frames,"
                " and there are none; give them too, or set `fit_on: test`"
            )
        return fit_group(
            # Sorted, so that neither k-means nor the vote depends on the order in which frames arrive.
            sorted(candidates, key=lambda c: c.frame.key),
            k_range=self._k_range,
            n_init=self._n_init,
            random_state=self._random_state,
            contrast=self._contrast,
            k_choice=self._k_choice,
            naming=self._naming,
            vote_fraction=self._vote_fraction,
            min_vote_frames=self._min_vote_frames,
        )


def _check_range(name: str, value: object, valid: bool, expected: str) -> None:
    if not valid:
        raise AnatomarkError(f"`{name}` of the landmark discovery is {value}; it must be {expected}")
