"""Grad-CAM against a slow transcription of the paper, and against what it is known to be."""

import pytest
import torch
from torch import Tensor, nn

from anatomark.models.grad_cam import grad_cam
from anatomark.nets.cam import CamNet, ResponseNet
from anatomark.nets.soft_proposal import SoftProposalNet
from settled import settle


def make_net(kind: type[ResponseNet]) -> ResponseNet:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(1, 6, 3, stride=8, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
    return settle(kind(backbone=backbone, n_classes=3, adapt_channels=5), torch.randn(8, 1, 32, 40))


def transcribed(net: ResponseNet, image: Tensor) -> Tensor:
    """Selvaraju et al. 2017, eq. 1 and 2: a whole forward and backward pass per frame, class, channel and cell."""
    seen: list[Tensor] = []
    hook = net.backbone.register_forward_hook(lambda module, inputs, output: seen.append(output))
    maps = []
    for frame in image:
        for k in range(net.n_classes):
            seen.clear()
            score = net(frame[None]).logits[0, k]
            (gradient,) = torch.autograd.grad(score, seen[0])
            total = torch.zeros(seen[0].shape[-2:])
            for channel in range(gradient.shape[1]):
                cells = [float(value) for row in gradient[0, channel] for value in row]
                total += sum(cells) / len(cells) * seen[0][0, channel].detach()
            maps.append(total.clamp(min=0))
    hook.remove()
    return torch.stack(maps).unflatten(0, (len(image), net.n_classes))


@pytest.mark.parametrize("kind", [CamNet, SoftProposalNet])
@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_a_batch_is_as_frame_by_frame_and_class_by_class(kind: type[ResponseNet], guard: type) -> None:
    net, image = make_net(kind), torch.randn(4, 1, 32, 40)
    expected = transcribed(net, image)
    assert expected.amax() > 0
    with guard():
        found = grad_cam(lambda features: net.respond(features).logits, net.extract(image))
    assert found.shape == (4, 3, 4, 5)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert all(parameter.grad is None for parameter in net.parameters())


def test_before_average_pooling_it_is_the_class_activation_map() -> None:
    net, image = make_net(CamNet), torch.randn(4, 1, 32, 40)
    with torch.no_grad():
        output = net(image)
    found = grad_cam(lambda features: net.classifier(features.mean((2, 3))), output.features)
    torch.testing.assert_close(found, output.class_maps.relu() / (4 * 5))


def test_a_class_that_no_feature_raises_has_an_empty_map() -> None:
    found = grad_cam(
        lambda features: torch.stack([features.sum((1, 2, 3)), -features.sum((1, 2, 3))], 1), torch.ones(2, 3, 4, 4)
    )
    assert (found[:, 0] == 3).all()
    assert (found[:, 1] == 0).all()


def test_half_precision_is_left_behind() -> None:
    net, image = make_net(SoftProposalNet), torch.randn(4, 1, 32, 40)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        extracted = net.extract(image)
        found = grad_cam(lambda features: net.respond(features).logits, extracted)
    assert extracted.dtype == torch.bfloat16
    expected = grad_cam(lambda features: net.respond(features).logits, extracted.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)
