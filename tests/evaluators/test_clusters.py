import itertools

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from anatomark.evaluators.clusters import (
    UNNAMED,
    Naming,
    cluster_features,
    name_clusters,
    pick_independent,
    pick_joint,
    tells_apart,
)
from anatomark.types import AnatomarkError

OPTIONS = {"n_init": 3, "random_state": 0, "where": "run a, plane TV"}


def silhouette_by_definition(features: np.ndarray, labels: np.ndarray) -> float:
    distance = cdist(features, features)
    scores = []
    for i, own in enumerate(labels):
        mates = [j for j in range(len(labels)) if labels[j] == own and j != i]
        if not mates:
            scores.append(0.0)
            continue
        a = distance[i, mates].mean()
        b = min(distance[i, labels == other].mean() for other in set(labels) - {own})
        scores.append((b - a) / max(a, b))
    return float(np.mean(scores))


@pytest.mark.parametrize("k", [2, 3, 5])
def test_the_number_of_groups_is_found(k: int) -> None:
    rng = np.random.default_rng(k)
    truth = np.repeat(np.arange(k), 12)
    features = np.eye(8)[truth] + rng.normal(scale=0.05, size=(len(truth), 8))
    fit = cluster_features(features, k_range=(2, 7), **OPTIONS)[0]
    assert fit.k == k
    assert len(set(zip(truth, fit.labels, strict=True))) == k
    assert fit.silhouette == pytest.approx(silhouette_by_definition(features, fit.labels))


def test_too_few_landmarks_are_refused_with_a_remedy() -> None:
    with pytest.raises(AnatomarkError, match=r"run a, plane TV: no landmark at all.*threshold"):
        cluster_features(np.zeros((0, 4)), k_range=(2, 5), **OPTIONS)
    with pytest.raises(AnatomarkError, match=r"2 landmarks with 2 distinct"):
        cluster_features(np.eye(2), k_range=(2, 5), **OPTIONS)
    with pytest.raises(AnatomarkError, match=r"9 landmarks with 1 distinct"):
        cluster_features(np.ones((9, 4)), k_range=(2, 5), **OPTIONS)


def names(ballots: list[tuple[int, int, int]], k: int, annotated: list[int], naming: Naming = "assigned") -> list[int]:
    """Names from (cluster, structure, number of votes)."""
    labels = np.concatenate([np.full(n, c) for c, _, n in ballots])
    nearest = np.concatenate([np.full(n, s) for _, s, n in ballots])
    return name_clusters(labels, nearest, k=k, n_annotated=np.array(annotated), naming=naming).tolist()


@pytest.mark.parametrize("naming", ["assigned", "majority"])
def test_clear_votes_name_their_cluster(naming: Naming) -> None:
    assert names([(0, 1, 9), (1, 0, 8), (1, 1, 1)], 2, [9, 9], naming) == [1, 0]


def test_by_majority_one_structure_can_have_every_cluster() -> None:
    ballots = [(0, 0, 9), (1, 0, 5), (1, 1, 4)]
    assert names(ballots, 2, [14, 5], "majority") == [0, 0]
    assert names(ballots, 2, [14, 5], "assigned") == [0, 1]


def test_by_majority_near_nothing_outvotes_a_structure() -> None:
    # Cluster 0 is near nothing more often than near structure 1; nobody voted for cluster 2.
    ballots = [(0, 2, 6), (0, 1, 5), (1, 0, 3)]
    assert names(ballots, 3, [9, 9], "majority") == [UNNAMED, 0, UNNAMED]
    assert names(ballots, 3, [9, 9], "assigned") == [1, 0, UNNAMED]


def test_every_structure_gets_a_cluster_although_one_has_the_majority_of_both() -> None:
    assert names([(0, 0, 9), (1, 0, 5), (1, 1, 4)], 2, [14, 5]) == [0, 1]


def test_votes_are_weighed_by_how_often_a_structure_is_annotated() -> None:
    # In numbers cluster 0 is structure 1's (20 > 4), but 4 of 4 annotations beat 20 of 60.
    assert names([(0, 0, 4), (0, 1, 20), (1, 1, 18)], 2, [4, 60]) == [0, 1]


def test_remaining_clusters_follow_the_majority_or_stay_unnamed() -> None:
    ballots = [(0, 0, 9), (1, 1, 9), (2, 1, 5), (2, 2, 2), (3, 2, 7), (3, 0, 1)]
    assert names(ballots, 5, [9, 14]) == [0, 1, 1, UNNAMED, UNNAMED]


def test_a_structure_without_votes_names_nothing() -> None:
    assert names([(0, 0, 9), (1, 2, 4)], 2, [9, 9]) == [0, UNNAMED]


def test_independent_pick_keeps_the_higher_of_two() -> None:
    values = np.array([1.0, 0.8, 0.5, 0.4])
    assert pick_independent(values, np.array([1, 1, UNNAMED, 1]), 2).tolist() == [-1, 0]
    assert pick_independent(values, np.array([UNNAMED, 1, 0, 0]), 2).tolist() == [2, 1]


@pytest.mark.parametrize("seed", range(20))
def test_joint_pick_equals_the_exhaustive_search_over_ordered_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, features, centroids = rng.uniform(0.03, 1, 5), rng.normal(size=(5, 3)), rng.normal(size=(2, 3))
    distance = cdist(features, centroids) / pdist(centroids).mean()
    margin = distance[:, 1] - distance[:, 0]
    best = max(
        itertools.permutations(range(5), 2),
        key=lambda ij: np.log(values[ij[0]]) + np.log(values[ij[1]]) + 0.5 * (margin[ij[0]] - margin[ij[1]]),
    )
    assert tuple(pick_joint(values, features, centroids, margin_weight=0.5)) == best


def test_joint_pick_recovers_a_pair_that_labels_one_by_one_lose() -> None:
    centroids = np.array([[0.0, 0.0], [1.0, 0.0]])
    # Both peaks are nearer to the second centroid, the first less so.
    features, values = np.array([[0.55, 0.0], [1.0, 0.0]]), np.array([0.9, 1.0])
    labels = cdist(features, centroids).argmin(axis=1)
    assert pick_independent(values, labels, 2).tolist() == [-1, 1]
    assert pick_joint(values, features, centroids, margin_weight=0.5).tolist() == [0, 1]


def test_joint_pick_leaves_a_structure_missing_rather_than_take_a_peak_of_the_other() -> None:
    centroids = np.array([[0.0], [1.0]])
    features, values = np.array([[1.0], [0.9]]), np.array([1.0, 0.5])  # both on the second structure
    assert pick_joint(values, features, centroids, margin_weight=0.5).tolist() == [1, 0]
    assert pick_joint(values, features, centroids, margin_weight=0.5, min_margin=-0.3).tolist() == [-1, 0]
    nearly = np.array([[1.0], [0.6]])
    assert pick_joint(values, nearly, centroids, margin_weight=0.5, min_margin=-0.3).tolist() == [1, 0]


def test_joint_pick_of_one_peak_takes_the_structure_it_resembles() -> None:
    centroids = np.eye(2)
    picked = pick_joint(np.array([0.7]), np.array([[0.1, 0.8]]), centroids, margin_weight=0.5)
    assert picked.tolist() == [-1, 0]


def test_clusters_tell_structures_apart_when_each_leads_a_vote() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    annotated = np.array([3, 3])
    assert tells_apart(labels, np.array([0, 0, 1, 1, 1, 0]), k=2, n_annotated=annotated)
    # The second cluster holds nothing but noise, the first holds both structures.
    assert not tells_apart(labels, np.array([0, 0, 1, 2, 2, 2]), k=2, n_annotated=annotated)
    # A structure nobody annotated need not lead.
    assert tells_apart(labels, np.array([0, 0, 0, 2, 2, 2]), k=2, n_annotated=np.array([3, 0]))
    # One vote of a structure annotated once outweighs two of a structure annotated ten times.
    assert tells_apart(labels, np.array([0, 0, 1, 0, 0, 0]), k=2, n_annotated=np.array([10, 1]))
