"""SonoNet trunks against the published weights and a plain transcription of their arithmetic."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from anatomark.nets.sononet import SonoNetTrunk
from anatomark.types import AnatomarkError


def test_stride_and_channels() -> None:
    trunk = SonoNetTrunk()
    assert (trunk.stride, trunk.out_channels) == (8, 128)
    assert trunk(torch.rand(1, 1, 224, 288))[-1].shape == (1, 128, 28, 36)
    shallow = SonoNetTrunk(pools=(1, 2), n_blocks=3, width=32)
    assert (shallow.stride, shallow.out_channels) == (4, 128)
    assert [tuple(out.shape) for out in shallow(torch.rand(1, 1, 112, 144))] == [(1, 128, 28, 36)]


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(AnatomarkError, match=r"width must be one of \[16, 32, 64\], not 8"):
        SonoNetTrunk(width=8)
    with pytest.raises(AnatomarkError, match="pools among its blocks"):
        SonoNetTrunk(n_blocks=2, pools=(1, 3))


def test_weights_of_another_width_are_refused(tmp_path: Path) -> None:
    torch.save(SonoNetTrunk(width=32).state_dict(), tmp_path / "wide.pth")
    with pytest.raises(AnatomarkError, match=r"wide.pth: features.0.0.0.weight has shape .*; set width"):
        SonoNetTrunk(width=16, weights=tmp_path / "wide.pth")
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(AnatomarkError, match=r"other.pth lacks features.0.0.0.weight"):
        SonoNetTrunk(weights=tmp_path / "other.pth")
    (tmp_path / "broken.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(AnatomarkError, match=r"broken.pth is not a readable state dict"):
        SonoNetTrunk(weights=tmp_path / "broken.pth")
    with pytest.raises(AnatomarkError, match="does not exist"):
        SonoNetTrunk(weights=tmp_path / "none.pth")


@pytest.mark.real_data
def test_published_weights_on_unit_variance_images(data_dir: Path) -> None:
    """Standardised images in our trunk equal 255-scaled ones in the published arithmetic."""
    path = data_dir / "sononet16" / "SonoNet16.pth"
    state = torch.load(path, weights_only=True)
    torch.manual_seed(0)
    image = torch.randn(1, 1, 64, 96)
    expected = 255 * image
    for block, convs in enumerate((2, 2, 3, 3)):
        for conv in range(convs):
            key = f"features.{block}.{conv}"
            expected = F.conv2d(expected, state[f"{key}.0.weight"], padding=1)
            mean, variance = state[f"{key}.1.running_mean"], state[f"{key}.1.running_var"]
            scale = state[f"{key}.1.weight"] / (variance + 1e-4).sqrt()
            expected = (
                scale[:, None, None] * (expected - mean[:, None, None]) + state[f"{key}.1.bias"][:, None, None]
            ).relu()
        if block < 3:
            expected = F.max_pool2d(expected, 2)
    with torch.no_grad():
        found = SonoNetTrunk(weights=path).eval()(image)[-1]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
