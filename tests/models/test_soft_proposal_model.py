"""The soft-proposal model and its CAM baseline: what they learn, log and say, and what they refuse."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from anatomark.data.datamodules import collate
from anatomark.models.soft_proposal import SoftProposalModel, label_loss
from anatomark.nets.cam import CamNet, ResponseNet
from anatomark.nets.soft_proposal import SoftProposalNet
from anatomark.predictions import PredictionWriter, load_prediction
from anatomark.types import AnatomarkError, Batch, Sample
from settled import settle

SIDE = 32
CORNERS = torch.tensor([[8.0, 8.0], [24.0, 8.0], [8.0, 24.0]])
NETS = [SoftProposalNet, CamNet]


def make_net(kind: type[ResponseNet], *, n_classes: int = 3) -> ResponseNet:
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(inplace=True),
    )
    return kind(backbone=backbone, n_classes=n_classes, adapt_channels=16)


def make_batch(n: int = 12) -> Batch:
    """Frames of class k have stripes of its width in its corner; every other shows the next class's too, fainter."""
    generator = torch.Generator().manual_seed(1)
    ys, xs = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    label = torch.arange(n) % 3
    present = torch.nn.functional.one_hot(label, 3).bool()
    image = 0.1 * torch.randn(n, 1, SIDE, SIDE, generator=generator)
    for i, k in enumerate(label.tolist()):
        shown = [(k, 2.0), ((k + 1) % 3, 1.0)][: 1 + i % 2]
        for other, brightness in shown:
            present[i, other] = True
            near = torch.exp(-((xs - CORNERS[other, 0]) ** 2 + (ys - CORNERS[other, 1]) ** 2) / 30)
            image[i, 0] += brightness * near * torch.cos(xs * math.pi / (other + 1))
    return {
        "samples": [
            {"key": f"f{i}", "subject": f"s{i}", "image": image[i], "spacing_mm": torch.ones(2), "label": int(label[i])}
            for i in range(n)
        ],
        "image": image,
        "fixations": torch.zeros(n, 0, 3),
        "has_gaze": torch.zeros(n, dtype=torch.bool),
        "label": label,
        "present": present,
    }


def make_model(net: ResponseNet, **options: Any) -> SoftProposalModel:
    optimizer = partial(torch.optim.SGD, lr=0.3, momentum=0.8, nesterov=True, weight_decay=5e-4)
    model = SoftProposalModel(net=net, **{"optimizer": optimizer, **options})
    model.logged = {}  # type: ignore[assignment]
    model.log = lambda name, value, **_: model.logged.update({name: float(value.detach())})  # type: ignore[assignment, operator]
    model.log_dict = lambda values, **_: [model.log(*one) for one in values.items()]  # type: ignore[assignment]
    return model


def train(model: SoftProposalModel, batch: Batch, steps: int) -> list[float]:
    optimizer = model.configure_optimizers()
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model.training_step(batch, 0)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_the_loss_is_each_classs_own_cross_entropy_mean_over_classes() -> None:
    logits = torch.tensor([[0.3, -1.2, 2.0], [0.0, 0.5, -0.1]])
    present = torch.tensor([[True, False, True], [False, False, False]])
    expected = 0.0
    for row, shown in zip(logits.tolist(), present.tolist(), strict=True):
        for x, y in zip(row, shown, strict=True):
            q = 1 / (1 + math.exp(-x))
            expected -= math.log(q) if y else math.log(1 - q)
    batch = make_batch(2) | {"present": present}
    assert label_loss(logits, batch).item() == pytest.approx(expected / 6, rel=1e-5)


@pytest.mark.parametrize("kind", NETS)
def test_it_learns_all_that_a_frame_shows_and_where(kind: type[ResponseNet]) -> None:
    model, batch = make_model(make_net(kind)), make_batch()
    losses = train(model, batch, 40)
    assert losses[-1] < losses[0] / 2
    assert model.logged["train/loss"] == pytest.approx(losses[-1])
    settle(model.net, batch["image"])
    with torch.no_grad():
        predictions = model.predict(batch)
    assert [int(p["logits"].argmax()) for p in predictions] == batch["label"].tolist()
    said = torch.stack([p["logits"] for p in predictions]) > 0
    assert (said == batch["present"]).float().mean() > 0.9  # also the second class of a frame
    for k, prediction in zip(batch["label"].tolist(), predictions, strict=True):
        row, column = divmod(int(prediction["maps"][k].argmax()), 8)
        peak = 4 * torch.tensor([column, row]) + 1.5
        assert (peak - CORNERS[k]).abs().max() <= 8


@pytest.mark.parametrize("kind", NETS)
def test_predictions_are_class_response_maps_in_the_unit_range(kind: type[ResponseNet]) -> None:
    net, batch = make_net(kind), make_batch()
    settle(net, batch["image"])
    with torch.no_grad():
        predictions, output = make_model(net).predict(batch), net(batch["image"])
    assert [p["key"] for p in predictions] == [sample["key"] for sample in batch["samples"]]
    for index, prediction in enumerate(predictions):
        assert prediction.keys() == {"key", "maps", "map_stride", "logits", "features"}
        assert prediction["map_stride"] == 4
        torch.testing.assert_close(prediction["logits"], output.logits[index])
        torch.testing.assert_close(prediction["features"], output.features[index])
        for found, response in zip(prediction["maps"], output.class_maps[index], strict=True):
            low, high = response.min(), response.max()
            torch.testing.assert_close(found, (response - low) / (high - low))


def test_grad_cam_comes_beside_the_own_maps() -> None:
    net, batch = make_net(SoftProposalNet), make_batch()
    settle(net, batch["image"])
    with torch.inference_mode():
        plain, both = make_model(net).predict(batch), make_model(net, grad_cam=True).predict(batch)
    for without, prediction in zip(plain, both, strict=True):
        assert torch.equal(without["maps"], prediction["maps"])
        (name, maps), *others = prediction["other_maps"].items()
        assert (name, others, maps.shape) == ("Grad-CAM", [], prediction["maps"].shape)
        assert maps.min() == 0
        assert all(own.max() in (0, 1) for own in maps)
    assert any(own.max() == 1 for prediction in both for own in prediction["other_maps"]["Grad-CAM"])


class Frames(pl.LightningDataModule):
    """One batch to predict."""

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        self.batch = batch

    def predict_dataloader(self) -> DataLoader[Sample]:
        samples: Any = self.batch["samples"]
        return DataLoader(samples, batch_size=len(samples), collate_fn=collate)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_grad_cam_is_stored_while_lightning_predicts(precision: Any, tmp_path: Path) -> None:
    net, batch = make_net(SoftProposalNet), make_batch(3)
    settle(net, batch["image"])
    model = SoftProposalModel(net=net, grad_cam=True, optimizer=torch.optim.SGD)
    writer = PredictionWriter(folder=tmp_path / "predictions")
    options: dict[str, Any] = {"logger": False, "accelerator": "cpu", "enable_progress_bar": False}
    trainer = pl.Trainer(precision=precision, callbacks=[writer], enable_model_summary=False, **options)
    trainer.predict(model, datamodule=Frames(batch), return_predictions=False)
    expected = model.eval().predict(batch)
    for one in expected:
        read = load_prediction(writer.folder, one["key"], run="r")
        tolerance = 1e-5 if precision == "32-true" else 0.2
        torch.testing.assert_close(
            read["other_maps"]["Grad-CAM"], one["other_maps"]["Grad-CAM"], rtol=0, atol=tolerance
        )


def scripted(logits: Tensor) -> SoftProposalModel:
    """A model that says what it is told to."""

    class Scripted(CamNet):
        def forward(self, image: Tensor) -> Any:
            return super().forward(image)._replace(logits=logits)

    return make_model(make_net(Scripted, n_classes=logits.shape[1]))


def test_the_average_recall_is_over_the_classes_that_have_frames() -> None:
    label = torch.tensor([0, 0, 0, 1, 2])
    model = scripted(4.0 * torch.nn.functional.one_hot(torch.tensor([0, 0, 3, 1, 1]), 4))
    batch = make_batch(5) | {"label": label, "present": torch.nn.functional.one_hot(label, 4).bool()}
    for stage, step, end in (
        ("val", model.validation_step, model.on_validation_epoch_end),
        ("test", model.test_step, model.on_test_epoch_end),
    ):
        step(batch, 0)
        end()
        assert model.logged[f"{stage}/average_recall"] == pytest.approx((2 / 3 + 1 + 0) / 3)
        assert model.logged[f"{stage}/accuracy"] == pytest.approx(3 / 5)
        # Of 20 answers, those of logit 0 cost log 2, the other one of every frame depends on whether it is right.
        cost = 15 * math.log(2) + 3 * math.log(1 + math.exp(-4)) + 2 * math.log(1 + math.exp(4))
        assert model.logged[f"{stage}/loss"] == pytest.approx(cost / 20, rel=1e-5)


def test_a_validation_fold_of_a_single_class_is_scored_by_that_class() -> None:
    model = scripted(4.0 * torch.nn.functional.one_hot(torch.tensor([1, 1, 0, 1]), 3))
    label = torch.ones(4, dtype=torch.int64)
    batch = make_batch(4) | {"label": label, "present": torch.nn.functional.one_hot(label, 3).bool()}
    model.validation_step(batch, 0)
    model.on_validation_epoch_end()
    assert model.logged["val/average_recall"] == model.logged["val/accuracy"] == 0.75
    assert all(map(math.isfinite, model.logged.values()))


def test_frames_without_class_are_refused_in_training_but_predicted() -> None:
    model, batch = make_model(make_net(SoftProposalNet)), make_batch(2)
    for key in ("label", "present"):
        del batch[key]  # type: ignore[misc]
    del batch["samples"][1]["label"]
    for step in (model.training_step, model.validation_step):
        with pytest.raises(AnatomarkError, match=r"frame f1 has no class to learn; name the classes in data\.classes"):
            step(batch, 0)
    assert len(model.predict(batch)) == 2


def test_nan_is_not_carried_on() -> None:
    net, batch = make_net(SoftProposalNet), make_batch(2)
    with torch.no_grad():
        net.classifier.bias[0] = float("nan")
    with pytest.raises(AnatomarkError, match="predicts NaN; train again with a lower learning rate"):
        make_model(net).predict(batch)


def test_one_class_says_nothing() -> None:
    with pytest.raises(AnatomarkError, match=r"name two or more in data\.classes"):
        make_model(make_net(SoftProposalNet, n_classes=1))
