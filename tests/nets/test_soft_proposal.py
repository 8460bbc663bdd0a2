"""Soft proposals: the closed form against the walk, both against loops, and what may not matter."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from anatomark.nets.resnet import ResNet
from anatomark.nets.soft_proposal import SoftProposalNet, soft_proposal
from anatomark.types import AnatomarkError
from settled import settle

MODES = pytest.mark.parametrize("mode", ["exact", "iterative"])
EPS_MODES = pytest.mark.parametrize("eps_mode", ["side", "area"])
SIZES = pytest.mark.parametrize("size", [(7, 7), (14, 14), (28, 36)], ids=str)


def make_features(*size: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Rectified like a network's."""
    return torch.randn(3, 24, *size, dtype=dtype, generator=torch.Generator().manual_seed(seed)).relu()


def loop_transition(features: npt.NDArray[np.float64], eps_mode: str) -> npt.NDArray[np.float64]:
    """T of one map, entry by entry (Toussaint et al. 2018, section 2)."""
    _, height, width = features.shape
    cells = [(y, x) for y in range(height) for x in range(width)]
    f = 0.15 * (height * width if eps_mode == "area" else (height * width) ** 0.5)
    D = np.zeros((len(cells), len(cells)))
    for u, (y, x) in enumerate(cells):
        for v, (j, i) in enumerate(cells):
            distance = np.sqrt(((features[:, y, x] - features[:, j, i]) ** 2).sum())
            D[u, v] = distance * np.exp(-((y - j) ** 2 + (x - i) ** 2) / (2 * f**2))
    return D / D.sum(axis=0, keepdims=True)


@SIZES
@EPS_MODES
@pytest.mark.parametrize(("dtype", "steps"), [(torch.float64, 250), (torch.float32, 150)], ids=["double", "single"])
def test_exact_is_where_the_walk_arrives(size: tuple[int, int], eps_mode: str, dtype: torch.dtype, steps: int) -> None:
    features = make_features(*size, dtype=dtype)[:2]
    exact = soft_proposal(features, eps_mode=eps_mode)
    walk = soft_proposal(features, mode="iterative", eps_mode=eps_mode, max_steps=steps, tolerance=0.0)
    assert exact.dtype == walk.dtype == dtype
    assert ((exact - walk).abs() / exact).max() < (1e-12 if dtype == torch.float64 else 1e-5)
    assert exact.amax() > 1.05 * exact.amin()  # not the uniform map
    torch.testing.assert_close(exact.sum((1, 2)), torch.ones(2, dtype=dtype))


@EPS_MODES
@pytest.mark.parametrize("size", [(5, 5), (3, 6), (6, 3)], ids=str)
def test_both_modes_are_what_the_paper_says(size: tuple[int, int], eps_mode: str) -> None:
    features = make_features(*size, dtype=torch.float64)
    exact = soft_proposal(features, eps_mode=eps_mode)
    walk = soft_proposal(features, mode="iterative", eps_mode=eps_mode)
    for one, limit, stopped in zip(features.numpy(), exact.numpy(), walk.numpy(), strict=True):
        T = loop_transition(one, eps_mode)
        np.testing.assert_allclose(T @ limit.ravel(), limit.ravel(), rtol=1e-10)
        p = np.full(len(T), 1 / len(T))
        for _ in range(20):
            p, before = T @ p, p
            if np.sqrt(((p - before) ** 2).sum()) < 1e-4:
                break
        np.testing.assert_allclose(stopped.ravel(), p, rtol=1e-10)


def test_the_walk_stops_after_its_steps_and_at_its_tolerance() -> None:
    features = make_features(7, 7, dtype=torch.float64)
    T = np.stack([loop_transition(one, "side") for one in features.numpy()])
    uniform = np.full((3, 49, 1), 1 / 49)
    two_steps = (T @ T @ uniform).reshape(3, 7, 7)
    found = soft_proposal(features, mode="iterative", max_steps=2, tolerance=0.0)
    np.testing.assert_allclose(found.numpy(), two_steps, rtol=1e-10)
    found = soft_proposal(features, mode="iterative", tolerance=10.0)
    np.testing.assert_allclose(found.numpy(), (T @ uniform).reshape(3, 7, 7), rtol=1e-10)


def test_a_cell_that_alone_differs_holds_half_of_the_proposal() -> None:
    """Its affinities are all there are, and each counts once for it and once for the other cell."""
    features = torch.ones(1, 8, 5, 9)
    features[:, :, 1, 6] = 3.0
    proposal = soft_proposal(features)
    assert proposal[0, 1, 6].item() == pytest.approx(0.5, rel=1e-6)
    assert proposal[0, 1, 5] == proposal[0, 1, 7] == proposal[0, 0, 6] > proposal[0, 1, 4] > proposal[0, 4, 0]


@MODES
@pytest.mark.parametrize("value", [0.0, 1.0, 1e-3, 1e4])
def test_constant_features_give_the_uniform_map(mode: str, value: float) -> None:
    channels = torch.randn(16, generator=torch.Generator().manual_seed(1))
    features = (value * channels)[None, :, None, None].repeat(2, 1, 6, 9)
    features[1] = make_features(6, 9)[0, :16]  # and no other frame of the batch matters
    proposal = soft_proposal(features, mode=mode)
    torch.testing.assert_close(proposal[0], torch.full((6, 9), 1 / 54))
    torch.testing.assert_close(proposal[1:], soft_proposal(features[1:], mode=mode))


@MODES
@EPS_MODES
def test_mirrored_and_turned_maps_give_mirrored_and_turned_proposals(mode: str, eps_mode: str) -> None:
    features = make_features(7, 10, dtype=torch.float64)

    def propose(moved: Tensor) -> Tensor:
        return soft_proposal(moved, mode=mode, eps_mode=eps_mode)

    expected = propose(features)
    torch.testing.assert_close(propose(features.flip(3)), expected.flip(2))
    torch.testing.assert_close(propose(features.flip(2)), expected.flip(1))
    torch.testing.assert_close(propose(features.mT), expected.mT)


@MODES
def test_only_the_ratios_of_distances_matter(mode: str) -> None:
    features = make_features(7, 7, dtype=torch.float64)
    expected = soft_proposal(features, mode=mode)
    rotation, _ = torch.linalg.qr(torch.randn(24, 24, dtype=torch.float64))
    for same in (features[:, torch.randperm(24)], 7.0 * features, features + 2.0):
        torch.testing.assert_close(soft_proposal(same, mode=mode), expected)
    torch.testing.assert_close(soft_proposal(torch.einsum("dc,bchw->bdhw", rotation, features), mode=mode), expected)


@MODES
def test_batched_equals_one_by_one(mode: str) -> None:
    features = make_features(7, 9)
    features[1] = 0.01 * features[1] + torch.eye(7, 9)  # its walk ends at another step
    together = soft_proposal(features, mode=mode)
    for one, expected in zip(features, together, strict=True):
        torch.testing.assert_close(soft_proposal(one[None], mode=mode)[0], expected)


@MODES
def test_half_precision_around_it_changes_nothing(mode: str) -> None:
    features = make_features(7, 7)
    expected = soft_proposal(features, mode=mode)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = soft_proposal(features, mode=mode)
        of_half = soft_proposal(features.bfloat16(), mode=mode)
    assert found.dtype == of_half.dtype == torch.float32
    assert torch.equal(found, expected)
    assert torch.equal(of_half, soft_proposal(features.bfloat16().float(), mode=mode))


@pytest.mark.parametrize("options", [{"mode": "fast"}, {"eps_mode": "width"}])
def test_unknown_options_are_refused(options: dict[str, str]) -> None:
    (value,) = options.values()
    with pytest.raises(AnatomarkError, match=rf"is {value}; it must be one of \["):
        soft_proposal(make_features(3, 3), **options)
    with pytest.raises(AnatomarkError, match=rf"is {value}; it must be one of \["):
        SoftProposalNet(backbone=ResNet(), n_classes=2, **options)


class Patches(nn.Module):
    """A backbone of one convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 6, 8, 8)

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.convolution(image)
        return features


def make_net(**options: str) -> SoftProposalNet:
    torch.manual_seed(0)
    return SoftProposalNet(backbone=Patches(), n_classes=3, adapt_channels=10, **options)


@MODES
def test_the_scores_are_those_of_summed_weighted_features(mode: str) -> None:
    net = make_net(mode=mode)
    output = net(torch.randn(2, 1, 40, 56))
    assert output.class_maps.shape == (2, 3, 5, 7)
    assert (net.stride, net.n_classes) == (8, 3)
    assert torch.equal(output.proposal, soft_proposal(output.features, mode=mode))
    V = output.features * output.proposal[:, None]
    torch.testing.assert_close(output.logits, net.classifier(V.sum((2, 3))))
    torch.testing.assert_close(output.class_maps, torch.einsum("kc,bchw->bkhw", net.classifier.weight, V))
    torch.testing.assert_close(output.class_maps.sum((2, 3)) + net.classifier.bias, output.logits)


@MODES
def test_the_proposal_is_a_constant_in_the_backward_pass(mode: str) -> None:
    net = make_net(mode=mode)
    image = torch.randn(2, 1, 40, 56)
    output = net(image)
    assert not output.proposal.requires_grad
    output.logits.square().sum().backward()
    found = {name: parameter.grad.clone() for name, parameter in net.named_parameters()}
    net.zero_grad()
    constant = torch.tensor(output.proposal.tolist())[:, None]
    features = net.adapt(net.backbone(image))
    net.classifier((features * constant).sum((2, 3))).square().sum().backward()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)
    assert all(gradient.abs().sum() > 0 for gradient in found.values())


def test_a_whole_network_scores_frames_one_by_one_as_in_a_batch() -> None:
    torch.manual_seed(0)
    image = torch.rand(3, 1, 64, 96)
    net = settle(SoftProposalNet(backbone=ResNet(), n_classes=4, adapt_channels=32), image)
    with torch.no_grad():
        together = net(image)
        assert together.proposal.shape == (3, 2, 3)
        for index in range(3):
            for alone, all_ in zip(net(image[index : index + 1]), together, strict=True):
                torch.testing.assert_close(alone[0], all_[index], rtol=1e-4, atol=1e-4)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = net(image)
    assert half.proposal.dtype == half.logits.dtype == torch.float32
    torch.testing.assert_close(half.logits, together.logits, rtol=0.1, atol=0.05)


def test_no_nan_is_hidden() -> None:
    features = make_features(3, 3)
    features[0, 0, 1, 1] = torch.nan
    proposal = soft_proposal(features)
    assert proposal[0].isnan().all()
    assert proposal[1:].isfinite().all()
