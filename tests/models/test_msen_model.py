"""The M-SEN model: what each of its networks is taught and when, what it says, and that it can learn."""

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from msen_training import SIDE, STRIDE, collate, make_model, make_samples
from torch import Tensor, nn

from anatomark.geometry.attention import render_map
from anatomark.metrics.saliency import cc
from anatomark.models.msen import MSENModel
from anatomark.models.targets import attention_target
from anatomark.types import AnatomarkError, Batch


class Trained:
    """Stands for the Trainer: the epoch, the optimisers, and what was logged."""

    def __init__(self, epoch: int, **options: Any) -> None:
        self.model = make_model(**options)
        self.logged: dict[str, float] = {}
        self.epoch = epoch
        steps, _ = self.model.configure_optimizers()
        replaced = {
            "optimizers": lambda: steps,
            "manual_backward": lambda loss: loss.backward(),
            "log_dict": lambda named, **_: self.logged.update({k: float(v) for k, v in named.items()}),
            "toggle_optimizer": lambda _: self.model.discriminator.requires_grad_(False),
            "untoggle_optimizer": lambda _: self.model.discriminator.requires_grad_(True),
        }
        for name, method in replaced.items():
            object.__setattr__(self.model, name, method)

    def step(self, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> MSENModel:
        monkeypatch.setattr(MSENModel, "current_epoch", self.epoch)
        self.model.training_step(batch, 0)
        return self.model


def make_batch(n: int = 4) -> Batch:
    return collate(make_samples(n))


def copy(net: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in net.state_dict().items()}


def names(net: nn.Module) -> set[str]:
    return set(dict(net.named_parameters()))


def changed(net: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {key for key, value in net.named_parameters() if not torch.equal(value, before[key])}


@pytest.mark.parametrize(("epoch", "weight"), [(0, 2.0), (1, 1.75), (2, 1.5), (4, 1.0), (90, 1.0)])
def test_the_saliency_weight_falls_over_pre_training(
    epoch: int, weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MSENModel, "current_epoch", epoch)
    assert make_model(pretrain_epochs=4).saliency_weight == pytest.approx(weight)
    assert make_model(pretrain_epochs=0).saliency_weight == 1.0


def test_pre_training_teaches_the_generator_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = Trained(epoch=1)
    generator, discriminator = copy(trained.model.net), copy(trained.model.discriminator)
    trained.step(make_batch(), monkeypatch)
    assert changed(trained.model.net, generator) == names(trained.model.net)
    assert changed(trained.model.discriminator, discriminator) == set()
    assert set(trained.logged) == {"train/loss", "train/saliency_loss", "train/class_loss"}
    weighted = 1.5 * trained.logged["train/saliency_loss"] + trained.logged["train/class_loss"]
    assert trained.logged["train/loss"] == pytest.approx(weighted, rel=1e-5)


def test_the_adversarial_phase_teaches_both(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = Trained(epoch=2)
    discriminator = copy(trained.model.discriminator)
    trained.step(make_batch(), monkeypatch)
    assert changed(trained.model.discriminator, discriminator) == names(trained.model.discriminator)
    logged = trained.logged
    weighted = logged["train/saliency_loss"] + logged["train/class_loss"] + 0.1 * logged["train/adversarial_loss"]
    assert logged["train/loss"] == pytest.approx(weighted, rel=1e-5)
    assert trained.model.discriminator.training


def test_each_network_learns_from_its_own_loss_only(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = Trained(epoch=2, class_weight=0.0, saliency_weight=[0.0, 0.0])
    model, grads = trained.model, []

    def spied(_: Any, loss: Tensor) -> None:
        loss.backward()
        first_layers = (model.net.cells.trunk.features[0][0][0], model.discriminator.convolutions[0])
        grads.append([None if layer.weight.grad is None else layer.weight.grad.clone() for layer in first_layers])

    object.__setattr__(model, "_step", spied)
    trained.step(make_batch(), monkeypatch)
    discriminator_step, generator_step = grads
    assert discriminator_step[0] is None  # the map is detached
    assert discriminator_step[1].abs().sum() > 0
    assert generator_step[0].abs().sum() > 0  # by the game alone: all other weights are zero
    assert torch.equal(generator_step[1], discriminator_step[1])  # frozen


def test_the_discriminator_judges_in_evaluation_mode_while_the_generator_learns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained, modes = Trained(epoch=2), []
    trained.model.discriminator.register_forward_hook(lambda net, *_: modes.append(net.training))
    trained.step(make_batch(), monkeypatch)
    assert modes == [True, False]


def test_frames_without_gaze_teach_the_class_only(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = make_batch()
    batch["has_gaze"] = torch.zeros(4, dtype=torch.bool)
    trained = Trained(epoch=2)
    trained.step(batch, monkeypatch)
    logged = trained.logged
    assert logged["train/saliency_loss"] == logged["train/adversarial_loss"] == 0
    assert logged["train/discriminator_loss"] == 0
    assert logged["train/class_loss"] > 0
    batch["fixations"] = torch.zeros(4, 0, 3)  # as frames come that nobody watched
    trained.step(batch, monkeypatch)


def test_the_gaze_of_some_frames_is_not_diluted_by_frames_without(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, options = make_batch(), {"epoch": 0, "class_weight": 0.0}
    first = {key: value[:2] for key, value in batch.items()}
    batch["has_gaze"] = torch.tensor([True, True, False, False])
    for model_batch in (batch, first):
        trained = Trained(**options)
        trained.model.net.eval()
        trained.step(model_batch, monkeypatch)  # type: ignore[arg-type]
        model_batch["loss"] = trained.logged["train/saliency_loss"]  # type: ignore[typeddict-unknown-key]
    assert batch["loss"] == pytest.approx(first["loss"], rel=1e-5)  # type: ignore[typeddict-item]


def test_the_target_is_the_area_average_of_a_map_with_maximum_one() -> None:
    batch = make_batch(2)
    batch["fixations"][1] = 0  # nothing fixated
    full = render_map(batch["fixations"], size=(SIDE, SIDE), sigma=5.0)
    assert full[0].max() == 1
    expected = full.reshape(2, SIDE // STRIDE, STRIDE, SIDE // STRIDE, STRIDE).mean((2, 4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(attention_target(batch, sigma=5.0, stride=STRIDE), expected)
    assert (expected[1] == 0).all()


def test_without_adversarial_weight_there_is_no_second_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = Trained(epoch=50, adversarial_weight=0.0)
    before = copy(trained.model.discriminator)
    trained.step(make_batch(), monkeypatch)
    assert changed(trained.model.discriminator, before) == set()


@pytest.mark.parametrize(("epochs", "weight", "warned"), [(2, 0.1, True), (3, 0.1, False), (2, 0.0, False)])
def test_training_without_an_adversarial_epoch_is_warned_of(
    caplog: pytest.LogCaptureFixture, epochs: int, weight: float, warned: bool
) -> None:
    model = make_model(adversarial_weight=weight)
    model.trainer = pl.Trainer(max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False)
    model.on_fit_start()
    assert ("all 2 epochs are pre-training" in caplog.text) == warned


def test_mixed_precision_judges_with_the_discriminator_just_taught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast keeps half-precision copies of weights, which would be those before the step."""
    trained = Trained(epoch=2, discriminator_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0))
    batch, model = make_batch(), trained.model
    model.net.eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        attention = model.net(batch["image"]).attention.float().sigmoid()
        monkeypatch.setattr(type(model.configure_optimizers()[0][0]), "step", lambda *_, **__: None)
        trained.step(batch, monkeypatch)
        judged = trained.logged["train/adversarial_loss"]
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        expected = F.softplus(-model.discriminator(batch["image"], attention).float()).mean()
    assert judged == pytest.approx(expected.item(), rel=1e-3)


def test_predictions_hold_the_map_its_features_and_the_logits() -> None:
    model, batch = make_model().eval(), make_batch()
    with torch.no_grad():
        predictions = model.predict(batch)
        output = model.net(batch["image"])
    assert [p["key"] for p in predictions] == ["f0", "f1", "f2", "f3"]
    for index, prediction in enumerate(predictions):
        assert prediction["map_stride"] == STRIDE
        torch.testing.assert_close(prediction["maps"], 1 / (1 + (-output.attention[index : index + 1]).exp()))
        torch.testing.assert_close(prediction["logits"], output.logits[index])
        torch.testing.assert_close(prediction["features"], output.features[index])


def test_it_learns_the_plane_and_where_people_look(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, trained = make_batch(16), Trained(epoch=2)
    for _ in range(40):
        trained.step(batch, monkeypatch)
    model = trained.model
    with torch.no_grad():
        for _ in range(20):
            model.net(batch["image"])  # batch statistics of the final weights
        model.eval()
        predictions = model.predict(batch)
    classes = torch.stack([p["logits"] for p in predictions]).argmax(1)
    assert torch.equal(classes, batch["label"])
    maps = torch.cat([p["maps"] for p in predictions])[1::2]
    truth = attention_target(batch, sigma=5.0, stride=STRIDE)[1::2]
    assert cc(maps, truth).mean() > 0.8


@pytest.mark.parametrize("layer", ["attention.score", "classification.adaptation.3"])
def test_nan_is_not_carried_on(layer: str) -> None:
    model = make_model().eval()
    nn.init.constant_(model.net.get_submodule(layer).weight, float("nan"))
    with pytest.raises(AnatomarkError, match="the network predicts NaN"):
        model.predict(make_batch(1))


def test_frames_without_a_class_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = make_batch()
    del batch["label"], batch["samples"][2]["label"]
    with pytest.raises(AnatomarkError, match=r"frame f2 has no class to learn; name the classes in data\.classes"):
        Trained(epoch=0).step(batch, monkeypatch)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"pretrain_epochs": -1}, "pretrain_epochs is -1"),
        ({"saliency_weight": [1.0]}, "give two numbers"),
        ({"adversarial_weight": -0.1}, "adversarial_weight is -0.1"),
        ({"real_target": 1.1}, "real_target is 1.1"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(option: dict[str, Any], message: str) -> None:
    with pytest.raises(AnatomarkError, match=message):
        make_model(**option)
