"""The saliency-only baseline: what it is taught, what it says, and its scores."""

from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from msen_training import SIDE, STRIDE, collate, make_samples

from anatomark.geometry.attention import render_density
from anatomark.metrics.saliency import SaliencyMetrics
from anatomark.models.attention_map import AttentionMapModel
from anatomark.models.targets import attention_target
from anatomark.nets.msen import AttentionNet
from anatomark.nets.sononet import SonoNetTrunk
from anatomark.types import AnatomarkError


def make_model(**options: Any) -> AttentionMapModel:
    torch.manual_seed(0)
    net = AttentionNet(trunk=SonoNetTrunk(n_blocks=3), attention_stride=STRIDE)
    model = AttentionMapModel(net=net, sigma_px=5.0, optimizer=partial(torch.optim.Adam, lr=1e-3), **options)
    logged: dict[str, Any] = {}
    object.__setattr__(model, "log", lambda name, value, **_: logged.update({name: value}))
    object.__setattr__(model, "log_dict", lambda named, **_: logged.update(named))
    object.__setattr__(model, "logged", logged)
    return model.eval()


@pytest.mark.parametrize("kind", ["bce", "mse"])
def test_the_loss_compares_maps_cell_by_cell(kind: str) -> None:
    model, batch = make_model(saliency_loss=kind), collate(make_samples(4))
    target = attention_target(batch, sigma=5.0, stride=STRIDE)
    maps = model.net(batch["image"]).attention.sigmoid()
    expected = F.binary_cross_entropy(maps, target) if kind == "bce" else F.mse_loss(maps, target)
    torch.testing.assert_close(model.training_step(batch, 0), expected)
    batch["has_gaze"][0] = False
    part = model.training_step(batch, 0)
    one = collate(batch["samples"][1:])
    torch.testing.assert_close(part, model.training_step(one, 0))


def test_predictions_are_the_maps_with_their_features() -> None:
    model, batch = make_model(), collate(make_samples(3))
    with torch.no_grad():
        predictions = model.predict(batch)
        attention, features = model.net(batch["image"])
    for index, prediction in enumerate(predictions):
        assert prediction["key"] == f"f{index}"
        assert prediction["map_stride"] == STRIDE
        assert "logits" not in prediction
        torch.testing.assert_close(prediction["maps"][0], attention[index].sigmoid())
        torch.testing.assert_close(prediction["features"], features[index])
    torch.nn.init.constant_(model.net.attention.score.bias, float("nan"))
    with pytest.raises(AnatomarkError, match="the network predicts NaN"):
        model.predict(batch)


@torch.no_grad()
def test_validation_scores_the_predicted_maps() -> None:
    model, batch = make_model(), collate(make_samples(4))
    model.validation_step(batch, 0)
    model.on_validation_epoch_end()
    metrics = SaliencyMetrics()
    density = render_density(batch["fixations"], size=(SIDE, SIDE), sigma=5.0)
    maps = torch.cat([p["maps"] for p in model.predict(batch)])
    metrics.update(maps, density, batch["fixations"], [s["subject"] for s in batch["samples"]])
    for name, value in metrics.compute().items():
        assert float(model.logged[f"val/{name}"]) == pytest.approx(float(value), abs=1e-5), name


@torch.no_grad()
def test_without_any_gaze_there_are_no_map_scores() -> None:
    model, batch = make_model(), collate(make_samples(2))
    batch |= {"fixations": torch.zeros(2, 0, 3), "has_gaze": torch.zeros(2, dtype=torch.bool)}
    model.validation_step(batch, 0)
    model.on_validation_epoch_end()
    assert set(model.logged) == {"val/loss"}
