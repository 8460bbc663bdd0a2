"""The segmenter of frames and slices, and how it comes to search volumes."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from anatomark.geometry.volumes import Volume, VolumeGeometry
from anatomark.models.segmentation import SegmentationModel
from anatomark.models.structure_search import StructureSearch
from anatomark.nets.unet import ShallowUNet
from anatomark.types import AnatomarkError, Batch
from anatomark.volume_types import VolumeBatch, VolumeSample


class Threshold(ShallowUNet):
    """Sees what is bright."""

    def __init__(self) -> None:
        super().__init__(width=1)

    def forward(self, image: Tensor) -> Tensor:
        return 40 * (image - 0.5)


def make_model(net: ShallowUNet | None = None, search: StructureSearch | None = None) -> SegmentationModel:
    torch.manual_seed(0)
    model = SegmentationModel(
        net=net or ShallowUNet(width=4), search=search, optimizer=partial(torch.optim.Adam, lr=0.02)
    )
    model.log = lambda *args, **kwargs: None  # type: ignore[method-assign, assignment]  # there is no trainer
    return model.eval()


def make_batch(n: int = 4, side: int = 20, *, masks: bool = True) -> Batch:
    draw = torch.Generator().manual_seed(0)
    mask = torch.zeros(n, 1, side, side)
    for number, (y, x) in enumerate(torch.randint(side - 8, (n, 2), generator=draw).tolist()):
        mask[number, 0, y : y + 8, x : x + 8] = 1
    image = 0.3 + 0.4 * mask + 0.05 * torch.randn(n, 1, side, side, generator=draw)
    batch: Batch = {
        "samples": [
            {"key": f"f{i}", "subject": "s", "image": one, "spacing_mm": torch.full((2,), torch.nan)}
            for i, one in enumerate(image)
        ],
        "image": image,
        "fixations": torch.zeros(n, 0, 3),
        "has_gaze": torch.zeros(n, dtype=torch.bool),
    }
    if masks:
        batch["mask"] = mask
    return batch


def make_volume(key: str, shift: int = 0) -> VolumeSample:
    grid = VolumeGeometry(
        spacing_mm=(1, 1, 1), origin_mm=(0, 0, 0), direction=((1, 0, 0), (0, 1, 0), (0, 0, 1)), size=(28, 28, 28)
    )
    inside = torch.zeros(28, 28, 28)
    inside[10:14, 8 + shift : 15 + shift, 6:18] = 1
    volume = Volume(voxels=0.8 * inside, geometry=grid)
    mask = Volume(voxels=inside, geometry=grid)
    return {"key": key, "subject": key, "volume": volume, "original": volume, "split": "test", "mask": mask}


def test_learns_a_mask_by_cross_entropy() -> None:
    model, batch = make_model().train(), make_batch()
    optimizer = model.configure_optimizers()
    losses = []
    for step in range(60):
        loss = model.training_step(batch, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]
    model.eval()
    maps = torch.stack([prediction["maps"] for prediction in model.predict(batch)])
    assert bool(((maps > 0.5) == (batch["mask"] > 0)).float().mean() > 0.99)


def test_the_loss_is_the_mean_cross_entropy() -> None:
    model, batch = make_model(), make_batch()
    probability = torch.cat([prediction["maps"] for prediction in model.predict(batch)]).double()
    mask = batch["mask"][:, 0].double()
    expected = -(mask * probability.log() + (1 - mask) * (1 - probability).log()).mean()
    assert float(model.training_step(batch, 0).detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_scores_are_of_all_pixels_together() -> None:
    model, batch = make_model(Threshold()), make_batch()
    for half in (slice(0, 2), slice(2, 4)):
        part: Batch = {**batch, "image": batch["image"][half], "mask": batch["mask"][half]}
        model.score("val", part)
    seen, mask = batch["image"] > 0.5, batch["mask"] > 0
    both = float((seen & mask).sum())
    scores = model.scores_of("val")
    assert float(scores["val/dice"]) == pytest.approx(2 * both / float(seen.sum() + mask.sum()))
    assert float(scores["val/iou"]) == pytest.approx(both / float((seen | mask).sum()))


def test_maps_are_probabilities_of_every_pixel() -> None:
    model, batch = make_model(), make_batch(side=21)
    predictions = model.predict_step(batch, 0)
    assert [prediction["key"] for prediction in predictions] == ["f0", "f1", "f2", "f3"]
    assert predictions[0]["maps"].shape == (1, 21, 21)
    logits = model.net(batch["image"])
    torch.testing.assert_close(predictions[2]["maps"], F.sigmoid(logits[2]))


def test_a_frame_without_a_mask_is_named() -> None:
    with pytest.raises(AnatomarkError, match="frame f0 has no mask"):
        make_model().training_step(make_batch(masks=False), 0)


def test_searches_volumes() -> None:
    search = StructureSearch(patch_size=20, scan_stride=2, sign_stride=1)
    model = make_model(Threshold(), search)
    batch: VolumeBatch = {"volumes": [make_volume("b", shift=5)], "reference": make_volume("a")}
    (found,) = model.predict_step(batch, 0)
    assert bool(found["found"])
    torch.testing.assert_close(
        found["centres_mm"][-1], torch.tensor([11.5, 16.0, 11.5], dtype=torch.float64), atol=0.05, rtol=0
    )


def test_the_reference_is_looked_at_once_for_each_set_of_weights() -> None:
    model = make_model(Threshold(), StructureSearch(patch_size=20, scan_stride=2))
    batch: VolumeBatch = {"volumes": [make_volume("b")], "reference": make_volume("a")}
    model.locate(batch)
    first = model._reference
    model.locate(batch)
    assert model._reference is first
    model.on_predict_start()
    model.locate(batch)
    assert model._reference is not first
    model.locate({**batch, "reference": make_volume("c", shift=1)})
    assert model._reference is not None
    assert model._reference.key == "c"


def test_without_a_search_volumes_are_refused() -> None:
    batch: VolumeBatch = {"volumes": [make_volume("b")], "reference": make_volume("a")}
    with pytest.raises(AnatomarkError, match=r"model\.search is null"):
        make_model().predict_step(batch, 0)


def test_nan_is_no_absent_structure() -> None:
    model = make_model(Threshold(), StructureSearch(patch_size=20, scan_stride=2))
    batch: VolumeBatch = {"volumes": [make_volume("b")], "reference": make_volume("a")}
    model.locate(batch)
    model.net = Threshold()
    model.net.forward = lambda image: torch.full_like(image, torch.nan)  # type: ignore[method-assign]
    with pytest.raises(AnatomarkError, match="predicts NaN"):
        model.locate(batch)
