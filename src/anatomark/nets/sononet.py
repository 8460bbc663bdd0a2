"""SonoNet trunks (Baumgartner et al. 2017) in the key layout of the published weights."""

import pickle
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anatomark.types import AnatomarkError, require

CONVS_PER_BLOCK = (2, 2, 3, 3, 3)
CHANNELS = {16: (16, 32, 64, 128, 128), 32: (32, 64, 128, 256, 256), 64: (64, 128, 256, 512, 512)}
# The published networks were trained on images of this standard deviation, ours have unit variance.
PUBLISHED_INPUT_SCALE = 255.0


class SonoNetTrunk(nn.Module):
    """The first blocks of a SonoNet: 3x3 convolutions with batch norm and ReLU, max-pooling between blocks.

    Args:
        width: channels of the first block: 16, 32 or 64.
        n_blocks: blocks kept, 1 to 5.
        pools: the blocks (from 1) followed by a 2x2 max-pool.
        weights: file with the published state dict, or None to start at random. The first convolution is scaled so
            that zero-mean, unit-variance images give exactly what the published preprocessing gives.

    The defaults reach stride 8 with four blocks: 224x288 in, 128 channels of 28x36 out.
    """

    def __init__(
        self,
        *,
        width: int = 16,
        n_blocks: int = 4,
        pools: Sequence[int] = (1, 2, 3),
        weights: str | Path | None = None,
    ) -> None:
        super().__init__()
        if width not in CHANNELS:
            raise AnatomarkError(f"SonoNet width must be one of {sorted(CHANNELS)}, not {width}")
        if not 1 <= n_blocks <= 5 or not set(pools) <= set(range(1, n_blocks + 1)):
            raise AnatomarkError(f"n_blocks must be 1..5 and pools among its blocks; got {n_blocks} and {list(pools)}")
        channels = (1, *CHANNELS[width][:n_blocks])
        self.features = nn.ModuleList(
            _block(c_in, c_out, convs)
            for (c_in, c_out), convs in zip(pairwise(channels), CONVS_PER_BLOCK, strict=False)
        )
        self.pools = frozenset(pools)
        self.out_channels = channels[-1]
        self.stride = 2 ** len(self.pools)
        if weights is not None:
            self._load_published(Path(weights))

    def forward(self, image: Float[Tensor, "b 1 h w"]) -> list[Tensor]:
        """The outputs of the blocks after the last pool, ``(b c h/stride w/stride)`` each."""
        features, outputs = image, []
        last_pool = max(self.pools, default=0)
        for number, block in enumerate(self.features, start=1):
            features = block(features)
            if number in self.pools:
                features = nn.functional.max_pool2d(features, 2)
            if number > last_pool or number == len(self.features):
                outputs.append(features)
        return outputs

    def _load_published(self, path: Path) -> None:
        require(path, "a state dict with keys like features.0.0.0.weight")
        try:
            published = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
            raise AnatomarkError(f"{path} is not a readable state dict; download it again") from error
        own = self.state_dict()
        wanted = [key for key in own if not key.endswith("num_batches_tracked")]
        missing = [key for key in wanted if key not in published]
        if missing:
            raise AnatomarkError(f"{path} lacks {missing[0]} ({len(missing)} keys in all); is it a SonoNet state dict?")
        for key in wanted:
            if published[key].shape != own[key].shape:
                raise AnatomarkError(
                    f"{path}: {key} has shape {tuple(published[key].shape)}, expected {tuple(own[key].shape)};"
                    " set width to that of the file"
                )
        self.load_state_dict({key: published[key] for key in wanted}, strict=False)
        with torch.no_grad():
            self.features[0][0][0].weight.mul_(PUBLISHED_INPUT_SCALE)  # type: ignore[index]


def _block(channels_in: int, channels_out: int, n_convs: int) -> nn.Sequential:
    return nn.Sequential(
        *(
            nn.Sequential(
                nn.Conv2d(channels_in if i == 0 else channels_out, channels_out, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels_out, eps=1e-4),
                nn.ReLU(inplace=True),
            )
            for i in range(n_convs)
        )
    )
