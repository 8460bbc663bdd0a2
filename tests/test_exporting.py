"""What of an exported graph is judged, and how."""

import numpy as np
import pytest
import torch
from torch import Tensor

from anatomark.exporting import Parity, compare, make_graph
from anatomark.localiser import Localiser, box_of
from anatomark.models.base import BaseModel, MapOutput
from anatomark.models.classifier import ClassifierModel
from anatomark.nets.sononet import SonoNet
from anatomark.types import AnatomarkError


def test_a_model_that_sees_more_than_the_frame_is_refused() -> None:
    model = ClassifierModel(net=SonoNet(n_classes=2), inputs=["image", "attention"], optimizer=torch.optim.SGD)
    with pytest.raises(AnatomarkError, match="ClassifierModel sees image and attention here"):
        make_graph(Localiser(model), torch.zeros(1, 1, 32, 32))


class Ramp(BaseModel):
    """A map that rises from left to right, and two class scores; may be spoilt."""

    stride = 1

    def __init__(self, spoilt: float = 0.0) -> None:
        super().__init__(optimizer=torch.optim.SGD)
        self.spoilt = spoilt

    def forward(self, image: Tensor) -> MapOutput:
        return MapOutput(maps=image + self.spoilt, features=image, logits=image.mean((2, 3)) * torch.ones(2))

    def score(self, stage: str, batch: object) -> None: ...

    def scores_of(self, stage: str) -> dict[str, Tensor]:
        return {}


class Session:
    """Stands in for ONNX Runtime: what PyTorch says, but for one output."""

    def __init__(self, wrong: str, by: float) -> None:
        self.wrong, self.by = wrong, by

    def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        said = Localiser(Ramp())(torch.from_numpy(feed["frame"]))
        if self.wrong in said:
            said[self.wrong][-1, ..., -1] += self.by
        if self.wrong == "map":
            said["box"] = box_of(said["map"])
        return [said[name].numpy() for name in names]


def ramps(n: int = 4) -> Tensor:
    return torch.linspace(0, 1, 24).expand(n, 1, 16, 24).clone()


@pytest.mark.parametrize("name", ["scores", "map", "box"])
@pytest.mark.parametrize("by", [2e-4, 5e-5, float("nan")])
def test_every_output_is_judged(name: str, by: float) -> None:
    parity = compare(Localiser(Ramp()), Session(name, by), ramps())  # type: ignore[arg-type]
    others = {"scores", "map", "box"} - {name}
    assert all(parity.differences[other] == 0 for other in others)
    if by == 5e-5:
        assert parity.differences[name] == pytest.approx(by, rel=0.1)
        parity.require()
    else:
        with pytest.raises(AnatomarkError, match=rf"differs from PyTorch by .* in its {name}"):
            parity.require()


def test_a_box_that_rounding_moved_is_counted_and_allowed() -> None:
    maps = torch.full((2, 16, 24), 0.4)
    maps[:, 0, 0], maps[:, 4:8, 4:8] = 0, 1
    maps[:, 8, 20] = 0.4 + 0.3 * 0.6 - 1e-6  # just below the threshold
    rounded = maps.clone()
    rounded[1, 8, 20] += 2e-6
    parity = Parity()
    parity.add({"map": maps, "box": box_of(maps)}, {"map": rounded, "box": box_of(rounded)})
    assert (parity.n_boxes, parity.n_moved, parity.moved_px) == (2, 1, 13)
    parity.require()
    assert "moved 1 of 2 boxes, by up to 13 px" in str(parity)


def test_nan_is_not_exported() -> None:
    with pytest.raises(AnatomarkError, match="the network predicts NaN"):
        compare(Localiser(Ramp(spoilt=float("nan"))), Session("", 0.0), ramps())  # type: ignore[arg-type]
