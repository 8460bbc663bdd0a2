"""The classifier model: what it shows its network, what it learns, logs and says, and what it refuses."""

import math
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anatomark.geometry.attention import render_map
from anatomark.models.classifier import ClassifierModel
from anatomark.nets.attention_classifier import AttentionClassifier
from anatomark.nets.sonoeyenet import SonoEyeNet
from anatomark.nets.sononet import ClassifierOutput, SonoNet, SonoNetTrunk
from anatomark.types import AnatomarkError, Batch
from settled import settle

SIDE = 32


class Recorder(nn.Module):
    """Shows what it is given: its class maps are scripted, its inputs kept."""

    stride = 8

    def __init__(self, class_maps: Tensor) -> None:
        super().__init__()
        self.class_maps = nn.Parameter(class_maps)
        self.n_classes = class_maps.shape[1]
        self.seen: tuple[Tensor, ...] = ()

    def forward(self, *inputs: Tensor) -> ClassifierOutput:
        self.seen = inputs
        logits = self.class_maps.mean((2, 3))
        return ClassifierOutput(logits=logits, class_maps=self.class_maps, features=self.class_maps * 2)


def make_batch(n: int = 4, *, n_classes: int = 2) -> Batch:
    """Noise; frames of the last class have a bright blob, which is looked at; of the others, some other place is."""
    generator = torch.Generator().manual_seed(1)
    ys, xs = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    label = torch.arange(n) % n_classes
    shown = label == n_classes - 1
    place = torch.where(shown[:, None], 8.0, 24.0) + torch.rand(n, 2, generator=generator)
    blob = torch.exp(-((xs - place[:, :1, None]) ** 2 + (ys - place[:, 1:, None]) ** 2) / 20)
    image = 0.3 * torch.randn(n, 1, SIDE, SIDE, generator=generator) + 4 * (blob * shown[:, None, None])[:, None]
    return {
        "samples": [
            {"key": f"f{i}", "subject": f"s{i}", "image": image[i], "spacing_mm": torch.ones(2)} for i in range(n)
        ],
        "image": image,
        "fixations": torch.cat([place, torch.full((n, 1), 100.0)], 1)[:, None],
        "has_gaze": torch.ones(n, dtype=torch.bool),
        "label": label,
    }


def make_model(net: nn.Module, **options: Any) -> ClassifierModel:
    model = ClassifierModel(net=net, optimizer=partial(torch.optim.Adam, lr=3e-3), **options)
    model.logged = {}  # type: ignore[assignment]
    model.log = lambda name, value, **_: model.logged.update({name: float(value.detach())})  # type: ignore[assignment, operator]
    model.log_dict = lambda values, **_: [model.log(*one) for one in values.items()]  # type: ignore[assignment]
    return model


@pytest.mark.parametrize("inputs", [["image"], ["attention"], ["image", "attention"], ["attention", "image"]])
def test_the_network_sees_its_inputs_in_their_order(inputs: list[str]) -> None:
    net, batch = Recorder(torch.randn(4, 2, 4, 4)), make_batch()
    make_model(net, inputs=inputs, sigma_px=5.0).training_step(batch, 0)
    attention = render_map(batch["fixations"], size=(SIDE, SIDE), sigma=5.0)[:, None]
    expected = {"image": batch["image"], "attention": attention}
    assert len(net.seen) == len(inputs)
    for name, seen in zip(inputs, net.seen, strict=True):
        torch.testing.assert_close(seen, expected[name])


def test_frames_where_nothing_was_fixated_have_an_empty_map() -> None:
    net, batch = Recorder(torch.randn(4, 2, 4, 4)), make_batch()
    batch["fixations"][1, :, 2] = 0
    make_model(net, inputs=["attention"]).predict(batch)
    assert net.seen[0][1].abs().max() == 0
    assert net.seen[0][0].max() == 1


def test_the_loss_is_the_cross_entropy() -> None:
    net, batch = Recorder(torch.randn(4, 3, 4, 4)), make_batch(n_classes=3)
    model = make_model(net)
    probability = net.class_maps.detach().mean((2, 3)).exp()
    probability = probability / probability.sum(1, keepdim=True)
    expected = -sum(math.log(probability[i, label]) for i, label in enumerate(batch["label"])) / 4
    loss = model.training_step(batch, 0)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert model.logged["train/loss"] == pytest.approx(expected, rel=1e-5)


def said(classes: list[int], n_classes: int) -> Recorder:
    return Recorder(4.0 * F.one_hot(torch.tensor(classes), n_classes)[..., None, None].expand(-1, -1, 4, 4))


def test_of_two_classes_the_last_is_the_positive_one() -> None:
    batch = make_batch(5) | {"label": torch.tensor([0, 0, 1, 1, 1])}
    model = make_model(said([0, 1, 1, 1, 0], 2))
    model.validation_step(batch, 0)
    model.on_validation_epoch_end()
    two_thirds = pytest.approx(2 / 3)
    assert model.logged["val/f1"] == two_thirds
    assert (model.logged["val/precision"], model.logged["val/recall"]) == (two_thirds, two_thirds)
    assert model.logged["val/accuracy"] == pytest.approx(3 / 5)
    assert model.logged["val/loss"] == pytest.approx(math.log(1 + math.exp(-4)) + 4 * 2 / 5, rel=1e-5)


def test_of_more_classes_the_f1_is_the_mean() -> None:
    batch = make_batch(4) | {"label": torch.tensor([0, 1, 1, 2])}
    model = make_model(said([0, 1, 0, 2], 3))
    model.test_step(batch, 0)
    model.on_test_epoch_end()
    assert model.logged["test/f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert model.logged["test/accuracy"] == pytest.approx(3 / 4)


def test_scores_are_of_all_batches_not_the_mean_of_each() -> None:
    model = make_model(said([1], 2))
    for label in (1, 1, 0):
        model.validation_step(make_batch(1) | {"label": torch.tensor([label])}, 0)
    model.on_validation_epoch_end()
    assert model.logged["val/f1"] == pytest.approx(4 / 5)
    model.validation_step(make_batch(1) | {"label": torch.tensor([1])}, 0)
    model.on_validation_epoch_end()
    assert model.logged["val/f1"] == 1  # the next epoch starts anew


def test_predictions_scale_each_class_map_to_the_unit_range() -> None:
    maps = torch.randn(4, 3, 4, 5)
    maps[2, 1] = 7.0
    with torch.no_grad():
        predictions = make_model(Recorder(maps)).predict(make_batch())
    assert [p["key"] for p in predictions] == ["f0", "f1", "f2", "f3"]
    for index, prediction in enumerate(predictions):
        assert prediction["map_stride"] == 8
        torch.testing.assert_close(prediction["logits"], maps[index].mean((1, 2)))
        torch.testing.assert_close(prediction["features"], 2 * maps[index])
        for k in range(3):
            found, scores = prediction["maps"][k], maps[index, k]
            if (index, k) == (2, 1):
                assert (found == 0).all()
            else:
                assert (found.min(), found.max()) == (0, 1)
                ratio = (scores[1, 1] - scores.min()) / (scores.max() - scores.min())
                assert found[1, 1].item() == pytest.approx(ratio.item(), abs=1e-5)


NETS: dict[str, tuple[list[str], Any]] = {
    "sononet": (["image"], lambda: SonoNet(n_classes=2)),
    "attention": (["attention"], lambda: AttentionClassifier(attention_stride=8)),
    "both": (["image", "attention"], lambda: SonoEyeNet(trunk=SonoNetTrunk(n_blocks=3), attention_stride=8)),
}


@pytest.mark.parametrize("name", NETS)
def test_every_baseline_learns(name: str) -> None:
    torch.manual_seed(0)
    inputs, make_net = NETS[name]
    model, batch = make_model(make_net(), inputs=inputs, sigma_px=4.0), make_batch()
    optimizer = model.configure_optimizers()
    for _ in range(20):
        optimizer.zero_grad()
        model.training_step(batch, 0).backward()
        optimizer.step()
    settle(model.net, *(model._input(one, batch) for one in inputs))  # running statistics of 20 steps lag behind
    with torch.no_grad():
        predictions = model.predict(batch)
    assert [int(p["logits"].argmax()) for p in predictions] == batch["label"].tolist()
    assert all(p["maps"].shape[0] == 2 and p["map_stride"] * p["maps"].shape[1] == SIDE for p in predictions)


def test_frames_without_class_are_refused_in_training_but_predicted() -> None:
    model, batch = make_model(Recorder(torch.randn(4, 2, 4, 4))), make_batch()
    del batch["label"]
    with pytest.raises(AnatomarkError, match=r"frame f0 has no class to learn; name the classes in data\.classes"):
        model.training_step(batch, 0)
    with pytest.raises(AnatomarkError, match="no class"):
        model.validation_step(batch, 0)
    assert len(model.predict(batch)) == 4


def test_frames_without_gaze_are_refused_where_gaze_is_the_input() -> None:
    batch = make_batch()
    batch["has_gaze"][2] = False
    model = make_model(Recorder(torch.randn(4, 2, 4, 4)), inputs=["image", "attention"])
    with pytest.raises(
        AnatomarkError, match=r"frame f2 has no recorded gaze, which this model takes as its input; add"
    ):
        model.predict(batch)
    assert len(make_model(Recorder(torch.randn(4, 2, 4, 4))).predict(batch)) == 4


def test_nan_is_not_carried_on() -> None:
    maps = torch.randn(4, 2, 4, 4)
    maps[3, 0, 0, 0] = float("nan")
    with pytest.raises(AnatomarkError, match="the network predicts NaN"):
        make_model(Recorder(maps)).predict(make_batch())


@pytest.mark.parametrize("inputs", [[], ["gaze"], ["image", "fixations"]])
def test_inputs_that_do_not_exist_are_refused(inputs: list[str]) -> None:
    with pytest.raises(AnatomarkError, match=r"model\.inputs is .*; it must name image, attention, or both"):
        make_model(Recorder(torch.randn(1, 2, 4, 4)), inputs=inputs)


def test_one_class_says_nothing() -> None:
    with pytest.raises(AnatomarkError, match=r"name two or more in data\.classes"):
        make_model(Recorder(torch.randn(1, 1, 4, 4)))


def test_the_map_stays_exact_under_mixed_precision() -> None:
    net, batch = Recorder(torch.randn(4, 2, 4, 4)), make_batch()
    model = make_model(net, inputs=["attention"], sigma_px=5.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model.predict(batch)
    torch.testing.assert_close(net.seen[0][:, 0], render_map(batch["fixations"], size=(SIDE, SIDE), sigma=5.0))
