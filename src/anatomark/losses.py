"""Training losses."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def density_kl(logits: Float[Tensor, "b h w"], target: Float[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """Kullback-Leibler divergence from predicted to target density, summed over cells, mean over frames (nats).

    Frames whose target is all zeros (nothing was looked at) say nothing about the map and are left out.

    Args:
        logits: cell scores; their softmax over all cells is the predicted density.
        target: densities that sum to 1, or zeros. Empty cells contribute exactly 0.

    Source: Droste et al. 2020, training of the saliency network.
    """
    watched = target.flatten(1).sum(1) > 0
    log_prediction = F.log_softmax(logits.flatten(1), dim=1)
    per_frame = F.kl_div(log_prediction, target.flatten(1), reduction="none").sum(1)
    return torch.where(watched, per_frame, 0).sum() / watched.sum().clamp(min=1)
