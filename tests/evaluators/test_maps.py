"""Which map of a prediction counts, and how it covers its image."""

import pytest
import torch

from anatomark.evaluators.maps import full_size_map, main_map
from anatomark.metrics.saliency import upsample
from anatomark.types import AnatomarkError, Prediction, Sample


def make_sample(height: int, width: int) -> Sample:
    return Sample(key="f", subject="s", image=torch.zeros(1, height, width), spacing_mm=torch.ones(2))


def make_prediction(maps: torch.Tensor, stride: int = 16) -> Prediction:
    return Prediction(key="f", maps=maps, map_stride=stride)


def test_the_only_map_or_that_of_the_most_probable_class() -> None:
    maps = torch.rand(3, 4, 5)
    sample = make_sample(64, 80)
    assert torch.equal(main_map(sample, make_prediction(maps[:1])), maps[0])
    classes = make_prediction(maps) | {"logits": torch.tensor([0.1, -2.0, 0.7])}
    assert torch.equal(main_map(sample, classes), maps[2])
    for broken in (make_prediction(maps), make_prediction(maps) | {"logits": torch.zeros(4)}):
        with pytest.raises(AnatomarkError, match="frame f has 3 maps that belong to no class"):
            main_map(sample, broken)


def test_a_map_that_fits_is_interpolated() -> None:
    maps = torch.rand(1, 4, 5)
    full = full_size_map(make_sample(64, 80), make_prediction(maps))
    assert torch.equal(full, upsample(maps, (64, 80))[0])


def test_what_pooling_dropped_repeats_the_border() -> None:
    # 120 px at stride 16 leave 7 cells, which cover 112 px.
    maps = torch.rand(1, 7, 7)
    full = full_size_map(make_sample(120, 120), make_prediction(maps))
    inside = upsample(maps, (112, 112))[0]
    assert torch.equal(full[:112, :112], inside)
    assert torch.equal(full[112:, :112], inside[-1:].expand(8, 112))
    assert torch.equal(full[:112, 112:], inside[:, -1:].expand(112, 8))


@pytest.mark.parametrize(("size", "stride"), [((128, 80), 16), ((64, 80), 8), ((63, 80), 16), ((64, 96), 16)])
def test_a_map_of_another_image_is_refused(size: tuple[int, int], stride: int) -> None:
    with pytest.raises(AnatomarkError, match=rf"frame f: the map covers .* of an image of {size[0]} x {size[1]} px"):
        full_size_map(make_sample(*size), make_prediction(torch.rand(1, 4, 5), stride))
