"""Areas under the ROC curve of saliency maps that differ in where their negatives come from.

All are rank statistics: the probability that a fixation has a higher value than a negative, ties counting one
half, which is the area under the exact curve. Draws are seeded per call and shared by the frames of a batch,
so a frame's value does not depend on its batch.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anatomark.geometry.fixations import fixated_pixels


def auc_judd(maps: Float[Tensor, "b h w"], fixations: Float[Tensor, "b n 3"]) -> Float[Tensor, "b"]:
    """AUC with the fixated pixels as positives and all others as negatives (Judd et al. 2009, exact ranks).

    Args:
        maps: predicted maps on any monotonic scale.
        fixations: rows (x px, y px, duration ms), at least one of them in every image.
    """
    pixel, inside = fixated_pixels(fixations, (maps.shape[1], maps.shape[2]))
    counts = (inside & ~_repeated(pixel, inside)).long()
    values = maps.flatten(1)
    positive = values.gather(1, pixel)
    # Ranks are among all pixels; the fixated ones are no negatives.
    among_all = _twice_number_below_few(values, positive)
    among_fixated = (_twice_above(positive[:, :, None], positive[:, None, :]) * counts[:, None, :]).sum(2)
    n_positive = counts.sum(1)
    n_negative = values.shape[1] - n_positive
    area = ((among_all - among_fixated) * counts).sum(1).to(maps.dtype)
    return area / (2 * n_positive * n_negative)


def auc_borji(
    maps: Float[Tensor, "b h w"],
    fixations: Float[Tensor, "b n 3"],
    *,
    n_negatives: int = 10_000,
    seed: int = 0,
) -> Float[Tensor, "b"]:
    """AUC of every fixation against pixels drawn uniformly from the whole image (Borji et al. 2013).

    The mean over many small draws, as usually computed, equals one draw of all of them together.

    Args:
        maps: predicted maps on any monotonic scale.
        fixations: rows (x px, y px, duration ms), at least one of them in every image.
        n_negatives: pixels drawn, with replacement.
        seed: seed of the draw.
    """
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(maps[0].numel(), (n_negatives,), generator=generator)
    return _auc_against(maps, fixations, pixels.to(maps.device))


def auc_shuffled(
    maps: Float[Tensor, "b h w"],
    fixations: Float[Tensor, "b n 3"],
    pool: Float[Tensor, "p 3"],
    *,
    n_negatives: int = 10_000,
    seed: int = 0,
) -> Float[Tensor, "b"]:
    """AUC of every fixation against fixations on other images, which cancels centre bias (Zhang et al. 2008).

    Args:
        maps: predicted maps on any monotonic scale.
        fixations: rows (x px, y px, duration ms), at least one of them in every image.
        pool: fixations on other images, in px of these maps, at least one of them inside.
        n_negatives: fixations drawn from the pool, with replacement.
        seed: seed of the draw.
    """
    pixel, inside = fixated_pixels(pool[None].to(maps), (maps.shape[1], maps.shape[2]))
    candidates = pixel[inside]
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(candidates), (n_negatives,), generator=generator)
    return _auc_against(maps, fixations, candidates[drawn.to(maps.device)])


def _auc_against(
    maps: Float[Tensor, "b h w"], fixations: Float[Tensor, "b n 3"], negatives: Int[Tensor, "k"]
) -> Float[Tensor, "b"]:
    pixel, inside = fixated_pixels(fixations, (maps.shape[1], maps.shape[2]))
    values = maps.flatten(1)
    below = _twice_number_below(values[:, negatives].sort(1).values, values.gather(1, pixel))
    return (below * inside).sum(1).to(maps.dtype) / (2 * inside.sum(1) * len(negatives))


def _repeated(pixel: Int[Tensor, "b n"], inside: Bool[Tensor, "b n"]) -> Bool[Tensor, "b n"]:
    """Whether an earlier fixation fell into the same pixel."""
    same = (pixel[:, :, None] == pixel[:, None, :]) & inside[:, None, :]
    return same.tril(-1).any(2)


def _twice_number_below(ordered: Float[Tensor, "b k"], values: Float[Tensor, "b n"]) -> Int[Tensor, "b n"]:
    """Twice the number of entries below each value, entries equal to it counting one half."""
    return torch.searchsorted(ordered, values) + torch.searchsorted(ordered, values, right=True)


def _twice_number_below_few(entries: Float[Tensor, "b k"], values: Float[Tensor, "b n"]) -> Int[Tensor, "b n"]:
    """As :func:`_twice_number_below` for many entries, which need no order, and few values."""
    n_values = values.shape[1]
    entries, ordered = entries.contiguous(), values.sort(1).values
    n_smaller = torch.searchsorted(ordered, values)
    total = torch.zeros_like(n_smaller)
    for right in (False, True):
        # Entry x <= v if no more values are below x than below v; x < v if no more are at most x than below v.
        rank = torch.searchsorted(ordered, entries, right=right)
        first = torch.arange(len(rank), device=rank.device)[:, None] * (n_values + 1)
        counts = torch.bincount((rank + first).flatten(), minlength=len(rank) * (n_values + 1))
        total += counts.view(len(rank), -1).cumsum(1).gather(1, n_smaller)
    return total


def _twice_above(values: Float[Tensor, "b n 1"], others: Float[Tensor, "b 1 n"]) -> Int[Tensor, "b n n"]:
    return 2 * (values > others).long() + (values == others).long()
