"""Random changes of slices that stand for another scanner, beyond Wang et al. 2021."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anatomark.types import AnatomarkError

_REACH = 3
"""Standard deviations of the Gaussian that blurs."""


class SliceAugmentation:
    """Gamma, gain, offset, blur and noise, by amounts of its own for each slice; the result is clipped to [0, 1].

    Args:
        gamma: intensities are raised to a power from ``1 / (1 + gamma)`` to ``1 + gamma``, uniform in its logarithm.
        gain: and multiplied by ``1 - gain`` to ``1 + gain``.
        offset: a value up to this one is added or taken away.
        blur: standard deviation of the Gaussian, 0 to this, px.
        noise: standard deviation of white noise, 0 to this.

    Raises:
        AnatomarkError: an amount is below 0, or ``gain`` 1 or more.
    """

    def __init__(
        self, *, gamma: float = 0.4, gain: float = 0.2, offset: float = 0.0, blur: float = 1.0, noise: float = 0.05
    ) -> None:
        amounts = {"gamma": gamma, "gain": gain, "offset": offset, "blur": blur, "noise": noise}
        for name, amount in amounts.items():
            if not 0 <= amount < float("inf"):
                raise AnatomarkError(f"SliceAugmentation: {name} is {amount}; it must be a finite number, 0 or more")
        if gain >= 1:
            raise AnatomarkError(f"SliceAugmentation: gain is {gain}; it must be below 1")
        self.gamma = gamma
        self.gain = gain
        self.offset = offset
        self.blur = blur
        self.noise = noise

    def __call__(self, image: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Changes slices in [0, 1] on their device, with its random numbers."""
        changed = image ** ((1 + self.gamma) ** _signed(image))
        changed = changed * (1 + self.gain * _signed(image)) + self.offset * _signed(image)
        if self.blur > 0:
            changed = blur(changed, self.blur * _unsigned(image).flatten())
        if self.noise > 0:
            changed = changed + self.noise * _unsigned(image) * torch.randn_like(image)
        return changed.clamp(0, 1)


def blur(image: Float[Tensor, "b 1 h w"], sigmas: Float[Tensor, "b"]) -> Float[Tensor, "b 1 h w"]:
    """Blurs each image by a Gaussian of its own, px; beyond the border lie the values at the border.

    A sigma far below a pixel leaves its image as it is.
    """
    reach = max(1, int(_REACH * float(sigmas.max()) + 0.5))
    steps = torch.arange(-reach, reach + 1, dtype=image.dtype, device=image.device)
    # The smallest sigma keeps 0 / 0 out of the weights.
    weights = (-0.5 * (steps / sigmas.clamp(min=1e-3)[:, None]) ** 2).softmax(1)
    padded = F.pad(image, (reach, reach, reach, reach), mode="replicate").transpose(0, 1)
    rows = F.conv2d(padded, weights[:, None, None, :], groups=len(image))
    return F.conv2d(rows, weights[:, None, :, None], groups=len(image)).transpose(0, 1)


def _unsigned(image: Tensor) -> Tensor:
    """Uniform in [0, 1), one for each slice."""
    return torch.rand(len(image), 1, 1, 1, dtype=image.dtype, device=image.device)


def _signed(image: Tensor) -> Tensor:
    return 2 * _unsigned(image) - 1
