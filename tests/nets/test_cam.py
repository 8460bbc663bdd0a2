"""The CAM baseline, and what both networks ask of a backbone."""

import re

import pytest
import torch
from torch import Tensor, nn

from anatomark.nets.cam import CamNet
from anatomark.nets.resnet import ResNet
from anatomark.nets.soft_proposal import SoftProposalNet
from anatomark.nets.vgg import VGG
from anatomark.types import AnatomarkError

NETS = pytest.mark.parametrize("kind", [CamNet, SoftProposalNet])


class Patches(nn.Module):
    """A backbone of one convolution."""

    def __init__(self, *, in_channels: int = 1, stride: int = 8) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, 6, stride, stride)

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.convolution(image)
        return features


class Tokens(Patches):
    """Features in a row, as transformers give them."""

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image).flatten(2).mT


def test_the_scores_are_those_of_the_mean_features() -> None:
    torch.manual_seed(0)
    net = CamNet(backbone=Patches(), n_classes=3, adapt_channels=10)
    image = torch.randn(2, 1, 40, 56)
    output = net(image)
    assert output.proposal is None
    assert output.class_maps.shape == (2, 3, 5, 7)
    features = torch.relu(net.adapt[0](net.backbone(image)))
    torch.testing.assert_close(output.features, features)
    torch.testing.assert_close(output.logits, net.classifier(features.mean((2, 3))))
    torch.testing.assert_close(output.class_maps.mean((2, 3)) + net.classifier.bias, output.logits)
    at_cell = net.classifier(features[0, :, 2, 3]) - net.classifier.bias
    torch.testing.assert_close(output.class_maps[0, :, 2, 3], at_cell)


def test_uniform_proposals_are_the_cam_baseline() -> None:
    """Frames without contrast: each cell of the soft-proposal network counts 1/N."""
    torch.manual_seed(0)
    soft = SoftProposalNet(backbone=Patches(), n_classes=3, adapt_channels=10)
    cam = CamNet(backbone=Patches(), n_classes=3, adapt_channels=10)
    cam.load_state_dict(soft.state_dict())
    for net in (soft, cam):  # a border would be contrast
        net.adapt[0] = nn.Conv2d(6, 10, 1)
        nn.init.constant_(net.adapt[0].weight, 0.1)
        nn.init.zeros_(net.adapt[0].bias)
    image = torch.full((2, 1, 40, 56), 0.7)
    torch.testing.assert_close(soft(image).logits, cam(image).logits)
    torch.testing.assert_close(35 * soft(image).class_maps, cam(image).class_maps)


def test_scores_are_not_rounded_under_autocast() -> None:
    torch.manual_seed(0)
    net = CamNet(backbone=Patches(), n_classes=3, adapt_channels=10)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        output = net(torch.randn(2, 1, 40, 56))
    assert output.class_maps.dtype == torch.bfloat16
    assert output.logits.dtype == torch.float32
    expected = output.class_maps.double().mean((2, 3)) + net.classifier.bias
    torch.testing.assert_close(output.logits.double(), expected, rtol=1e-5, atol=1e-6)


@NETS
@pytest.mark.parametrize(("backbone", "stride"), [(ResNet, 32), (VGG, 16), (Patches, 8)])
def test_a_backbone_shows_its_stride(kind: type[CamNet], backbone: type[nn.Module], stride: int) -> None:
    torch.manual_seed(0)
    trunk = backbone()
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    net = kind(backbone=trunk, n_classes=2)
    assert net.stride == stride
    assert all(module.training for module in net.modules())
    assert all(torch.equal(value, before[key]) for key, value in trunk.state_dict().items())


@NETS
def test_frames_that_do_not_divide_into_cells_are_refused(kind: type[CamNet]) -> None:
    net = kind(backbone=Patches(), n_classes=2)
    with pytest.raises(AnatomarkError, match=r"frames of 40 x 50 px .* do not divide into cells of 8 px; change"):
        net(torch.zeros(1, 1, 40, 50))


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (lambda: Patches(in_channels=3), "fails on a frame of 64 x 64 px with 1 channel (Given groups=1"),
        (Tokens, "turns a frame of 64 x 64 px into (1, 64, 6), not into a feature map"),
        (lambda: nn.Sequential(Patches(), nn.AdaptiveAvgPool2d(1)), "into (1, 6, 1, 1), not into a feature map"),
        (lambda: nn.ModuleList(), "fails on a frame of 64 x 64 px"),
    ],
    ids=["RGB", "tokens", "pooled", "no network"],
)
def test_what_is_no_backbone_is_refused(backbone: type[nn.Module], message: str) -> None:
    with pytest.raises(AnatomarkError, match=re.escape(message)) as caught:
        CamNet(backbone=backbone(), n_classes=2)
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value)


def test_any_timm_network_can_be_the_backbone() -> None:
    pytest.importorskip("timm")
    from anatomark.instantiation import instantiate

    torch.manual_seed(0)
    for name, channels in (("resnet18", 512), ("mobilenetv3_small_050", 1024)):
        options = {"model_name": name, "in_chans": 1, "num_classes": 0, "global_pool": ""}
        net = instantiate(
            {
                "_target_": "anatomark.nets.soft_proposal.SoftProposalNet",
                "backbone": {"_target_": "timm.create_model", **options},
                "n_classes": 3,
            }
        )
        output = net.eval()(torch.rand(2, 1, 96, 128))
        assert output.class_maps.shape == (2, 3, 3, 4)
        assert (net.stride, net.adapt[0].in_channels) == (32, channels)


def test_our_resnet_is_timms() -> None:
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("resnet18", in_chans=1, num_classes=0, global_pool="").eval()
    ours = ResNet().eval()
    ours.load_state_dict(theirs.state_dict())
    image = torch.rand(2, 1, 64, 96)
    torch.testing.assert_close(ours(image), theirs(image))
