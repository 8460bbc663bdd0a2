"""Soft proposals (Zhu et al. 2017; Toussaint et al. 2018, section 2): where objects are, found without training.

A random walk over the cells of a feature map goes where cells differ from their neighbours. With the features U_u of
cell u at place l_u, its affinities are D_uv = |U_u - U_v| exp(-|l_u - l_v|^2 / (2 f^2)), and T are these with columns
that sum to 1. The proposal p is the walk's limit, T p = p.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anatomark.nets.cam import ResponseNet, ResponseOutput
from anatomark.types import AnatomarkError

MODES = ("exact", "iterative")
EPS_MODES = ("side", "area")
KERNEL_SCALE = 0.15
"""Kernel width f in sides, or in areas, of the map."""
RELATIVE_CUT = 1e-6
"""Squared distances below this share of the squared lengths are rounding and count as 0."""


class SoftProposalNet(ResponseNet):
    """Features weighted by their soft proposal, summed over the cells, and classified.

    Args:
        backbone: see :class:`~anatomark.nets.cam.ResponseNet`.
        n_classes: number of classes.
        adapt_channels: channels of the adapting convolution.
        mode: see :func:`soft_proposal`.
        eps_mode: see :func:`soft_proposal`.

    Raises:
        AnatomarkError: ``mode`` or ``eps_mode`` is unknown, or the backbone makes no feature map.
    """

    def __init__(
        self,
        *,
        backbone: nn.Module,
        n_classes: int,
        adapt_channels: int = 512,
        mode: str = "exact",
        eps_mode: str = "side",
    ) -> None:
        _check_options(mode, eps_mode)
        super().__init__(backbone=backbone, n_classes=n_classes, adapt_channels=adapt_channels)
        self.mode = mode
        self.eps_mode = eps_mode

    def respond(self, extracted: Float[Tensor, "b d h w"]) -> ResponseOutput:
        features = self.adapt(extracted)
        proposal = soft_proposal(features, mode=self.mode, eps_mode=self.eps_mode)
        # A weight per cell passes through the classifier, so it is spared all channels but the classes'.
        class_maps = self.responses(features) * proposal[:, None]
        logits = class_maps.sum((2, 3)) + self.classifier.bias
        return ResponseOutput(logits=logits, class_maps=class_maps, proposal=proposal, features=features)


def soft_proposal(
    features: Float[Tensor, "b c h w"],
    *,
    mode: str = "exact",
    eps_mode: str = "side",
    max_steps: int = 20,
    tolerance: float = 1e-4,
) -> Float[Tensor, "b h w"]:
    """The soft proposal of every feature map: float32 whatever autocast says, float64 for float64.

    It is a constant in the backward pass, and uniform for constant features.

    Args:
        features: feature maps.
        mode: "exact" for the limit of the walk, which is known in closed form: D is symmetric, so p is proportional to
            its column sums. (Where a single cell differs from all others the walk swings for ever, around this.)
            "iterative" for the reference, the walk itself from the uniform map.
        eps_mode: kernel width f: "side" for 0.15 times the map's side (the published network), of maps that are not
            square the geometric mean of both; "area" for 0.15 times its number of cells, which is nearly flat.
        max_steps: of the walk.
        tolerance: the walk of a map ends when a step moves p by less, Euclidean.

    Returns:
        Weights of the cells that sum to 1 over each map.

    Raises:
        AnatomarkError: ``mode`` or ``eps_mode`` is unknown.
    """
    _check_options(mode, eps_mode)
    height, width = features.shape[-2:]
    with torch.autocast(features.device.type, enabled=False):
        affinity = _affinity(features.detach(), eps_mode)
        sums = affinity.sum(1)
        proposal = _stationary(sums) if mode == "exact" else _walk(affinity, sums, max_steps, tolerance)
    return proposal.reshape(-1, height, width)


def _check_options(mode: str, eps_mode: str) -> None:
    if mode not in MODES:
        raise AnatomarkError(f"the soft proposal's mode is {mode}; it must be one of {list(MODES)}")
    if eps_mode not in EPS_MODES:
        raise AnatomarkError(f"the soft proposal's eps_mode is {eps_mode}; it must be one of {list(EPS_MODES)}")


def _affinity(features: Float[Tensor, "b c h w"], eps_mode: str) -> Float[Tensor, "b n n"]:
    """D, whose diagonal is 0."""
    height, width = features.shape[-2:]
    cells = features.to(torch.promote_types(features.dtype, torch.float32)).flatten(2)
    lengths = cells.square().sum(1)
    both = lengths[:, :, None] + lengths[:, None, :]
    squared = torch.baddbmm(both, cells.mT, cells, alpha=-2)
    distances = squared.masked_fill(squared <= RELATIVE_CUT * both, 0).sqrt()
    size = height * width
    eps = KERNEL_SCALE * (math.sqrt(size) if eps_mode == "side" else size)
    return distances * _kernel(height, width, eps, like=cells)


def _kernel(height: int, width: int, eps: float, *, like: Tensor) -> Float[Tensor, "n n"]:
    """Gaussian of the cells' distances with a diagonal of 0.

    It is the product of one over the rows and one over the columns: so few exponentials cost less than a cache would
    bring.
    """
    rows, columns = (_line_kernel(cells, eps, like=like) for cells in (height, width))
    size = height * width
    kernel = (rows[:, None, :, None] * columns[None, :, None, :]).reshape(size, size)
    return kernel - torch.eye(size, dtype=like.dtype, device=like.device)


def _line_kernel(cells: int, eps: float, *, like: Tensor) -> Float[Tensor, "s s"]:
    place = torch.arange(cells, dtype=like.dtype, device=like.device)
    return torch.exp(-(place[:, None] - place[None, :]).square() / (2 * eps**2))


def _stationary(sums: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    total = sums.sum(1, keepdim=True)
    return torch.where(total == 0, 1 / sums.shape[1], sums / total.masked_fill(total == 0, 1))


def _walk(
    affinity: Float[Tensor, "b n n"], sums: Float[Tensor, "b n"], max_steps: int, tolerance: float
) -> Float[Tensor, "b n"]:
    uniform = 1 / sums.shape[1]
    # From a cell that differs from none the walk goes anywhere.
    columns = sums[:, None, :]
    transition = torch.where(columns == 0, uniform, affinity / columns.masked_fill(columns == 0, 1))
    proposal = torch.full_like(sums, uniform)
    walking = torch.ones_like(sums[:, :1], dtype=torch.bool)
    for _ in range(max_steps):
        stepped = (transition @ proposal[:, :, None]).squeeze(2)
        moved = torch.linalg.vector_norm(stepped - proposal, dim=1, keepdim=True)
        proposal = torch.where(walking, stepped, proposal)  # a map that has arrived stays, whatever others do
        walking = walking & (moved >= tolerance)
        if not walking.any():
            break
    return proposal / proposal.sum(1, keepdim=True)  # which rounding has let drift in a long walk
