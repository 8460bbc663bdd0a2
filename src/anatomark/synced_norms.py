"""Batch norms whose statistics are those of the batches of all devices together, on CPUs too.

torch's own (:class:`torch.nn.SyncBatchNorm`) runs on GPUs alone, so that what it computes could not be compared with a
single process where there is none.
"""

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from pytorch_lightning.plugins.layer_sync import LayerSync
from torch import Tensor, nn


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """A batch norm that goes by the batches of all devices in training; in evaluation, and on one device, as its base.

    Statistics are computed in single precision or better.
    """

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Normalises each channel by its mean and variance over all frames and pixels."""
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(input)
        values = input.double() if input.dtype == torch.float64 else input.float()
        count = sum_over_devices(values.new_tensor([values.numel() / values.shape[1]]))
        mean = sum_over_devices(values.sum((0, 2, 3))) / count
        centred = values - mean[:, None, None]
        variance = sum_over_devices(centred.square().sum((0, 2, 3))) / count
        self._remember(mean.detach(), variance.detach(), count)
        scale = torch.rsqrt(variance + self.eps) * (1 if self.weight is None else self.weight)
        shifted = centred * scale[:, None, None]
        return (shifted if self.bias is None else shifted + self.bias[:, None, None]).to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased = variance * count / (count - 1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


class SyncedNorms(LayerSync):
    """Tells Lightning's Trainer to synchronise the batch norms of a model that several devices train.

    Weights and their names stay as they are.
    """

    def apply(self, model: nn.Module) -> nn.Module:
        """Makes every batch norm a synced one."""
        return _turn(model, nn.BatchNorm2d, SyncedBatchNorm2d)

    def revert(self, model: nn.Module) -> nn.Module:
        """Makes every synced batch norm an ordinary one."""
        return _turn(model, SyncedBatchNorm2d, nn.BatchNorm2d)


def sum_over_devices(values: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """The sum of the devices' values, through which gradients reach every device."""
    return _Sum.apply(values)  # type: ignore[no-any-return, no-untyped-call]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _all_reduced(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _all_reduced(gradient)


def _all_reduced(values: Tensor) -> Tensor:
    total = values.contiguous().clone()
    dist.all_reduce(total)
    return total


def _turn(model: nn.Module, old: type[nn.Module], new: type[nn.Module]) -> nn.Module:
    for module in model.modules():
        if type(module) is old:
            module.__class__ = new
    return model
