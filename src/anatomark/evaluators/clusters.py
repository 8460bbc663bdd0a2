"""Which landmark is which structure: clustering, naming and picking on plain feature vectors.

Droste et al. 2020, section 2.2: the feature vectors of all landmarks are grouped by k-means with k of the
best silhouette, and the clusters are named by a majority vote on a few annotated frames.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist, pdist
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from anatomark.types import AnatomarkError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

Naming = Literal["majority", "assigned"]

UNNAMED = -1


@dataclass(frozen=True, kw_only=True)
class Clustering:
    """Result of k-means.

    Attributes:
        labels: cluster of every feature vector, (n,).
        centroids: (k, f).
        silhouette: mean silhouette coefficient over the vectors.
    """

    labels: IntArray
    centroids: FloatArray
    silhouette: float

    @property
    def k(self) -> int:
        """Number of clusters."""
        return len(self.centroids)


def cluster_features(
    features: FloatArray, *, k_range: tuple[int, int], n_init: int, random_state: int, where: str
) -> list[Clustering]:
    """Groups feature vectors by k-means, for every k, best mean silhouette coefficient first.

    The paper prints the silhouette's mean over images (1/N_i); it is the mean over landmarks.

    Args:
        features: (n, f).
        k_range: smallest and largest k tried; limited to fewer than the number of distinct vectors.
        n_init: restarts of k-means per k.
        random_state: seed of k-means.
        where: what is clustered, for messages.

    Raises:
        AnatomarkError: too few distinct vectors for the smallest k.
    """
    if len(features) == 0:
        raise AnatomarkError(f"{where}: no landmark at all in the saliency maps; lower `threshold`, or train longer")
    n_distinct = len(np.unique(features, axis=0))
    candidates = range(k_range[0], min(k_range[1], n_distinct, len(features) - 1) + 1)
    if not candidates:
        raise AnatomarkError(
            f"{where}: {len(features)} landmarks with {n_distinct} distinct feature vectors are too few for"
            f" {k_range[0]} clusters; lower `threshold`, give more frames or fit on the training frames"
        )
    fits = [_k_means(features, k, n_init, random_state) for k in candidates]
    return sorted(fits, key=lambda fit: fit.silhouette, reverse=True)


def _k_means(features: FloatArray, k: int, n_init: int, random_state: int) -> Clustering:
    model = KMeans(n_clusters=k, n_init=n_init, random_state=random_state).fit(features)
    return Clustering(
        labels=model.labels_.astype(np.int64),
        centroids=model.cluster_centers_.astype(np.float64),
        silhouette=float(silhouette_score(features, model.labels_)),
    )


def name_clusters(
    labels: IntArray, nearest: IntArray, *, k: int, n_annotated: IntArray, naming: Naming = "majority"
) -> IntArray:
    """Names clusters by the votes of landmarks on annotated frames.

    By "majority" each cluster gets the structure with most of its votes, where "near nothing" counts as a candidate and
    leaves the cluster unnamed (Droste et al. 2020). That can give one structure every cluster when it is annotated, or
    found, far more often than the others, which are then missing.

    By "assigned" every structure first gets one cluster of its own: the assignment of clusters to structures that
    maximises the sum of votes, each structure's votes divided by the number of its annotations, as long as there is a
    vote at all. The majority names the remaining clusters.

    Args:
        labels: cluster of every voting landmark, (n,).
        nearest: the structure it lies near, (n,), in [0, s]; s means near nothing.
        k: number of clusters.
        n_annotated: how often each structure is annotated on the voting frames, (s,).
        naming: "majority" or "assigned".

    Returns:
        structure of every cluster, (k,); ``UNNAMED`` where there is none.
    """
    votes = _count_votes(labels, nearest, k, len(n_annotated))
    majority = votes.argmax(axis=1)
    names = np.where((majority == len(n_annotated)) | (votes.sum(axis=1) == 0), UNNAMED, majority).astype(np.int64)
    if naming == "majority":
        return names
    shares = votes[:, :-1] / np.maximum(n_annotated, 1)
    rows, columns = linear_sum_assignment(shares, maximize=True)
    voted = shares[rows, columns] > 0
    names[rows[voted]] = columns[voted]
    return names


def tells_apart(labels: IntArray, nearest: IntArray, *, k: int, n_annotated: IntArray) -> bool:
    """Whether every structure that is annotated leads the vote of some cluster.

    Votes count as shares of a structure's annotations. The arguments are those of :func:`name_clusters`.
    """
    shares = _count_votes(labels, nearest, k, len(n_annotated))[:, :-1] / np.maximum(n_annotated, 1)
    leaders = shares.argmax(axis=1)[shares.max(axis=1) > 0]
    return set(np.flatnonzero(n_annotated)) <= set(leaders)


def _count_votes(labels: IntArray, nearest: IntArray, k: int, n_structures: int) -> FloatArray:
    votes = np.zeros((k, n_structures + 1))
    np.add.at(votes, (labels, nearest), 1)
    return votes


def nearest_cluster(features: FloatArray, centroids: FloatArray) -> IntArray:
    """Returns the nearest centroid of every feature vector: (n, f), (k, f) -> (n,)."""
    nearest: IntArray = cdist(features, centroids).argmin(axis=1)
    return nearest


def pick_independent(values: FloatArray, structures: IntArray, n_structures: int) -> IntArray:
    """Picks the highest peak of each structure among peaks labelled one by one (the paper's rule).

    Args:
        values: peak heights, (p,).
        structures: structure of every peak's cluster, (p,), ``UNNAMED`` where there is none.
        n_structures: s.

    Returns:
        peak of every structure, (s,), -1 where none.
    """
    mine = structures[:, None] == np.arange(n_structures)
    heights = np.where(mine, values[:, None], -np.inf)
    if not len(heights):
        return np.full(n_structures, -1)
    return np.where(mine.any(axis=0), heights.argmax(axis=0), -1)


def pick_joint(
    values: FloatArray,
    features: FloatArray,
    centroids: FloatArray,
    *,
    margin_weight: float,
    min_margin: float = -np.inf,
) -> IntArray:
    """Picks distinct peaks for all structures together.

    Maximises ``sum_s log v_i(s) + w * margin(i(s), s)`` over distinct peaks i(s), where the margin of peak i
    for structure s is its mean distance to the other structures' centroids minus the distance to that of s,
    in units of the mean distance between centroids. For two structures this is ``log v_i + log v_j + w (m_i -
    m_j)`` with ``m = d(second) - d(first)``; no image's two landmarks can then fall on one structure.

    Args:
        values: peak heights, (p,), positive.
        features: (p, f).
        centroids: mean feature vector of every structure, (s, f).
        margin_weight: w.
        min_margin: a pick with a smaller margin is dropped, so that a structure the map does not show is missing
            instead of lying on something else.

    Returns:
        peak of every structure, (s,); -1 for structures left over.
    """
    n_structures = len(centroids)
    margin = np.zeros((len(values), n_structures))
    if n_structures > 1:
        distance = cdist(features, centroids) / pdist(centroids).mean()
        margin = (distance.sum(axis=1, keepdims=True) - distance) / (n_structures - 1) - distance
    rows, columns = linear_sum_assignment(np.log(values)[:, None] + margin_weight * margin, maximize=True)
    kept = margin[rows, columns] >= min_margin
    picked = np.full(n_structures, -1)
    picked[columns[kept]] = rows[kept]
    return picked
