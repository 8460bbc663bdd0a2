"""The saliency model: what it optimises, what it says, and that it can learn."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from anatomark.geometry.attention import render_density
from anatomark.models.saliency import SaliencyModel
from anatomark.models.tta import TestTimeAugmentation
from anatomark.nets.saliency import SaliencyNet
from anatomark.nets.sononet import SonoNetTrunk
from anatomark.types import AnatomarkError, Batch, Sample


def make_model(**options: object) -> SaliencyModel:
    torch.manual_seed(0)
    net = SaliencyNet(trunk=SonoNetTrunk(n_blocks=3, pools=(1, 2)), head="dilated", hidden=16, features="head")
    return SaliencyModel(net=net, reduction=2, optimizer=partial(torch.optim.AdamW, lr=5e-3), **options)


def make_batch(n: int = 4) -> Batch:
    """Bright blobs on noise; everybody looks at the blob."""
    generator = torch.Generator().manual_seed(1)
    ys, xs = torch.meshgrid(torch.arange(64), torch.arange(96), indexing="ij")
    samples: list[Sample] = []
    for index in range(n):
        x, y = (torch.rand(2, generator=generator) * torch.tensor([64.0, 32.0]) + 16).tolist()
        image = 3 * torch.exp(-((xs - x) ** 2 + (ys - y) ** 2) / 50) + 0.3 * torch.randn(64, 96, generator=generator)
        samples.append(
            {
                "key": str(index),
                "subject": str(index),
                "image": image[None],
                "spacing_mm": torch.ones(2),
                "fixations": torch.tensor([[x, y, 100.0]]),
            }
        )
    return {
        "samples": samples,
        "image": torch.stack([s["image"] for s in samples]),
        "fixations": torch.stack([s["fixations"] for s in samples]),
    }


def test_loss_is_the_divergence_from_the_gaze_density() -> None:
    model, batch = make_model().eval(), make_batch()
    model.log = lambda *args, **kwargs: None  # type: ignore[assignment]
    target = render_density(batch["fixations"], size=(64, 96), sigma=model.sigma_px, stride=8)
    logits = model.net(F.avg_pool2d(batch["image"], 2)).logits
    prediction = logits.flatten(1).softmax(1)
    expected = (target.flatten(1) * (target.flatten(1).clamp(min=1e-30).log() - prediction.log())).sum(1).mean()
    torch.testing.assert_close(model.training_step(batch, 0), expected)


def test_predictions_are_maps_with_their_stride_and_features() -> None:
    model, batch = make_model().eval(), make_batch()
    with torch.no_grad():
        predictions = model.predict(batch)
    assert [p["key"] for p in predictions] == ["0", "1", "2", "3"]
    for prediction in predictions:
        assert prediction["maps"].shape == (1, 8, 12)
        assert prediction["map_stride"] == 8
        assert prediction["maps"].max() == 1
        assert prediction["maps"].min() >= 0
        assert prediction["features"].shape == (16, 8, 12)


def test_batched_equals_one_by_one() -> None:
    model, batch = make_model(tta=TestTimeAugmentation()).eval(), make_batch()
    with torch.no_grad():
        together = model.predict(batch)
        for index, sample in enumerate(batch["samples"]):
            alone = model.predict({"samples": [sample], "image": sample["image"][None]})[0]
            torch.testing.assert_close(alone["maps"], together[index]["maps"], rtol=1e-4, atol=1e-5)


def test_it_learns_where_people_look() -> None:
    model, batch = make_model(), make_batch(8)
    model.log = lambda *args, **kwargs: None  # type: ignore[assignment]
    optimizer = model.configure_optimizers()
    for _ in range(60):
        optimizer.zero_grad()
        model.training_step(batch, 0).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        predictions = model.predict(batch)
    for sample, prediction in zip(batch["samples"], predictions, strict=True):
        cell = prediction["maps"][0].flatten().argmax()
        found = torch.tensor([cell % 12, cell // 12]) * 8 + 3.5
        assert (found - sample["fixations"][0, :2]).abs().max() < 8


def test_nan_is_not_carried_on() -> None:
    model, batch = make_model().eval(), make_batch(1)
    torch.nn.init.constant_(model.net.head.score.bias, float("nan"))
    with pytest.raises(AnatomarkError, match="predicts NaN"):
        model.predict(batch)


def test_frames_without_gaze_carry_no_loss() -> None:
    model = make_model().eval()
    model.log = lambda *args, **kwargs: None  # type: ignore[assignment]
    batch = make_batch(4)
    batch["fixations"][2:] = 0  # as a frame without gaze is padded
    watched: Batch = {
        "samples": batch["samples"][:2],
        "image": batch["image"][:2],
        "fixations": batch["fixations"][:2],
    }
    torch.testing.assert_close(model.training_step(batch, 0), model.training_step(watched, 0))
    batch["fixations"] = torch.zeros(4, 0, 3)
    loss = model.training_step(batch, 0)
    loss.backward()
    assert loss == 0
    assert all(p.grad is None or (p.grad == 0).all() for p in model.parameters())


def test_only_batches_with_gaze_are_scored() -> None:
    model = make_model().eval()
    seen, unseen = make_batch(2), make_batch(2)
    seen["has_gaze"], unseen["has_gaze"] = torch.ones(2, dtype=torch.bool), torch.zeros(2, dtype=torch.bool)
    unseen["fixations"] = torch.zeros(2, 0, 3)
    with torch.no_grad():
        model.validation_step(unseen, 0)
        assert model.scores.compute("val") == {}
        for batch in (unseen, seen, unseen):
            model.validation_step(batch, 0)
    assert model.scores.compute("val")["val/n_frames"] == 2


def test_the_target_stays_exact_under_mixed_precision() -> None:
    model, batch = make_model(), make_batch(2)
    expected = model._target(batch, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(model._target(batch, 8), expected, rtol=0, atol=0)
