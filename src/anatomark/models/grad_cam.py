"""Grad-CAM: which features raise a class's score, by the score's gradient (Selvaraju et al. 2017)."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Head = Callable[[Float[Tensor, "b c h w"]], Float[Tensor, "b k"]]
"""From the last feature maps to the class scores; each frame's scores depend on its own features alone."""


def grad_cam(head: Head, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
    """The Grad-CAM of every class, in any units; also where gradients are switched off, as while predicting.

    Source: Selvaraju et al. 2017, eq. 1 and 2.
    """
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(features.device.type, enabled=False),
    ):
        inputs = features.detach().float().clone().requires_grad_()
        scores = head(inputs)
        n_frames, n_classes = scores.shape
        # No frame's score depends on another frame, so one gradient of their sum serves the whole batch.
        each = torch.eye(n_classes).to(scores)[:, None].expand(-1, n_frames, -1)
        (gradients,) = torch.autograd.grad(scores, inputs, each, is_grads_batched=True)
        weights = gradients.mean((3, 4))
        return torch.einsum("kbc,bchw->bkhw", weights, inputs.detach()).relu()
