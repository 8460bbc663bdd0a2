"""Training losses."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from anatomark.types import AnatomarkError

AttentionLoss = Literal["bce", "mse"]


def check_attention_loss(kind: str) -> None:
    """Refuses a name that :func:`attention_loss` does not know.

    Raises:
        AnatomarkError: names it.
    """
    if kind not in get_args(AttentionLoss):
        raise AnatomarkError(f"model.saliency_loss is {kind}; it must be {' or '.join(get_args(AttentionLoss))}")


def density_kl(logits: Float[Tensor, "b h w"], target: Float[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """Kullback-Leibler divergence from predicted to target density, summed over cells, mean over frames (nats).

    Frames whose target is all zeros (nothing was looked at) say nothing about the map and are left out.

    Args:
        logits: cell scores; their softmax over all cells is the predicted density.
        target: densities that sum to 1, or zeros. Empty cells contribute exactly 0.

    Source: Droste et al. 2020, training of the saliency network.
    """
    log_prediction = F.log_softmax(logits.flatten(1), dim=1)
    per_frame = F.kl_div(log_prediction, target.flatten(1), reduction="none").sum(1)
    return mean_over(per_frame, target.flatten(1).sum(1) > 0)


def attention_loss(
    logits: Float[Tensor, "b h w"],
    target: Float[Tensor, "b h w"],
    watched: Bool[Tensor, "b"],
    *,
    kind: AttentionLoss = "bce",
) -> Float[Tensor, ""]:
    """Saliency loss L_S: how far an attention map is from the sonographer's, mean over cells and watched frames.

    Args:
        logits: attention before its sigmoid.
        target: attention in [0, 1]; zeros where a sonographer watched the frame and nothing in it.
        watched: the frames whose gaze was recorded; the others are left out.
        kind: "bce" takes each cell as a binary variable, looked at or not; "mse" compares the values.

    Source: Cai et al. 2018, eq. 2 and table 1.
    """
    logits, target = logits.float(), target.float()
    per_cell = (
        F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        if kind == "bce"
        else (logits.sigmoid() - target).square()
    )
    return mean_over(per_cell.flatten(1).mean(1), watched)


def discriminator_loss(
    real: Float[Tensor, "b"], fake: Float[Tensor, "b"], watched: Bool[Tensor, "b"], *, real_target: float = 0.9
) -> Float[Tensor, ""]:
    """L_D, with one-sided label smoothing.

    Args:
        real: logits of the sonographer's maps.
        fake: logits of the generated ones.
        watched: the frames that have a sonographer's map; the others are left out.
        real_target: probability the discriminator should give to a real map; 1 for no smoothing.

    Source: Cai et al. 2018, eq. 1; Salimans et al. 2016, section 3.4.
    """
    real, fake = real.float(), fake.float()
    found = F.binary_cross_entropy_with_logits(real, torch.full_like(real, real_target), reduction="none")
    return mean_over(found + F.softplus(fake), watched)


def adversarial_loss(fake: Float[Tensor, "b"], watched: Bool[Tensor, "b"]) -> Float[Tensor, ""]:
    """The generator's share of the game: mean of -log D over watched frames (Cai et al. 2018, eq. 2).

    Args:
        fake: the discriminator's logits of the generated maps.
        watched: the frames whose gaze was recorded; the others are left out.
    """
    return mean_over(F.softplus(-fake.float()), watched)


def mean_over(per_frame: Float[Tensor, "b"], counted: Bool[Tensor, "b"]) -> Float[Tensor, ""]:
    """Mean over the counted frames; 0 where none is, with no gradient to the others."""
    return torch.where(counted, per_frame, 0).sum() / counted.sum().clamp(min=1)
