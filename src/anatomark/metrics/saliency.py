"""Saliency metrics, one value per frame.

Conventions (Bylinskii et al. 2019 where not said otherwise): fixations count once each, whatever their
duration, at their nearest pixel; fixations off the image and padding (zero duration) are ignored. Densities
are maps divided by their sum; a map of zeros is a constant map and so the uniform density.
"""

import hashlib
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from anatomark.geometry.fixations import fixated_pixels, has_fixation
from anatomark.metrics.auc import auc_judd
from anatomark.types import AnatomarkError

EPS = 2.2204e-16
DENSITY_METRICS = ("kld", "cc", "sim")
FIXATION_METRICS = ("nss", "auc_judd", "ig_uniform")

Maps = Float[Tensor, "b h w"]
Fixations = Float[Tensor, "b n 3"]
PerFrame = Float[Tensor, "b"]


def nss(maps: Maps, fixations: Fixations) -> PerFrame:
    """Normalised scanpath saliency: mean over fixations of the map with mean 0 and deviation 1 (n - 1).

    0 for a constant map. Needs a fixation in every image (:func:`~anatomark.geometry.fixations.has_fixation`).
    """
    centred, constant = _centre(maps)
    deviation = centred.norm(dim=1) / (centred.shape[1] - 1) ** 0.5
    pixel, inside = fixated_pixels(fixations, (maps.shape[1], maps.shape[2]))
    above_mean = _mean_where(centred.gather(1, pixel), inside)
    return torch.where(constant, 0, above_mean / torch.where(constant, 1, deviation))


def cc(maps: Maps, target: Maps) -> PerFrame:
    """Pearson correlation of two maps; 0 where one is constant."""
    (a, a_constant), (b, b_constant) = _centre(maps), _centre(target)
    constant = a_constant | b_constant
    # One unit vector first: products of two tiny densities would underflow.
    covariance = torch.linalg.vecdot(F.normalize(a, dim=1, eps=0), b)
    return torch.where(constant, 0, covariance / torch.where(constant, 1, b.norm(dim=1)))


def sim(maps: Maps, target: Maps, *, min_max: bool = False) -> PerFrame:
    """Similarity: sum of the smaller of the two densities, 1 for equal ones.

    Args:
        maps: predicted maps.
        target: target maps.
        min_max: stretch both to [0, 1] before they become densities, as MIT's code does.
    """
    if min_max:
        maps, target = stretch(maps), stretch(target)
    return torch.minimum(to_density(maps), to_density(target)).sum((1, 2))


def kld(maps: Maps, target: Maps) -> PerFrame:
    """Kullback-Leibler divergence ``sum Q ln(eps + Q / (P + eps))`` of prediction P from target Q, nats."""
    prediction, truth = to_density(maps), to_density(target)
    # In place: on a CPU the time goes into memory.
    logarithm = torch.div(truth, prediction.add_(EPS)).add_(EPS).log_()
    divergence: Tensor = torch.linalg.vecdot(truth.flatten(1), logarithm.flatten(1))
    return divergence


def ig(maps: Maps, fixations: Fixations, baseline: Float[Tensor, "h w"]) -> PerFrame:
    """Information gain over a baseline: mean over fixations of ``log2(P + eps) - log2(B + eps)``, bits.

    Source: Kümmerer et al. 2015. Needs a fixation in every image (:func:`~anatomark.geometry.fixations.has_fixation`).

    Args:
        maps: predicted maps, made densities here.
        fixations: rows (x px, y px, duration ms).
        baseline: what is known without the image, such as the mean training attention; made a density here.
    """
    pixel, inside = fixated_pixels(fixations, (maps.shape[1], maps.shape[2]))
    predicted = to_density(maps).flatten(1).gather(1, pixel)
    known = to_density(baseline[None]).flatten()[pixel]
    return _mean_where(torch.log2(predicted + EPS) - torch.log2(known + EPS), inside)


def to_density(maps: Maps) -> Maps:
    """Maps divided by their sum; uniform for a map of zeros."""
    total = maps.sum((1, 2), keepdim=True)
    return torch.where(total > 0, maps / torch.where(total > 0, total, 1), 1 / maps[0].numel())


def stretch(maps: Maps) -> Maps:
    """Maps brought to [0, 1] by their own minimum and maximum; zeros for a constant map."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / torch.where(high > low, high - low, 1)


def upsample(maps: Maps, size: tuple[int, int]) -> Float[Tensor, "b height width"]:
    """Bilinear interpolation to height x width; cells keep the area they cover (``align_corners=False``)."""
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def density_scores(maps: Maps, target: Maps) -> dict[str, PerFrame]:
    """KLD, CC and SIM against the target."""
    return {"kld": kld(maps, target), "cc": cc(maps, target), "sim": sim(maps, target)}


def fixation_scores(maps: Maps, fixations: Fixations) -> dict[str, PerFrame]:
    """NSS, AUC-Judd and IG over the uniform density."""
    return {
        "nss": nss(maps, fixations),
        "auc_judd": auc_judd(maps, fixations),
        "ig_uniform": ig(maps, fixations, torch.ones_like(maps[0])),
    }


def mean_over_subjects(values: Float[Tensor, "n k"], groups: Int[Tensor, "n"]) -> Float[Tensor, "k"]:
    """Mean over groups of the means within them: subjects count the same however many frames they have."""
    index = torch.unique(groups, return_inverse=True)[1]
    count = torch.bincount(index)
    total = values.new_zeros(len(count), values.shape[1]).index_add_(0, index, values)
    return (total / count[:, None]).mean(0)


class SaliencyMetrics(Metric):
    """KLD, CC, SIM, NSS, AUC-Judd and IG over uniform, averaged per frame and then per subject.

    Frames without a fixation in the image are skipped and counted.
    """

    full_state_update = False
    values: list[Tensor]
    groups: list[Tensor]
    n_skipped: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("values", default=[], dist_reduce_fx="cat")
        self.add_state("groups", default=[], dist_reduce_fx="cat")
        self.add_state("n_skipped", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(
        self,
        maps: Float[Tensor, "b h w"],
        target: Float[Tensor, "b height width"],
        fixations: Float[Tensor, "b n 3"],
        subjects: Sequence[str],
    ) -> None:
        """Scores a batch at the resolution of the target.

        Args:
            maps: predicted maps, brought to the target's size if they are smaller.
            target: target densities.
            fixations: rows (x, y, duration ms), x and y in px of the target.
            subjects: subject of each frame.
        """
        size = (target.shape[1], target.shape[2])
        scored = has_fixation(fixations, size)
        self.n_skipped = self.n_skipped + (~scored).sum()
        # Ranks have to agree on the number of a subject without talking to each other.
        groups = torch.tensor([_number(subject) for subject in subjects], device=maps.device)
        self.groups.append(groups[scored])
        # A rank that scored nothing still takes part in the synchronisation, with no rows of the right width.
        self.values.append(maps.new_zeros(0, len(DENSITY_METRICS + FIXATION_METRICS)))
        if scored.any():
            maps, target, fixations = upsample(maps[scored], size), target[scored], fixations[scored]
            scores = density_scores(maps, target) | fixation_scores(maps, fixations)
            self.values.append(torch.stack([scores[name] for name in DENSITY_METRICS + FIXATION_METRICS], 1))

    def compute(self) -> dict[str, Tensor]:
        """The metrics, ``n_frames`` and ``n_skipped``.

        Raises:
            AnatomarkError: no frame has a fixation in its image.
        """
        values = dim_zero_cat(self.values)
        if len(values) == 0:
            raise AnatomarkError(
                f"none of {int(self.n_skipped)} frames has a fixation inside its image; check the units"
            )
        means = mean_over_subjects(values, dim_zero_cat(self.groups))
        scores = dict(zip(DENSITY_METRICS + FIXATION_METRICS, means, strict=True))
        return scores | {
            "n_frames": torch.tensor(len(values), device=values.device),
            "n_skipped": self.n_skipped,
        }


def _number(subject: str) -> int:
    return int.from_bytes(hashlib.blake2b(subject.encode(), digest_size=8).digest(), signed=True)


def _mean_where(values: Float[Tensor, "b n"], inside: Bool[Tensor, "b n"]) -> PerFrame:
    return torch.where(inside, values, 0).sum(1) / inside.sum(1)


def _centre(maps: Maps) -> tuple[Float[Tensor, "b pixels"], Bool[Tensor, "b"]]:
    """Maps with mean 0 and whether they are constant up to rounding, as interpolating a constant map is not exact."""
    values = maps.flatten(1)
    low, high = values.aminmax(dim=1)
    constant = high - low <= 8 * torch.finfo(values.dtype).eps * torch.maximum(low.abs(), high.abs())
    return values - values.mean(1, keepdim=True), constant
